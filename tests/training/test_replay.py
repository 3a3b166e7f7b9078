"""Replays meet the live period rule, and comparisons are paired."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from policy.allocation import IDLE, Allocation
from policy.cell_state import CellState
from policy.grammar import CONTENDERS
from policy.intent import Intent
from policy.leader import Decision
from policy.registry import LeaderError
from training.baselines.contention_tuning import tune_node_contenders
from training.replay import NODE_IDLE, NODE_SCHEDULER, compare, replay, replay_row
from training.simulator.cell import CellBatch
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import MIX, RIC20, SPORADIC


class Silence:
    """Lets nobody send, and remembers when it was asked."""

    name = "silence"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        self.asked.append(states[0].slot)
        return [Decision(Allocation(s.ue_ids, np.full(s.num_rbgs, IDLE, np.int16))) for s in states]


@pytest.mark.parametrize("pace", [1, 5, 20])
def test_a_decision_governs_its_own_period_or_the_next_one(pace: int) -> None:
    scenario, silence = MIX.with_(slots_per_dcm=pace), Silence()
    metrics = replay(scenario, silence, ues=4, cells=20, seed=1, periods=30)
    assert silence.asked == [pace * period for period in range(30)]
    alone = CellBatch(scenario, 20, 4, seed=1)
    # Beside the node the leader governs from slot 0; from afar the node schedules the first period for itself.
    alone.play(None, pace * scenario.control_lead_periods)
    served = [m.throughput_bits_per_slot * alone.slot if alone.slot else 0.0 for m in alone.metrics()]
    np.testing.assert_allclose([m.throughput_bits_per_slot * m.slots for m in metrics], served)


def test_a_replay_without_a_leader_is_the_nodes_own_scheduler() -> None:
    alone = CellBatch(RIC20, 3, 5, seed=2)
    alone.play(None, 200)
    np.testing.assert_equal(replay(RIC20, None, ues=5, cells=3, seed=2, periods=10), alone.metrics())


def test_rows_meet_the_same_worlds_and_differ_by_who_leads() -> None:
    names = (NODE_SCHEDULER, NODE_IDLE, "round_robin", "proportional_fair")
    rows = {name: replay_row(SPORADIC, name, ues=4, cells=30, seed=3, periods=100) for name in names}
    assert all(m.collision_fraction == 0 for m in rows[NODE_IDLE])
    against = {c.row: c for c in compare(rows, NODE_SCHEDULER, ["utility"])}
    assert against[NODE_IDLE].difference + against[NODE_IDLE].half_width < 0
    assert against["round_robin"].difference + against["round_robin"].half_width < 0
    assert sum(m.transmissions_outside_grant for row in rows.values() for m in row) == 0
    with pytest.raises(LeaderError, match="unknown leader 'nobody'"):
        replay_row(SPORADIC, "nobody", ues=4, cells=1, seed=3, periods=1)


def test_static_configuration_saves_deadlines_that_a_scheduler_on_old_reports_misses() -> None:
    rows = {
        name: replay_row(RIC20, name, ues=30, cells=10, seed=4, periods=50)
        for name in (NODE_SCHEDULER, "static_config")
    }
    late = {name: np.mean([m.drop_fraction_by_class for m in row], axis=0) for name, row in rows.items()}
    assert (late["static_config"][1:] < late[NODE_SCHEDULER][1:] - 0.1).all()
    assert compare(rows, NODE_SCHEDULER, ["utility"])[0].difference > 0


def row_of(values: Sequence[float]) -> list[CellMetrics]:
    nothing = CellMetrics(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, (), 0.0, 0.0, 0.0, 0, 1)
    return [nothing._replace(utility=value) for value in values]


def test_a_comparison_is_paired_by_cell() -> None:
    base = [1.0, 5.0, 9.0, math.nan]
    rows = {"base": row_of(base), "better": row_of([1.1, 5.2, 9.3, 7.0])}
    (result,) = compare(rows, "base", ["utility"])
    assert (result.row, result.metric, result.cells) == ("better", "utility", 3)
    assert result.difference == pytest.approx(0.2)
    assert result.half_width == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)
    assert result.baseline_mean == pytest.approx(5.0)
    with pytest.raises(ValueError, match="better has 2 cells, base has 4"):
        compare({"base": row_of(base), "better": row_of([1.0, 2.0])}, "base")
    (single,) = compare({"base": row_of([1.0]), "other": row_of([2.0])}, "base", ["utility"])
    assert single.difference == 1.0 and math.isnan(single.half_width)
    (none,) = compare({"base": row_of([math.nan]), "other": row_of([2.0])}, "base", ["utility"])
    assert none.cells == 0 and math.isnan(none.difference)


def test_the_nodes_c_is_near_the_best_of_the_candidates() -> None:
    for scenario in (SPORADIC, RIC20):
        tuned = tune_node_contenders(scenario, cells=40, slots=300)
        utility = {row.contenders: row.utility for row in tuned}
        assert set(utility) == set(CONTENDERS) and tuned[0].utility == max(utility.values())
        assert utility[scenario.node_contenders] > 0.98 * tuned[0].utility
