"""The A1 mediator's stand-in: REST in front, and policy messages behind that an xApp must answer exactly."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from xapp.a1.policy_model import POLICY_TYPE_ID, make_policy_type
from xapp.cli import main
from xapp.http.server import BackgroundServer
from xapp.lab.counters import Counters
from xapp.lab.ric.a1_mediator import A1Mediator, Form, make_a1_app
from xapp.rmr.routes import RouteTable
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import A1_POLICY_QUERY, A1_POLICY_REQUEST, A1_POLICY_RESPONSE, RmrMessage

TYPE = f"/A1-P/v2/policytypes/{POLICY_TYPE_ID}"
POLICY = {"mode": "shadow"}
PATIENCE_S = 30.0


class Rig:
    """The mediator over HTTP, and an xApp's RMR endpoint."""

    def __init__(self, form: Form = Form.GO) -> None:
        self.counters = Counters()
        self.mediator = A1Mediator("127.0.0.1", 0, self.counters, form=form)
        self.server = BackgroundServer(make_a1_app(self.mediator), "127.0.0.1", 0)
        assert self.server.wait_started()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.server.port}", trust_env=False)
        to_mediator = [f"rte|{mtype}|{self.mediator.rmr.source}" for mtype in (A1_POLICY_RESPONSE, A1_POLICY_QUERY)]
        self.xapp = Si95Transport(
            "127.0.0.1", 0, routes=RouteTable("\n".join(["newrt|start", *to_mediator, "newrt|end"]))
        )
        self.mediator.rmr.routes.update(
            f"newrt|start\nmse|{A1_POLICY_REQUEST}|{POLICY_TYPE_ID}|{self.xapp.source}\nnewrt|end"
        )

    def close(self) -> None:
        self.http.close()
        self.server.close()
        self.mediator.close()
        self.xapp.close()

    def put(self, name: str = "p", policy: Any = POLICY) -> int:
        return self.http.put(f"{TYPE}/policies/{name}", json=policy).status_code

    def heard(self) -> tuple[RmrMessage, dict[str, Any]]:
        message = self.xapp.receive(PATIENCE_S)
        assert message is not None and message.mtype == A1_POLICY_REQUEST
        return message, json.loads(message.payload)

    def answer(self, message: RmrMessage, **fields: Any) -> None:
        answer = {"policy_type_id": POLICY_TYPE_ID, "policy_instance_id": "p", "handler_id": "x", "status": "OK"}
        assert self.xapp.reply(message, A1_POLICY_RESPONSE, json.dumps({**answer, **fields}).encode())

    def status(self) -> str:
        return str(self.http.get(f"{TYPE}/policies/p/status").json()["instance_status"])


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "it never became true"
        time.sleep(0.01)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    made.http.put(TYPE, json=make_policy_type())
    yield made
    made.close()


def test_policies_need_their_type_and_types_lose_their_policies_first() -> None:
    rig = Rig()
    try:
        assert rig.http.get("/A1-P/v2/healthcheck").status_code == 200
        assert rig.put() == 404
        assert rig.http.get(TYPE).status_code == 404
        assert rig.http.put(TYPE, json={"policy_type_id": 7}).status_code == 400
        assert rig.http.put(TYPE, json=make_policy_type()).status_code == 201
        assert rig.http.get("/A1-P/v2/policytypes").json() == [POLICY_TYPE_ID]
        assert rig.http.get(TYPE).json() == make_policy_type()
        assert rig.put() == 202
        assert rig.put(policy=[1]) == 400
        assert rig.http.get(f"{TYPE}/policies").json() == ["p"]
        assert rig.http.get(f"{TYPE}/policies/p").json() == POLICY
        assert rig.http.delete(TYPE).status_code == 400
        assert rig.http.delete(f"{TYPE}/policies/p").status_code == 202
        assert rig.http.delete(f"{TYPE}/policies/p").status_code == 404
        assert rig.http.get(f"{TYPE}/policies/p/status").status_code == 404
        assert rig.http.delete(TYPE).status_code == 204
        assert rig.http.delete(TYPE).status_code == 404
    finally:
        rig.close()


@pytest.mark.parametrize(
    ("form", "type_id", "payload", "nothing"),
    [(Form.GO, str(POLICY_TYPE_ID), json.dumps(POLICY), ""), (Form.PYTHON, POLICY_TYPE_ID, POLICY, {})],
)
def test_requests_are_in_the_chosen_mediators_form(form: Form, type_id: Any, payload: Any, nothing: Any) -> None:
    rig = Rig(form)
    base = f"{form.path}/policytypes/{POLICY_TYPE_ID}"
    try:
        rig.http.put(base, json=make_policy_type())
        expected = {"policy_type_id": type_id, "policy_instance_id": "p"}
        for operation in ("CREATE", "UPDATE"):
            assert rig.http.put(f"{base}/policies/p", json=POLICY).status_code == 202
            message, document = rig.heard()
            assert document == {"operation": operation, "payload": payload, **expected}
            assert message.sub_id == POLICY_TYPE_ID
        rig.http.delete(f"{base}/policies/p")
        assert rig.heard()[1] == {"operation": "DELETE", "payload": nothing, **expected}
    finally:
        rig.close()


@pytest.mark.parametrize("form", Form)
def test_intent_put_finds_the_paths_of_either_mediator(
    form: Form, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = Rig(form)
    try:
        file = tmp_path / "calm.json"
        file.write_text(json.dumps(POLICY))
        arguments = ["intent", "put", str(file), "--url", f"http://127.0.0.1:{rig.server.port}"]
        assert main([*arguments, "--wait", "0"]) == 0
        _, document = rig.heard()
        assert (document["operation"], document["policy_instance_id"]) == ("CREATE", "calm")
        assert main([*arguments, "--delete"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "calm: deleted"
    finally:
        rig.close()


def test_a_policy_is_in_effect_once_a_handler_has_said_ok(rig: Rig) -> None:
    rig.put()
    message, _ = rig.heard()
    assert rig.status() == "NOT IN EFFECT"
    rig.answer(message, status="ERROR")
    rig.answer(message, handler_id="y")
    wait_until(lambda: rig.status() == "IN EFFECT")
    assert rig.counters["a1_answer_error"] == 1


@pytest.mark.parametrize(
    "fields",
    [{"policy_type_id": str(POLICY_TYPE_ID)}, {"status": "FINE"}],
)
def test_an_answer_that_would_crash_the_real_one_is_no_answer(rig: Rig, fields: dict[str, Any]) -> None:
    rig.put()
    message, _ = rig.heard()
    rig.answer(message, **fields)
    rig.xapp.send(RmrMessage(A1_POLICY_RESPONSE, b'{"policy_type_id": 20100}'))
    rig.xapp.send(RmrMessage(A1_POLICY_RESPONSE, b"\xff"))
    wait_until(lambda: rig.counters["a1_bad_message"] == 3)
    assert rig.status() == "NOT IN EFFECT"


def test_who_asks_is_sent_every_policy_as_if_it_were_new(rig: Rig) -> None:
    for name in ("a", "b"):
        rig.put(name)
        rig.heard()
    assert rig.xapp.send(RmrMessage(A1_POLICY_QUERY, json.dumps({"policy_type_id": POLICY_TYPE_ID}).encode()))
    heard = [rig.heard()[1] for _ in range(2)]
    assert [(h["operation"], h["policy_instance_id"]) for h in heard] == [("CREATE", "a"), ("CREATE", "b")]


def test_a_policy_that_reaches_nobody_is_counted(rig: Rig) -> None:
    rig.mediator.rmr.routes.update("newrt|start\nnewrt|end|0")
    assert rig.put() == 202
    assert rig.counters["a1_unroutable"] == 1
