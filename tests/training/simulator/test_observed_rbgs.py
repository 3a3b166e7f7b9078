"""What a leader is told of single RBGs in single slots is what a base station measured there, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from policy.cell_state import COLUMNS, MAX_LAST_CQI_AGE, RBG_COLUMNS, WAS_OPEN
from policy.cqi import BUFFER_EDGES, BUFFER_MID_BITS, bits_per_rbg, snr_to_cqi
from training.simulator import core
from training.simulator.cell import CellBatch
from training.simulator.scenario import LAB_PAPER, MIX, RIC20
from training.simulator.state import SERVED

CHURN = LAB_PAPER.with_(present_slots=40.0, absent_slots=6.0)


def test_a_ue_is_heard_where_it_was_decoded_and_an_outcome_is_what_the_air_carried() -> None:
    """Kept by hand from what was sent, slot by slot, against what is observed; UEs come and go."""
    batch = CellBatch(CHURN, 3, 5, seed=2)
    heard: dict[tuple[int, int, int], tuple[int, int]] = {}
    served_in: dict[tuple[int, int], int] = {}
    last_BM = np.full((3, CHURN.num_rbgs), np.nan)
    known, outcomes = 0, set()
    for slot in range(100):
        for b, state in enumerate(batch.observe()):
            expected_UM2 = np.full((state.num_ues, state.num_rbgs, 2), np.nan)
            for row, ue in enumerate(state.ue_ids):
                since = state.slots_since_served_U[row]
                assert since == slot - served_in[b, ue] if (b, ue) in served_in else np.isnan(since)
                for m in range(state.num_rbgs):
                    cqi, at = heard.get((b, ue, m), (0, -MAX_LAST_CQI_AGE))
                    if cqi and slot - at <= MAX_LAST_CQI_AGE:
                        expected_UM2[row, m] = cqi, slot - at
            np.testing.assert_array_equal(state.last_cqi_UM, expected_UM2[:, :, 0])
            np.testing.assert_array_equal(state.last_cqi_age_slots_UM, expected_UM2[:, :, 1])
            known += int(np.isfinite(expected_UM2[:, :, 0]).sum())
            np.testing.assert_array_equal(state.last_outcome_M, last_BM[b])
            outcomes |= set(last_BM[b].tolist())
        view = batch.begin_slot(None)
        sends_BUM = (view.entitlement_BUM == core.OWN) | (
            (view.entitlement_BUM == core.CONTEND) & (view.coin_BUM < 0.5) & (view.queue_bits_BU > 0)[:, :, None]
        )
        ids_BU, gain_BUM = batch.state.ue_id_BU.copy(), batch.state.gain_BUM.copy()
        before_BU = batch.state.counters_BUC[:, :, SERVED].copy()
        held_BM = (view.entitlement_BUM == core.OWN).any(axis=1)
        batch.finish_slot(sends_BUM)
        share_BUM = gain_BUM / np.maximum(sends_BUM.sum(axis=2), 1)[:, :, None]
        alone_BM = sends_BUM.sum(axis=1) == 1
        decoded_BUM = sends_BUM & alone_BM[:, None] & (bits_per_rbg(share_BUM) > 0)
        last_BM = np.where(sends_BUM.any(axis=1), np.where(decoded_BUM.any(axis=1), 1.0, 2.0), 0.0)
        last_BM = last_BM + WAS_OPEN * ~held_BM
        for b, u, m in np.argwhere(decoded_BUM):
            heard[b, int(ids_BU[b, u]), m] = (int(snr_to_cqi(gain_BUM[b, u, m])), slot)
        for b, u in np.argwhere(batch.state.counters_BUC[:, :, SERVED] > before_BU):
            served_in[b, int(ids_BU[b, u])] = slot
    assert known > 1000
    assert outcomes >= {1.0, 3.0, 4.0, 5.0}


def test_the_report_before_is_one_slot_older_than_the_report() -> None:
    batch = CellBatch(MIX, 2, 4, seed=4)
    levels = []
    for slot in range(30):
        levels.append(BUFFER_MID_BITS[np.searchsorted(BUFFER_EDGES, batch.state.queue_BU, side="right")])
        for b, state in enumerate(batch.observe()):
            np.testing.assert_array_equal(
                state.buffer_bits_before_U, levels[max(0, slot - MIX.report_delay_slots - 1)][b]
            )
        batch.play(None, 1)


def test_a_branch_observes_what_its_cell_would_have() -> None:
    batch = CellBatch(CHURN, 3, 5, seed=6)
    batch.observe()
    batch.play(None, 37)
    batch.observe()
    branch = batch.select([2, 0, 2])
    for world in (batch, branch):
        world.play(None, 3)
    states = batch.observe()
    for of_branch, of_cell in zip(branch.observe(), [states[2], states[0], states[2]]):
        for column in (*COLUMNS, *RBG_COLUMNS):
            np.testing.assert_array_equal(getattr(of_branch, column), getattr(of_cell, column), err_msg=column)


@pytest.mark.parametrize(("scenario", "fast"), [(MIX, True), (RIC20, False)])
def test_single_slots_are_for_leaders_that_are_asked_every_few_slots(scenario, fast: bool) -> None:
    batch = CellBatch(scenario, 2, 6, seed=1)
    batch.play(None, 40)
    for state in batch.observe():
        assert np.isfinite(state.last_outcome_M).all() == np.isfinite(state.last_cqi_UM).any() == fast
        assert np.isfinite(state.long_served_bits_per_slot_U).all()
        assert np.isfinite(state.cqi_mean_U).all()
