"""A cell's guard over made-up cells: rates, load and UEs change as they like, the leader does harm or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.kpi_guard.cell_guard import CellGuard
from policy.kpi_guard.pool import Pool
from policy.kpi_guard.rules import GuardRules
from policy.kpi_guard.verdict import Rule, State
from policy.kpi_guard.window import GuardReport

RULES = GuardRules(false_alarm_cycles=100.0, learning_windows=5)
REPORT_SLOTS = 100

Rate = Callable[[bool, np.ndarray], np.ndarray]
"""(whether it is a hold-out, the UEs' rates) -> what they are served, bits a slot."""


@dataclass
class MadeUpCell:
    """UEs come and go, rates wander, and the load steps; a report every 100 slots."""

    seed: int
    harm: Rate
    ues: int = 10
    buffers: float = 1000.0
    churn: float = 0.0
    load_steps: float = 0.01
    rules: GuardRules = RULES
    guard: CellGuard = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.guard = CellGuard(self.rules, np.random.default_rng(self.seed + 1))
        self.ids = list(range(1, self.ues + 1))
        self.rates = self.rng.uniform(50, 500, self.ues)
        self.load = 1.0
        self.modes = [False, False]

    def play(self, reports: int, until: Callable[[CellGuard], bool] = lambda guard: guard.reverted) -> int:
        """Reports that were played."""
        for played in range(reports):
            if until(self.guard):
                return played
            held_out = self.modes.pop(0)
            if self.rng.random() < self.load_steps:
                self.load = float(self.rng.choice([0.3, 1.0, 2.0]))
            for row in range(self.ues):
                if self.rng.random() < self.churn:
                    self.ids[row], self.rates[row] = max(self.ids) + 1, self.rng.uniform(50, 500)
            order = np.argsort(self.ids)
            rates = self.load * self.rates[order] * self.rng.gamma(20.0, 1 / 20.0, self.ues)
            served = self.harm(held_out, rates) * REPORT_SLOTS
            self.guard.report(
                GuardReport(
                    tuple(sorted(self.ids)),
                    served,
                    np.arange(self.ues) % 2 * 1.0,
                    np.full(self.ues, self.buffers),
                    np.full(self.ues, 9.0),
                    REPORT_SLOTS,
                    by_leader=not held_out,
                )
            )
            self.modes.append(self.guard.held_out or self.guard.reverted)
        return reports


def harmless(held_out: bool, rates: np.ndarray) -> np.ndarray:
    return rates


def less(by: float) -> Rate:
    return lambda held_out, rates: rates if held_out else (1.0 - by) * rates


def starves(count: int) -> Rate:
    def served(held_out: bool, rates: np.ndarray) -> np.ndarray:
        return rates if held_out else np.where(np.arange(len(rates)) < count, 0.0, rates)

    return served


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), churn=st.sampled_from([0.0, 0.002, 0.02]))
def test_a_leader_that_changes_nothing_is_not_reverted(seed: int, churn: float) -> None:
    """Whatever load and UEs do; A is a month here, as by default."""
    cell = MadeUpCell(seed, harmless, churn=churn, rules=GuardRules())
    cell.play(2500)
    assert cell.guard.verdict is None


def test_false_alarms_are_as_rare_as_is_stated() -> None:
    """At A = 10 cycles of four seconds: the mean time to one is at least 40 s, whatever comes after 80 s."""
    rules = replace(RULES, false_alarm_cycles=10.0, slow_cycle=4, learning_windows=2)
    reports = [MadeUpCell(seed, harmless, rules=rules, churn=0.002).play(800) for seed in range(40)]
    assert np.mean(reports) >= 10 * 4 * 10


@pytest.mark.parametrize(("by", "rule"), [(0.6, Rule.GROSS), (0.25, Rule.EVIDENCE)])
def test_a_leader_that_costs_utility_is_reverted(by: float, rule: Rule) -> None:
    cell = MadeUpCell(3, less(by))
    assert cell.play(3000) < 3000
    assert cell.guard.verdict is not None
    assert cell.guard.verdict.rule is rule
    assert cell.guard.verdict.worse_percent > 0.0
    assert cell.guard.verdict.with_leader < cell.guard.verdict.without_leader
    assert cell.guard.verdict.matched_ues == 10 or cell.guard.verdict.kpi != "utility"


def test_a_leader_that_is_better_is_never_reverted() -> None:
    cell = MadeUpCell(4, less(-0.2))
    cell.play(6000)
    assert cell.guard.verdict is None
    assert cell.guard.suspicion < 5.0


@pytest.mark.parametrize(("count", "within_reports"), [(9, 40), (2, 40), (1, 70)])
def test_ues_that_starve_under_the_leader_alone_are_named(count: int, within_reports: int) -> None:
    """Without any noise learned, and with hold-outs that begin at once."""
    cell = MadeUpCell(5, starves(count))
    assert cell.play(within_reports) < within_reports
    verdict = cell.guard.verdict
    assert verdict is not None
    assert verdict.rule is Rule.STARVATION
    assert set(verdict.ue_ids) == set(range(1, count + 1))
    assert "UEs 1" in verdict.text()


def test_ues_that_nobody_serves_are_nobodys_harm() -> None:
    cell = MadeUpCell(6, lambda held_out, rates: np.where(np.arange(len(rates)) < 3, 0.0, rates))
    cell.play(3000)
    assert cell.guard.verdict is None
    assert cell.guard.reports_held_out / cell.guard.reports < 0.3


def test_ues_without_data_do_not_starve() -> None:
    cell = MadeUpCell(7, starves(9), buffers=0.0, rules=replace(RULES, cycles=False))
    cell.play(500)
    assert cell.guard.hold_outs == 0


def test_ues_that_an_operator_allows_nothing_are_exempt() -> None:
    cell = MadeUpCell(8, starves(3), rules=replace(RULES, cycles=False))
    report = cell.guard.report
    cell.guard.report = lambda given: report(given._replace(exempt=frozenset({1, 2, 3})))  # type: ignore[method-assign]
    cell.play(500)
    assert cell.guard.hold_outs == 0


def test_while_it_learns_there_is_no_hold_out() -> None:
    cell = MadeUpCell(9, harmless, rules=GuardRules(), load_steps=0.0)
    cell.play(199)
    assert (cell.guard.reports_held_out, cell.guard.state) == (0, State.LEARNING)
    cell.play(200)
    assert cell.guard.reports_held_out > 0
    assert cell.guard.state is State.WATCHING


def test_hold_outs_become_rare() -> None:
    cell = MadeUpCell(10, harmless, load_steps=0.0)
    cell.play(1000)
    before = cell.guard.reports, cell.guard.reports_held_out
    cell.play(6000)
    share = (cell.guard.reports_held_out - before[1]) / (cell.guard.reports - before[0])
    assert share < 0.025


def test_after_probation_the_leader_is_tried_again_and_the_third_revert_is_the_last() -> None:
    rules = replace(RULES, probation_slots=5000)
    cell = MadeUpCell(11, starves(9), rules=rules)
    reverts = []
    for _ in range(3):
        cell.play(1000)
        assert cell.guard.reverted
        reverts.append(cell.guard.state)
        cell.play(60, until=lambda guard: not guard.reverted)
    assert reverts == [State.REVERTED, State.REVERTED, State.LATCHED]
    cell.play(500, until=lambda guard: not guard.reverted)
    assert cell.guard.state is State.LATCHED
    cell.guard.reset()
    assert (cell.guard.state, cell.guard.reverts, cell.guard.verdict) == (State.LEARNING, 0, None)


def test_another_leader_is_looked_at_as_often_as_a_new_one_and_at_once() -> None:
    """A settled cell whose leader changes: found in the frequent hold-outs, without learning the noise again."""
    told, untold = (MadeUpCell(16, harmless, rules=GuardRules(), load_steps=0.0) for _ in range(2))
    reports = []
    for cell in (told, untold):
        cell.play(1300)
        assert (cell.guard.verdict, cell.guard.cycles >= 20) == (None, True)
        cell.harm = less(0.2)
        if cell is told:
            noise = cell.guard.noise()
            cell.guard.leader_changed()
            assert (cell.guard.noise(), cell.guard.state, cell.guard.suspicion) == (noise, State.WATCHING, 1.0)
        reports.append(cell.play(3000))
    assert reports[0] < 800, "the frequent hold-outs of a new leader"
    assert reports[0] < reports[1]


def test_another_leader_is_not_held_to_what_was_found_of_the_one_before() -> None:
    cell = MadeUpCell(11, starves(9))
    cell.play(1000)
    assert cell.guard.reverted
    cell.guard.leader_changed()
    cell.harm = harmless
    cell.play(1000)
    assert (cell.guard.reverts, cell.guard.verdict) == (0, None)


def test_a_pause_forgets_what_was_begun() -> None:
    cell = MadeUpCell(12, starves(9))
    for _ in range(30):
        cell.play(5)
        cell.guard.pause()
    assert cell.guard.verdict is None


def test_a_kind_of_control_that_only_alarms_names_who_starves_and_holds_out_nothing() -> None:
    cell = MadeUpCell(13, starves(3), rules=replace(RULES, acts=False))
    cell.play(100)
    assert cell.guard.starved == {1, 2, 3}
    cell.guard.pause()
    assert cell.guard.starved == frozenset(), "nobody is starved by a leader that is not asked"
    assert (cell.guard.hold_outs, cell.guard.reverted) == (0, False)


def test_without_buffers_many_silent_ues_are_suspicious_and_few_are_not() -> None:
    for count, reverted in ((5, True), (1, False)):
        cell = MadeUpCell(14, starves(count), buffers=float("nan"), rules=replace(RULES, cycles=False))
        cell.play(45)
        assert cell.guard.reverted is reverted


def test_cells_under_one_leader_find_together_what_each_would_find_later() -> None:
    pool = Pool()
    cells = [MadeUpCell(seed, less(0.15), load_steps=0.0) for seed in range(20, 24)]
    for cell in cells:
        cell.guard = CellGuard(RULES, np.random.default_rng(cell.seed), on_e_values=pool.add)
    for _ in range(3000):
        for cell in cells:
            cell.play(1)
        if any(cell.guard.reverted for cell in cells):
            break
    (first,) = [cell.guard.verdict for cell in cells if cell.guard.verdict is not None]
    assert first.rule is Rule.POOL
    assert first.m >= RULES.false_alarm_cycles


def test_a_hold_out_is_where_no_other_cell_has_one() -> None:
    taken = {0, 1000}
    guard = CellGuard(
        replace(RULES, learning_windows=1, fast_cycle=8, slow_cycle=8),
        np.random.default_rng(1),
        crowd=lambda after_slots_J, slots: np.isin(after_slots_J, list(taken)).astype(np.int64),
    )
    cell = MadeUpCell(15, harmless, rules=guard.rules, load_steps=0.0)
    cell.guard = guard
    planned = set()
    for _ in range(800):
        before = guard.planned_slots
        cell.play(1)
        if guard.planned_slots is not None and (before is None or guard.planned_slots > before):
            planned.add(guard.planned_slots)
    assert len(planned) > 2
    assert not planned & taken
