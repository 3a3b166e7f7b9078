"""A mediator's RMR endpoint and the xApp's side of A1 over it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from xapp.a1.mediator_client import A1Policies
from xapp.a1.policy_model import POLICY_TYPE_ID, Policy
from xapp.monitoring.metrics import Metrics
from xapp.ric.sdl import SharedStore
from xapp.rmr.routes import RouteTable
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import A1_POLICY_QUERY, A1_POLICY_REQUEST, A1_POLICY_RESPONSE, RmrMessage

PATIENCE_S = 30.0


class Rig:
    """A mediator's RMR endpoint and the xApp's side of A1; the test runs the periodic tasks."""

    def __init__(self, store: SharedStore, *, routes: bool = True, query_period_s: float = 0.05) -> None:
        self.mediator = Si95Transport("127.0.0.1", 0)
        table = [f"mse|{mtype}|-1|{self.mediator.source}" for mtype in (A1_POLICY_RESPONSE, A1_POLICY_QUERY)]
        self.routes = "\n".join(["newrt|start", *table, f"newrt|end|{len(table)}"])
        self.xapp = Si95Transport("127.0.0.1", 0, routes=RouteTable(self.routes) if routes else None)
        self.mediator.routes.update(f"newrt|start\nmse|{A1_POLICY_REQUEST}|-1|{self.xapp.source}\nnewrt|end|1")
        self.metrics = Metrics()
        self.changes: list[dict[str, Policy]] = []
        self.a1 = A1Policies(
            self.xapp,
            store,
            self.metrics,
            handler_id="stackmac",
            on_change=self._on_change,
            query_period_s=query_period_s,
        )

    def _on_change(self, policies: Mapping[str, Policy]) -> None:
        self.changes.append(dict(policies))

    def close(self) -> None:
        self.xapp.close()
        self.mediator.close()

    def say(self, payload: bytes) -> None:
        """The mediator sends a request, and the xApp works on it."""
        assert self.mediator.send(RmrMessage(A1_POLICY_REQUEST, payload, sub_id=POLICY_TYPE_ID))
        message = self.xapp.receive(PATIENCE_S)
        assert message is not None
        self.a1.on_message(message)
        self.a1.run_due()

    def heard(self, mtype: int) -> Any:
        """What the mediator is sent next of this type."""
        while (message := self.mediator.receive(PATIENCE_S)) is not None:
            if message.mtype == mtype:
                return json.loads(message.payload)
        raise AssertionError("the mediator heard nothing")

    def asked(self, payload: bytes) -> str:
        """Status of the answer to a request."""
        self.say(payload)
        answer = self.heard(A1_POLICY_RESPONSE)
        assert set(answer) == {"policy_type_id", "policy_instance_id", "handler_id", "status"}
        assert type(answer["policy_type_id"]) is int and answer["handler_id"] == "stackmac"
        return str(answer["status"])

    @property
    def names(self) -> list[str]:
        return sorted(self.a1.held)
