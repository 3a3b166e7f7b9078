"""E2 nodes: from e2mgr's JSON, from the R-NIB in a real Redis, and what counts as a change."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ricxappframe.xapp_sdl import SDLWrapper

from xapp.ric.nodes import (
    E2mgrSource,
    E2Node,
    NodeChange,
    NodeWatcher,
    RanFunction,
    RnibSource,
    SourceError,
    lost_node,
    oid_matches,
)
from xapp.ric.sdl import SharedStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from ricxappframe.entities.rnib import nb_identity_pb2, nodeb_info_pb2

KPM_OID = "1.3.6.1.4.1.53148.1.2.2.2"
FUNCTIONS = (RanFunction(2, KPM_OID, b"\x20\xc0\x4f", 1), RanFunction(0, "1.3.6.1.4.1.32473.5.1", b"\x08", 0))
NODE = E2Node("gnb_001_001_00000001", True, FUNCTIONS)

STATES = [
    {
        "inventoryName": NODE.name,
        "globalNbId": {"plmnId": "00F110", "nbId": "0" * 28},
        "connectionStatus": "CONNECTED",
    },
    {"inventoryName": "gnb_gone", "connectionStatus": "DISCONNECTED"},
    {"inventoryName": "gnb_unknown"},
]
NODEB = {
    "ranName": NODE.name,
    "connectionStatus": "CONNECTED",
    "nodeType": "GNB",
    "gnb": {
        "ranFunctions": [
            {
                "ranFunctionId": 2,
                "ranFunctionDefinition": "20c04F",
                "ranFunctionRevision": 1,
                "ranFunctionOid": KPM_OID,
            },
            {"ranFunctionDefinition": "08", "ranFunctionOid": "1.3.6.1.4.1.32473.5.1"},
        ]
    },
}


@pytest.fixture
def e2mgr(serve: Callable[..., Any]) -> Iterator[tuple[Any, E2mgrSource]]:
    answers: dict[str, Any] = {"/v1/nodeb/states": (200, STATES), f"/v1/nodeb/{NODE.name}": (200, NODEB)}
    service = serve(lambda request: answers.get(request.path, (404, {"errorCode": 404})))
    service.answers = answers
    source = E2mgrSource(service.url, timeout_s=5.0)
    yield service, source
    source.close()


def test_e2mgr_lists_and_describes(e2mgr: Any) -> None:
    _, source = e2mgr
    assert source.names() == {NODE.name: True, "gnb_gone": False, "gnb_unknown": False}
    assert source.node(NODE.name) == NODE


def test_a_node_without_functions_is_a_node(e2mgr: Any) -> None:
    service, source = e2mgr
    service.answers["/v1/nodeb/odd%2Fname"] = (200, {"connectionStatus": "CONNECTED", "enb": {}})
    assert source.node("odd/name") == E2Node("odd/name", True)


@pytest.mark.parametrize(
    "answer",
    [(500, {}), (200, b"<html>"), (200, {"not": "a list"}), (200, b""), (200, b"[" * 100_000)],
    ids=range(5),
)
def test_e2mgr_that_makes_no_sense_is_a_source_error(e2mgr: Any, answer: Any) -> None:
    service, source = e2mgr
    service.answers["/v1/nodeb/states"] = answer
    with pytest.raises(SourceError):
        source.names()


@pytest.mark.parametrize("answer", [(404, {}), (200, []), (200, b"{")])
def test_an_answer_about_a_node_that_makes_no_sense_is_a_source_error(e2mgr: Any, answer: Any) -> None:
    service, source = e2mgr
    service.answers[f"/v1/nodeb/{NODE.name}"] = answer
    with pytest.raises(SourceError):
        source.node(NODE.name)


def test_numbers_and_names_that_make_no_sense_stop_nothing(e2mgr: Any) -> None:
    service, source = e2mgr
    service.answers["/v1/nodeb/states"] = (200, [*STATES, {"inventoryName": "\ud800"}, {"inventoryName": [1]}])
    assert source.names() == {NODE.name: True, "gnb_gone": False, "gnb_unknown": False, "[1]": False}
    body = b'{"connectionStatus": "CONNECTED", "gnb": {"ranFunctions": [{"ranFunctionId": 1e999}]}}'
    service.answers[f"/v1/nodeb/{NODE.name}"] = (200, body)
    assert source.node(NODE.name) == E2Node(NODE.name, True, (RanFunction(0, "", b""),))
    with pytest.raises(SourceError):
        source.node("\ud800")


def test_nobody_there_is_a_source_error() -> None:
    for url in ("http://127.0.0.1:1", "no url"):
        source = E2mgrSource(url, timeout_s=1.0)
        with pytest.raises(SourceError):
            source.names()
        source.close()


@pytest.fixture
def rnib(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SDLWrapper, RnibSource]]:
    monkeypatch.setenv("DBAAS_SERVICE_HOST", redis_server.host)
    monkeypatch.setenv("DBAAS_SERVICE_PORT", str(redis_server.port))
    sdl, store = SDLWrapper(), SharedStore(timeout_s=10.0)
    sdl.remove_group("e2Manager", "GNB")
    yield sdl, RnibSource(store)
    store.close()


def test_the_rnib_lists_and_describes(rnib: Any) -> None:
    sdl, source = rnib
    for name, status in ((NODE.name, 1), ("gnb_gone", 2), ("gnb_both", 2), ("gnb_both", 1)):
        identity = nb_identity_pb2.NbIdentity(inventory_name=name, connection_status=status)
        sdl.add_member("e2Manager", "GNB", identity.SerializeToString(), usemsgpack=False)
    info = nodeb_info_pb2.NodebInfo(ran_name=NODE.name, connection_status=1)
    for function in FUNCTIONS:
        info.gnb.ran_functions.add(
            ran_function_id=function.id,
            ran_function_oid=function.oid,
            ran_function_definition=function.definition.hex(),
            ran_function_revision=function.revision,
        )
    sdl.set("e2Manager", f"RAN:{NODE.name}", info.SerializeToString(), usemsgpack=False)
    assert source.names() == {NODE.name: True, "gnb_gone": False, "gnb_both": True}
    assert source.node(NODE.name) == NODE


def test_an_unreadable_rnib_is_a_source_error(rnib: Any) -> None:
    sdl, source = rnib
    with pytest.raises(SourceError):
        source.node("nobody")
    for nonsense in (b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0b" * 5000):
        sdl.remove_group("e2Manager", "GNB")
        sdl.add_member("e2Manager", "GNB", nonsense, usemsgpack=False)
        with pytest.raises(SourceError, match="is unreadable"):
            source.names()


class ScriptedSource:
    """Answers with what the test put in; None = no answer."""

    def __init__(self, *nodes: E2Node) -> None:
        self.nodes: list[E2Node] | None = list(nodes)
        self.looked_up: list[str] = []
        self.unknown: set[str] = set()
        self.published: list[str] = []

    def events(self) -> list[str]:
        events, self.published = self.published, []
        return events

    def names(self) -> dict[str, bool]:
        if self.nodes is None:
            raise SourceError("no answer")
        return {node.name: node.connected for node in self.nodes}

    def node(self, name: str) -> E2Node:
        self.looked_up.append(name)
        if name in self.unknown or self.nodes is None:
            raise SourceError(f"nothing about {name}")
        return next(node for node in self.nodes if node.name == name)


A, B = E2Node("a", True, FUNCTIONS[:1]), E2Node("b", True)
A_GONE = E2Node("a", False, FUNCTIONS[:1])


def test_connected_lost_and_back() -> None:
    source = ScriptedSource(A)
    watcher = NodeWatcher([source])
    assert watcher.poll() == [(NodeChange.CONNECTED, A)]
    assert watcher.poll() == []
    source.nodes = [A_GONE]
    assert watcher.poll() == [(NodeChange.LOST, A_GONE)]
    assert watcher.poll() == []
    source.nodes = [A, B]
    assert watcher.poll() == [(NodeChange.CONNECTED, A), (NodeChange.CONNECTED, B)]
    source.nodes = [B]
    assert watcher.poll() == [(NodeChange.LOST, A_GONE)]
    assert watcher.nodes == {"a": A_GONE, "b": B}


def test_a_node_that_was_never_connected_is_not_lost() -> None:
    watcher = NodeWatcher([ScriptedSource(A_GONE)])
    assert watcher.poll() == []
    assert not watcher.nodes["a"].connected


def test_functions_are_looked_up_again_after_a_while() -> None:
    now_s = [0.0]
    source = ScriptedSource(A)
    watcher = NodeWatcher([source], refresh_s=10.0, clock=lambda: now_s[0])
    watcher.poll()
    changed = E2Node("a", True, FUNCTIONS)
    source.nodes = [changed]
    now_s[0] = 9.0
    assert watcher.poll() == [] and source.looked_up == ["a"]
    now_s[0] = 10.0
    assert watcher.poll() == [(NodeChange.CHANGED, changed)]


def test_no_answer_loses_no_node() -> None:
    source = ScriptedSource(A)
    watcher = NodeWatcher([source])
    watcher.poll()
    source.nodes = None
    assert watcher.poll() == []
    assert watcher.nodes == {"a": A} and not watcher.healthy and watcher.last_error == "no answer"
    source.nodes = [A]
    assert watcher.poll() == [] and watcher.healthy


def test_a_node_that_cannot_be_looked_up_is_tried_again() -> None:
    source = ScriptedSource(A, B)
    source.unknown = {"a"}
    watcher = NodeWatcher([source])
    assert watcher.poll() == [(NodeChange.CONNECTED, B)]
    source.unknown = set()
    assert watcher.poll() == [(NodeChange.CONNECTED, A)]


def test_the_first_source_that_answers_counts() -> None:
    first, second = ScriptedSource(A), ScriptedSource(B)
    first.nodes = None
    watcher = NodeWatcher([first, second])
    assert watcher.poll() == [(NodeChange.CONNECTED, B)]
    assert watcher.healthy
    assert not NodeWatcher([]).poll()


def test_a_source_that_knows_of_nobody_is_believed_unless_another_knows_better() -> None:
    empty, second = ScriptedSource(), ScriptedSource(B)
    watcher = NodeWatcher([empty, second])
    assert watcher.poll() == [(NodeChange.CONNECTED, B)]
    second.nodes = None
    assert [event.change for event in watcher.poll()] == [NodeChange.LOST]
    assert watcher.healthy


def test_a_node_that_broke_and_came_back_between_two_polls_is_lost_and_connected() -> None:
    source = ScriptedSource(A)
    watcher = NodeWatcher([source])
    watcher.poll()
    source.published = ["a_DISCONNECTED", "a_CONNECTED"]
    assert watcher.listen() == [(NodeChange.LOST, A_GONE)]
    assert watcher.news
    assert watcher.poll() == [(NodeChange.CONNECTED, A)]
    assert not watcher.news
    assert watcher.listen() == []


@pytest.mark.parametrize(
    ("event", "lost"),
    [
        ("gnb_001_001_00000001_DISCONNECTED", "gnb_001_001_00000001"),
        ("gnb_UNDER_RESET", "gnb"),
        ("gnb_SHUT_DOWN", "gnb"),
        ("gnb_CONNECTED", ""),
        ("gnb_CONNECTED_SETUP_FAILED", ""),
        ("_DISCONNECTED", ""),
        ("DISCONNECTED", ""),
        ("", ""),
    ],
)
def test_events_say_who_is_lost(event: str, lost: str) -> None:
    assert lost_node(event) == lost


def test_an_event_about_a_stranger_only_asks_for_a_poll() -> None:
    source = ScriptedSource(A)
    watcher = NodeWatcher([source])
    source.published = ["b_DISCONNECTED", "what?"]
    assert watcher.listen() == []
    assert watcher.news


def test_functions_are_found_by_oid_not_by_id() -> None:
    assert NODE.function(KPM_OID) == FUNCTIONS[0]
    assert NODE.function("53148.1.2.2.2") == FUNCTIONS[0]
    assert NODE.function("1.3.6.1.4.1.53148.1.1.2.3") is None


@pytest.mark.parametrize(
    ("oid", "wanted", "same"),
    [
        (KPM_OID, KPM_OID, True),
        ("53148.1.2.2.2", KPM_OID, True),
        (KPM_OID, "1.2.2.2", True),
        ("1.3.6.1.4.1.53148.1.2.2.3", KPM_OID, False),
        ("2.2", KPM_OID, False),
        ("", KPM_OID, False),
        ("ORAN-E2SM-KPM", KPM_OID, False),
    ],
)
def test_oids_match_by_their_last_arcs(oid: str, wanted: str, same: bool) -> None:
    assert oid_matches(oid, wanted) is same


def test_a_definition_that_is_no_hex_leaves_it_empty(e2mgr: Any) -> None:
    service, source = e2mgr
    body = {"connectionStatus": 1, "gnb": {"ranFunctions": [{"ranFunctionDefinition": "zz"}, "odd"]}}
    service.answers[f"/v1/nodeb/{NODE.name}"] = (200, body)
    assert source.node(NODE.name) == E2Node(NODE.name, True, (RanFunction(0, "", b""),))
