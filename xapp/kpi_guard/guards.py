"""The KPI guards of all cells: asked by the loop before each decision, told what became of it, and shown to people."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.intent import Intent, Mode
from policy.kpi_guard.pool import Pool
from policy.kpi_guard.verdict import Rule, State
from xapp.config.kpi_guard import KpiGuardConfig
from xapp.control.cell_link import Report
from xapp.control.control_loop import Discretion
from xapp.control.decision_record import DecisionRecord
from xapp.control.encoder import ControlEncoder
from xapp.control.observer import Observer
from xapp.kpi_guard.cell_watch import CellWatch, new_guard
from xapp.leader.reasons import HOLD_OUT, REVERTED
from xapp.monitoring.metrics import Metrics
from xapp.ric.alarms import Failing, Problem

log = logging.getLogger(__name__)

GUARD = "/ric/v1/guard"
"""Where the document is shown over HTTP."""
RESET = f"{GUARD}/reset"

GAP_PERIODS = 5
"""Without a report for so long, what was begun is not finished."""


class KpiGuards(Discretion):
    """Thread safe: the pacer asks and tells, HTTP shows and resets."""

    def __init__(
        self,
        config: KpiGuardConfig,
        metrics: Metrics,
        *,
        leader: str,
        report_period_ms: int,
        observer: Observer | None = None,
        bundle_hash: str = "",
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """seed: of where hold-outs are; None = nobody knows."""
        self._config, self._metrics, self._observer = config, metrics, observer or Observer()
        self._leader, self._bundle_hash = leader, bundle_hash
        self._period_s = report_period_ms / 1e3
        self._seed, self._clock = seed, clock
        self._lock = threading.RLock()
        self._cells: dict[str, CellWatch] = {}
        self._planned_s: dict[str, tuple[float, float]] = {}
        """By cell: its coming hold-out, from when to when."""
        self._pool = Pool()
        self._first_report_s: float | None = None
        self._first_revert_s: float | None = None
        self._first_rule = ""

    def withheld(self, report: Report, intent: Intent) -> str:
        """What is withheld from the leader now, if anything, as a word of xapp.leader.reasons."""
        target = report.link.target
        if target is None or intent.mode is not Mode.CONTROL:
            return self._paused(report.state.cell)
        state, now_s = report.state, self._clock()
        with self._lock:
            watch = self._watch(state, target.encoder)
            if watch is None:
                return ""
            if not (watch.is_judged or watch.guard.reverted):
                return self._paused(state.cell)
            self._first_report_s = self._first_report_s or now_s
            if not watch.is_sent or now_s - watch.last_s > GAP_PERIODS * self._period_s:
                watch.guard.pause()
            watch.last_s = now_s
            before = watch.guard.reverts
            was_held_out = watch.guard.held_out
            watch.report(report, intent)
            if watch.guard.reverts > before:
                self._reverted(state.cell, watch, now_s)
            self._plan(state.cell, watch, now_s)
            if watch.guard.reverted:
                return REVERTED
            if watch.guard.held_out and not was_held_out:
                self._metrics.count("hold_outs")
            return HOLD_OUT if watch.guard.held_out else ""

    def decided(self, record: DecisionRecord) -> None:
        with self._lock:
            watch = self._cells.get(record.cell)
            if watch is not None:
                watch.decided(record)

    def _paused(self, cell: str) -> str:
        """Somebody else decides, or nobody is obeyed: there is nothing to compare."""
        with self._lock:
            watch = self._cells.get(cell)
            if watch is not None:
                watch.guard.pause()
                self._planned_s.pop(cell, None)
                if watch.guard.reverted:
                    return REVERTED
        return ""

    def _watch(self, state: CellState, encoder: ControlEncoder) -> CellWatch | None:
        """The cell's, anew where it is controlled in another way than before; None = it is not guarded. Harm that was
        found is the leader's however the cell is controlled, and a revert stands even where none would be looked for.
        """
        kind, slots = encoder.service_model, state.slots_per_dcm
        watch = self._cells.get(state.cell)
        is_off = self._config.act(kind) == "off"
        if is_off and not (watch is not None and watch.guard.reverted):
            self._cells.pop(state.cell, None)
            self._planned_s.pop(state.cell, None)
            return None
        if watch is not None and (watch.kind, watch.slots_per_dcm) == (kind, slots):
            return watch
        made = self._new_watch(state.cell, kind, slots, is_judged=encoder.leader_acts and not is_off)
        self._cells[state.cell] = made
        if watch is not None:
            made.guard.take_over(watch.guard)
            made.reverted_at_s = watch.reverted_at_s
        return made

    def _new_watch(self, cell: str, kind: str, slots_per_dcm: int, *, is_judged: bool) -> CellWatch:
        seed = secrets.randbits(64) if self._seed is None else self._seed + len(self._cells)
        options: dict[str, Any] = {"crowd": partial(self._crowd, cell, self._slot_s(slots_per_dcm))}
        if self._config.pool:
            options["on_e_values"] = self._pool.add
        guard = new_guard(self._config.rules(kind, slots_per_dcm), seed, **options)
        return CellWatch(kind, slots_per_dcm, guard, is_judged=is_judged)

    def _slot_s(self, slots_per_dcm: int) -> float:
        return self._period_s / max(1, slots_per_dcm)

    def _plan(self, cell: str, watch: CellWatch, now_s: float) -> None:
        planned, slot_s = watch.guard.planned_slots, self._slot_s(watch.slots_per_dcm)
        self._planned_s.pop(cell, None)
        if planned is not None and not watch.guard.reverted:
            start_s = now_s + planned * slot_s
            self._planned_s[cell] = start_s, start_s + watch.guard.rules.window_slots * slot_s

    def _crowd(self, cell: str, slot_s: float, after_slots_J: NDArray[np.int64], slots: int) -> NDArray[np.int64]:
        """Hold-outs of other cells in these slots from now, for each place."""
        others = [planned for other, planned in self._planned_s.items() if other != cell]
        starts_s, ends_s = np.array(others).reshape(-1, 2).T
        from_J1 = self._clock() + after_slots_J[:, None] * slot_s
        crowd_J: NDArray[np.int64] = ((from_J1 < ends_s) & (starts_s < from_J1 + slots * slot_s)).sum(axis=1)
        return crowd_J

    def _reverted(self, cell: str, watch: CellWatch, now_s: float) -> None:
        verdict = watch.guard.verdict
        assert verdict is not None
        watch.reverted_at_s = now_s
        if self._first_revert_s is None and self._first_report_s is not None:
            self._first_revert_s, self._first_rule = now_s - self._first_report_s, verdict.rule.value
        self._metrics.count("leaders_reverted")
        self._observer.found_harm(cell, self._evidence_of(watch))
        log.error("%s: the leader is reverted: %s", cell, verdict.text())
        if verdict.rule is Rule.POOL:
            self._pool.restart()
            for other, beside in self._cells.items():
                if beside.guard.rules.acts and not beside.guard.reverted:
                    beside.guard.revert(verdict)
                    self._reverted_beside(other, beside, now_s)

    def _reverted_beside(self, cell: str, watch: CellWatch, now_s: float) -> None:
        watch.reverted_at_s = now_s
        self._metrics.count("leaders_reverted")
        self._observer.found_harm(cell, self._evidence_of(watch))

    def _evidence_of(self, watch: CellWatch) -> dict[str, Any]:
        return {"leader": self._leader, "bundle_hash": self._bundle_hash, **(watch.document()["verdict"] or {})}

    # -- for people ----------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """GET /ric/v1/guard."""
        now_s = self._clock()
        with self._lock:
            cells = {}
            for cell, watch in sorted(self._cells.items()):
                since_s = watch.reverted_at_s if watch.guard.reverted else None
                cells[cell] = {
                    **watch.document(),
                    "reverted_for_s": None if since_s is None else round(now_s - since_s, 1),
                }
        return {"leader": self._leader, "bundle_hash": self._bundle_hash, "pool": self._config.pool, "cells": cells}

    def summary(self) -> dict[str, Any]:
        """Of all cells, for a status and the lab's results."""
        with self._lock:
            guards = [watch.guard for watch in self._cells.values()]
            not_judged = [watch for watch in self._cells.values() if watch.state is State.NOT_JUDGED]
            return {
                "guarded_cells": len(guards) - len(not_judged),
                "not_judged_cells": len(not_judged),
                "reverted_cells": sum(guard.reverted for guard in guards),
                "first_revert_s": None if self._first_revert_s is None else round(self._first_revert_s, 2),
                "hold_out_share": round(
                    sum(guard.reports_held_out for guard in guards) / max(1, sum(guard.reports for guard in guards)), 4
                ),
                "rule": self._first_rule,
            }

    def counts(self) -> dict[str, int]:
        """Cells reverted, and in a hold-out now."""
        with self._lock:
            watches = list(self._cells.values())
            return {
                "cells_reverted": sum(watch.guard.reverted for watch in watches),
                "cells_held_out": sum(watch.held_out_now for watch in watches),
            }

    def reset(self, cell: str) -> bool:
        """An operator lets the leader decide again; False = there is no such cell."""
        with self._lock:
            watch = self._cells.get(cell)
            if watch is None:
                return False
            watch.guard.reset()
            watch.reverted_at_s = None
            if self._config.pool:
                self._pool.restart()
        log.warning("%s: the leader decides again: an operator reset its guard", cell)
        return True

    def leader_is(self, bundle_hash: str) -> None:
        """A leader has been loaded, in the place of one that did not return. Any thread may call it. If it is another
        than before, what was found is not about it; the same bundle's reverts stand.
        """
        with self._lock:
            if bundle_hash == self._bundle_hash:
                return
            before, self._bundle_hash = self._bundle_hash, bundle_hash
            for watch in self._cells.values():
                watch.guard.leader_changed()
                watch.reverted_at_s = None
            self._planned_s.clear()
            self._pool.restart()
        log.warning("the leader is bundle %s, which was %s before: every cell is looked at anew", bundle_hash, before)

    def failing(self) -> list[Failing]:
        """The condition of an alarm, for each cell."""
        with self._lock:
            found = []
            for cell, watch in sorted(self._cells.items()):
                verdict = watch.guard.verdict
                if watch.guard.reverted and verdict is not None:
                    more = f"leader {self._leader} {self._bundle_hash}".rstrip() + f": {verdict.text()}"
                    found.append(Failing(Problem.LEADER_HARMFUL, cell, more))
                elif not watch.guard.rules.acts and watch.guard.starved:
                    ues = ", ".join(map(str, sorted(watch.guard.starved)[:8]))
                    found.append(Failing(Problem.LEADER_HARMFUL, cell, f"UEs {ues} starve under {self._leader}"))
            return found
