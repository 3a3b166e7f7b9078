"""An A1 field, a lab fault and a kind of control: each is one place in xapp/, the last with a module of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_an_a1_field_is_a_field_of_the_model(changed: Callable[..., Any], tmp_path: Path) -> None:
    """It is checked where policies arrive, and stands in the policy type that RICs are given."""
    tree = changed(
        "xapp/a1/policy_model.py",
        (
            "    period_ms: int | None = Field(",
            '    priority: int | None = Field(default=None, ge=0, le=9, description="0 first.")\n'
            "    period_ms: int | None = Field(",
        ),
    )
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"mode": "shadow", "priority": 3}))
    bad.write_text(json.dumps({"mode": "shadow", "priority": 10}))
    printed = tree.python(
        f"""
import contextlib, io, json
from xapp.cli import main
for file in ({str(good)!r}, {str(bad)!r}):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        status = main(["intent", "validate", file])
    print(status, said.getvalue().strip())
from xapp.a1.policy_model import parse_policy
from xapp.packaging.descriptor import POLICY_TYPE_FILE, files
(written,) = (text for path, text in files().items() if path.name == POLICY_TYPE_FILE)
print(json.dumps(json.loads(written)["create_schema"]["properties"]["priority"]))
print(parse_policy('{{"mode": "shadow", "priority": 3}}').priority)
"""
    ).splitlines()
    assert printed[:2] == [f"{good}: valid", "0 "]
    assert printed[2].startswith("2 ") and "priority is 10" in printed[2]
    field = json.loads(printed[3])
    assert (field["minimum"], field["maximum"], field["description"]) == (0, 9, "0 first.")
    assert printed[4] == "3"


def test_a_lab_fault_is_an_entry_of_the_registry(changed: Callable[..., Any]) -> None:
    """`stackmac lab --behave NAME` takes it, whose gNB repeats measurements and names no control in its answers."""
    tree = changed(
        "xapp/lab/gnb/behaviour.py",
        (
            '    "ocudu": Behaviour(',
            '    "sluggish": Behaviour("kpm_srsran", refresh_ms=300, echoes_calls=False),\n    "ocudu": Behaviour(',
        ),
    )
    refused = tree.stackmac("lab", "--behave", "nobody")
    assert refused.returncode == 2 and "sluggish" in refused.stderr
    done = tree.stackmac("lab", "--behave", "sluggish", "--ues", "2", "--seconds", "1", "--json", "-")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["controls_acked"] > 0 and result["controls_failed"] == 0
    assert result["ue_reports_under_quota"] > 0


SHARES = '''
"""How many RBGs each UE has, as text."""

import json

from xapp.control.encoder import AppliedCheck, ControlEncoder, ControlMessage
from xapp.control_kinds.control_kind import ControlKind, Offer, configured_carriers
from xapp.e2.ran_function_name import RanFunctionName


class SharesEncoder(ControlEncoder):
    service_model = "shares"

    def encode(self, cell, carrier, allocation, context, send_context):
        rbgs = {ue: (allocation.owner_M == row).sum().item() for row, ue in enumerate(allocation.ue_ids)}
        return [ControlMessage("controls", send_context.next_id(), b"", json.dumps(rbgs).encode(), cell)]

    def release(self, cell, carrier, send_context):
        return [ControlMessage("releases", send_context.next_id(), b"", b"{}", cell)]

    def is_applied(self, state, applied, epoch):
        return AppliedCheck(None)


class Kind(ControlKind):
    function = "a SHARES function"
    oids = ("1.3.6.1.4.1.53148.9.9",)
    short_name = "SHARES"
    shared = SharesEncoder()

    @staticmethod
    def decode(data):
        return RanFunctionName(data.decode(), "", "")

    @staticmethod
    def offer(node, function, settings):
        return Offer(function.id, configured_carriers(settings))
'''
SHARES_CONTROLLED = """
import json, sys
from contextlib import ExitStack
from pathlib import Path
sys.path[:0] = ["tests/xapp", "tests/shared"]
from conftest import DecidingCell, FakeNode, FakeService
from policy.registry import make_leader
from xapp.config.model import ConfigError, parse_controls
from xapp.control_kinds.control_kind import control_kinds
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm import messages as kpm
from xapp.monitoring.metrics import Metrics
from xapp.nodes.cell_manager import Cells
from xapp.packaging.descriptor import files
from xapp.record.recorder import Recorder
from xapp.ric.nodes import E2Node, NodeChange, NodeEvent, RanFunction
from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import ClientEndpoint

try:
    parse_controls({"control": "nothing"})
except ConfigError as error:
    print(error)
(schema,) = (json.loads(text) for path, text in files().items() if path.name == "schema.json")
print(schema["properties"]["control"]["enum"])

def subscribed(request):
    for detail in request.body["SubscriptionDetails"] if request.method == "POST" else ():
        numbers = {"XappEventInstanceId": detail["XappEventInstanceId"], "E2EventInstanceId": node.kpm_instance}
        cells.subscriptions.on_notification(json.dumps({"SubscriptionId": "s", "SubscriptionInstances": [numbers]}))
    return 201, {"SubscriptionId": "s"}

style = kpm.ReportStyle(4, "per UE", 4, ("DRB.UEThpUl", "CQI"), 1, 3)
described = kpm.RanFunction(
    "KPM", kpm.KPM_OIDS[0], "", trigger_styles=(kpm.TriggerStyle(1, "periodic", 1),), report_styles=(style,)
)
functions = RanFunction(8, "none", b"SHARES"), RanFunction(2, kpm.KPM_OIDS[0], kpm.encode_ran_function(described))

with ExitStack() as opened:
    opened.callback((node := FakeNode()).close)
    opened.callback((store := SharedStore(environ={})).close)
    opened.callback((service := FakeService(subscribed)).close)
    opened.callback((recorder := Recorder(PATH, Metrics())).close)
    its_cell = {"cells": [node.nci], "num_prb": 24, "rbg_size_prb": 4}
    controls = parse_controls({"ric": {"submgr_url": service.url}, "nodes": [its_cell], "leader": "proportional_fair"})
    recorder.opened(controls, 1)
    opened.callback((cell := DecidingCell(node, make_leader(controls.leader), recorder)).close)
    cell.receiver.detach(node.dcm_instance)
    kinds = {name: kind(controls, store, observer=recorder) for name, kind in control_kinds().items()}
    cells = Cells(controls, cell.receiver, ClientEndpoint("127.0.0.1", 1, 1), store, cell.sender, kinds)
    opened.callback(cells.subscriptions.close, 0.0)
    cells.on_node(NodeEvent(NodeChange.CONNECTED, E2Node(node.name, True, functions)))
    cells.run_due()
    print(cells.problems())
    for sn in (1, 2, 3):
        cell.receiver.handle(node.kpm_message(sn, {ue: {"DRB.UEThpUl": 9.0 * ue, "CQI": 3.0 + ue} for ue in (1, 2)}))
        owner_M = cell.decide_what_waits().decision.allocation.owner_M
        request = e2ap.decode_control_request(node.rmr.receive(10.0).payload)
        print(request.function_id, 0 < sum(json.loads(request.message).values()) == (owner_M >= 0).sum())
        cell.receiver.handle(node.acknowledgement(request))
    cell.sender.release_all()
    print(e2ap.decode_control_request(node.rmr.receive(10.0).payload).message, cell.metrics["controls_acked"])
"""


def test_a_kind_of_control_is_a_module_and_its_entry(changed: Callable[..., Any], tmp_path: Path) -> None:
    """It can be configured; a node that offers it is planned, controlled and given back; a recording is replayed."""
    tree = changed(
        "xapp/config/model.py",
        ('CONTROL_KINDS = ("dcm", "ccc", "rc")', 'CONTROL_KINDS = ("dcm", "ccc", "rc", "shares")'),
        added={"xapp/control_kinds/shares.py": SHARES},
    )
    recording = tmp_path / "recording"
    refused, names, problems, *controls, release = tree.python(
        SHARES_CONTROLLED.replace("PATH", f"Path({str(recording)!r})")
    ).splitlines()
    assert "'rc', 'shares' or 'none'" in refused
    assert names == "['auto', 'dcm', 'ccc', 'rc', 'shares', 'none']"
    assert problems == "{'gnb_001_001_00000001': []}"
    assert controls == ["8 True"] * 3
    assert release == "b'{}' 3"
    replayed = tree.stackmac("replay", str(recording))
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout == "the same: 6 messages, 3 decisions, 4 controls and releases equal byte for byte\n"
