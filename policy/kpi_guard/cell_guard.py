"""One cell's guard: which windows are hold-outs, and when the leader is reverted.

It is given each report and answers, for the decision that this report leads to, whether the leader's discretion is
withheld. A hold-out's place in its cycle is drawn where the cycle begins, and nothing but starvation and a gross
difference asks for others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.kpi_guard.evidence import Evidence
from policy.kpi_guard.gross import Gross
from policy.kpi_guard.rules import GuardRules
from policy.kpi_guard.starvation import Starvation
from policy.kpi_guard.verdict import Rule, State, Verdict
from policy.kpi_guard.window import DELIVERY, KPIS, UTILITY, Difference, GuardReport, Kpi, Window, differences, match

SUSPICIOUS_M, CLEARED_M = 5.0, 1.5
"""Mean M from which cycles are fast, and at which they are slow again."""
REST_SLOTS = 500
"""After hold-outs that starvation asked for, until it may ask again."""
GROSS_REST_SLOTS = 10_000
LEAST_SHARE = 3
"""A window that was ended early counts from a third of its length on."""
CHALLENGE = (True, False, True, False)
"""Windows of a challenge, True = hold-out."""


KEPT_WINDOWS = 4
"""The newest, as they were; of those before them only what they were against their neighbours."""
ALL_KPIS: tuple[Kpi, ...] = (*KPIS, DELIVERY)

NO_CROWD = np.zeros(1, np.int64)


class _Compared(NamedTuple):
    """A window that has ended."""

    differences: tuple[Difference, ...]
    """From its neighbours, by KPI; none as long as the next has not ended, ..."""
    by_leader: bool
    """... and whether it and they were under the leader."""


@dataclass(slots=True)
class _Cycle:
    length: int
    held_out: int
    """Its hold-out's place, one of ..."""
    places: tuple[int, ...]
    """... those that it was drawn from."""
    ended: int = 0
    """Windows."""


class CellGuard:
    """Not thread safe."""

    _windows: list[Window]
    """The newest that have ended."""
    _compared: list[_Compared]
    """One for each window that has ended, and for more of them."""
    _window: Window
    _before: frozenset[int]
    """UEs of the report before."""
    _age_slots: int
    """Of the window."""
    _after_hold_out: bool
    _plan: list[bool]
    """Windows that a challenge goes on with, True = hold-out."""
    _cycle: _Cycle | None
    _challenged: bool
    _fast: bool
    _rest_slots: int
    _gross_rest_slots: int
    _to_learn: int

    def __init__(
        self,
        rules: GuardRules,
        rng: np.random.Generator,
        *,
        crowd: Callable[[NDArray[np.int64], int], NDArray[np.int64]] = lambda after_slots_J, slots: NO_CROWD,
        on_e_values: Callable[[str, NDArray[np.float64]], float] = lambda kpi, e_G: 0.0,
    ) -> None:
        """crowd(after_J, slots): hold-outs of other cells in these slots from now, for each place J. on_e_values: is
        given those of each cycle, and returns the M of all cells that are pooled with this one.
        """
        self.rules = rules
        self._rng, self._crowd, self._on_e_values = rng, crowd, on_e_values
        self.reverts = 0
        self.hold_outs = 0
        self.cycles = 0
        self.reports = self.reports_held_out = 0
        self.verdict: Verdict | None = None
        """The newest."""
        self._starvation, self._gross = Starvation(rules), Gross(rules)
        self._evidence = {kpi: Evidence(rules.latency_margin if kpi.latency else rules.margin) for kpi in ALL_KPIS}
        self._gone_slots = 0
        """Since the last revert."""
        self._is_reverted = False
        self._starved: frozenset[int] = frozenset()
        self._begin()

    # -- what it says --------------------------------------------------------------------------------------------------

    @property
    def held_out(self) -> bool:
        """The next decision belongs to a hold-out."""
        return self._window.held_out and not self._is_reverted

    @property
    def reverted(self) -> bool:
        return self._is_reverted

    @property
    def state(self) -> State:
        if self._is_reverted:
            return State.LATCHED if self.reverts >= self.rules.max_reverts else State.REVERTED
        if self._challenged or self.suspicion >= SUSPICIOUS_M:
            return State.SUSPICIOUS
        return State.LEARNING if self._to_learn > 0 else State.WATCHING

    @property
    def suspicion(self) -> float:
        """The largest M of all KPIs."""
        return max(evidence.m for evidence in self._evidence.values())

    @property
    def threshold(self) -> float:
        """A, times the KPIs that could each exceed it."""
        return self.rules.false_alarm_cycles * len(self._evidence)

    @property
    def starved(self) -> frozenset[int]:
        """UEs that starve where nothing is done about it (rules.acts = False)."""
        return self._starved

    def noise(self) -> dict[str, float]:
        return {kpi.name: evidence.noise for kpi, evidence in self._evidence.items()}

    def evidence(self) -> dict[str, float]:
        return {kpi.name: evidence.m for kpi, evidence in self._evidence.items()}

    # -- what it is told -----------------------------------------------------------------------------------------------

    def report(self, report: GuardReport) -> None:
        """One report, while the cell is under control."""
        if self._is_reverted:
            self._gone_slots += report.slots
            if self._gone_slots >= self.rules.probation_slots and self.reverts < self.rules.max_reverts:
                self._is_reverted = False
                self._begin()
            return
        self.reports += 1
        window, present = self._window, frozenset(report.ue_ids)
        self.reports_held_out += window.held_out
        as_meant = not report.by_another and report.by_leader is not window.held_out
        counts = self._age_slots >= self.rules.ignored_slots and as_meant
        if counts:
            window.add(report, self._before)
        if as_meant and (counts or (not window.held_out and not self._after_hold_out)):
            self._starvation.add(report, window.held_out)
        self._before = present
        self._age_slots += report.slots
        self._rest_slots -= report.slots
        self._gross_rest_slots -= report.slots
        if not self.rules.acts:
            self._starved = self._starvation.suspects()
        elif not (window.held_out or self._challenged or self._rest_slots > 0) and (
            suspects := self._starvation.suspects()
        ):
            self._starved = suspects
            self._challenge()
            return
        if self._age_slots >= self.rules.window_slots:
            self._end_window()

    def pause(self) -> None:
        """The leader does not decide about the cell, or its reports stopped: what was begun is not finished."""
        self._starved = frozenset()
        if not self._is_reverted:
            self._begin(keep_learned=True)

    def revert(self, verdict: Verdict) -> None:
        """The node's own scheduler decides from now on."""
        self.verdict = verdict
        self._is_reverted, self._gone_slots = True, 0
        self.reverts += 1

    def take_over(self, earlier: CellGuard) -> None:
        """What was found of this leader in this cell by a guard with other rules stands, and so does its probation."""
        self.verdict, self.reverts = earlier.verdict, earlier.reverts
        self._is_reverted, self._gone_slots = earlier._is_reverted, earlier._gone_slots

    def reset(self) -> None:
        """An operator says that all is well."""
        self._is_reverted, self.reverts, self.verdict, self._starved = False, 0, None, frozenset()
        self._begin()

    def leader_changed(self) -> None:
        """Another leader decides from now on. Nothing that was found is about it, and it is looked at as often as one
        that is new; but the noise is the cell's, so that hold-outs need not wait until it is learned again.
        """
        to_learn = self._to_learn
        self.reset()
        self._to_learn = to_learn

    # -- windows -------------------------------------------------------------------------------------------------------

    def _begin(self, *, keep_learned: bool = False) -> None:
        """Watch anew. The noise that was learned is the cell's, and stays."""
        if not keep_learned:
            self._to_learn = self.rules.learning_windows
            self.cycles = 0
            for evidence in self._evidence.values():
                evidence.restart()
        self._starvation.restart()
        self._gross.restart()
        self._windows, self._compared = [], []
        self._window = Window(held_out=False)
        self._before = frozenset()
        self._age_slots = 0
        self._after_hold_out = False
        self._plan, self._cycle = [], None
        self._challenged = False
        self._fast = True
        self._rest_slots = self._gross_rest_slots = 0

    def _open(self, held_out: bool) -> None:
        self._after_hold_out = self._window.held_out
        self._window = Window(held_out)
        self._age_slots = 0

    def _challenge(self) -> None:
        """Hold-outs now, whatever was planned."""
        if LEAST_SHARE * self._window.slots >= self.rules.window_slots:
            self._keep(self._window)
        self._plan, self._cycle, self._challenged = list(CHALLENGE[1:]), None, True
        self._gross.restart()
        self._open(CHALLENGE[0])

    def _end_window(self) -> None:
        window = self._window
        self._keep(window)
        if window.held_out:
            self.hold_outs += 1
            if starved := self._starvation.end_hold_out():
                self._revert_for_starvation(starved)
                return
            self._rest_slots = max(self._rest_slots, REST_SLOTS)
        if self._look_for_gross():
            return
        if self._cycle is not None:
            self._cycle.ended += 1
            if self._cycle.ended == self._cycle.length:
                self._end_cycle(self._cycle)
                if self._is_reverted:
                    return
        self._open(self._next_mode())

    def _keep(self, window: Window) -> None:
        """It has ended, and so the one before it can be compared with both its neighbours: now, not at the cycle's end,
        where sixty comparisons at once would hold up the loop.
        """
        self._windows = [*self._windows, window][-KEPT_WINDOWS:]
        if len(self._windows) > 2:
            before, between, after = self._windows[-3:]
            by_leader = not (before.held_out or between.held_out or after.held_out)
            self._compared[-1] = _Compared(differences(before, between, after, ALL_KPIS), by_leader)
        self._compared = [*self._compared, _Compared((), False)][-(self.rules.slow_cycle + 4) :]

    def _look_for_gross(self) -> bool:
        """Whether the next window has been decided by it."""
        if len(self._windows) >= 2:
            before, window = self._windows[-2:]
            worse = self._gross.add(before, window)
            if self._gross.found:
                self._revert_for(Rule.GROSS, UTILITY, *self._gross.levels)
                return True
            if self._cycle is not None and self._gross_rest_slots <= 0 and self.rules.cycles:
                if window.held_out and worse >= self._gross.threshold:
                    self._ask([False, True, False])
                elif self._gross.fell(self._windows):
                    self._gross.restart()
                    self._ask([True, False, True, False])
                    self._open(self._plan.pop(0))
                    return True
        return False

    def _ask(self, plan: list[bool]) -> None:
        self._plan, self._cycle, self._challenged = plan, None, True
        self._gross_rest_slots = GROSS_REST_SLOTS

    def _next_mode(self) -> bool:
        if self._plan:
            return self._plan.pop(0)
        if self._challenged:
            self._challenged = False
            self._starvation.nothing_found()
        if self._to_learn > 0:
            self._to_learn -= 1
            if self._to_learn == 0:
                self._learn()
            else:
                return False
        if not (self.rules.cycles and self.rules.acts):
            return False
        if self._cycle is None:
            self._cycle = self._new_cycle()
        return self._cycle.ended == self._cycle.held_out

    def _learn(self) -> None:
        """The noise, of windows under the leader."""
        for place, evidence in enumerate(self._evidence.values()):
            found = [each.differences[place] for each in self._compared if each.by_leader]
            evidence.learn([each.above / each.level for each in found if each.level > 0.0])

    # -- cycles --------------------------------------------------------------------------------------------------------

    def _new_cycle(self) -> _Cycle:
        self._fast = self.suspicion >= SUSPICIOUS_M or (self._fast and self.suspicion > CLEARED_M)
        self._fast |= self.cycles < self.rules.fast_cycles
        length = self.rules.fast_cycle if self._fast else self.rules.slow_cycle
        places = self._free_places(length - 1)
        return _Cycle(length, places[int(self._rng.integers(len(places)))], places)

    def _free_places(self, count: int) -> tuple[int, ...]:
        """Where no other cell is in a hold-out; where that leaves less than half, places with one more, and so on. The
        others' plans know nothing of this cell's reports: any place left is as good as another under the null.
        """
        slots = self.rules.window_slots
        crowd_J = np.broadcast_to(self._crowd(np.arange(count) * slots, slots), count)
        most = np.sort(crowd_J)[max(1, (count + 1) // 2 - 1)]
        return tuple(np.flatnonzero(crowd_J <= most).tolist())

    @property
    def planned_slots(self) -> int | None:
        """From now until the hold-out of the cycle at hand begins; negative = it has begun; None = none is planned."""
        if self._cycle is None:
            return None
        return (self._cycle.held_out - self._cycle.ended) * self.rules.window_slots - self._age_slots

    def _end_cycle(self, cycle: _Cycle) -> None:
        self._cycle = None
        self.cycles += 1
        base = len(self._compared) - cycle.length
        if base < 1:
            return
        for at, (kpi, evidence) in enumerate(self._evidence.items()):
            found = [self._compared[base + place].differences[at] for place in cycle.places]
            e_G = evidence.add_cycle(found, cycle.places.index(cycle.held_out))
            if e_G is None:
                continue
            pooled = self._on_e_values(kpi.name, e_G)
            if max(evidence.m, pooled) >= self.threshold:
                own = found[cycle.places.index(cycle.held_out)]
                rule = Rule.EVIDENCE if evidence.m >= self.threshold else Rule.POOL
                self._revert_for(rule, kpi, own.level - own.above, own.level, max(evidence.m, pooled))
                return

    # -- verdicts ------------------------------------------------------------------------------------------------------

    def _revert_for_starvation(self, starved: frozenset[int]) -> None:
        longest = max(self._starvation.hungry_slots(ue) for ue in starved)
        self.revert(
            Verdict(
                Rule.STARVATION, "starvation", float(longest), 0.0, 100.0, 0.0, len(starved), self.hold_outs, 1.0,
                self.rules.false_alarm_cycles, tuple(sorted(starved)),
            )
        )  # fmt: skip

    def _revert_for(self, rule: Rule, kpi: Kpi, with_leader: float, without: float, m: float = 1.0) -> None:
        evidence = self._evidence[kpi]
        worse = 100.0 * (1.0 - with_leader / without) if without > 0.0 else 0.0
        self.revert(
            Verdict(
                rule, kpi.name, with_leader, without, worse, 100.0 * evidence.noise, self._matched(kpi),
                self.hold_outs, m, self.rules.false_alarm_cycles,
            )
        )  # fmt: skip

    def _matched(self, kpi: Kpi) -> int:
        return len(match(self._windows[-3:]).of(kpi)[0]) if self._windows else 0
