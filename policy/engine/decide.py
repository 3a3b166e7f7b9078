"""The compiled decision: cells in, DCMs out. The engine's one entry point."""

from __future__ import annotations

from policy.engine.code_cache import EntryPoint
from policy.engine.dcm import Options, decode_dcm
from policy.engine.encode import encode_cell
from policy.engine.memory import NUM_UES, Cells, Memory
from policy.engine.prefill import read_group
from policy.engine.simd import LANES
from policy.engine.sizes import Sizes
from policy.engine.tables import Tables
from policy.engine.weights import Weights


def decide(
    net: Sizes, w: Weights, tables: Tables, options: Options, m: Memory, cells: Cells, count: int, sampled: int
) -> None:
    """DCMs of the first `count` cells. Blocks of all cells share groups of sixteen."""
    blocks = 0
    for b in range(count):
        encode_cell(cells, tables, m, b, blocks)
        blocks += cells.numbers_BC[b, NUM_UES] + 1
    groups = (blocks + LANES - 1) // LANES
    size = groups * w.positions * LANES
    fields = len(tables.number) // 2
    for group in range(groups):
        read_group(net, w, m, fields, group, blocks, size)
    first_block = 0
    for b in range(count):
        cells.length_B[b] = decode_dcm(net, w, m, cells, options, b, first_block, size, sampled)
        first_block += cells.numbers_BC[b, NUM_UES] + 1


decide_cells = EntryPoint(decide)
