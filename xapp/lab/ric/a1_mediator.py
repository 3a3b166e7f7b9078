"""The A1 mediator's stand-in: REST towards operators, policy messages over RMR towards xApps.

It speaks the Go mediator's form (under /A1-P/v2; type id as a string, the policy as a string of JSON) or the older
Python one's (under /a1-p; a number, an object). What it is sent it reads as they do: a 20011 must have all four
fields, and a number for the type. Two departures: policies are not checked against their type's schema (the xApp does
that), and nothing outlives the process.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from xapp.http.routes import read_body
from xapp.lab.counters import Counters
from xapp.lab.ric.options import Form
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import A1_POLICY_QUERY, A1_POLICY_REQUEST, A1_POLICY_RESPONSE, RmrMessage

logger = logging.getLogger(__name__)

RECEIVE_TIMEOUT_S = 0.2


@dataclass(slots=True)
class Instance:
    """A policy, and what its handlers said of it."""

    policy: dict[str, Any]
    created_at: float
    answers: dict[str, str] = field(default_factory=dict)
    """By handler: OK or ERROR; DELETED while it is being deleted."""


class A1Mediator:
    """Thread safe. Raises OSError when the RMR port cannot be had."""

    def __init__(self, host: str, rmr_port: int, counters: Counters, *, form: Form = Form.GO) -> None:
        self.rmr = Si95Transport(host, rmr_port)
        self._counters, self.form = counters, form
        self._lock = threading.Lock()
        self._types: dict[int, dict[str, Any]] = {}
        self._instances: dict[tuple[int, str], Instance] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="a1-mediator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self.rmr.close()
        self._thread.join(timeout=2.0)

    # -- for operators -------------------------------------------------------------------------------------------------

    def types(self) -> list[int]:
        with self._lock:
            return sorted(self._types)

    def type(self, type_id: int) -> dict[str, Any] | None:
        with self._lock:
            return self._types.get(type_id)

    def put_type(self, type_id: int, document: dict[str, Any]) -> None:
        with self._lock:
            self._types[type_id] = document

    def delete_type(self, type_id: int) -> bool:
        """False while there are policies of it."""
        with self._lock:
            if any(key[0] == type_id for key in self._instances):
                return False
            self._types.pop(type_id, None)
            return True

    def instances(self, type_id: int) -> list[str]:
        with self._lock:
            return sorted(instance_id for type_, instance_id in self._instances if type_ == type_id)

    def instance(self, type_id: int, instance_id: str) -> Instance | None:
        with self._lock:
            return self._instances.get((type_id, instance_id))

    def put(self, type_id: int, instance_id: str, policy: dict[str, Any]) -> None:
        """Keep a policy and tell its handlers."""
        with self._lock:
            known = self._instances.get((type_id, instance_id))
            self._instances[type_id, instance_id] = Instance(policy, time.time())
        self._send("UPDATE" if known else "CREATE", type_id, instance_id, policy)

    def delete(self, type_id: int, instance_id: str) -> bool:
        """Forget a policy and tell its handlers; False if there is none."""
        with self._lock:
            known = self._instances.pop((type_id, instance_id), None)
        if known is not None:
            self._send("DELETE", type_id, instance_id, None)
        return known is not None

    # -- xApps ---------------------------------------------------------------------------------------------------------

    def message(self, operation: str, type_id: int, instance_id: str, policy: dict[str, Any] | None) -> bytes:
        """A 20010 in this mediator's form."""
        fields: dict[str, Any] = {"operation": operation, "policy_type_id": type_id, "policy_instance_id": instance_id}
        if self.form is Form.GO:
            fields |= {"policy_type_id": str(type_id), "payload": "" if policy is None else json.dumps(policy)}
        else:
            fields["payload"] = {} if policy is None else policy
        return json.dumps(fields).encode()

    def _send(self, operation: str, type_id: int, instance_id: str, policy: dict[str, Any] | None) -> None:
        payload = self.message(operation, type_id, instance_id, policy)
        if not self.rmr.send(RmrMessage(A1_POLICY_REQUEST, payload, sub_id=type_id)):
            self._counters.add("a1_unroutable")

    def _run(self) -> None:
        while not self._closed.is_set():
            message = self.rmr.receive(RECEIVE_TIMEOUT_S)
            if message is None:
                continue
            try:
                document = json.loads(message.payload)
                if message.mtype == A1_POLICY_RESPONSE:
                    self._on_answer(document)
                elif message.mtype == A1_POLICY_QUERY:
                    self._on_query(message, document)
                else:
                    self._counters.add("a1_unexpected_mtype")
            except (ValueError, KeyError, TypeError) as error:
                self._counters.add("a1_bad_message")
                logger.warning("message type %d: %s: %r", message.mtype, error, message.payload[:200])

    def _on_answer(self, document: dict[str, Any]) -> None:
        type_id, instance_id = document["policy_type_id"], document["policy_instance_id"]
        handler, status = document["handler_id"], document["status"]
        if type(type_id) is not int or status not in ("OK", "ERROR", "DELETED"):
            raise ValueError(f"policy_type_id {type_id!r}, status {status!r}")
        self._counters.add(f"a1_answer_{status.lower()}")
        with self._lock:
            instance = self._instances.get((type_id, instance_id))
            if instance is not None:
                instance.answers[handler] = status

    def _on_query(self, message: RmrMessage, document: dict[str, Any]) -> None:
        """Every policy of the type as if it were new, to the one who asks; nothing if there are none."""
        type_id = document["policy_type_id"]
        self._counters.add("a1_queries")
        for instance_id in self.instances(type_id):
            instance = self.instance(type_id, instance_id)
            if instance is not None:
                payload = self.message("CREATE", type_id, instance_id, instance.policy)
                self.rmr.reply(message, A1_POLICY_REQUEST, payload)


def make_a1_app(mediator: A1Mediator) -> FastAPI:
    """The REST interface, under the path of the mediator's form."""
    app = FastAPI(title="A1 mediator stand-in", openapi_url=None)
    base = f"{mediator.form.path}/policytypes"

    async def document_of(request: Request) -> dict[str, Any] | None:
        body = await read_body(request)
        try:
            document = json.loads(body or b"")
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None

    @app.get(f"{mediator.form.path}/healthcheck")
    def health() -> Response:
        return Response(status_code=200)

    @app.get(base)
    def types() -> list[int]:
        return mediator.types()

    @app.get(base + "/{type_id}")
    def policy_type(type_id: int) -> Response:
        document = mediator.type(type_id)
        return Response(status_code=404) if document is None else JSONResponse(document)

    @app.put(base + "/{type_id}")
    async def put_type(type_id: int, request: Request) -> Response:
        document = await document_of(request)
        if document is None or document.get("policy_type_id") != type_id or "create_schema" not in document:
            return Response(status_code=400)
        mediator.put_type(type_id, document)
        return Response(status_code=201)

    @app.delete(base + "/{type_id}")
    def delete_type(type_id: int) -> Response:
        if mediator.type(type_id) is None:
            return Response(status_code=404)
        return Response(status_code=204 if mediator.delete_type(type_id) else 400)

    @app.get(base + "/{type_id}/policies")
    def instances(type_id: int) -> Response:
        known = mediator.type(type_id) is not None
        return JSONResponse(mediator.instances(type_id)) if known else Response(status_code=404)

    @app.get(base + "/{type_id}/policies/{instance_id}")
    def policy(type_id: int, instance_id: str) -> Response:
        instance = mediator.instance(type_id, instance_id)
        return Response(status_code=404) if instance is None else JSONResponse(instance.policy)

    @app.put(base + "/{type_id}/policies/{instance_id}")
    async def put_policy(type_id: int, instance_id: str, request: Request) -> Response:
        if mediator.type(type_id) is None:
            return Response(status_code=404)
        document = await document_of(request)
        if document is None:
            return Response(status_code=400)
        mediator.put(type_id, instance_id, document)
        return Response(status_code=202)

    @app.delete(base + "/{type_id}/policies/{instance_id}")
    def delete_policy(type_id: int, instance_id: str) -> Response:
        return Response(status_code=202 if mediator.delete(type_id, instance_id) else 404)

    @app.get(base + "/{type_id}/policies/{instance_id}/status")
    def status(type_id: int, instance_id: str) -> Response:
        instance = mediator.instance(type_id, instance_id)
        if instance is None:
            return Response(status_code=404)
        in_effect = "OK" in instance.answers.values()
        return JSONResponse(
            {
                "instance_status": "IN EFFECT" if in_effect else "NOT IN EFFECT",
                "has_been_deleted": "false",
                "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(instance.created_at)),
            }
        )

    return app
