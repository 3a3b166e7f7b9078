"""Nodes as they are: silent where nobody is, split into parts, choosy about measurements, named by somebody else."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import xapp.control.sender
import xapp.nodes.cell_manager
import xapp.nodes.silence
from policy.allocation import all_dynamic
from xapp.config.model import Controls
from xapp.control.cell_link import Report
from xapp.control.mailbox import Mailbox
from xapp.control.receiver import Receiver
from xapp.control.sender import ControlSender
from xapp.control_kinds.control_kind import control_kinds
from xapp.e2.kpm import messages as kpm
from xapp.lab.gnb.ran_functions import dcm_function, make_carriers
from xapp.lab.gnb.rc_function import function_item
from xapp.monitoring.metrics import Metrics
from xapp.nodes.cell_manager import Cells
from xapp.nodes.silence import FIRST_PAUSE_S, NO_UE_REPORTED, Renewals
from xapp.ric.nodes import E2Node, NodeChange, NodeEvent, RanFunction
from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import ClientEndpoint
from xapp.ric.subscription_state import SubscriptionOptions

NODE = "gnbd_001_001_00019b_0"
NAMES = ("DRB.UEThpUl", "RRU.PrbTotUl", "RRU.PrbUsedUl", "DRB.AirIfDelayUl", "DRB.RlcSduTransmittedVolumeUL", "CQI")
KPM_OID = kpm.KPM_OIDS[1]


def kpm_function(names: tuple[str, ...] = NAMES, oid: str = KPM_OID) -> RanFunction:
    style = kpm.ReportStyle(4, "per UE", 4, names, 1, 3)
    described = kpm.RanFunction(
        "ORAN-E2SM-KPM", oid, "KPM", trigger_styles=(kpm.TriggerStyle(1, "periodic", 1),), report_styles=(style,)
    )
    return RanFunction(2, oid, kpm.encode_ran_function(described))


def rc_function() -> RanFunction:
    item = function_item()
    return RanFunction(item.function_id, item.oid, item.definition)


class Submgr:
    """The subscription manager, and behind it nodes that refuse some measurements. Answers at once."""

    def __init__(self, refuses: frozenset[str] = frozenset()) -> None:
        self.refuses = refuses
        self.notify: Callable[[bytes], int] = lambda body: 200
        self.held: dict[str, int] = {}
        self.posts: list[tuple[str, ...]] = []
        """The measurements of each request."""
        self.deletes = 0
        self.lists = True

    def respond(self, request: Any) -> tuple[int, object]:
        if request.method == "GET":
            held = [{"SubscriptionId": instance, "Meid": NODE} for instance in self.held.values()]
            return (200, held) if self.lists else (500, None)
        if request.method == "DELETE":
            self.deletes += 1
            self.held.pop(request.path.rsplit("/", 1)[1], None)
            return 204, None
        (detail,) = request.body["SubscriptionDetails"]
        (action,) = detail["ActionToBeSetupList"]
        names: tuple[str, ...] = ()
        if request.body["RANFunctionID"] == 2:
            names = kpm.decode_action_definition(bytes(action["ActionDefinition"])).measurements
        self.posts.append(names)
        number = 100 + len(self.posts)
        outcome = {"XappEventInstanceId": detail["XappEventInstanceId"], "E2EventInstanceId": number}
        if self.refuses & set(names):
            reason = {"ErrorCause": "ricRequest: requested-information-unavailable", "ErrorSource": "E2Node"}
            outcome |= {"E2EventInstanceId": 0, **reason}
        else:
            self.held[f"s{number}"] = number
        body = {"SubscriptionId": f"s{number}", "SubscriptionInstances": [outcome]}
        assert self.notify(json.dumps(body).encode()) == 200
        return 201, {"SubscriptionId": f"s{number}"}


class Rig:
    """Cells, with their receiver and sender, between a node and a manager; time runs as the test says."""

    def __init__(self, node: Any, serve: Any, store: SharedStore, submgr: Submgr, **controls: Any) -> None:
        self.node, self.submgr, self.metrics = node, submgr, Metrics()
        service = serve(submgr.respond)
        self.controls = Controls.model_validate({"ric": {"submgr_url": service.url}, **controls})
        self.sender = ControlSender(node.xapp, self.metrics, instance_epoch=1, lease_periods=2)
        self.receiver = Receiver(node.xapp, Mailbox[Report](0.0), self.sender, self.metrics)
        kinds = {name: kind(self.controls, store) for name, kind in control_kinds().items()}
        endpoint, at_once = ClientEndpoint("127.0.0.1", 1, 1), SubscriptionOptions(first_backoff_s=0.0)
        self.cells = Cells(self.controls, self.receiver, endpoint, store, self.sender, kinds, options=at_once)
        submgr.notify = self.cells.subscriptions.on_notification

    def connect(self, *functions: RanFunction, name: str = NODE) -> None:
        self.cells.on_node(NodeEvent(NodeChange.CONNECTED, E2Node(name, True, functions)))
        self.cells.run_due()

    def states(self) -> list[str]:
        return [status.state.value for status in self.cells.subscriptions.statuses()]

    def problems(self, name: str = NODE) -> list[str]:
        return [problem["fault"] for problem in self.cells.problems()[name]]

    def run_until(self, condition: Callable[[], bool]) -> None:
        for _ in range(200):
            self.cells.run_due()
            if condition():
                return
        raise AssertionError("it never became true")


@pytest.fixture
def make(node: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    """Whatever has not reported in this very moment is silent."""
    monkeypatch.setattr(xapp.config.model, "SILENT_S", -1.0)
    monkeypatch.setattr(xapp.config.model, "SILENT_PERIODS", 0)
    monkeypatch.setattr(xapp.nodes.silence, "ASK_MANAGER_S", 0.0)
    store = SharedStore(environ={})
    rigs: list[Rig] = []

    def start(refuses: tuple[str, ...] = (), **controls: Any) -> Rig:
        rigs.append(Rig(node, serve, store, Submgr(frozenset(refuses)), **controls))
        return rigs[-1]

    yield start
    for rig in rigs:
        rig.cells.subscriptions.close(0.0)
    store.close()


# -- silence ----------------------------------------------------------------------------------------------------------


def test_a_cell_in_which_nobody_is_keeps_its_one_subscription_and_is_no_alarm(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.connect(kpm_function(), rc_function())
    for _ in range(50):
        rig.cells.run_due()
    assert (len(rig.submgr.posts), rig.submgr.deletes) == (1, 0)
    assert rig.states() == ["active"]
    assert rig.cells.silence_s() == {f"{NODE}/node": 0.0}
    (silence,) = rig.cells.silences().values()
    assert silence.evidence == "" and NO_UE_REPORTED in str(silence) and "RLC" in str(silence)


def test_what_the_manager_does_not_know_any_more_is_made_anew_once_a_minute_at_most(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.connect(kpm_function(), rc_function())
    rig.submgr.held.clear()
    rig.submgr.lists = False
    rig.cells.run_due()
    assert rig.cells.silences()[f"{NODE}/node"].evidence == "", "a manager that does not answer is no evidence"
    rig.submgr.lists = True
    rig.run_until(lambda: len(rig.submgr.posts) == 2 and rig.states() == ["active"])
    for _ in range(20):
        rig.submgr.held.clear()
        rig.cells.run_due()
    assert len(rig.submgr.posts) == 2
    assert "does not know" in rig.cells.silences()[f"{NODE}/node"].evidence
    assert rig.cells.silence_s()[f"{NODE}/node"] > 0.0


def test_a_control_that_nobody_answers_is_evidence_until_one_is_answered(
    make: Callable[..., Rig], node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, cell = make(), f"{node.name}/node"
    rig.connect(kpm_function(), rc_function(), name=rig.node.name)
    (link,) = rig.receiver.links()
    assert link.target is not None
    monkeypatch.setattr(xapp.control.sender, "ANSWER_TIMEOUT_S", -1.0)
    rig.sender.send(rig.node.target(), all_dynamic((1, 2), rig.node.num_rbgs), rig.node.context())
    request, _ = rig.node.next_control()
    rig.cells.run_due()
    assert rig.cells.silences()[cell].evidence == ""
    rig.sender.sweep()
    assert rig.cells.silence_s()[cell] > 0.0
    rig.cells.run_due()
    assert len(rig.submgr.posts) == 2
    rig.receiver.handle(rig.node.acknowledgement(request))
    rig.cells.run_due()
    assert rig.cells.silences()[cell].evidence == ""


def test_a_renewal_is_tried_again_after_pauses_that_double_until_there_is_a_report() -> None:
    renewals, due_s = Renewals[str](), []
    for now_s in range(1000):
        if renewals.is_due("key", float(now_s)):
            due_s.append(now_s)
    assert due_s == [0, FIRST_PAUSE_S, 3 * FIRST_PAUSE_S, 7 * FIRST_PAUSE_S, 15 * FIRST_PAUSE_S]
    renewals.reported("key")
    assert renewals.is_due("key", 1000.0)


# -- a list that is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("culprits", [("CQI",), ("DRB.UEThpUl",), ("RRU.PrbUsedUl", "DRB.AirIfDelayUl"), NAMES[1:]])
@pytest.mark.parametrize("cells", [(), ("00f110000000011", "00f110000000012")])
def test_a_measurement_that_the_node_refuses_is_found_and_left_out(
    make: Callable[..., Rig], culprits: tuple[str, ...], cells: tuple[str, ...]
) -> None:
    rig = make(culprits, nodes=[{"cells": cells}])
    rig.connect(kpm_function(), rc_function())
    wanted = tuple(name for name in rig.controls.measurements if name not in culprits)
    rig.run_until(lambda: set(rig.states()) == {"active"} and "measurements_refused" in rig.problems())
    assert {rig.submgr.posts[-1], rig.submgr.posts[-len(cells) or -1]} == {wanted}
    (problem,) = rig.cells.problems()[NODE]
    assert all(name in problem["text"] for name in culprits) and not any(name in problem["text"] for name in wanted)
    posts = len(rig.submgr.posts)
    rig.cells.run_due()
    assert len(rig.submgr.posts) == posts <= 1 + 4 * len(NAMES) + len(cells)


def test_a_node_that_refuses_every_list_is_not_searched_for_ever(make: Callable[..., Rig]) -> None:
    rig = make(NAMES)
    rig.connect(kpm_function(), rc_function())
    rig.run_until(lambda: len(rig.submgr.posts) > 2 * len(NAMES))
    assert rig.problems() == []
    assert rig.submgr.posts[-1] == rig.controls.measurements, "it is asked for everything again, after pauses"


# -- parts, names, and who is only watched ----------------------------------------------------------------------------


CU, CU_UP = "gnb_001_001_00019b", "gnbc_001_001_00019b_0"


def test_parts_that_cannot_be_controlled_are_no_fault_while_their_du_is(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.connect(name=CU)
    assert rig.problems(CU) == ["no_control_function", "no_kpm_function"]
    rig.connect(kpm_function(), rc_function())
    rig.connect(kpm_function(("DRB.PdcpReordDelayUl",)), name=CU_UP)
    rig.connect(name="gnb_001_001_000777")
    assert [rig.problems(name) for name in (CU, CU_UP, NODE)] == [[], [], []]
    assert set(rig.cells.roles()) == {CU, CU_UP} and NODE in rig.cells.roles()[CU]
    assert rig.problems("gnb_001_001_000777") == ["no_control_function", "no_kpm_function"]
    assert [rig.cells.should_report(name) for name in (CU, CU_UP, NODE, "new")] == [False, False, True, True]
    rig.cells.on_node(NodeEvent(NodeChange.LOST, E2Node(NODE, False)))
    rig.cells.run_due()
    assert rig.problems(CU) == ["no_control_function", "no_kpm_function"]


def test_a_node_may_be_asked_about_while_shared_data_have_not_answered(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its quotas are looked up before its plan stands; the status page is read at any moment."""
    rig, seen = make(), []
    ask = SharedStore.get

    def ask_slowly(store: SharedStore, key: str) -> object:
        seen.append((rig.cells.problems(), rig.cells.roles(), rig.cells.dialects(), rig.cells.silence_s()))
        return ask(store, key)

    monkeypatch.setattr(SharedStore, "get", ask_slowly)
    rig.connect(kpm_function(), rc_function())
    assert seen and seen[0] == ({}, {}, {}, {})
    assert rig.states() == ["active"]


@pytest.mark.parametrize("controls", [{"control": "none"}, {"nodes": [{"name": "gnbd_*", "control": "none"}]}])
@pytest.mark.parametrize("by_dcm", [True, False])
def test_a_node_that_is_only_watched_is_subscribed_to_and_never_controlled(
    make: Callable[..., Rig], controls: dict[str, Any], by_dcm: bool
) -> None:
    item = dcm_function(make_carriers(1, 1, 6))
    control = RanFunction(item.function_id, item.oid, item.definition) if by_dcm else rc_function()
    rig = make(**controls)
    rig.connect(kpm_function(), control)
    (link,) = rig.receiver.links()
    assert link.target is None
    assert rig.states() == ["active"] * (2 if by_dcm else 1)
    assert rig.problems() == []
    assert rig.cells.roles() == {NODE: "only watched (control: none)"}


def test_a_node_without_any_control_function_can_be_watched(make: Callable[..., Rig]) -> None:
    rig = make(control="none")
    rig.connect(kpm_function())
    assert (rig.states(), rig.problems()) == (["active"], [])


def test_kpm_is_known_by_its_name_where_its_oid_is_none(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.connect(kpm_function(oid="OID123"), rc_function())
    assert (rig.states(), rig.problems()) == (["active"], [])
    other = RanFunction(2, "1.3.6.1.4.1.53148.1.9.9.9", kpm_function().definition)
    rig.connect(other, rc_function(), name="gnb_2")
    assert rig.problems("gnb_2") == ["no_kpm_function"], "an OID that is one counts for more than a name"


def test_an_entry_that_fits_nobody_is_warned_of_once_it_could(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(xapp.nodes.cell_manager, "UNMATCHED_S", 0.0)
    rig = make(nodes=[{"name": "gnb_001_*"}, {"name": "gnbd_001_001_*"}, {"name": "*"}])
    assert rig.cells.unmatched() == []
    with caplog.at_level(logging.WARNING):
        rig.connect(kpm_function(), rc_function())
        rig.cells.run_due()
    assert rig.cells.unmatched() == ["gnb_001_*"]
    assert [record.getMessage() for record in caplog.records] == [
        f"controls.nodes: 'gnb_001_*' fits none of the nodes {NODE}"
    ]


def test_an_entry_that_fits_nobody_is_warned_of_where_no_node_is_ours(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of all mistakes this one leaves the most undone: nothing is subscribed to, and nothing is wrong with any node."""
    monkeypatch.setattr(xapp.nodes.cell_manager, "UNMATCHED_S", 0.0)
    rig = make(nodes=[{"name": "gnb_001_*"}], only_listed_nodes=True)
    with caplog.at_level(logging.WARNING):
        rig.connect(kpm_function(), rc_function())
        rig.cells.run_due()
    assert (rig.states(), rig.cells.unmatched()) == ([], ["gnb_001_*"])
    assert f"'gnb_001_*' fits none of the nodes {NODE}" in caplog.text


@pytest.mark.parametrize("name", ["gnbd_001_001_00019b_0", "gnbd_001_001_00000e00_0"])
def test_the_documented_entries_fit_the_names_of_srsrans_and_ocudus_dus(name: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "rc.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith('"nodes":')]
    controls = Controls.model_validate(json.loads(f"{{{line}}}"))
    assert controls.node(name) == controls.nodes[0]


# -- a node that reports all its UEs in each cell ---------------------------------------------------------------------


CELLS = ("00f110000000011", "00f110000000012")


def test_ues_that_every_cell_reports_count_once_and_are_named(
    make: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    rig = make(nodes=[{"cells": CELLS, "num_prb": 24}])
    rig.connect(kpm_function(), rc_function())
    ues = {ue: {"DRB.UEThpUl": 100.0} for ue in range(6)}
    with caplog.at_level(logging.WARNING):
        for sn in range(4):
            for instance in rig.submgr.held.values():
                rig.receiver.handle(replace(rig.node.kpm_message(sn, ues, instance=instance), meid=NODE))
    links = {link.tracker.cell: link for link in rig.receiver.links()}
    states = [links[f"{NODE}/{cell}"].newest.state.ue_ids for cell in CELLS]  # type: ignore[union-attr]
    assert states == [tuple(range(6)), ()]
    assert rig.metrics["ue_reports_elsewhere"] == 4 * 6
    assert len([r for r in caplog.records if "in several cells" in r.getMessage()]) == 1
    assert rig.problems() == ["ues_in_several_cells"]
    first, second = (f"{NODE}/{cell}" for cell in CELLS)
    assert rig.receiver.cells_beside(first) == {second: frozenset(range(6))}
    assert rig.receiver.cells_beside(second) == {}
