"""How eagerly UEs should contend for what a leader leaves over: c of the leftover rule, per rule and number of UEs.

That one number matters more than most schedulers, so every row of a comparison deserves a good one. Tuned on worlds
of their own (`stackmac tune`); the result stands in training/baselines/open_access.json.
Suffixes: B cells, C candidates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.grammar import CONTENDERS
from policy.intent import Intent
from policy.leader import never_expires
from policy.plug_ins.loading import is_plug_in
from policy.registry import make_leader
from policy.schedulers.schedulers import SCHEDULERS
from training.baselines.reference import all_open_plan, oracle_plan
from training.baselines.rules import RULES
from training.replay import NODE_SCHEDULER, replay
from training.run_length import FAST_GAME_SLOTS, SLOW_GAME_PERIODS
from training.simulator.cell import CellBatch
from training.simulator.lease import BatchSchedule
from training.simulator.plan import node_plan
from training.simulator.scenario import SLOW_LEADER_SLOTS, Scenario, make_scenario
from training.world_seeds import TUNING_SEED

TABLE = Path(__file__).with_name("open_access.json")
"""scenario -> player -> UEs -> c."""

# At K = 1 a greedy rule is the node's own scheduler on all RBGs, and as fast.
_AS_NODE: dict[str, dict[str, Any]] = {
    NODE_SCHEDULER: {},
    "inflight_pf_smart": {},
    "proportional_fair_smart": {"node_subtracts_inflight": False},
    "max_weight_smart": {"node_rule": "max_weight"},
    "max_rate_smart": {"node_rule": "max_rate"},
}
_LEADERS = {f"{name}_smart": leader for name, leader in RULES.items()} | {"static_config": SCHEDULERS["static_config"]}
TUNED_PLAYERS = (*_AS_NODE, "round_robin_smart", "static_config", "contention", "oracle")
"""Players with a c to tune, by the names of their rows. Round robin leaves nothing over: its c is 0."""

_FEW_ROWS = 8
"""Leaders in Python are slow: they get one cell where the others get so many."""
_CELLS_ARE_LARGE = 5
"""UEs from which on fewer cells do: what is averaged is UEs."""

Table = Mapping[str, Mapping[str, Mapping[str, float]]]


class Tuned(NamedTuple):
    """One candidate and what it brought, mean over cells."""

    contenders: float
    utility: float
    throughput_bits_per_slot: float


def tune_node_contenders(scenario: Scenario, *, ues: int = 8, cells: int = 200, slots: int = 1000) -> list[Tuned]:
    """Every c that a DCM can hold, under the node's own scheduler, the best utility first."""
    rows = []
    for contenders in CONTENDERS:
        tried = scenario.with_(node_contenders=contenders)
        periods = max(1, slots // scenario.slots_per_dcm)
        metrics = replay(tried, None, ues=ues, cells=cells, seed=TUNING_SEED, periods=periods)
        utility = np.nanmean([m.utility for m in metrics])
        throughput = np.mean([m.throughput_bits_per_slot for m in metrics])
        rows.append(Tuned(contenders, float(utility), float(throughput)))
    return sorted(rows, key=lambda row: -row.utility)


def tune_open_contenders(scenario: Scenario, player: str, ues: int, *, cells: int = 400) -> list[Tuned]:
    """Many c for one of TUNED_PLAYERS or a leader module:Class, the best utility first: powers of two up to c = ues
    (p = 1), then finer steps around the best. All in the same worlds. Raises ValueError for an unknown player."""
    if player not in TUNED_PLAYERS and not is_plug_in(player):
        raise ValueError(f"no c to tune for {player!r}; known: {', '.join(TUNED_PLAYERS)}")
    if player == "round_robin_smart":
        return [Tuned(0.0, math.nan, math.nan)]
    slots = max(FAST_GAME_SLOTS, SLOW_GAME_PERIODS * scenario.slots_per_dcm)
    cells = max(_FEW_ROWS, cells * _CELLS_ARE_LARGE // max(ues, _CELLS_ARE_LARGE))
    coarse = [0.0, *(0.3 * 2.0**k for k in range(32) if 0.3 * 2.0**k < ues), float(ues)]
    rows = _try_all(scenario, player, ues, coarse, cells, slots)
    best = max(rows, key=lambda row: row.utility).contenders
    finer = sorted({min(float(ues), best * 2.0**step) for step in (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75)} - {best})
    if best > 0:
        rows += _try_all(scenario, player, ues, finer, cells, slots)
    return sorted(rows, key=lambda row: (-row.utility, row.contenders))


def _try_all(
    scenario: Scenario, player: str, ues: int, candidates: Sequence[float], cells: int, slots: int
) -> list[Tuned]:
    """All candidates at once, as branches of the same cells from slot 0 on."""
    slow = scenario.slots_per_dcm > 1
    as_node = _AS_NODE.get(player) if not slow or player == NODE_SCHEDULER else None
    if as_node is None and player not in ("contention", "oracle"):
        cells = max(1, cells // _FEW_ROWS)
    start = CellBatch(scenario.with_(**as_node) if as_node else scenario, cells, ues, TUNING_SEED)
    batch = start.select(np.tile(np.arange(cells), len(candidates)))
    contenders_B = np.repeat(np.array(candidates, np.float64), cells)
    if as_node is not None:
        plan = node_plan(batch.cells, ues, scenario.num_rbgs, 0.0)._replace(contenders_B=contenders_B)
        batch.play(plan, slots)
    elif player == "contention":
        batch.play(all_open_plan(batch)._replace(contenders_B=contenders_B), slots)
    elif player == "oracle":
        for _ in range(slots):
            batch.play(oracle_plan(batch, 0.0)._replace(contenders_B=contenders_B), 1)
    else:
        _play_leader(batch, player, contenders_B, slots)
    utility_B = np.array([m.utility for m in batch.metrics()])
    throughput_B = np.array([m.throughput_bits_per_slot for m in batch.metrics()])
    by_candidate = zip(candidates, utility_B.reshape(-1, cells), throughput_B.reshape(-1, cells))
    return [Tuned(float(c), float(np.nanmean(u)), float(t.mean())) for c, u, t in by_candidate]


def _play_leader(batch: CellBatch, player: str, contenders_B: NDArray[np.float64], slots: int) -> None:
    """The leader of a row, period by period; until its first decision governs, the node schedules by itself."""
    slots_per_dcm = batch.scenario.slots_per_dcm
    schedule = BatchSchedule(batch.scenario, batch.cells)
    leader = _LEADERS[player] if player in _LEADERS else make_leader(player)
    for _ in range(slots // slots_per_dcm):
        decisions = leader.decide(batch.observe(), [Intent()] * batch.cells, never_expires)
        schedule.offer([decision.allocation for decision in decisions], batch.slot)
        plan = batch.plan(schedule.governing(batch.slot))
        batch.play(plan._replace(contenders_B=contenders_B), slots_per_dcm)


def should_be_tuned(scenario: Scenario, player: str) -> bool:
    """At a RIC's period a grant per RBG is a lock over the whole period: no c makes up for that."""
    return (
        scenario.slots_per_dcm < SLOW_LEADER_SLOTS
        or player in (NODE_SCHEDULER, "static_config")
        or player not in TUNED_PLAYERS
    )


def _played_as(scenario: Scenario, player: str) -> str:
    """The row that a row is the same as, without having to be tuned once more."""
    of_one_class = player == "static_config" and len(scenario.traffic) == 1
    if scenario.slots_per_dcm == 1 and (player == NODE_SCHEDULER or of_one_class):
        return "inflight_pf_smart"
    return player


@cache
def _tuned(scenario: Scenario, player: str, ues: int, cells: int) -> Tuned:
    return tune_open_contenders(scenario, player, ues, cells=cells)[0]


@cache
def _shipped() -> Table:
    table: Table = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


def tuned_contenders(scenario: str, player: str, ues: int, table: Table | None = None) -> float | None:
    """c of a row by the shipped table (or another one): that of the nearest number of UEs, by ratio, at most `ues`.

    None = not tuned: the row's leader then keeps its own.
    """
    by_ues = (_shipped() if table is None else table).get(scenario, {}).get(player)
    if not by_ues:
        return None
    nearest = min(by_ues, key=lambda known: abs(math.log(max(ues, 1) / int(known))))
    return min(float(by_ues[nearest]), float(ues))


def tune_table(
    names: Sequence[str],
    players: Sequence[str],
    ues: Sequence[int],
    *,
    cells: int,
    progress: Callable[[str, str, int, Tuned], None] | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """The best c of each combination. Raises UserMistake for unknown names."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        scenario = make_scenario(name)
        for player in players:
            if not should_be_tuned(scenario, player):
                continue
            for count in ues:
                best = _tuned(scenario, _played_as(scenario, player), count, cells)
                table.setdefault(name, {}).setdefault(player, {})[str(count)] = round(best.contenders, 3)
                if progress:
                    progress(name, player, count, best)
    return table
