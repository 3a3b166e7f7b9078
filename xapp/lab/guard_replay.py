"""The KPI guard around a leader in the simulator: reports, decisions and hold-outs as live, without E2 and without
waiting. What docs/guard.md's tables are made by.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.guard import guard
from policy.intent import Intent
from policy.kpi_guard.cell_guard import CellGuard
from policy.kpi_guard.pool import Pool
from policy.kpi_guard.rules import GuardRules
from policy.kpi_guard.verdict import Verdict
from policy.kpi_guard.window import GuardReport
from policy.leader import Leader, never_expires
from policy.schedulers.schedulers import dynamic
from policy.time_scales import SLOT_MS
from training.simulator.cell import CellBatch
from training.simulator.lease import BatchSchedule
from training.simulator.metrics import CellMetrics, cell_metrics
from training.simulator.scenario import Scenario
from training.simulator.state import DROPPED, SERVED


class Seen(NamedTuple):
    """What came of one cell."""

    reverted_s: float | None
    """Since control began, or since the leader was swapped."""
    verdict: Verdict | None
    hold_out_share: float
    """Of the reports until then."""
    hold_outs: int


class GuardedRun(NamedTuple):
    """By cell."""

    seen: list[Seen]
    metrics: list[CellMetrics]


class _Service:
    """Bits that each UE was served, and lost, since the last report."""

    def __init__(self, batch: CellBatch) -> None:
        self._batch = batch
        self._before_BU2 = np.zeros((*batch.state.ue_id_BU.shape, 2))
        self._ids_BU = np.zeros_like(batch.state.ue_id_BU)

    def newest(self, states: list[CellState]) -> list[NDArray[np.float64]]:
        """[U, (served, lost)] of each cell."""
        state = self._batch.state
        new_BU1 = (state.ue_id_BU != self._ids_BU)[:, :, None]
        now_BU2 = state.counters_BUC[:, :, [SERVED, DROPPED]]
        since_BU2 = now_BU2 - np.where(new_BU1, state.arrival_BUC[:, :, [SERVED, DROPPED]], self._before_BU2)
        self._before_BU2, self._ids_BU = now_BU2, state.ue_id_BU.copy()
        found = []
        for b, seen in enumerate(states):
            seat_of = {ue: seat for seat, ue in enumerate(state.ue_id_BU[b].tolist()) if state.present_BU[b, seat]}
            found.append(since_BU2[b, [seat_of[ue] for ue in seen.ue_ids]])
        return found


class _Since:
    """What is played from now on, measured by itself."""

    def __init__(self, batch: CellBatch) -> None:
        self._batch, self._slot, self._before = batch, batch.slot, batch.state.select(np.arange(batch.cells))

    def metrics(self) -> list[CellMetrics]:
        state, before = self._batch.state, self._before
        since = state._replace(
            counters_BUC=state.counters_BUC - before.counters_BUC,
            events_BE=state.events_BE - before.events_BE,
            delays_BUA=state.delays_BUA - before.delays_BUA,
            class_bits_BC2=state.class_bits_BC2 - before.class_bits_BC2,
        )
        return [cell_metrics(since, self._batch.slot - self._slot, b) for b in range(self._batch.cells)]


def run_guarded(
    scenario: Scenario,
    leader: Leader,
    *,
    ues: int,
    cells: int,
    seed: int,
    seconds: float,
    rules: GuardRules | None,
    swapped_for: Leader | None = None,
    swapped_s: float = 0.0,
    announced: bool = False,
    pooled: bool = False,
    packets: bool = False,
    to_the_end: bool = False,
    measured_from_s: float = 0.0,
    rows: Sequence[int] | None = None,
    report: Callable[[float], None] = lambda played_s: None,
) -> GuardedRun:
    """Play `cells` worlds, each with a guard of its own; until all are reverted, or `seconds` are over.

    rules: None = without guard. swapped_for: the leader from `swapped_s` on. announced: the guards are told of that.
    pooled: the cells are one RIC's, under one leader. to_the_end: play on under the node's scheduler. measured_from_s:
    metrics are of what is played from then on. rows: these of the worlds, which stay the same, as where several
    processes share them; None = all. report: is told how far it is.
    """
    rows = range(cells) if rows is None else rows
    batch, schedule = CellBatch(scenario, cells, ues, seed), BatchSchedule(scenario, len(rows))
    if len(rows) < cells:
        batch = batch.select(rows)
    pool = Pool()
    guards = [
        CellGuard(
            rules or GuardRules(acts=False, cycles=False),
            np.random.default_rng((seed, b)),
            on_e_values=pool.add if pooled else lambda kpi, e_G: 0.0,
        )
        for b in rows
    ]
    service, period_s = _Service(batch), scenario.slots_per_dcm * SLOT_MS / 1e3
    by_leader: deque[list[bool]] = deque(maxlen=scenario.control_lead_periods + 1)
    reverted_s: list[float | None] = [None] * len(rows)
    who = leader
    since: _Since | None = None
    for period in range(round(seconds / period_s)):
        states, now_s = batch.observe(), period * period_s
        report(now_s)
        if since is None and 0.0 < measured_from_s <= now_s:
            since = _Since(batch)
        if swapped_for is not None and who is leader and now_s >= swapped_s:
            who = swapped_for
            for each in guards if announced else ():
                each.leader_changed()
        if rules is not None and period:
            governed = by_leader[0] if len(by_leader) == by_leader.maxlen else None
            for b, (seen, bits_U2) in enumerate(zip(states, service.newest(states), strict=True)):
                guards[b].report(_report(seen, bits_U2, None if governed is None else governed[b], packets))
                if guards[b].reverted and reverted_s[b] is None:
                    reverted_s[b] = now_s - (swapped_s if swapped_for is not None else 0.0)
            if not to_the_end and all(each.reverted for each in guards):
                break
        by_leader.append([not (each.held_out or each.reverted) for each in guards])
        schedule.offer(_allocations(who, states, by_leader[-1]), batch.slot)
        batch.play(schedule.governing(batch.slot), scenario.slots_per_dcm)
    seen_cells = [
        Seen(at_s, each.verdict, each.reports_held_out / max(1, each.reports), each.hold_outs)
        for at_s, each in zip(reverted_s, guards)
    ]
    return GuardedRun(seen_cells, batch.metrics() if since is None else since.metrics())


def _report(state: CellState, bits_U2: NDArray[np.float64], by_leader: bool | None, packets: bool) -> GuardReport:
    return GuardReport(
        state.ue_ids,
        bits_U2[:, 0],
        state.traffic_class_U,
        state.buffer_bits_U,
        state.cqi_U,
        state.slots_per_dcm,
        by_leader=by_leader,
        lost_packets_U=bits_U2[:, 1] / state.packet_bits_U if packets else None,
        delivered_packets_U=bits_U2[:, 0] / state.packet_bits_U if packets else None,
    )


def _allocations(leader: Leader, states: list[CellState], asked: list[bool]) -> list[Allocation]:
    """What is sent, as the live loop does: the leader's answer where it is asked, else DYNAMIC; the guard last."""
    intent = Intent()
    wanted = [state for state, is_asked in zip(states, asked) if is_asked]
    answers = iter(leader.decide(wanted, [intent] * len(wanted), never_expires) if wanted else ())
    return [
        guard(next(answers).allocation if is_asked else dynamic(state, intent), state, intent).allocation
        for state, is_asked in zip(states, asked)
    ]
