"""Reading the blocks of all cells, sixteen at a time.

Sixteen blocks are the lanes of every vector, whichever cells they are of; a position's hidden states are
[feature][lane], so that linear maps, norms and the attention within a block need nothing across lanes. Keys and values
come out as the steps need them, [feature][everything that can be attended to]: key t of lane i of group c is at
(c T + t) 16 + i.
The last layer computes only keys and values, but for the last position of each block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from policy.engine.jit import kernel
from policy.engine.memory import Memory
from policy.engine.simd import LANES, exp, fill, larger, load, spread, sqrt, store
from policy.engine.sizes import Sizes
from policy.engine.tiles import lanes_product, rows_product
from policy.engine.weights import EPSILON, Weights

FAR_BELOW = np.float32(-1e30)


@kernel
def norm_lanes(net: Sizes, x: Any, at: int, y: Any) -> None:
    """RMS norm of 16 lanes, its weight aside, into y[hidden, 16]."""
    d = net.hidden
    a = b = fill(np.float32(0.0))
    for j in range(0, d, 2):
        u, v = load(x, at + j * LANES), load(x, at + (j + 1) * LANES)
        a, b = a + u * u, b + v * v
    mean = (a + b) * fill(np.float32(1.0 / d)) + fill(np.float32(EPSILON))
    scale = fill(np.float32(1.0)) / sqrt(mean)
    for j in range(d):
        store(y, j * LANES, load(x, at + j * LANES) * scale)


@kernel
def gate(x: Any, at: int, up_at: int, vectors: int) -> None:
    """x[at:] = silu(x[at:]) x[up_at:]."""
    one, zero = fill(np.float32(1.0)), fill(np.float32(0.0))
    for i in range(0, vectors * LANES, LANES):
        g = load(x, at + i)
        store(x, at + i, g / (one + exp(zero - g)) * load(x, up_at + i))


@kernel
def feed_forward(net: Sizes, w: Weights, m: Memory, layer: int, at: int) -> None:
    """The second half of a layer, of 16 lanes at one position of m.x."""
    d, f = net.hidden, net.intermediate
    norm_lanes(net, m.x, at, m.normed)
    lanes_product(w.gate_up, layer * 2 * f * d, d, 2 * f, m.normed, 0, LANES, m.gated, 0, LANES, 0)
    gate(m.gated, 0, f * LANES, f)
    lanes_product(w.down, layer * d * f, f, d, m.gated, 0, LANES, m.x, at, LANES, 1)


@kernel
def rotate_lanes(net: Sizes, w: Weights, y: Any, at: int, stride: int, position: int) -> None:
    """Rotary embedding of all heads of 16 lanes, in place."""
    half = net.head_size // 2
    for head in range(net.heads):
        for j in range(half):
            c, s = spread(w.cos, position * half + j), spread(w.sin, position * half + j)
            low = at + (head * net.head_size + j) * stride
            high = low + half * stride
            a, b = load(y, low), load(y, high)
            store(y, low, a * c - b * s)
            store(y, high, b * c + a * s)


@kernel
def attend_block(net: Sizes, m: Memory, keys_at: int, values_at: int, size: int, last: int) -> None:
    """m.attended = what m.query[hidden, 16] finds at positions 0..last of its own blocks. size: S."""
    for head in range(net.heads):
        first = head * net.head_size
        if last == 0:
            for j in range(first, first + net.head_size):
                store(m.attended, j * LANES, load(m.kv, values_at + j * size))
            continue
        top = fill(FAR_BELOW)
        for t in range(last + 1):
            a = b = fill(np.float32(0.0))
            for j in range(first, first + net.head_size, 2):
                a = a + load(m.query, j * LANES) * load(m.kv, keys_at + j * size + t * LANES)
                b = b + load(m.query, (j + 1) * LANES) * load(m.kv, keys_at + (j + 1) * size + t * LANES)
            a = a + b
            store(m.scores, t * LANES, a)
            top = larger(top, a)
        sum_ = fill(np.float32(0.0))
        for t in range(last + 1):
            e = exp(load(m.scores, t * LANES) - top)
            store(m.scores, t * LANES, e)
            sum_ = sum_ + e
        scale = fill(np.float32(1.0)) / sum_
        for j in range(first, first + net.head_size):
            a = fill(np.float32(0.0))
            for t in range(last + 1):
                a = a + load(m.scores, t * LANES) * load(m.kv, values_at + j * size + t * LANES)
            store(m.attended, j * LANES, a * scale)


@kernel
def gather(
    net: Sizes, table: Any, width: int, column: int, prompt: Any, fields: int, field: int, block: int, blocks: int,
    y: Any, at: int, stride: int,
) -> None:  # fmt: skip
    """y[hidden, 16 lanes]: part of the table's row of each block's token; lanes beyond the blocks repeat the first."""
    for lane in range(LANES):
        n = block + lane if block + lane < blocks else 0
        row = prompt[n * fields + field] * width + column
        for j in range(net.hidden):
            y[at + j * stride + lane] = table[row + j]


@kernel
def sum_fields(net: Sizes, w: Weights, m: Memory, fields: int, position: int, block: int, blocks: int) -> None:
    """m.x at a position: the embeddings of the fields that share it, added up."""
    d = net.hidden
    at = position * d * LANES
    for lane in range(LANES):
        n = block + lane if block + lane < blocks else 0
        for j in range(0, d, LANES):
            a = fill(np.float32(0.0))
            for field in range(w.first_field[position], w.first_field[position + 1]):
                a = a + load(w.tokens, m.prompt[n * fields + field] * d + j)
            store(m.rows, lane * d + j, a)
    for j in range(d):
        for lane in range(LANES):
            m.x[at + j * LANES + lane] = m.rows[lane * d + j]


@kernel
def read_group(net: Sizes, w: Weights, m: Memory, fields: int, group: int, blocks: int, size: int) -> None:
    """Sixteen blocks, through all layers. size: S."""
    d, layers, positions = net.hidden, net.layers, w.positions
    block, at = group * LANES, group * positions * LANES
    for t in range(positions):
        if w.tabled:
            gather(net, w.tokens, 4 * d, 0, m.prompt, fields, t, block, blocks, m.x, t * d * LANES, LANES)
        else:
            sum_fields(net, w, m, fields, t, block, blocks)
    for layer in range(layers):
        keys = layer * 2 * d * size + at
        values = keys + d * size
        qkv, last = layer * 3 * d * d, layer == layers - 1
        for t in range(positions):
            x, t_at = t * d * LANES, t * LANES
            if layer == 0 and w.tabled:
                gather(net, w.tokens, 4 * d, 2 * d, m.prompt, fields, t, block, blocks, m.kv, keys + t_at, size)
                gather(net, w.tokens, 4 * d, 3 * d, m.prompt, fields, t, block, blocks, m.kv, values + t_at, size)
                if not last and t > 0:
                    gather(net, w.tokens, 4 * d, d, m.prompt, fields, t, block, blocks, m.query, 0, LANES)
            else:
                norm_lanes(net, m.x, x, m.normed)
                lanes_product(w.qkv, qkv + d * d, d, 2 * d, m.normed, 0, LANES, m.kv, keys + t_at, size, 0)
                rotate_lanes(net, w, m.kv, keys + t_at, size, t)
                if not last and t > 0:
                    lanes_product(w.qkv, qkv, d, d, m.normed, 0, LANES, m.query, 0, LANES, 0)
                    rotate_lanes(net, w, m.query, 0, LANES, t)
            if not last:
                finish_layer(net, w, m, layer, keys, values, size, t)
    end_blocks(net, w, m, group, size)


@kernel
def finish_layer(net: Sizes, w: Weights, m: Memory, layer: int, keys: int, values: int, size: int, t: int) -> None:
    """All of a layer after the projections, of 16 lanes at position t."""
    d = net.hidden
    attend_block(net, m, keys, values, size, t)
    lanes_product(w.out, layer * d * d, d, d, m.attended, 0, LANES, m.x, t * d * LANES, LANES, 1)
    feed_forward(net, w, m, layer, t * d * LANES)


@kernel
def end_blocks(net: Sizes, w: Weights, m: Memory, group: int, size: int) -> None:
    """The last layer of the blocks' last positions; each UE's key, and what is fed back when it is named."""
    d, layer, t = net.hidden, net.layers - 1, w.positions - 1
    keys = layer * 2 * d * size + group * w.positions * LANES
    x = t * d * LANES
    if t > 0:
        norm_lanes(net, m.x, x, m.normed)
        lanes_product(w.qkv, layer * 3 * d * d, d, d, m.normed, 0, LANES, m.query, 0, LANES, 0)
        rotate_lanes(net, w, m.query, 0, LANES, t)
    finish_layer(net, w, m, layer, keys, keys + d * size, size, t)
    norm_lanes(net, m.x, x, m.normed)
    for lane in range(LANES):
        for j in range(d):
            m.rows[lane * d + j] = m.normed[j * LANES + lane]
            m.keys[(group * LANES + lane) * d + j] = w.key_bias[j]
    first = group * LANES * d
    rows_product(m.rows, 0, d, d, LANES, w.key_T, 0, d, d, m.keys, first, d, 1)
    rows_product(m.rows, 0, d, d, LANES, w.feedback_T, 0, d, d, m.feedback, first, d, 0)
