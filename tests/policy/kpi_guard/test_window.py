"""Windows and their comparison, against a plain implementation that goes UE by UE."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.kpi_guard.gross import Gross
from policy.kpi_guard.history import History
from policy.kpi_guard.rules import GuardRules
from policy.kpi_guard.window import DELIVERY, KPIS, LATENCY_UTILITY, UTILITY, GuardReport, Kpi, Window, difference

ALL = (*KPIS, DELIVERY)


class Said(NamedTuple):
    """What one report says of one UE."""

    served: float
    traffic_class: float
    lost: float
    delivered: float


Reports = list[dict[int, Said]]
"""Of a window, the report before it first; each by UE."""


@st.composite
def reports(draw: st.DrawFn) -> Reports:
    """Few UEs that come, go, come again, change their class, and of which not everything is always reported."""
    mostly = draw(st.booleans())
    there = st.lists(st.integers(1, 6), max_size=6, unique=True)
    ues = draw(there)
    made = []
    for _ in range(draw(st.integers(2, 5))):
        if not mostly:
            ues = draw(there)
        made.append(
            {
                ue: Said(
                    draw(st.sampled_from([0.0, 250.0, 1e4, math.nan] if not mostly else [0.0, 250.0, 1e4])),
                    draw(st.sampled_from([0.0, 2.0, math.nan])) if not mostly else float(ue % 3),
                    draw(st.sampled_from([0.0, 3.0, math.nan])),
                    draw(st.sampled_from([0.0, 40.0])),
                )
                for ue in ues
            }
        )
    return made


def window_of(said: Reports, *, held_out: bool = False, packets: bool = True) -> Window:
    window = Window(held_out)
    for before, now in zip(said, said[1:]):
        served, classes, lost, delivered = np.array(list(now.values()) or np.zeros((0, 4)), float).reshape(-1, 4).T
        nothing_U = np.full(len(now), np.nan)
        window.add(
            GuardReport(
                tuple(now), served, classes, nothing_U, nothing_U, 100,
                lost_packets_U=lost if packets else None, delivered_packets_U=delivered if packets else None,
            ),
            frozenset(before),
        )  # fmt: skip
    return window


def plainly_stayed(said: Reports) -> dict[int, tuple[list[Said], int]]:
    """UEs that were there in all reports, with what was said of them and their last class."""
    stayed = {}
    for ue in {ue for now in said for ue in now}:
        mine = [now[ue] for before, now in zip(said, said[1:]) if ue in before and ue in now]
        mine = [each for each in mine if not math.isnan(each.served)]
        if len(mine) == len(said) - 1:
            last = mine[-1].traffic_class
            stayed[ue] = mine, -1 if math.isnan(last) else int(last)
    return stayed


def plain_value(said: Reports, ues: list[int], kpi: Kpi, packets: bool) -> float:
    values = []
    for ue in ues:
        mine, _ = plainly_stayed(said)[ue]
        if kpi is DELIVERY:
            known = [each for each in mine if not math.isnan(each.lost + each.delivered)] if packets else []
            lost, delivered = sum(each.lost for each in known), sum(each.delivered for each in known)
            if lost + delivered:
                values.append(math.log1p(10.0 * delivered / (lost + delivered)))
        else:
            values.append(math.log1p(sum(each.served for each in mine) / (100 * len(mine)) / 100.0))
    return sum(values) / len(values) if values else math.nan


def plain_matched(three: tuple[Reports, ...], kpi: Kpi) -> list[int]:
    stayed = [plainly_stayed(said) for said in three]
    return [
        ue
        for ue, (_, traffic_class) in stayed[0].items()
        if all(ue in each and each[ue][1] == traffic_class for each in stayed)
        and (traffic_class >= 1 or not kpi.latency)
    ]


@settings(deadline=None, max_examples=60)
@given(before=reports(), middle=reports(), after=reports(), packets=st.booleans())
def test_a_window_is_compared_as_ue_by_ue(before: Reports, middle: Reports, after: Reports, packets: bool) -> None:
    three = before, middle, after
    first, second, third = windows = [window_of(said, packets=packets) for said in three]
    for kpi in ALL:
        ues = plain_matched(three, kpi)
        assert {len(rows) for rows in kpi.matched(windows)} == {len(ues)}
        found = difference(first, second, third, kpi)
        expected = math.nan
        if len(ues) >= 2:
            own = plain_value(middle, ues, kpi, packets)
            sides = [plain_value(said, ues, kpi, packets) for said in (before, after)]
            expected = own - sum(sides) / 2
        assert found.above == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)
        if not math.isnan(expected):
            assert found.level == pytest.approx(own, rel=1e-12)


def steady(rate: float) -> Reports:
    return [{ue: Said(rate * ue, float(ue % 2), 1.0, 9.0) for ue in range(1, 101)}] * 11


def test_every_kind_of_comparison_is_among_those_that_were_tried() -> None:
    """The property above would hold for comparisons that never find anybody."""
    first, second, third = windows = [window_of(steady(rate)) for rate in (100.0, 300.0, 100.0)]
    assert [len(kpi.matched(windows)[0]) for kpi in ALL] == [100, 50, 50]
    assert difference(first, second, third, UTILITY).above > 0.0
    assert difference(first, second, third, LATENCY_UTILITY).above > 0.0
    assert difference(first, second, third, DELIVERY).above == pytest.approx(0.0)


def test_a_history_has_the_comparisons_of_the_windows_that_it_keeps() -> None:
    rng = np.random.default_rng(4)
    windows = [window_of(steady(rate), held_out=n % 4 == 3) for n, rate in enumerate(rng.uniform(50, 500, 20))]
    history = History(ALL, 8)
    for n, window in enumerate(windows, 1):
        history.add(window)
        kept = windows[max(0, n - 8) : n]
        assert history.windows == kept
        for kpi in ALL:
            every = [difference(a, b, c, kpi) for a, b, c in zip(kept, kept[1:], kept[2:])]
            assert [history.difference(at, kpi) for at in range(1, len(kept) - 1)] == every
            calm = [
                found
                for found, three in zip(every, zip(kept, kept[1:], kept[2:]))
                if not any(each.held_out for each in three)
            ]
            assert history.undisturbed(kpi) == calm


def test_a_fall_is_one_against_the_windows_before_it() -> None:
    gross = Gross(GuardRules())
    calm, fallen = window_of(steady(300.0)), window_of(steady(1.0))
    assert gross.fell([calm, calm, calm, fallen])
    assert not gross.fell([calm, calm, calm, calm])
    assert not gross.fell([calm, calm, fallen])
    assert not gross.fell([calm, window_of(steady(300.0), held_out=True), calm, fallen])
    assert gross.add(window_of(steady(1.0)), window_of(steady(300.0), held_out=True)) > 0.25
