"""submgr and e2mgr as a test wants them, and one fake node that they know of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from waiting import PATIENCE_S

from policy.observation import PROFILES
from xapp.e2.dcm import messages as dcm
from xapp.lab.gnb.ran_functions import dcm_function, make_identity, setup_request
from xapp.rmr.transport import RIC_CONTROL_ACK, RIC_CONTROL_FAILURE, RIC_INDICATION

PERIOD_MS = 20


class RicServices:
    """`serve` and `node`: the fixtures. The node's reports find the xApp once `connect` has been called."""

    def __init__(self, node: Any, serve: Any) -> None:
        self.node = node
        self.connected = True
        self.carriers: tuple[dcm.Carrier, ...] = (node.carrier,)
        self.e2mgr = serve(self._e2mgr)
        self.submgr = serve(self._submgr)
        self.instances: dict[str, int] = {}
        """E2EventInstanceId by function id, of the newest subscription."""
        self._next_instance = 100

    def controls(self) -> dict[str, Any]:
        """The configuration of an xApp among them."""
        loopback = {"bind_host": "127.0.0.1", "host": "127.0.0.1", "port": 0}
        return {
            "leader": "proportional_fair",
            "report_period_ms": PERIOD_MS,
            "stale_after_periods": 100.0,
            "rmr": loopback,
            "http": loopback,
            "ric": {
                "submgr_url": self.submgr.url,
                "e2mgr_url": self.e2mgr.url,
                "appmgr_url": "",
                "poll_period_s": 0.1,
            },
        }

    def write_routes(self, path: Path) -> None:
        """The xApp's static route table: controls reach the node."""
        path.write_text(f"newrt|start\nrte|12040|{self.node.rmr.source}\nnewrt|end\n")

    def connect(self, xapp: str) -> None:
        """Lead what the node sends to the xApp at this host:port."""
        types = (RIC_INDICATION, RIC_CONTROL_ACK, RIC_CONTROL_FAILURE)
        rows = [f"rte|{mtype}|{xapp}" for mtype in types]
        self.node.rmr.routes.update("\n".join(["newrt|start", *rows, "newrt|end", ""]))

    def report(self, sn: int, **changes: Any) -> None:
        """A DCM indication of the node's cell, under the newest subscription."""
        instance = self.instances[str(dcm.DCM_FUNCTION_ID)]
        self.node.send(self.node.dcm_message(sn, instance=instance, **changes))

    def _e2mgr(self, request: Any) -> tuple[int, object]:
        state = {
            "inventoryName": self.node.name,
            "connectionStatus": "CONNECTED" if self.connected else "DISCONNECTED",
        }
        if request.path.endswith("/states"):
            return 200, [state]
        setup = setup_request(1, make_identity(1), PROFILES["full"].measurements, [dcm_function(self.carriers)])
        functions = [
            {"ranFunctionId": f.function_id, "ranFunctionOid": f.oid, "ranFunctionDefinition": f.definition.hex()}
            for f in setup.functions
        ]
        return 200, {**state, "gnb": {"ranFunctions": functions}}

    def _submgr(self, request: Any) -> tuple[int, object]:
        if request.method != "POST":
            return 204, None
        (detail,) = request.body["SubscriptionDetails"]
        self._next_instance += 1
        subscription_id = f"sub-{self._next_instance}"
        self.instances[str(request.body["RANFunctionID"])] = self._next_instance
        notification = {
            "SubscriptionId": subscription_id,
            "SubscriptionInstances": [
                {
                    "XappEventInstanceId": detail["XappEventInstanceId"],
                    "E2EventInstanceId": self._next_instance,
                    "ErrorCause": "",
                    "ErrorSource": "",
                    "TimeoutType": "",
                }
            ],
        }
        endpoint = request.body["ClientEndpoint"]
        url = f"http://{endpoint['Host']}:{endpoint['HTTPPort']}/ric/v1/subscriptions/response"
        assert httpx.post(url, json=notification, trust_env=False, timeout=PATIENCE_S).status_code == 200
        return 201, {"SubscriptionId": subscription_id}
