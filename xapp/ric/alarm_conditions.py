"""What is failing, worked out of what the parts of the xApp say anyway. What is an alarm xapp.ric.alarms decides."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from xapp.config.model import silent_after_s
from xapp.leader.reasons import FAILURES
from xapp.ric.alarms import Failing, Problem

WINDOW_S = 10.0
"""Over which controls and decisions are counted."""
FEWEST = 5
"""Less than so many controls or decisions in the window say nothing."""
OVERLOAD_SHARE = 0.1
"""Of a window's reports that newer ones replaced before anybody decided: single ones may come close together."""


class _Counts(NamedTuple):
    """What has been counted since the start."""

    at_s: float
    answered: int
    refused: int
    decided: int
    without_model: int
    superseded: int


class AlarmWatch:
    """Not thread safe: one task calls it."""

    def __init__(
        self,
        *,
        totals: Callable[[], tuple[dict[str, int], dict[str, int]]],
        silence_s: Callable[[], dict[str, float]],
        nodes: Callable[[], Mapping[str, bool]],
        sdl_healthy: Callable[[], bool],
        report_period_ms: int,
        failing_tasks: Callable[[], Mapping[str, str]] = dict,
        others: Sequence[Callable[[], Failing | None]] = (),
        by_cell: Callable[[], Iterable[Failing]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """totals: Metrics.totals. silence_s: by cell, how long it has not reported. nodes: by name, is it connected.
        failing_tasks: by name, the newest error. others: conditions that parts know of themselves.
        by_cell: LEADER_HARMFUL of each cell where it holds.
        """
        self._totals = totals
        self._silence_s = silence_s
        self._nodes = nodes
        self._sdl_healthy = sdl_healthy
        self._silent_s = silent_after_s(report_period_ms)
        self._failing_tasks = failing_tasks
        self._others = others
        self._by_cell = by_cell
        self._clock = clock
        self._found: dict[str, list[Failing]] = {}
        """By condition, what it came to last."""
        self._window: deque[_Counts] = deque()
        self._reporters: frozenset[str] = frozenset()
        """Nodes and cells that reports may be missing from."""

    def failing(self) -> list[Failing]:
        """What fails now."""
        conditions = (
            self._count,
            self._silent_cells,
            self._failing_controls,
            self._failing_model,
            self._overloaded,
            self._failing_sdl,
            self._failing_parts,
        )
        errors = dict(self._failing_tasks())
        for condition in conditions:
            try:
                self._found[condition.__name__] = list(condition())
            except Exception as error:  # what it found last holds on, and no other condition goes unseen
                errors[f"alarms ({condition.__name__.strip('_')})"] = f"{type(error).__name__}: {error}"
        found = [failing for each in self._found.values() for failing in each]
        if errors:
            named = "; ".join(f"{task}: {error}" for task, error in sorted(errors.items()))
            found.append(Failing(Problem.TASK_FAILING, "", named))
        return found

    def watched(self) -> list[tuple[Problem, str]]:
        """Everything that `failing` would have named, had it failed."""
        of_cells = (Problem.NO_REPORTS, Problem.LEADER_HARMFUL)
        ours = [(problem, "") for problem in Problem if problem not in of_cells]
        return [*ours, *((problem, who) for problem in of_cells for who in self._reporters)]

    def _silent_cells(self) -> Iterator[Failing]:
        silence_s, nodes = self._silence_s(), self._nodes()
        self._reporters = frozenset((*silence_s, *nodes))
        for node, connected in sorted(nodes.items()):
            if not connected:
                yield Failing(Problem.NO_REPORTS, node, "the E2 node is not connected")
        for cell, seconds in sorted(silence_s.items()):
            if seconds > self._silent_s:
                yield Failing(Problem.NO_REPORTS, cell, f"silent for more than {self._silent_s:g} s")

    def _failing_controls(self) -> Iterator[Failing]:
        first, last = self._window[0], self._window[-1]
        refused = last.refused - first.refused
        asked = last.answered - first.answered + refused
        if asked >= FEWEST and 2 * refused > asked:
            yield Failing(
                Problem.CONTROL_FAILING, "", f"{refused} of {asked} refused or not answered in {WINDOW_S:g} s"
            )

    def _failing_model(self) -> Iterator[Failing]:
        first, last = self._window[0], self._window[-1]
        decided, without = last.decided - first.decided, last.without_model - first.without_model
        if decided >= FEWEST and 2 * without > decided:
            yield Failing(Problem.MODEL_FAILING, "", f"{without} of {decided} decisions without it in {WINDOW_S:g} s")

    def _overloaded(self) -> Iterator[Failing]:
        first, last = self._window[0], self._window[-1]
        passed_over = last.superseded - first.superseded
        reported = last.decided - first.decided + passed_over
        if passed_over >= FEWEST and passed_over > OVERLOAD_SHARE * reported:
            yield Failing(Problem.OVERLOADED, "", f"{passed_over} of {reported} reports passed over in {WINDOW_S:g} s")

    def _failing_sdl(self) -> Iterator[Failing]:
        if not self._sdl_healthy():
            yield Failing(Problem.SDL_DOWN, "", "calls fail or get no answer")

    def _failing_parts(self) -> Iterator[Failing]:
        for condition in self._others:
            if (failing := condition()) is not None:
                yield failing
        yield from self._by_cell()

    def _count(self) -> Iterable[Failing]:
        """Nothing of this fails by itself."""
        (counts, by), now_s = self._totals(), self._clock()
        self._window.append(
            _Counts(
                now_s,
                answered=counts.get("controls_acked", 0),
                refused=counts.get("controls_failed", 0) + counts.get("controls_unanswered", 0),
                decided=counts.get("decisions", 0),
                without_model=sum(by.get(f"fallback:{reason}", 0) for reason in FAILURES),
                superseded=counts.get("superseded_reports", 0),
            )
        )
        while len(self._window) > 2 and self._window[1].at_s <= now_s - WINDOW_S:
            self._window.popleft()
        return ()
