"""What scenarios may ask for besides the reference game: regimes, interference, jitter, full buffers, few residents."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test

from policy.allocation import IDLE, Allocation
from policy.cell_state import TrafficClass
from policy.schedulers.schedulers import SCHEDULERS
from training.baselines.contention_tuning import (
    TABLE,
    TUNED_PLAYERS,
    tune_open_contenders,
    tuned_contenders,
)
from training.baselines.rules import FixedContenders
from training.environments.parallel_env import UplinkParallelEnv
from training.replay import replay
from training.simulator.cell import CellBatch
from training.simulator.plan import owner_plan
from training.simulator.scenario import (
    COUPLED,
    LAB_PAPER,
    MIX,
    MMTC,
    PAPER_DYNAMIC,
    RIC20,
    SCENARIOS,
    SPORADIC,
    Scenario,
)
from training.simulator.slot_step import poisson
from training.simulator.state import ABANDONED, ARRIVED, DROPPED, SERVED
from training.simulator.traffic import TrafficProfile
from xapp.cli import main

RESTLESS = RIC20.with_(name="restless", slots_per_dcm=1, regime_slots=30.0)


def one_class(**fields: Any) -> Scenario:
    return MIX.with_(traffic=(TrafficProfile(TrafficClass.PERIODIC, 1.0, 6, **fields),))


def test_a_branch_of_a_shifting_cell_meets_the_same_future() -> None:
    scenario = RESTLESS.with_(coupling=0.05, present_slots=50.0, absent_slots=20.0)
    batch = CellBatch(scenario, 3, 6, seed=1)
    batch.play(None, 70)
    before = batch.select(range(3)).state
    branches = batch.select([2, 0, 2])
    branches.play([None, None, None], 90)
    for name, left, right in zip(before._fields, before, batch.state):
        np.testing.assert_array_equal(left, right, err_msg=name)
    batch.play(None, 90)
    for name, left, right in zip(before._fields, branches.state, batch.state):
        np.testing.assert_array_equal(left, right[[2, 0, 2]], err_msg=name)
    with pytest.raises(ValueError, match="1 allocations for 3 cells"):
        branches.play([None], 1)


def test_the_leader_learns_of_a_shift_d_slots_later() -> None:
    batch = CellBatch(RESTLESS, 4, 6, seed=2)
    truth: list[np.ndarray] = []
    delay, news = RESTLESS.report_delay_slots, 0
    for slot in range(200):
        state = batch.state
        truth.append(np.stack([batch.rules.profiles.traffic_class[state.profile_BU], state.period_BU]))
        classes, periods = truth[max(0, slot - delay)]
        news += int((truth[-1][0] != classes).sum())
        for b, seen in enumerate(batch.observe()):
            np.testing.assert_array_equal(seen.traffic_class_U, classes[b])
            np.testing.assert_array_equal(np.nan_to_num(seen.arrival_period_slots_U), periods[b])
        batch.play(None, 1)
    assert news > 0


def test_regimes_are_the_worlds_and_every_bit_is_accounted_for() -> None:
    node, idle = (CellBatch(RESTLESS, 6, 6, seed=3) for _ in range(2))
    node.play(None, 300)
    idle.play([Allocation(tuple(range(1, 7)), np.full(17, IDLE, np.int16))] * 6, 300)
    for field in ("profile_BU", "load_BU", "period_BU", "gain_BUM"):
        np.testing.assert_array_equal(getattr(node.state, field), getattr(idle.state, field))
    totals = node.state.counters_BUC
    assert set(node.state.profile_BU.ravel()) == {0, 1, 2} and totals[:, :, ABANDONED].sum() > 0
    accounted = totals[:, :, [SERVED, DROPPED, ABANDONED]].sum(axis=-1) + node.state.queue_BU
    np.testing.assert_allclose(totals[:, :, ARRIVED], accounted, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(node.state.waiting_BUA.sum(axis=-1), node.state.queue_BU, atol=1e-6)
    by_class = node.state.class_bits_BC2.sum(axis=1)
    np.testing.assert_allclose(by_class[:, 0], totals[:, :, ARRIVED].sum(axis=1))
    np.testing.assert_allclose(by_class[:, 1], totals[:, :, DROPPED].sum(axis=1))


@pytest.mark.parametrize("mean", [0.3, 4.0, 60.0])
def test_packets_by_inversion_are_poisson(mean: float) -> None:
    counts = np.array([poisson.py_func(u, mean) for u in (np.arange(2000) + 0.5) / 2000])  # type: ignore[attr-defined]
    assert counts.mean() == pytest.approx(mean, rel=0.02) and counts.var() == pytest.approx(mean, rel=0.05)


def test_what_a_neighbour_sends_is_noise_and_without_coupling_it_is_not() -> None:
    def served(coupling: float, owners: list[int]) -> np.ndarray:
        batch = CellBatch(MIX.with_(coupling=coupling, load=5.0), 50, 2, seed=4)
        batch.play(owner_plan(np.tile(np.array(owners, np.int16), (50, 1)), 2, 0.0), 50, "obey")
        return np.asarray(batch.state.counters_BUC[:, :, SERVED].sum(axis=0))

    beside, apart = [0, 1, 0, 1, 0, 1], [0, IDLE, IDLE, 1, IDLE, IDLE]
    assert (served(0.2, beside) < served(0.0, beside)).all()
    np.testing.assert_array_equal(served(0.2, apart), served(0.0, apart))
    alone = [0, 0, 0, IDLE, IDLE, IDLE]
    np.testing.assert_array_equal(served(0.2, alone), served(0.0, alone))  # its own power is no noise to a UE


def test_a_jittered_packet_comes_near_its_time_and_every_period_once() -> None:
    batch = CellBatch(one_class(period_slots=(10, 10), jitter_slots=3), 20, 3, seed=5)
    phase, arrived = batch.state.phase_BU.copy(), batch.state.counters_BUC[:, :, ARRIVED].copy()
    offsets = set()
    for slot in range(1, 201):
        batch.play(None, 1)
        came = batch.state.counters_BUC[:, :, ARRIVED] > arrived
        arrived = batch.state.counters_BUC[:, :, ARRIVED].copy()
        offset = (slot - phase + 5) % 10 - 5
        assert (np.abs(offset[came]) <= 3).all()
        offsets |= set(offset[came].tolist())
    assert offsets == set(range(-3, 4))
    assert (np.abs(arrived / 1000 - 20) <= 1).all()


def test_a_full_buffer_is_always_full_and_nothing_of_it_is_dropped() -> None:
    batch = CellBatch(one_class(full_buffer=True), 5, 3, seed=6)
    batch.play(None, 60)
    assert (batch.state.queue_BU == MIX.buffer_limit_bits).all()
    assert [m.drop_fraction for m in batch.metrics()] == [0.0] * 5
    assert batch.metrics()[0].throughput_bits_per_slot > 2000


def test_in_the_dynamic_game_there_are_three_to_five_ues() -> None:
    batch = CellBatch(PAPER_DYNAMIC, 30, 5, seed=7)
    counts = set()
    for _ in range(100):
        batch.play(None, 5)
        counts |= set(batch.state.present_BU.sum(axis=1).tolist())
        assert batch.state.present_BU[:, :3].all()
    assert counts == {3, 4, 5}


@pytest.mark.parametrize("scenario", [PAPER_DYNAMIC, COUPLED, MMTC, RESTLESS], ids=lambda s: s.name)
def test_pettingzoos_test_passes_in_the_new_worlds(scenario: Scenario) -> None:
    parallel_api_test(UplinkParallelEnv(scenario, 5, 40), num_cycles=150)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"period_slots": (10, 20), "jitter_slots": 5}, "jitter_slots is 5, expected 0 to 4"),
        ({"full_buffer": True, "load_share": 1.0}, "expected one of"),
    ],
)
def test_traffic_out_of_range_is_named(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        one_class(**fields)


def test_a_greedy_leader_at_k_1_is_the_nodes_scheduler_and_tuned_as_such() -> None:
    for rule, node in (("max_weight", {"node_rule": "max_weight"}), ("proportional_fair", {})):
        kwargs: dict[str, Any] = {"ues": 5, "cells": 3, "seed": 8, "periods": 60}
        led = replay(LAB_PAPER, FixedContenders(SCHEDULERS[rule], 2.0), **kwargs)
        assert led == replay(LAB_PAPER.with_(node_contenders=2.0, **node), None, **kwargs)


def test_tuning_finds_the_better_c_and_the_shipped_table_has_it() -> None:
    eager, *_, worst = tune_open_contenders(SPORADIC, "inflight_pf_smart", 3, cells=30)
    assert eager.contenders > 1.2 and eager.utility > worst.utility
    with pytest.raises(ValueError, match="no c to tune for 'mappo'"):
        tune_open_contenders(SPORADIC, "mappo", 3)
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    assert set(table) <= set(SCENARIOS) and all(set(rows) <= set(TUNED_PLAYERS) for rows in table.values())
    made = {"mix": {"oracle": {"4": 1.0, "30": 8.0}}}
    assert [tuned_contenders("mix", "oracle", ues, made) for ues in (3, 10, 12, 200)] == [1.0, 1.0, 8.0, 8.0]
    assert tuned_contenders("mix", "mappo", 4, made) is None


def test_commands_print_scenarios_and_tune(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios"]) == 0 and MIX.hash in capsys.readouterr().out
    assert main(["scenarios", "ric20"]) == 0 and "regime_slots: 400" in capsys.readouterr().out
    assert main(["scenarios", "--json", "mix"]) == 0
    assert json.loads(capsys.readouterr().out)["mix"]["hash"] == MIX.hash
    assert main(["scenarios", "mx"]) == 2 and "unknown scenario 'mx'" in capsys.readouterr().err
    options = ["--players", "inflight_pf_smart", "--ues", "3", "--cells", "8"]
    assert main(["tune", "--scenarios", "mix", *options]) == 0
    assert "3" in json.loads(capsys.readouterr().out)["mix"]["inflight_pf_smart"]
    assert main(["tune", "--ues", "0"]) == 2 and "expected counts from 1 to 200" in capsys.readouterr().err
