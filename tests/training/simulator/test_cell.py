"""CellBatch: deterministic, endless, honest about what was seen when, and nothing gets lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.allocation import IDLE, NO_CAP, OPEN, Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import COLUMNS, CellState, update_served_average
from policy.cqi import BUFFER_EDGES, BUFFER_MID_BITS, snr_to_cqi
from training.simulator import core
from training.simulator.cell import CellBatch, Followers, SlotView
from training.simulator.scenario import LAB, LAB_PAPER, MIX, SCENARIOS, SPORADIC, Scenario
from training.simulator.state import ABANDONED, ARRIVED, DELAY, DROPPED, SERVED, USED
from training.simulator.world import CHUNK_SLOTS, draw_chunk, draw_start, make_seats

BUSY_PRESENCE = LAB_PAPER.with_(present_slots=60.0, absent_slots=10.0)


def assert_equal(one: CellBatch, other: CellBatch) -> None:
    for name, left, right in zip(one.state._fields, one.state, other.state):
        np.testing.assert_array_equal(left, right, err_msg=name)
    np.testing.assert_equal(one.metrics(), other.metrics())


def state_columns(state: CellState) -> np.ndarray:
    return np.array([getattr(state, column) for column in COLUMNS])


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_the_same_seed_and_actions_give_the_same_run(scenario: Scenario) -> None:
    runs = [CellBatch(scenario, 3, 5, seed=11) for _ in range(2)]
    for run in runs:
        run.play(None, 150)
    assert_equal(*runs)
    other = CellBatch(scenario, 3, 5, seed=12)
    other.play(None, 150)
    assert not np.array_equal(other.state.gain_BUM, runs[0].state.gain_BUM)


def obey(view: SlotView) -> np.ndarray:
    return np.asarray(view.entitlement_BUM == core.OWN)


@pytest.mark.parametrize("followers", ["best_response", obey], ids=["rule", "function"])
@settings(max_examples=10)
@given(pieces=st.lists(st.integers(1, 100), min_size=1, max_size=6))
def test_how_a_run_is_cut_into_calls_does_not_matter(followers: Followers, pieces: list[int]) -> None:
    """Also under a control, and while the UEs that it speaks of leave: what they had is the node scheduler's then."""
    whole, cut = (CellBatch(BUSY_PRESENCE, 2, 4, seed=3) for _ in range(2))
    grant = PeriodicGrant(2, 5, 3, 1)
    caps = np.array([NO_CAP, 2, NO_CAP, NO_CAP], np.uint8)
    control = Allocation((1, 2, 3, 4), np.array([1, 1, 2, 3, OPEN, IDLE], np.int16), LeftoverRule(7, 1.2), (grant,))
    controls = [control, replace(control, max_rbgs_U=caps)]
    whole.play(controls, sum(pieces), followers)
    for piece in pieces:
        cut.play(controls, piece, followers)
    assert_equal(whole, cut)


def test_a_chunk_of_the_world_depends_on_its_number_alone() -> None:
    one, again = (draw_chunk(LAB, 5, 2, 4, 7) for _ in range(2))
    for name, left, right in zip(one._fields[:-2], one[:-2], again[:-2]):
        np.testing.assert_array_equal(left, right, err_msg=name)
    assert not np.array_equal(one.fading_BTUM2, draw_chunk(LAB, 5, 2, 4, 8).fading_BTUM2)
    busier = draw_chunk(LAB.with_(load=3.0, present_slots=0.0), 5, 2, 4, 7)
    assert busier.packets_BTU.sum() > one.packets_BTU.sum()
    np.testing.assert_array_equal(one.fading_BTUM2, busier.fading_BTUM2)
    np.testing.assert_array_equal(one.coin_BTUM, busier.coin_BTUM)


def test_whatever_is_played_the_world_is_the_same() -> None:
    busy, idle = (CellBatch(BUSY_PRESENCE, 4, 5, seed=2) for _ in range(2))
    busy.play(None, 200)
    for _ in range(200):
        ue_ids = idle.observe()
        idle.play([Allocation(s.ue_ids, np.full(6, IDLE, np.int16)) for s in ue_ids], 1)
    assert busy.state.counters_BUC[:, :, SERVED].sum() > 0 == idle.state.counters_BUC[:, :, SERVED].sum()
    for field in ("gain_BUM", "present_BU", "ue_id_BU", "on_BU", "mean_snr_BU"):
        np.testing.assert_array_equal(getattr(busy.state, field), getattr(idle.state, field))
    np.testing.assert_array_equal(busy.state.counters_BUC[:, :, ARRIVED], idle.state.counters_BUC[:, :, ARRIVED])


@settings(max_examples=20)
@given(st.sampled_from([*SCENARIOS.values(), BUSY_PRESENCE]), st.integers(0, 2**40), st.integers(1, 200))
def test_every_bit_that_arrived_is_served_dropped_gone_or_waiting(scenario: Scenario, seed: int, slots: int) -> None:
    batch = CellBatch(scenario, 3, 5, seed)
    batch.play(None, slots)
    totals = batch.state.counters_BUC
    accounted = totals[:, :, [SERVED, DROPPED, ABANDONED]].sum(axis=-1) + batch.state.queue_BU
    np.testing.assert_allclose(totals[:, :, ARRIVED], accounted, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(batch.state.waiting_BUA.sum(axis=-1), batch.state.queue_BU, atol=1e-6)
    ages = np.arange(1, batch.state.delays_BUA.shape[2] + 1)
    np.testing.assert_allclose((batch.state.delays_BUA * ages).sum(axis=-1), totals[:, :, DELAY], atol=1e-6)


def test_the_load_that_arrives_is_the_load_that_is_stated() -> None:
    for scenario, total in ((MIX, 0.6 * 6000), (SPORADIC, 0.4 * 6000), (LAB.with_(present_slots=0.0), None)):
        batch = CellBatch(scenario, 150, 6, seed=1)
        batch.play(None, 1000)
        arrived_U = batch.state.counters_BUC[:, :, ARRIVED].mean(axis=0) / 1000
        if total is not None:
            assert arrived_U.sum() == pytest.approx(total, rel=0.05)
            continue
        # Two UEs of each class: sessions share the load, sensors send 1000 bits every 10-25 slots, alarms 60 bits a
        # slot in the half of the time in which they are awake.
        class_U = make_seats(scenario, 6).traffic_class
        by_class = [arrived_U[class_U == c].mean() for c in range(3)]
        expected = [1.3 * 17_000 / 2, 1000 * np.mean([1 / p for p in range(10, 26)]), 30.0]
        np.testing.assert_allclose(by_class, expected, rtol=0.1)


def test_a_state_shows_reports_that_are_d_slots_old() -> None:
    delay = MIX.report_delay_slots
    batch = CellBatch(MIX, 2, 4, seed=4)
    true_levels, true_cqis, served = [], [], [batch.state.counters_BUC[:, :, SERVED].copy()]
    for slot in range(40):
        true_levels.append(BUFFER_MID_BITS[np.searchsorted(BUFFER_EDGES, batch.state.queue_BU, side="right")])
        true_cqis.append(snr_to_cqi(batch.state.gain_BUM.mean(axis=-1)))
        at = max(0, slot - delay)
        for b, state in enumerate(batch.observe()):
            assert state.slot == slot and state.ue_ids == (1, 2, 3, 4)
            np.testing.assert_array_equal(state.buffer_bits_U, true_levels[at][b])
            np.testing.assert_array_equal(state.cqi_U, true_cqis[at][b])
            np.testing.assert_array_equal(state.age_slots_U, min(slot, delay))
            np.testing.assert_allclose(
                state.inflight_bits_U, served[-1][b] - served[max(0, len(served) - 1 - delay)][b]
            )
            np.testing.assert_allclose(state.served_bits_per_slot_U, batch.state.average_BU[b])
        batch.play(None, 1)
        served.append(batch.state.counters_BUC[:, :, SERVED].copy())


def test_observing_changes_nothing_and_shares_are_of_the_last_period() -> None:
    batch = CellBatch(LAB, 2, 6, seed=8)
    batch.observe()
    batch.play(None, 100)
    before = batch.state.counters_BUC[:, :, USED].copy()
    batch.play(None, 0)
    one, again = batch.observe(), batch.observe()
    for left, right in zip(one, again):
        np.testing.assert_array_equal(state_columns(left), state_columns(right))
    for b, state in enumerate(one):
        np.testing.assert_array_equal(state.prb_share_U, np.rint(100 * (before[b] / (100 * 17))) / 100)
        periodic = state.traffic_class_U == 1
        assert np.isfinite(state.arrival_period_slots_U[periodic]).all()
        assert np.isnan(state.arrival_phase_slots_U[~periodic]).all()


def test_ues_come_and_go_under_ever_new_ids() -> None:
    batch = CellBatch(BUSY_PRESENCE, 4, 5, seed=6)
    seen: list[set[int]] = [set() for _ in range(4)]
    gone: list[set[int]] = [set() for _ in range(4)]
    counts = set()
    for _ in range(400):
        for b, state in enumerate(batch.observe()):
            now = set(state.ue_ids)
            assert not now & gone[b], "an id came back"
            assert 1 in now, "the first UE stays"
            gone[b] |= seen[b] - now
            seen[b] |= now
            counts.add(len(now))
            assert batch.ue_table(b).ue_ids == state.ue_ids
        batch.play(None, 1)
    assert all(len(ids) > 10 for ids in seen) and min(counts) < 5 == max(counts)


def test_a_new_ue_has_no_past_of_its_predecessor() -> None:
    batch = CellBatch(BUSY_PRESENCE, 4, 5, seed=6)
    known = [set(state.ue_ids) for state in batch.observe()]
    newcomers = 0
    for _ in range(300):
        batch.play(None, 1)
        for b, state in enumerate(batch.observe()):
            table = batch.ue_table(b)
            for row, ue in enumerate(state.ue_ids):
                if ue in known[b]:
                    continue
                newcomers += 1
                assert state.age_slots_U[row] == state.inflight_bits_U[row] == table.served_bits_U[row] == 0
                assert state.cqi_U[row] == table.cqi_U[row]
                # Nobody tells the base station's side when in the period it came: it was served nothing for all of it.
                assert state.served_bits_per_slot_U[row] == update_served_average(np.array([np.nan]), np.zeros(1), 1)
                assert state.prb_share_U[row] == 0
            known[b] |= set(state.ue_ids)
    assert newcomers > 20


def test_branches_of_a_cell_share_its_future_and_nothing_else() -> None:
    batch = CellBatch(MIX.with_(load=2.0), 3, 4, seed=9)
    batch.play(None, CHUNK_SLOTS - 3)
    branches = batch.select([2, 2, 0])
    idle = Allocation((1, 2, 3, 4), np.full(6, IDLE, np.int16))
    branches.play([None, idle, None], 10)
    untouched = batch.metrics()
    batch.play(None, 10)
    assert untouched != batch.metrics()
    np.testing.assert_array_equal(branches.state.gain_BUM, batch.state.gain_BUM[[2, 2, 0]])
    np.testing.assert_array_equal(branches.state.counters_BUC[[0, 2]], batch.state.counters_BUC[[2, 0]])
    assert branches.state.counters_BUC[1, :, SERVED].sum() < branches.state.counters_BUC[0, :, SERVED].sum()


def test_followers_that_answer_for_themselves_play_the_same_game() -> None:
    by_rule, by_hand = (CellBatch(BUSY_PRESENCE, 3, 5, seed=10) for _ in range(2))
    by_rule.play(None, 100, "obey")
    by_hand.play(None, 100, obey)
    assert_equal(by_rule, by_hand)


def test_metrics_are_of_all_slots_played() -> None:
    batch = CellBatch(MIX, 2, 3, seed=1)
    batch.play(None, 80)
    for metrics, served in zip(batch.metrics(), batch.state.counters_BUC[:, :, SERVED].sum(axis=1)):
        assert metrics.slots == 80
        assert metrics.throughput_bits_per_slot == pytest.approx(served / 80)
        assert metrics.p50_delay_slots <= metrics.p95_delay_slots <= 6


def test_misuse_is_named() -> None:
    batch = CellBatch(MIX, 1, 2, seed=0)
    with pytest.raises(ValueError, match="followers are 'rogue'"):
        batch.play(None, 1, "rogue")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="begin_slot is due"):
        batch.finish_slot(np.zeros((1, 2, 6), bool))
    with pytest.raises(ValueError, match="2 allocations for 1 cells"):
        batch.play([None, None], 1)
    with pytest.raises(ValueError, match="allocation of 5 RBGs for a cell of 6"):
        batch.play([Allocation((1, 2), np.zeros(5, np.int16))], 1)
    with pytest.raises(ValueError, match="belongs to row 2"):
        batch.play([Allocation((1, 2), np.full(6, 2, np.int16))], 1)
    batch.begin_slot(None)
    with pytest.raises(ValueError, match="sends_BUM has shape"):
        batch.finish_slot(np.zeros((1, 2, 5), bool))
    with pytest.raises(RuntimeError, match="finish_slot is due"):
        batch.begin_slot(None)
    with pytest.raises(ValueError, match="at least one of each"):
        CellBatch(MIX, 0, 2, seed=0)
    with pytest.raises(ValueError, match="seed -1"):
        draw_start(MIX, -1, 1, 1)
