"""numpy's own standard normal numbers in three fifths of numpy's time: most of what a world costs is its fading.

Bit for bit `Generator(Philox(key)).standard_normal(dtype=float32)`. numpy asks the generator for one word after the
other. Here a thousand are drawn at once (Philox counts, so that none waits for another), then each is made the number
that it is in 79 of 80 cases, and at last the ziggurat's slow path makes the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.random._constants import fi_float, ki_float, wi_float, ziggurat_nor_inv_r_f, ziggurat_nor_r_f
from numpy.typing import NDArray

from training.simulator.jit import entry_point, inlined

KEPT = 64
"""Words of 32 bits that are kept for the next thousand: more than one number ever needs."""
FRESH = 2048
"""Words that are drawn at once."""
ROUNDS = 10
FACTOR_0, FACTOR_1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
STEP_0, STEP_1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
UNIT = np.float32(2.0**-24)
TAIL, INVERSE_TAIL = np.float32(ziggurat_nor_r_f), np.float32(ziggurat_nor_inv_r_f)

# The ziggurat's layers, from the lowest on: their width, up to where a point of them is surely below the curve, height.
_WIDTH = np.asarray(wi_float, np.float32)
_SURE = np.asarray(ki_float, np.uint32)
_HEIGHT = np.asarray(fi_float, np.float32)


def standard_normals(key: NDArray[np.uint64], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """`shape` numbers of mean 0 and variance 1 from the beginning of the key's stream."""
    normals = np.empty(shape, np.float32)
    words = np.empty((KEPT + FRESH) // 2, np.uint64)
    guess, refused = np.empty(KEPT + FRESH, np.float32), np.empty(KEPT + FRESH, np.bool_)
    fill(key[0], key[1], words, words.view(np.uint32), _WIDTH, _SURE, _HEIGHT, guess, refused, normals.reshape(-1))
    return normals


def _high_product(typing_context: Any, a: Any, b: Any) -> Any:
    """The upper 64 bits of the product of two numbers of 64 bits."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), code


high_product: Any = intrinsic(_high_product)


@inlined
def draw_words(key_0: Any, key_1: Any, counter: Any, words: Any) -> None:
    """Philox 4x64-10 from `counter` on, into words[KEPT / 2:]."""
    for at in range(KEPT // 2, len(words), 4):
        c0, c1, c2, c3 = counter, np.uint64(0), np.uint64(0), np.uint64(0)
        k0, k1 = key_0, key_1
        for _ in range(ROUNDS):
            above_0, above_1 = high_product(FACTOR_0, c0), high_product(FACTOR_1, c2)
            c0, c1, c2, c3 = above_1 ^ c1 ^ k0, FACTOR_1 * c2, above_0 ^ c3 ^ k1, FACTOR_0 * c0
            k0 += STEP_0
            k1 += STEP_1
        words[at], words[at + 1], words[at + 2], words[at + 3] = c0, c1, c2, c3
        counter += np.uint64(1)


@inlined
def uniform_of(word: Any) -> Any:
    return np.float32(word >> np.uint32(8)) * UNIT


@inlined
def size_of(word: Any) -> Any:
    return (word >> np.uint32(9)) & np.uint32(0x7FFFFF)


@entry_point
def fill(
    key_0: Any, key_1: Any, words: Any, halves: Any, width: Any, sure: Any, height: Any, guess: Any, refused: Any,
    normals: Any,
) -> None:  # fmt: skip
    """halves: the same memory as words, the lower half of each first. guess, refused: room for as many."""
    counter, end = np.uint64(1), len(halves)
    at = end
    for n in range(len(normals)):
        if end - at < KEPT:
            kept = end - at
            for i in range(kept):
                halves[KEPT - kept + i] = halves[at + i]
            draw_words(key_0, key_1, counter, words)
            counter += np.uint64(FRESH // 8)
            at = KEPT - kept
            for i in range(at, end):
                word = halves[i]
                layer = word & np.uint32(0xFF)
                # The sign as a factor: half of all branches on it would be guessed wrong.
                sign = np.float32(1.0) - np.float32(np.int32((word >> np.uint32(7)) & np.uint32(2)))
                guess[i] = np.float32(np.int32(size_of(word))) * width[layer] * sign
                refused[i] = size_of(word) >= sure[layer]
        while refused[at]:
            word, value = halves[at], guess[at]
            layer = word & np.uint32(0xFF)
            at += 1
            if layer == 0:
                x = y = np.float32(0.0)
                while np.float32(y + y) <= np.float32(x * x):
                    x = np.float32(-INVERSE_TAIL * np.log1p(-uniform_of(halves[at])))
                    y = np.float32(-np.log1p(-uniform_of(halves[at + 1])))
                    at += 2
                guess[at - 1] = -np.float32(TAIL + x) if (word >> np.uint32(17)) & np.uint32(1) else TAIL + x
                at -= 1
                break
            rise = np.float32(np.float32(height[layer - 1] - height[layer]) * uniform_of(halves[at]))
            if np.float32(rise + height[layer]) < np.exp(-0.5 * np.float64(value) * np.float64(value)):
                guess[at] = value  # over the word that decided it
                break
            at += 1
        normals[n] = guess[at]
        at += 1
