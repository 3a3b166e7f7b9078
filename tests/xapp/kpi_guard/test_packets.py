"""Packets lost and delivered, from a DCM indication to the guard; and a node that does not report them."""

from __future__ import annotations

import numpy as np
import pytest

from policy.kpi_guard.window import DELIVERY, GuardReport, Window, differences
from xapp.control.cell_tracker import CellTracker
from xapp.e2.dcm import messages as dcm
from xapp.lab.gnb.ran_functions import dcm_function, make_carriers

HEADER = dcm.IndicationHeader("00f110000000011", 100, 0)


def read(**columns: np.ndarray) -> CellTracker:
    indication = dcm.Indication((1, 2), 100, 200, 4, served_bits=np.array([500.0, 0.0]), **columns)
    tracker = CellTracker("gnb/1", num_rbgs=6, report_period_ms=100, has_kpm=False, has_dcm=True)
    assert tracker.on_dcm(1, HEADER, dcm.decode_indication(dcm.encode_indication(indication)))
    return tracker


def test_packets_come_from_the_indication_to_the_guard() -> None:
    service = read(lost_packets=np.array([1.5, np.nan]), delivered_packets=np.array([2.0, 0.0])).service
    assert service is not None
    assert service.lost_packets_U == pytest.approx([1.5, np.nan], nan_ok=True)
    assert service.delivered_packets_U == pytest.approx([2.0, 0.0])


def test_a_node_without_them_goes_on_as_before() -> None:
    service = read().service
    assert service is not None
    assert (service.lost_packets_U, service.delivered_packets_U) == (None, None)


def test_the_node_says_that_it_reports_packets() -> None:
    function = dcm_function(make_carriers(1, 1, 6))
    assert dcm.decode_ran_function(function.definition).reports_packets
    older = dcm.encode_ran_function(dcm.RanFunction(make_carriers(1, 1, 6)))
    assert not dcm.decode_ran_function(older).reports_packets


def window(lost: float | None, held_out: bool) -> Window:
    made, nothing_U = Window(held_out), np.full(2, np.nan)
    packets = {} if lost is None else {"lost_packets_U": np.full(2, lost), "delivered_packets_U": np.full(2, 8.0)}
    for _ in range(3):
        made.add(
            GuardReport((1, 2), np.full(2, 100.0), np.ones(2), nothing_U, nothing_U, 100, **packets), frozenset({1, 2})
        )
    return made


def test_a_hold_out_that_loses_fewer_packets_is_better() -> None:
    (found,) = differences(window(8.0, False), window(0.0, True), window(8.0, False), (DELIVERY,))
    assert found.above > 0.3
    (without,) = differences(window(None, False), window(None, True), window(None, False), (DELIVERY,))
    assert np.isnan(without.above)
