"""What one decision works in: the cells' columns on their way in, room for the forward, tokens on their way out.

Grown as needed and used again. Suffixes: N = UEs of all cells, B = cells, M = RBGs, L = steps; S = keys of all blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.engine.simd import LANES
from policy.engine.sizes import Sizes
from policy.engine.tables import UE_COLUMNS
from policy.grammar import MAX_RBGS

MAX_ROWS = 8
"""Steps that are read at once."""

Flat = NDArray[np.float32]


class Cells(NamedTuple):
    """A batch as it is handed over."""

    numbers_BC: NDArray[np.int64]
    """Columns: CELL_COLUMNS."""
    alpha_B: NDArray[np.float64]
    ues_CN: NDArray[np.float64]
    """Rows: UE_COLUMNS."""
    last_cqi_NM: NDArray[np.float64]
    last_cqi_age_NM: NDArray[np.float64]
    outcome_BM: NDArray[np.float64]
    cap_N: NDArray[np.int64]
    floor_N: NDArray[np.int64]
    slice_N: NDArray[np.int64]
    """Row of the UE's slice within its cell, -1 = none."""
    slice_cap_S: NDArray[np.int64]
    slice_floor_S: NDArray[np.int64]
    uniforms_BL: NDArray[np.float64]
    tokens_BL: NDArray[np.int64]
    log_probs_BL: NDArray[np.float64]
    length_B: NDArray[np.int64]


NUM_RBGS, NUM_UES, FIRST_UE_ROW, SLOTS_PER_DCM, SURE_OWNER, SLICES, FIRST_SLICE = range(7)
CELL_COLUMNS = 7
"""SURE_OWNER: 1 = somebody may always own an RBG, so that IDLE need not be allowed for it."""


class Memory(NamedTuple):
    """Room of the forward."""

    prompt: NDArray[np.int64]
    """Tokens of every block, flat."""
    channel_history_NM: NDArray[np.int64]
    outcome_BM: NDArray[np.int64]
    kv: Flat
    """[layers, keys then values, S]: the blocks'."""
    steps_kv: Flat
    """The same of the steps of the DCM that is being said."""
    mask: Flat
    """[S]: 0 where the cell may look, else far below."""
    keys: Flat
    feedback: Flat
    """[blocks, hidden]."""
    x: Flat
    """[positions, hidden, 16]: hidden states of 16 blocks."""
    normed: Flat
    query: Flat
    attended: Flat
    gated: Flat
    scores: Flat
    rows: Flat
    step_x: Flat
    step_normed: Flat
    step_made: Flat
    step_scores: Flat
    step_scale: Flat
    step_asks: Flat
    """[MAX_ROWS, hidden]: what steps ask their actions' keys for."""


class Workspace:
    """Buffers for batches of one model up to some size. Not to be used by two threads at once."""

    def __init__(self, sizes: Sizes, fields: int, positions: int, max_steps: int) -> None:
        """fields: of a block; max_steps: of the longest DCM."""
        self._sizes, self._fields, self._positions = sizes, fields, positions
        self.max_steps = max_steps
        self._cells = self._ues = 0
        self.reserve(1, 16)

    def reserve(self, cells: int, ues: int) -> None:
        """Room for that many cells and UEs of all cells together."""
        if cells <= self._cells and ues <= self._ues:
            return
        self._cells, self._ues = max(cells, 2 * self._cells), max(ues, 2 * self._ues)
        self.cells = self._batch(self._cells, self._ues)
        self.memory = self._memory(self._cells, self._ues)

    def _batch(self, cells: int, ues: int) -> Cells:
        steps = self.max_steps
        return Cells(
            np.zeros((cells, CELL_COLUMNS), np.int64),
            np.zeros(cells),
            np.zeros((len(UE_COLUMNS), ues)),
            np.zeros((ues, MAX_RBGS)),
            np.zeros((ues, MAX_RBGS)),
            np.zeros((cells, MAX_RBGS)),
            np.zeros(ues, np.int64),
            np.zeros(ues, np.int64),
            np.zeros(ues, np.int64),
            np.zeros(16, np.int64),
            np.zeros(16, np.int64),
            np.zeros((cells, steps)),
            np.zeros((cells, steps), np.int64),
            np.zeros((cells, steps)),
            np.zeros(cells, np.int64),
        )

    def reserve_slices(self, slices: int) -> None:
        """Room for that many slices of all cells together."""
        if slices > len(self.cells.slice_cap_S):
            cap_S, floor_S = (np.zeros(2 * slices, np.int64) for _ in range(2))
            cap_S[: len(self.cells.slice_cap_S)] = self.cells.slice_cap_S
            floor_S[: len(self.cells.slice_floor_S)] = self.cells.slice_floor_S
            self.cells = self.cells._replace(slice_cap_S=cap_S, slice_floor_S=floor_S)

    def _memory(self, cells: int, ues: int) -> Memory:
        sizes = self._sizes
        d, f, positions = sizes.hidden, sizes.intermediate, self._positions
        blocks = -(-(cells + ues) // LANES) * LANES
        keys, steps = blocks * positions, -(-self.max_steps // LANES) * LANES

        def room(floats: int) -> Flat:
            return np.zeros(floats, np.float32)

        return Memory(
            np.zeros(blocks * self._fields, np.int64),
            np.zeros((ues, MAX_RBGS), np.int64),
            np.zeros((cells, MAX_RBGS), np.int64),
            room(sizes.layers * 2 * d * keys),
            room(sizes.layers * 2 * d * steps),
            room(keys),
            room(blocks * d),
            room(blocks * d),
            room(positions * d * LANES),
            room(d * LANES),
            room(d * LANES),
            room(d * LANES),
            room(2 * f * LANES),
            room(positions * LANES),
            room(LANES * d),
            room(MAX_ROWS * d),
            room(MAX_ROWS * max(d, f)),
            room(MAX_ROWS * max(3 * d, 2 * f)),
            room(MAX_ROWS * (keys + steps)),
            room(MAX_ROWS),
            room(MAX_ROWS * d),
        )
