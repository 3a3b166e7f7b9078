"""Quotas on their way to a node and what comes back, over real sockets; and whom the next instance finds limited."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import xapp.control.sender
from policy.allocation import DYNAMIC, IDLE, Allocation
from policy.cell_state import make_cell_state
from policy.intent import Intent
from xapp.a1.enforcement import PoliciesInForce
from xapp.a1.policy_model import parse_policy
from xapp.a1.policy_set import PolicySet
from xapp.config.model import Controls, NodeConfig, QuotaConfig
from xapp.control.cell_link import CellLink, ControlTarget, Report
from xapp.control.cell_tracker import CellTracker
from xapp.control.decision_record import ControlOutcome, ControlStatus
from xapp.control.encoder import DecisionContext
from xapp.control.sender import ControlSender
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm.report_reader import decode_report
from xapp.e2.kpm.report_writer import encode_report
from xapp.e2.rc import messages as rc
from xapp.e2.ue_id.ue_id import GnbDuUeId, GnbUeId, Guami, UeId, ue_key
from xapp.monitoring.metrics import Metrics
from xapp.quotas.quota_store import KEY, QuotaKeeper
from xapp.ric.sdl import SharedStore
from xapp.rmr.transport import RIC_CONTROL_REQUEST

FUNCTION_ID = 3
INSTANCE = 40
RBGS = 10
PLMN = bytes.fromhex("130062")
FAILED = e2ap.Cause("ricRequest", "control-failed-to-execute")


def controls(**quota: int) -> Controls:
    rules = QuotaConfig(**{"smooth_periods": 1, "max_controls_per_s": 1000, **quota})
    return Controls(quota=rules, nodes=(NodeConfig(plmn="310260", sst=7, sd="0000FF"),))


def shares(*owned: int) -> Allocation:
    """UEs 1, 2, ... own so many RBGs each, nobody the others."""
    owner_M = np.full(RBGS, IDLE, np.int16)
    owner_M[: sum(owned)] = np.repeat(np.arange(len(owned)), owned)
    return Allocation(tuple(range(1, 1 + len(owned))), owner_M)


ECHOES = rc.QuotaForm(call_process_ids=True)
"""As srsRAN lists it."""


class Controlling:
    """A sender with the RC encoder of one node, and shared data in memory or in Redis."""

    def __init__(
        self, node: Any, store: SharedStore, config: Controls | None = None, form: rc.QuotaForm = ECHOES
    ) -> None:
        self.node, self.store = node, store
        self.metrics = Metrics()
        self.sender = ControlSender(node.xapp, self.metrics, instance_epoch=1, lease_periods=2)
        self.changes = 0
        self.keeper = QuotaKeeper(config or controls(), store, on_change=self._changed)
        self.encoder = self.keeper.encoder(node.name, form)
        carrier = dcm.Carrier.of("", bwp_size_prb=40, rbg_size_prb=4)
        self.target = ControlTarget(node.name, node.cell, FUNCTION_ID, INSTANCE, carrier, self.encoder)
        self.sender.watch(self.target)

    def _changed(self) -> None:
        self.changes += 1

    def decide(
        self, allocation: Allocation, *, ue_ids: tuple[UeId, ...] = (), keep: bool = True, **options: Any
    ) -> bool:
        """One decision, and (keep) what the task runner then does. ue_ids: as the node reports them, default DU ids."""
        names = ue_ids or tuple(map(GnbDuUeId, allocation.ue_ids))
        report = decode_report(encode_report(names, ("DRB.UEThpUl",), np.ones((len(names), 1)), 100, reals=()))
        keys = tuple(map(ue_key, names))
        state = make_cell_state(self.node.cell, num_rbgs=RBGS, slots_per_dcm=100, slot=0, ue_ids=keys)
        allocation = Allocation(keys, allocation.owner_M)
        intent = options.pop("intent", Intent())
        measurement = options.pop("measurement", None)
        context = DecisionContext(state, intent, kpm=report, measurement=measurement)
        sent = self.sender.send(self.target, allocation, context, **options)
        if keep:
            self.keeper.save()
            self.sender.pump()
        return sent

    def receive(self, timeout_s: float = 10.0) -> e2ap.ControlRequest | None:
        message = self.node.rmr.receive(timeout_s)
        if message is None:
            return None
        assert (message.mtype, message.meid) == (RIC_CONTROL_REQUEST, self.node.name)
        return e2ap.decode_control_request(message.payload)

    def next_quota(self) -> tuple[e2ap.ControlRequest, rc.ControlHeader, rc.PrbQuota]:
        request = self.receive()
        assert request is not None, "no control came"
        (quota,) = rc.decode_prb_quotas(request.message)
        return request, rc.decode_control_header(request.header), quota

    def silence(self) -> bool:
        return self.receive(0.05) is None

    def acknowledge(self, request: e2ap.ControlRequest, *, echo: bool = True) -> None:
        call = request.call_process_id if echo else None
        self.sender.on_acknowledge(e2ap.ControlAcknowledge(request.request_id, FUNCTION_ID, call), self.node.name)

    def refuse(self, request: e2ap.ControlRequest, *, echo: bool = True) -> None:
        call = request.call_process_id if echo else None
        self.sender.on_failure(e2ap.ControlFailure(request.request_id, FUNCTION_ID, FAILED, call), self.node.name)

    def play(self, **options: bool) -> dict[int, int]:
        """The node acknowledges whatever comes: {UE: max %}, the last it was told."""
        in_force = {}
        while (request := self.receive(0.05)) is not None:
            (quota,) = rc.decode_prb_quotas(request.message)
            in_force[ue_key(rc.decode_control_header(request.header).ue_id)] = quota.max_percent
            self.acknowledge(request, **options)
        return in_force


@pytest.fixture
def store() -> Iterator[SharedStore]:
    opened = SharedStore(environ={})
    yield opened
    opened.close()


@pytest.fixture
def rig(node: Any, store: SharedStore) -> Controlling:
    return Controlling(node, store)


def test_a_quota_arrives_as_it_was_meant(rig: Controlling) -> None:
    outcome = ControlOutcome()
    assert not rig.decide(shares(4), outcome=outcome)  # its id had to be kept first
    request, header, quota = rig.next_quota()
    assert request.request_id == e2ap.RicRequestId(123, INSTANCE)
    assert (request.function_id, request.ack_request) == (FUNCTION_ID, e2ap.AckRequest.ACK)
    assert header == rc.ControlHeader(GnbDuUeId(1), 2, 6)
    assert quota == rc.PrbQuota(PLMN, 7, 0xFF, 0, 40, 100)
    (sent,) = outcome.controls
    assert (sent.what, sent.status, outcome.nothing) == ("controls", ControlStatus.SENT, "")
    rig.acknowledge(request)
    assert sent.status is ControlStatus.ACKNOWLEDGED
    assert (rig.metrics["controls_sent"], rig.metrics["controls_acked"]) == (1, 1)
    assert rig.encoder.explain(rig.node.cell) == {"quotas": {1: 40}}
    again = ControlOutcome()
    assert not rig.decide(shares(4), outcome=again)
    assert again.nothing == "unchanged"
    assert rig.silence()


def test_a_ue_is_named_as_the_node_reported_it(rig: Controlling) -> None:
    name = GnbUeId(1234, Guami(PLMN, 1, 2, 3), ran_ueid=bytes(7) + b"\x2a")
    rig.decide(shares(4), ue_ids=(name,))
    assert rig.next_quota()[1].ue_id == name


def test_nobody_is_limited_before_that_is_kept(rig: Controlling) -> None:
    rig.decide(shares(4, 2), keep=False)
    assert rig.changes == 1
    rig.sender.pump()
    assert rig.silence()
    rig.keeper.save()
    rig.sender.pump()
    assert rig.play() == {1: 40, 2: 20}
    assert len(rig.store.get(KEY + rig.node.name)["ues"]) == 2


def test_a_node_that_does_not_say_what_it_answers_gets_one_control_at_a_time(rig: Controlling) -> None:
    rig.decide(shares(4, 3, 2))
    for percent in (40, 30, 20):
        request, _, quota = rig.next_quota()
        assert quota.max_percent == percent
        assert rig.silence()
        rig.acknowledge(request, echo=False)
    assert rig.metrics["controls_acked"] == 3
    assert rig.metrics["answers_unmatched"] == 0
    rig.sender.on_acknowledge(e2ap.ControlAcknowledge(request.request_id, FUNCTION_ID, None), rig.node.name)
    assert rig.metrics["answers_unmatched"] == 1


def test_a_node_that_says_it_gets_several_at_a_time(rig: Controlling) -> None:
    rig.decide(shares(4, 3, 2))
    rig.acknowledge(rig.next_quota()[0])
    second, third = rig.next_quota(), rig.next_quota()
    rig.refuse(third[0])
    rig.acknowledge(second[0])
    assert (rig.metrics["controls_acked"], rig.metrics["controls_failed"]) == (2, 1)
    assert rig.metrics.summary()["dropped"] == {"quota_refused_control_failed_to_execute": 1}
    assert rig.encoder.explain(rig.node.cell) == {"quotas": {1: 40, 2: 30}}
    rig.decide(shares(1, 1, 2))
    assert rig.play() == {1: 10, 2: 10}  # the refused one waits


def test_a_control_that_nobody_answers_is_swept_and_sent_again(
    rig: Controlling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xapp.control.sender, "ANSWER_TIMEOUT_S", 0.0)
    monkeypatch.setattr("xapp.quotas.quota_book.FIRST_RETRY_S", 0.0)
    rig.decide(shares(4))
    rig.next_quota()
    time.sleep(0.001)
    rig.sender.sweep()
    assert rig.metrics["controls_unanswered"] == 1
    assert rig.encoder.explain(rig.node.cell) == {"quotas": {}}
    rig.sender.pump()
    assert rig.play() == {1: 40}


def test_without_a_route_nothing_changes_and_it_is_tried_again(rig: Controlling) -> None:
    routes = f"newrt|start\nrte|{RIC_CONTROL_REQUEST}|{rig.node.rmr.source}\nnewrt|end\n"
    rig.node.xapp.routes.update("newrt|start\nrte|1|192.0.2.1:9\nnewrt|end\n")
    rig.decide(shares(4))
    assert rig.metrics.summary()["dropped"]["control_not_sent"] >= 1
    assert rig.sender.outstanding == 0
    rig.node.xapp.routes.update(routes)
    rig.sender.pump()
    assert rig.play() == {1: 40}


def test_a_cell_that_is_released_has_no_limited_ue(rig: Controlling) -> None:
    rig.decide(shares(4, 3))
    rig.play()
    assert rig.sender.release(rig.node.cell)
    assert rig.play() == {1: 100, 2: 100}
    assert (rig.metrics["releases_sent"], rig.metrics["releases_acked"]) == (2, 2)
    rig.keeper.save()
    assert rig.store.get(KEY + rig.node.name) is None
    assert not rig.sender.release(rig.node.cell)
    rig.decide(shares(4, 3))
    assert rig.play() == {1: 40, 2: 30}


@pytest.mark.parametrize("echo", [True, False])
def test_an_xapp_that_stops_releases_everybody_whatever_the_rate(node: Any, store: SharedStore, echo: bool) -> None:
    rig = Controlling(node, store, controls(max_controls_per_s=3))
    rig.decide(shares(2, 3, 1))
    assert rig.play(echo=echo) == {1: 20, 2: 30, 3: 10}
    rig.sender.release_all()
    assert rig.sender.unfinished
    assert rig.play(echo=echo) == {1: 100, 2: 100, 3: 100}
    assert not rig.sender.unfinished
    assert not rig.decide(shares(2, 3, 1))
    assert rig.silence()


def test_an_instance_that_stands_back_leaves_its_quotas_to_the_one_that_controls(rig: Controlling) -> None:
    rig.decide(shares(4, 3))
    rig.play()
    rig.sender.enter_standby()
    rig.keeper.enter_standby()
    rig.sender.release_all()
    assert not rig.sender.unfinished
    rig.keeper.save()
    assert rig.silence()
    assert len(rig.store.get(KEY + rig.node.name)["ues"]) == 2  # for the other one to read
    rig.sender.take_control(2)
    rig.sender.pump()
    assert rig.silence(), "who was limited is written in shared data, not in the book of before"


def test_a_cap_is_enforced_once_the_node_has_acknowledged_it(rig: Controlling) -> None:
    everybody = parse_policy('{"limits": {"per_ue": {"max_share_percent": 40}}}')
    in_class = parse_policy(
        '{"scope": {"slices": [{"traffic_class": "embb"}]}, "limits": {"per_slice": {"max_share_percent": 50}}}'
    )
    in_force = PoliciesInForce(PolicySet({"everybody": everybody, "in_class": in_class}))
    tracker = CellTracker(rig.node.cell, num_rbgs=RBGS, report_period_ms=100, has_kpm=True, has_dcm=False)
    link = CellLink(tracker, rig.target)
    classes = [0.0, 0.0, 2.0]
    state = make_cell_state(
        rig.node.cell, num_rbgs=RBGS, slots_per_dcm=100, slot=0, ue_ids=(1, 2, 3), traffic_class_U=classes
    )
    link.newest = Report(link, state, 1, 0)

    def reasons() -> dict[str, list[str]]:
        return {name: [r.split(": ")[1] for r in held.reasons] for name, held in in_force.statuses([link]).items()}

    intent = in_force.intent_for(state)
    assert reasons() == {"everybody": ["UEs 1, 2, 3"], "in_class": ["UEs 1, 2"]}
    rig.decide(shares(4, 3, 3), intent=intent)
    assert rig.play() == {1: 25, 2: 25, 3: 30}
    assert reasons() == {"everybody": [], "in_class": []}
    rig.sender.release(rig.node.cell)
    assert rig.play() == {1: 100, 2: 100, 3: 100}
    assert reasons() == {"everybody": ["UEs 1, 2, 3"], "in_class": ["UEs 1, 2"]}
    in_force.change(lambda known: PolicySet({**known.policies, "silent": parse_policy('{"mode": "shadow"}')}))
    assert not [r for found in reasons().values() for r in found if r.startswith("UE")], "nothing is to be sent"


def test_quotas_beyond_the_rate_wait(node: Any, store: SharedStore) -> None:
    rig = Controlling(node, store, controls(max_controls_per_s=2))
    rig.decide(shares(2, 3, 1))
    assert len(rig.play()) == 2
    assert rig.encoder.waiting == 1


def test_a_node_that_was_away_is_told_again(rig: Controlling) -> None:
    rig.decide(shares(4))
    rig.play()
    rig.sender.unwatch(rig.node.name)
    assert rig.keeper.encoder(rig.node.name, ECHOES) is rig.encoder
    rig.sender.pump()
    assert rig.silence()
    rig.sender.watch(rig.target)
    assert rig.play() == {1: 40}


def test_a_ue_without_a_name_is_left_alone(rig: Controlling) -> None:
    state = make_cell_state(rig.node.cell, num_rbgs=RBGS, slots_per_dcm=100, slot=0, ue_ids=(1,))
    assert not rig.sender.send(rig.target, shares(4), DecisionContext(state))
    rig.keeper.save()
    rig.sender.pump()
    assert rig.silence()


def test_an_operators_cap_reaches_the_node(rig: Controlling) -> None:
    free = Allocation((1, 2), np.full(RBGS, DYNAMIC, np.int16))
    rig.decide(free, intent=Intent(max_share_percent={1: 3.0}))
    assert rig.play() == {1: 3}
    rig.decide(free)
    assert rig.play() == {1: 100}


# -- what the next instance finds -----------------------------------------------------------------------------------


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
    for damaged in ("x", [], {"ues": 3}, {"ues": [None, 7, {}, {"gNB-DU-UEID": {}}, {"what": {}}, *wrong, good]}):
        store.set(KEY + node.name, damaged)
        rig = Controlling(node, store)
    assert rig.play() == {5: 100}


def test_while_shared_data_do_not_answer_nobody_is_limited(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBAAS_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("DBAAS_SERVICE_PORT", "1")
    store = SharedStore(timeout_s=1.0)
    rig = Controlling(node, store)
    rig.decide(shares(4))
    assert not store.healthy
    assert rig.silence()
    store.close()


# -- as the node wants it ---------------------------------------------------------------------------------------------


def test_a_node_that_lists_no_call_process_ids_gets_none_and_one_control_at_a_time(
    node: Any, store: SharedStore
) -> None:
    rig = Controlling(node, store, form=rc.QuotaForm(rc.Layout.UNWRAPPED))
    rig.decide(shares(4, 3))
    first, _, quota = rig.next_quota()
    assert first.call_process_id is None
    assert first.message == rc.encode_prb_quotas((quota,), wrapped=False)
    assert rig.silence()
    elsewhere = e2ap.ControlAcknowledge(e2ap.RicRequestId(123, INSTANCE + 1), FUNCTION_ID)
    rig.sender.on_acknowledge(elsewhere, rig.node.name)
    assert rig.metrics["answers_unmatched"] == 1, "the answer to another's control"
    rig.acknowledge(first)
    second = rig.next_quota()[0]
    rig.acknowledge(second)
    assert rig.encoder.explain(rig.node.cell) == {"quotas": {1: 40, 2: 30}}


def test_call_process_ids_are_the_service_models_and_each_its_own(rig: Controlling) -> None:
    rig.decide(shares(4, 3))
    first = rig.next_quota()[0]
    rig.acknowledge(first)
    calls = [first.call_process_id, rig.next_quota()[0].call_process_id]
    numbers = [rc.decode_call_process_id(call) for call in calls if call is not None]
    assert len({*numbers}) == 2


def test_nothing_is_sent_to_a_node_before_its_reports_have_told_how_it_writes(node: Any, store: SharedStore) -> None:
    rig = Controlling(node, store)
    rig.encoder.use_settings(replace(rig.encoder.settings, dialect=None))
    rig.decide(shares(4))
    assert rig.silence()
    assert rig.encoder.waiting == 1
    rig.encoder.use_settings(replace(rig.encoder.settings, dialect=Dialect.FLEXRIC))
    rig.sender.pump()
    request = rig.receive()
    assert request is not None
    assert rc.decode_control_header(request.header, Dialect.FLEXRIC).ue_id == GnbDuUeId(1)
    with pytest.raises(E2DecodeError):
        rc.decode_control_header(request.header)


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
