"""The steps of a DCM: each sees its cell's blocks and the steps before it. Here what is attended to is the lanes.

Several steps are read at once where all but the last leave no choice, or where what will be said can be guessed
(policy.engine.dcm): their weights, keys and values are then fetched once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from policy.engine.jit import kernel
from policy.engine.memory import Memory
from policy.engine.prefill import FAR_BELOW, gate
from policy.engine.simd import LANES, exp, fill, highest, larger, load, store, total
from policy.engine.sizes import Sizes
from policy.engine.tiles import rows_product
from policy.engine.weights import EPSILON, Weights
from policy.grammar import FIRST_UE

TIE_NATS = 5e-5
"""policy.leader_models.decoding.TIE_NATS, without its torch."""


@kernel
def norm_row(net: Sizes, x: Any, at: int, y: Any, y_at: int) -> None:
    """RMS norm of one row, its weight aside."""
    d = net.hidden
    a = fill(np.float32(0.0))
    for j in range(0, d, LANES):
        u = load(x, at + j)
        a = a + u * u
    scale = fill(np.float32(1.0 / math.sqrt(total(a) / d + EPSILON)))
    for j in range(0, d, LANES):
        store(y, y_at + j, load(x, at + j) * scale)


@kernel
def rotate_row(net: Sizes, w: Weights, y: Any, at: int, position: int) -> None:
    """Rotary embedding of a row's query and key, in place."""
    half = net.head_size // 2
    for head in range(2 * net.heads):
        for j in range(half):
            c, s = w.cos[position * half + j], w.sin[position * half + j]
            low = at + head * net.head_size + j
            a, b = y[low], y[low + half]
            y[low], y[low + half] = a * c - b * s, b * c + a * s


@kernel
def soften(m: Memory, at: int, keys: int, steps: int, step: int) -> Any:
    """Scores of one row, of `keys` of the blocks and `steps` of the DCM, to weights yet to be scaled; their scale."""
    s = m.step_scores
    for k in range(at + keys + step + 1, at + keys + steps):  # steps still to come
        s[k] = FAR_BELOW
    top_lanes = fill(FAR_BELOW)
    for k in range(0, keys, LANES):
        a = load(s, at + k) + load(m.mask, k)
        store(s, at + k, a)
        top_lanes = larger(top_lanes, a)
    for k in range(keys, keys + steps, LANES):
        top_lanes = larger(top_lanes, load(s, at + k))
    top, sum_ = fill(highest(top_lanes)), fill(np.float32(0.0))
    for k in range(at, at + keys + steps, LANES):
        e = exp(load(s, k) - top)
        store(s, k, e)
        sum_ = sum_ + e
    return np.float32(1.0) / total(sum_)


@kernel
def attend_steps(
    net: Sizes, m: Memory, layer: int, size: int, first_key: int, keys: int, room: int, start: int, first: int, end: int
) -> None:
    """Rows first..end of m.step_normed = what their queries in m.step_made find in the cell's blocks and earlier steps.

    Row i is step start + i. size: S; room: the same of the steps. Rows go through keys and values together.
    """
    d, hd, s = net.hidden, net.head_size, m.step_scores
    steps = ((start + end - 1) // LANES + 1) * LANES
    width, rows = keys + steps, end - first
    for head in range(net.heads):
        at = layer * 2 * d * size + head * hd * size + first_key
        step_at = layer * 2 * d * room + head * hd * room
        query = first * 3 * d + head * hd
        rows_product(m.step_made, query, 3 * d, hd, rows, m.kv, at, size, keys, s, 0, width, 0)
        rows_product(m.step_made, query, 3 * d, hd, rows, m.steps_kv, step_at, room, steps, s, keys, width, 0)
        for row in range(rows):
            m.step_scale[row] = soften(m, row * width, keys, steps, start + first + row)
        at += d * size
        step_at += d * room
        for j in range(0, hd, 4):
            for row in range(rows):
                a = b = c = e = fill(np.float32(0.0))
                v, p_at = at + j * size, row * width
                for k in range(0, keys, LANES):
                    p = load(s, p_at + k)
                    a, b = a + p * load(m.kv, v + k), b + p * load(m.kv, v + size + k)
                    c, e = c + p * load(m.kv, v + 2 * size + k), e + p * load(m.kv, v + 3 * size + k)
                v, p_at = step_at + j * room, p_at + keys
                for k in range(0, steps, LANES):
                    p = load(s, p_at + k)
                    a, b = a + p * load(m.steps_kv, v + k), b + p * load(m.steps_kv, v + room + k)
                    c, e = c + p * load(m.steps_kv, v + 2 * room + k), e + p * load(m.steps_kv, v + 3 * room + k)
                y, scale = (first + row) * d + head * hd + j, m.step_scale[row]
                m.step_normed[y], m.step_normed[y + 1] = total(a) * scale, total(b) * scale
                m.step_normed[y + 2], m.step_normed[y + 3] = total(c) * scale, total(e) * scale


@kernel
def run_steps(
    net: Sizes, w: Weights, m: Memory, size: int, first_key: int, keys: int, room: int, first_block: int,
    asked: Any, outcomes: Any, tokens: Any, start: int, count: int, answers: int,
) -> None:  # fmt: skip
    """Read steps start.. of a DCM; what the last `answers` of them ask for comes out in m.step_asks."""
    d, f = net.hidden, net.intermediate
    x, n, y = m.step_x, m.step_normed, m.step_made
    for i in range(count):
        step = start + i
        for j in range(0, d, LANES):
            a = load(w.asked, asked[step] * d + j) + load(w.outcome, outcomes[step] * d + j)
            if step > 0:
                token = tokens[step - 1]
                if token < FIRST_UE:
                    a = a + load(w.fixed_feedback, token * d + j)
                else:
                    a = a + load(m.feedback, (first_block + 1 + token - FIRST_UE) * d + j)
            store(x, i * d + j, a)
    for layer in range(net.layers):
        for i in range(count):
            norm_row(net, x, i * d, n, i * d)
        rows_product(n, 0, d, d, count, w.qkv_T, layer * 3 * d * d, 3 * d, 3 * d, y, 0, 3 * d, 0)
        for i in range(count):
            rotate_row(net, w, y, i * 3 * d, w.positions + start + i)
            for j in range(2 * d):
                m.steps_kv[(layer * 2 * d + j) * room + start + i] = y[i * 3 * d + d + j]
        # Of the last layer's other steps only keys and values are ever looked at.
        first = count - answers if layer == net.layers - 1 else 0
        rows = count - first
        attend_steps(net, m, layer, size, first_key, keys, room, start, first, count)
        rows_product(n, first * d, d, d, rows, w.out_T, layer * d * d, d, d, x, first * d, d, 1)
        for i in range(first, count):
            norm_row(net, x, i * d, n, i * d)
        rows_product(n, first * d, d, d, rows, w.gate_up_T, layer * 2 * f * d, 2 * f, 2 * f, y, 0, 2 * f, 0)
        for i in range(rows):
            gate(y, i * 2 * f, i * 2 * f + f, f // LANES)
        rows_product(y, 0, 2 * f, f, rows, w.down_T, layer * f * d, d, d, x, first * d, d, 1)
    for i in range(answers):
        norm_row(net, x, (count - answers + i) * d, n, i * d)
    rows_product(n, 0, d, d, answers, w.ask_T, 0, d, d, m.step_asks, 0, d, 0)


@kernel
def choose(
    net: Sizes, w: Weights, m: Memory, answer: int, first_block: int, features: Any, legal: Any, count: int,
    uniform: float, scores: Any, weights: Any,
) -> Any:  # fmt: skip
    """(token, log-probability) among legal[:count]; the likeliest, or by `uniform` where it is not negative.

    answer: the row of m.step_asks.
    """
    d = net.hidden
    ask, top = answer * d, FAR_BELOW
    for i in range(count):
        token = legal[i]
        key_shifts = features[token] * 2 * d
        a = fill(np.float32(0.0))
        if token < FIRST_UE:
            for j in range(0, d, LANES):
                key = load(w.fixed_keys, token * d + j) * load(w.key_shifts, key_shifts + j) + load(
                    w.key_shifts, key_shifts + d + j
                )
                a = a + load(m.step_asks, ask + j) * key
        else:
            at = (first_block + 1 + token - FIRST_UE) * d
            for j in range(0, d, LANES):
                key = load(m.keys, at + j) * load(w.key_shifts, key_shifts + j) + load(w.key_shifts, key_shifts + d + j)
                a = a + load(m.step_asks, ask + j) * key
        scores[i] = total(a)
        top = max(top, scores[i])
    for i in range(count, (count + LANES - 1) // LANES * LANES):
        scores[i] = FAR_BELOW
    tops = fill(top)
    for i in range(0, count, LANES):
        store(weights, i, exp(load(scores, i) - tops))
    sum_ = 0.0
    for i in range(count):
        sum_ += weights[i]
    pick = 0
    if uniform < 0.0:
        while scores[pick] - top < -TIE_NATS:
            pick += 1
    else:
        target, reached, pick = uniform * sum_, 0.0, count - 1
        for i in range(count):
            reached += weights[i]
            if reached > target:
                pick = i
                break
    return legal[pick], np.float64(scores[pick]) - np.float64(top) - math.log(sum_)
