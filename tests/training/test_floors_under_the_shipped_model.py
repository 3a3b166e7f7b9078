"""A floor of a slice is worth having: the shipped model serves the slice better with it, and no cell worse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policy.cell_state import CellState
from policy.intent import Intent, SliceLimit
from policy.leader import Decision, Leader
from policy.registry import make_leader
from training.replay import replay_batch
from training.simulator.scenario import make_scenario
from training.simulator.state import SERVED


class Promised:
    """A leader under a promise of 60 % of the cell to every other UE."""

    def __init__(self, leader: Leader) -> None:
        self.name, self._leader = "promised", leader

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        promised = [
            Intent(slice_limits=(SliceLimit("gold", frozenset(s.ue_ids[::2]), min_share_percent=60.0),)) for s in states
        ]
        return self._leader.decide(states, promised, expired)


def test_a_floor_serves_its_slice_and_wastes_nothing() -> None:
    leader = make_leader("bundled")
    scenario = make_scenario("full")
    free, promised = (
        replay_batch(scenario, who, ues=30, cells=4, seed=3, periods=12).state.counters_BUC[:, :, SERVED]
        for who in (leader, Promised(leader))
    )
    assert (promised[:, ::2].sum(axis=1) > 1.1 * free[:, ::2].sum(axis=1)).all()
    assert (promised.sum(axis=1) > 0.9 * free.sum(axis=1)).all()
