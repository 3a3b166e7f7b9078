"""Nobody is limited before that is kept; and whom the next instance finds limited."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from controlling import Controlling, controls, shares

from xapp.e2.kpm.report_reader import KpmReport, decode_report
from xapp.e2.kpm.report_writer import encode_report
from xapp.e2.ue_id.ue_id import GnbDuUeId
from xapp.quotas.quota_store import KEY
from xapp.quotas.rc_encoder import SUSPECT_S
from xapp.ric.sdl import SharedStore


def test_nobody_is_limited_before_that_is_kept(rig: Controlling) -> None:
    rig.decide(shares(4, 2), keep=False)
    assert rig.changes == 1
    rig.sender.pump()
    assert rig.silence()
    rig.keeper.save()
    rig.sender.pump()
    assert rig.play() == {1: 40, 2: 20}
    assert len(rig.store.get(KEY + rig.node.name)["ues"]) == 2


def redis_store(redis_server: Any, namespace: str) -> SharedStore:
    import os

    os.environ["DBAAS_SERVICE_HOST"], os.environ["DBAAS_SERVICE_PORT"] = redis_server.host, str(redis_server.port)
    try:
        store = SharedStore(namespace)
        assert store.is_shared
        store.get("connects now")
        return store
    finally:
        del os.environ["DBAAS_SERVICE_HOST"], os.environ["DBAAS_SERVICE_PORT"]


def test_the_next_instance_releases_first_whom_a_killed_one_left(node: Any, redis_server: Any) -> None:
    first = Controlling(node, redis_store(redis_server, "quota-next"))
    first.decide(shares(4, 3))
    first.play()
    # Killed: nobody says a word.
    second = Controlling(node, redis_store(redis_server, "quota-next"))
    assert second.encoder.limited == 2
    second.decide(shares(5, 3), keep=False)
    order = []
    for _ in range(4):
        request, header, quota = second.next_quota()
        order.append((header.ue_id, quota.max_percent))
        second.acknowledge(request)
        second.keeper.save()
        second.sender.pump()
    assert set(order[:2]) == {(GnbDuUeId(1), 100), (GnbDuUeId(2), 100)}
    assert set(order[2:]) == {(GnbDuUeId(1), 50), (GnbDuUeId(2), 30)}
    for rig in (first, second):
        rig.store.close()


def test_what_is_kept_and_not_readable_is_passed_over(node: Any, store: SharedStore) -> None:
    good = {"gNB-DU-UEID": {"gNB-CU-UE-F1AP-ID": 5}}
    wrong = [{"gNB-DU-UEID": {"gNB-CU-UE-F1AP-ID": value}} for value in ("x", -1, None, [5])]
    for damaged, released in (
        ("x", {}),
        ([], {}),
        ({"ues": 3}, {}),
        ({"ues": [None, 7, {}, {"gNB-DU-UEID": {}}, {"what": {}}, *wrong, good]}, {5: 100}),
    ):
        store.set(KEY + node.name, damaged)
        assert Controlling(node, store).play() == released


def test_while_shared_data_do_not_answer_nobody_is_limited(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBAAS_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("DBAAS_SERVICE_PORT", "1")
    store = SharedStore(timeout_s=1.0)
    rig = Controlling(node, store)
    rig.decide(shares(4))
    assert not store.healthy
    assert rig.silence()
    store.close()


def report(*ues: int) -> KpmReport:
    names = tuple(map(GnbDuUeId, ues))
    return decode_report(encode_report(names, ("DRB.UEThpUl",), np.ones((len(names), 1)), 100, reals=()))


def test_every_ue_that_a_node_reports_at_the_start_is_released_once_before_it_is_limited(rig: Controlling) -> None:
    rig.sender.reported(rig.node.name, report(1, 2))
    assert rig.encoder.limited == 2, "as far as anybody knows"
    rig.decide(shares(5, 3), keep=False)
    order = []
    for _ in range(4):
        request, header, quota = rig.next_quota()
        order.append((header.ue_id, quota.max_percent))
        rig.acknowledge(request)
        rig.sender.reported(rig.node.name, report(1, 2))
        rig.keeper.save()
        rig.sender.pump()
    assert set(order[:2]) == {(GnbDuUeId(1), 100), (GnbDuUeId(2), 100)}
    assert set(order[2:]) == {(GnbDuUeId(1), 50), (GnbDuUeId(2), 30)}
    assert rig.silence()


def test_ues_limited_tells_the_truth_of_what_may_be_left_and_of_what_is_not(rig: Controlling) -> None:
    rig.sender.reported(rig.node.name, report(1, 2, 3))
    assert (rig.encoder.limited, rig.keeper.limited) == (3, 3)
    rig.sender.pump()
    assert rig.play() == {1: 100, 2: 100, 3: 100}
    assert (rig.encoder.limited, rig.metrics["releases_acked"], rig.metrics["controls_sent"]) == (0, 3, 0)


def test_the_releases_of_a_start_keep_to_the_nodes_rate(node: Any, store: SharedStore) -> None:
    rig = Controlling(node, store, controls(max_controls_per_s=2))
    began_s = time.monotonic()
    rig.sender.reported(node.name, report(1, 2, 3, 4, 5))
    rig.sender.pump()
    released = len(rig.play())
    # A busy machine may take seconds.
    assert 2 <= released <= 2 * (1 + int(time.monotonic() - began_s))
    assert rig.encoder.limited == 5 - released


def test_who_comes_long_after_the_start_is_not_suspected(rig: Controlling) -> None:
    rig.encoder.reported(report(1), 100.0)
    rig.encoder.reported(report(1, 2), 100.0 + SUSPECT_S)
    rig.encoder.reported(report(1, 2, 3), 100.1 + SUSPECT_S)
    rig.sender.pump()
    assert rig.play() == {1: 100, 2: 100}
