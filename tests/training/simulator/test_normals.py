"""Fading is drawn by code of our own, and must be what numpy's generator draws: every world rests on it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.simulator.normals import FRESH, standard_normals

WORDS = st.integers(0, 2**64 - 1)


def by_numpy(key: NDArray[np.uint64], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(shape, dtype=np.float32)


def bits(normals: NDArray[np.float32]) -> NDArray[np.uint32]:
    return normals.view(np.uint32)


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS, st.integers(0, 3 * FRESH))
def test_they_are_numpys_to_the_last_bit_for_any_key_and_number(first: int, second: int, count: int) -> None:
    key = np.array([first, second], np.uint64)
    np.testing.assert_array_equal(bits(standard_normals(key, (count,))), bits(by_numpy(key, (count,))))


def test_so_are_the_rare_ones() -> None:
    """A million hold hundreds beyond the ziggurat's base, and ten thousand that were refused at first."""
    key, shape = np.array([7, 3], np.uint64), (1000, 500, 2)
    normals = standard_normals(key, shape)
    np.testing.assert_array_equal(bits(normals), bits(by_numpy(key, shape)))
    assert (abs(normals) > 3.66).sum() > 100
