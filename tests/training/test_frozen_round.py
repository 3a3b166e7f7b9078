"""What a round holds goes to bytes and comes back as it was, and a world that was put back goes on as if never left."""

from __future__ import annotations

import math
from enum import Enum, StrEnum
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from policy.allocation import Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import CellState
from policy.intent import Intent, Mode
from training.errors import TrainingError
from training.frozen_round import freeze, rng_state, set_rng_state, thaw
from training.simulator.cell import CellBatch, Snapshot
from training.simulator.lease import BatchSchedule, Control
from training.simulator.scenario import make_scenario


class Pair(NamedTuple):
    first: Any
    second: Any


class Colour(StrEnum):
    RED = "red"


DTYPES = [np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64]
held_arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=3))
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(Colour.RED)
keys = st.integers() | st.text(max_size=5)
values = st.recursive(
    scalars | held_arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
        | st.frozensets(st.integers(), max_size=3)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types all the way down; NaN is itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(values)
def test_any_value_comes_back_as_it_was(value: Any) -> None:
    assert same(thaw(freeze(value), (Pair, Colour)), value)


def test_the_real_ones_do_too() -> None:
    state = CellBatch(make_scenario("mix"), 1, 3, 5).observe()[0]
    intent = Intent(alpha=2.0, max_share_percent={3: 12.5}, mode=Mode.SHADOW)
    back = thaw(freeze((state, intent)), (CellState, Intent, Mode))
    assert back[1] == intent and back[1].mode is Mode.SHADOW
    assert all(same(getattr(back[0], name), getattr(state, name)) for name in CellState.__dataclass_fields__)


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}])
def test_what_is_no_plain_value_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, KeyError)):
        freeze([value])


def test_what_the_reader_does_not_name_is_not_made() -> None:
    class Other(Enum):
        X = 1

    with pytest.raises(TrainingError, match="another version's: KeyError\\('Other'\\)"):
        thaw(freeze(Pair(1, Other.X)), (Pair,))
    with pytest.raises(TrainingError, match="another version's"):
        thaw(b"cut", (Pair,))


def test_a_generator_goes_on_where_it_stood() -> None:
    one, other = np.random.default_rng(3), np.random.default_rng(4)
    one.random(7)
    one.integers(5, dtype=np.int32)  # half a word is left over
    set_rng_state(other, thaw(freeze(rng_state(one)), ()))
    assert [one.integers(5, dtype=np.int32), *one.random(5)] == [other.integers(5, dtype=np.int32), *other.random(5)]


@pytest.mark.parametrize("name", ["mix", "sporadic", "ric20", "full"])
def test_a_world_that_was_put_back_goes_on_as_if_it_had_never_been_left(name: str) -> None:
    scenario = make_scenario(name)
    going_on, again = CellBatch(scenario, 3, 4, 11), CellBatch(scenario, 3, 4, 11)
    for slots in (7, 50, 30):  # over the end of a chunk
        going_on.play(None, slots)
        going_on.observe()
    again.put_back(thaw(freeze(going_on.snapshot()), (Snapshot,)))
    for _ in range(4):
        seen = [world.observe() for world in (going_on, again)]
        for one, other in zip(*seen, strict=True):
            assert all(same(getattr(one, field), getattr(other, field)) for field in CellState.__dataclass_fields__)
        for world in (going_on, again):
            world.play(None, 40)
    assert all(map(same, going_on.state, again.state))
    assert repr(going_on.metrics()) == repr(again.metrics())
    again.begin_slot(None)
    with pytest.raises(RuntimeError, match="has begun"):
        again.snapshot()


def test_controls_that_were_put_back_govern_as_before() -> None:
    scenario = make_scenario("full")
    owner_M = np.arange(scenario.num_rbgs, dtype=np.int16) % 2
    decided = Allocation((3, 4), owner_M, LeftoverRule(3, 0.5), (PeriodicGrant(0, 1, 10, 4),))
    going_on, again = BatchSchedule(scenario, 2), BatchSchedule(scenario, 2)
    going_on.offer([decided, None], 0)
    again.put_back(thaw(freeze(going_on.keep()), (Control, Allocation, LeftoverRule, PeriodicGrant)))
    for slot in range(0, 10 * scenario.slots_per_dcm, scenario.slots_per_dcm):
        first, second = (schedule.governing(slot) for schedule in (going_on, again))
        assert [one is None for one in first] == [one is None for one in second]
        for one, other in zip(first, second, strict=True):
            if one is not None and other is not None:
                assert all(same(getattr(one, f), getattr(other, f)) for f in Allocation.__dataclass_fields__)
