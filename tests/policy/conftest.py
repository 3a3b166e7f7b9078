"""Random cells for the tests of what decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from policy.cell_state import COLUMNS, RBG_COLUMNS, CellState, make_cell_state

StateMaker = Callable[..., CellState]


def random_state(
    rng: np.random.Generator, *, ues: int | None = None, num_rbgs: int = 6, slots_per_dcm: int = 1, missing: float = 0.1
) -> CellState:
    """A cell with plausible columns; each column is missing with probability `missing`, each value with half of it."""
    count = int(rng.integers(0, 11)) if ues is None else ues
    columns = {
        "traffic_class_U": rng.integers(0, 3, count),
        "buffer_bits_U": rng.choice([0.0, 250.0, 1000.0, 2250.0, 9000.0], count),
        "inflight_bits_U": rng.choice([0.0, 0.0, 500.0, 2000.0], count),
        "cqi_U": rng.integers(0, 16, count),
        "preferred_rbg_U": rng.integers(0, num_rbgs, count),
        "head_delay_slots_U": rng.integers(0, 9, count),
        "served_bits_per_slot_U": rng.exponential(300.0, count),
        "prb_share_U": rng.random(count),
        "deadline_slots_U": rng.choice([6.0, 8.0, 20.0], count),
        "arrival_period_slots_U": rng.integers(10, 26, count),
        "arrival_phase_slots_U": rng.integers(0, 10, count),
        "packet_bits_U": np.full(count, 1000.0),
        "age_slots_U": rng.integers(2, 9, count),
        "buffer_bits_before_U": rng.choice([0.0, 250.0, 1000.0, 9000.0], count),
        "slots_since_served_U": rng.integers(1, 40, count),
        "ucm_U": rng.integers(0, 8, count),
        "cqi_mean_U": rng.uniform(0.0, 15.0, count),
        "long_served_bits_per_slot_U": rng.exponential(300.0, count),
        "last_cqi_UM": rng.integers(1, 16, (count, num_rbgs)),
        "last_cqi_age_slots_UM": rng.integers(1, 13, (count, num_rbgs)),
        "last_outcome_M": rng.integers(0, 6, num_rbgs),
    }
    assert set(columns) == {*COLUMNS, *RBG_COLUMNS}
    given = {}
    for name, column in columns.items():
        values = column.astype(float)
        if rng.random() < missing:
            continue
        values[rng.random(values.shape) < missing / 2] = np.nan
        given[name] = values
    ids = tuple(np.sort(rng.choice(10_000, count, replace=False)).tolist())
    return make_cell_state(
        "node/00f110000000001", num_rbgs=num_rbgs, slots_per_dcm=slots_per_dcm, slot=0, ue_ids=ids, **given
    )


@pytest.fixture
def make_random_state() -> StateMaker:
    return random_state
