"""Windows are columns; they say what going through them UE by UE and report by report says, to the last digit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.kpi_guard.window import DELIVERY, FEWEST_UES, KPIS, UTILITY_BITS, GuardReport, Kpi, Window, differences

Ue = dict[str, float]


class PlainWindow:
    """The same by definition: one dictionary for each UE."""

    def __init__(self) -> None:
        self.reports = self.slots = 0
        self.ues: dict[int, Ue] = {}

    def add(self, report: GuardReport, before: frozenset[int]) -> None:
        self.reports += 1
        self.slots += report.slots
        for row, ue in enumerate(report.ue_ids):
            served, traffic_class = float(report.served_bits_U[row]), float(report.traffic_class_U[row])
            if ue not in before or math.isnan(served):
                continue
            totals = self.ues.setdefault(ue, {"bits": 0.0, "reports": 0, "lost": 0.0, "delivered": 0.0})
            totals["bits"] += served
            totals["reports"] += 1
            totals["class"] = -1 if math.isnan(traffic_class) else int(traffic_class)
            if report.lost_packets_U is not None and report.delivered_packets_U is not None:
                lost, delivered = float(report.lost_packets_U[row]), float(report.delivered_packets_U[row])
                if not math.isnan(lost + delivered):
                    totals["lost"] += lost
                    totals["delivered"] += delivered

    def value(self, kpi: Kpi, ues: Sequence[int]) -> float:
        if kpi is not DELIVERY:
            return sum(math.log1p(self.ues[ue]["bits"] / (self.slots * UTILITY_BITS)) for ue in ues) / len(ues)
        shares = []
        for totals in (self.ues[ue] for ue in ues):
            if totals["delivered"] + totals["lost"]:
                shares.append(math.log1p(10.0 * (totals["delivered"] / (totals["delivered"] + totals["lost"]))))
        return sum(shares) / len(shares) if shares else math.nan


def plain_difference(windows: Sequence[PlainWindow], kpi: Kpi) -> tuple[float, float]:
    ues = [
        ue
        for ue, first in windows[0].ues.items()
        if all(
            ue in each.ues
            and each.ues[ue]["reports"] == each.reports
            and each.ues[ue]["class"] == first["class"]
            and (not kpi.latency or first["class"] >= 1)
            for each in windows
        )
    ]
    if len(ues) < FEWEST_UES:
        return math.nan, math.nan
    before, own, after = (window.value(kpi, ues) for window in windows)
    return own - (before + after) / 2, own


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    ues=st.integers(0, 30),
    churn=st.sampled_from([0.0, 0.02, 0.2]),
    unknown=st.sampled_from([0.0, 0.02, 0.3]),
    packets=st.booleans(),
)
def test_three_windows_differ_as_going_through_them_one_by_one_says(
    seed: int, ues: int, churn: float, unknown: float, packets: bool
) -> None:
    rng = np.random.default_rng(seed)
    ids = list(range(1, ues + 1))
    classes = {ue: float(rng.choice([0.0, 1.0, 2.0, math.nan])) for ue in ids}
    before: frozenset[int] = frozenset()
    windows, plain = [Window(False) for _ in range(3)], [PlainWindow() for _ in range(3)]
    for mine, theirs in zip(windows, plain):
        for _ in range(rng.integers(0, 5)):
            for at in range(ues):
                if rng.random() < churn:
                    ids[at] = max(ids) + 1
                if ids[at] not in classes or rng.random() < churn / 4:
                    classes[ids[at]] = float(rng.integers(3))

            def some(make: Callable[[], np.ndarray]) -> np.ndarray:
                return np.where(rng.random(ues) < unknown, math.nan, make())

            report = GuardReport(
                tuple(rng.permutation(ids).tolist()) if rng.random() < 0.3 else tuple(ids),
                some(lambda: rng.uniform(0.0, 1e5, ues)),
                np.array([classes[ue] for ue in ids]),
                np.zeros(ues),
                np.zeros(ues),
                int(rng.integers(1, 200)),
                lost_packets_U=some(lambda: rng.poisson(1.0, ues) * 0.5) if packets else None,
                delivered_packets_U=some(lambda: rng.poisson(1.0, ues) * 1.5) if packets else None,
            )
            mine.add(report, before)
            theirs.add(report, before)
            before = frozenset(report.ue_ids)
    kpis = (*KPIS, DELIVERY)
    first, second, third = windows
    for kpi, found in zip(kpis, differences(first, second, third, kpis)):
        assert tuple(found) == pytest.approx(plain_difference(plain, kpi), rel=0.0, abs=0.0, nan_ok=True), kpi.name
