"""Quotas follow what was measured, however many reports say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from controlling import RBGS, Controlling, controls, shares

from policy.allocation import DYNAMIC, IDLE, Allocation
from xapp.control.cell_tracker import CellTracker
from xapp.control.encoder import DecisionContext
from xapp.e2.kpm.report_reader import decode_report
from xapp.ric.sdl import SharedStore


def test_shares_are_averaged_over_measurements_not_reports(node: Any, store: SharedStore) -> None:
    rig = Controlling(node, store, controls(smooth_periods=2))
    rig.decide(shares(2), measurement=1)
    for _ in range(5):
        rig.decide(shares(8), measurement=2)
    rig.play()
    assert rig.encoder.explain(rig.node.cell) == {"quotas": {1: 50}}, "the mean of 20 and 80, once each"


def test_a_ue_is_gone_after_measurements_without_it_not_reports(rig: Controlling) -> None:
    rig.decide(shares(4), measurement=1)
    rig.play()
    without_it = Allocation((2,), np.full(RBGS, DYNAMIC, np.int16))
    for _ in range(10):
        rig.decide(without_it, measurement=2)
    assert rig.silence()
    rig.decide(without_it, measurement=3)
    rig.decide(without_it, measurement=4)
    assert rig.play() == {1: 100}


def test_twins_are_never_limited(node: Any, store: SharedStore, case: Callable[[str], bytes]) -> None:
    tracker = CellTracker(node.cell, num_rbgs=RBGS, report_period_ms=100, has_kpm=True, has_dcm=False)
    rig = Controlling(node, store)
    for sn, name in enumerate(("ueid-all-zero-amf", "ueid-two-amfs-same-id")):
        tracker.on_kpm(sn, decode_report(case(name)))
        state = tracker.state()
        assert state is not None
        decided = Allocation(state.ue_ids, np.full(RBGS, IDLE, np.int16))
        rig.sender.send(rig.target, decided, DecisionContext(state, kpm=tracker.kpm))
        rig.keeper.save()
        rig.sender.pump()
        in_force = rig.play()
        assert len(in_force) == len(state.ue_ids) == (0, 2)[sn]
        assert sum(tracker.twins.values()) == (3, 0)[sn]
