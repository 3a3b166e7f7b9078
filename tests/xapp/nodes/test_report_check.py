"""What a cell's reports show to be wrong with them, in words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xapp.control.cell_link import CellLink
from xapp.control.cell_tracker import CellTracker
from xapp.control.measurement_pace import MeasurementPace, pace_text
from xapp.e2.kpm.report_reader import KpmReport, decode_report
from xapp.nodes.report_check import report_problems

CELL = "gnbd_001_001_00019b_0/node"


def link() -> CellLink:
    return CellLink(CellTracker(CELL, num_rbgs=6, report_period_ms=100, has_kpm=True, has_dcm=False), None)


def report(value: float) -> KpmReport:
    return KpmReport((1, 2), ("DRB.UEThpUl",), np.array([[value], [value + 1]]), 100, 0)


def problems_after(reports_each: int, measurements: int) -> list[tuple[str, str]]:
    cell = link()
    for n in range(reports_each * measurements):
        cell.tracker.on_kpm(n, report(n // reports_each))
    return [tuple(problem) for problem in report_problems(cell)]


def test_a_node_that_repeats_itself_is_told_apart_from_one_that_does_not() -> None:
    text = f"{CELL}: ten reports carry one measurement: lower du_report_period or raise report_period_ms"
    assert problems_after(10, 6) == [("measurements_repeat", text)]
    assert problems_after(10, 3) == [], "too early to say"
    assert problems_after(1, 60) == []
    assert pace_text(40).startswith("40 reports carry")


def test_timers_that_drift_by_a_report_are_one_pace_and_changes_at_random_are_none() -> None:
    def pace_of(*distances: int) -> MeasurementPace:
        pace, value = MeasurementPace(100), 0.0
        for distance in (1, *distances):
            value += 1
            for _ in range(distance):
                pace.is_new(report(value))
        pace.is_new(report(value + 1))
        return pace

    assert pace_of(10, 9, 11, 10, 10).reports_per_measurement == 10
    assert pace_of(3, 17, 40, 3, 25).reports_per_measurement == 0
    assert pace_of(10, 10, 10, 1).reports_per_measurement == 0
    assert pace_of(1, 1, 1, 7).reports_per_measurement == 1


def test_twins_are_counted_and_named(case: Callable[[str], bytes]) -> None:
    cell = link()
    cell.tracker.on_kpm(1, decode_report(case("ueid-all-zero-amf")))
    ((fault, text),) = report_problems(cell)
    assert fault == "ue_twins"
    assert text == (
        f"{CELL}: 3 UEs cannot be told apart: 3 named gNB AMF id 0 of GUAMI 00f110-1-1-1; they are never limited"
    )
    cell.tracker.on_kpm(2, decode_report(case("ueid-two-amfs-same-id")))
    assert report_problems(cell) == []
