"""What `--behave` imitates: silent where nobody is, deaf to cells, repeating values, and fatal conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy.errors import UserMistake
from policy.observation import PROFILES
from training.simulator.scenario import make_scenario
from xapp.config.model import parse_controls
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.e2.kpm import messages as kpm
from xapp.e2.kpm.messages import Condition
from xapp.e2.kpm.report_reader import KpmReport, decode_report
from xapp.e2.rc import messages as rc
from xapp.e2.ue_id.ue_id import GnbDuUeId, GnbUeId, Guami
from xapp.lab.command import check_names
from xapp.lab.counters import Counters
from xapp.lab.gnb.behaviour import BEHAVIOURS, Behaviour, NodeDied
from xapp.lab.gnb.e2_agent import E2Agent
from xapp.lab.gnb.gnb import Gnb
from xapp.lab.gnb.mac import Mac
from xapp.lab.gnb.options import GnbOptions
from xapp.lab.gnb.ran_functions import make_carriers, make_identity
from xapp.lab.gnb.rc_function import RC_FUNCTION_ID, f1ap_id
from xapp.lab.lab import node_settings, slice_members
from xapp.lab.options import LabOptions
from xapp.nodes.subscription_plan import plan_node
from xapp.quotas.allocation_to_quota import Quota
from xapp.ric.nodes import E2Node, RanFunction

PERIOD_MS = 100
NAMES = ("DRB.UEThpUl", "RRU.PrbTotUl")
OCTETS = Condition("sNSSAI", "equal", {"valueOctS": "01"})
PLMN = bytes.fromhex("00f110")


class Node:
    """An agent and its MAC, without sockets; a period is what `report` plays."""

    def __init__(self, behave: str, *, cells: int = 1, ues: int = 4) -> None:
        self.behaviour = BEHAVIOURS[behave]
        scenario = make_scenario("ric100").with_(slots_per_dcm=PERIOD_MS)
        self.mac = Mac(scenario, make_carriers(1, cells, scenario.num_rbgs), ues, 1, "best_response")
        self.agent = E2Agent(
            self.mac,
            make_identity(1, is_du=self.behaviour.is_du),
            period_ms=PERIOD_MS,
            profile=PROFILES[self.behaviour.observe],
            counters=Counters(),
            control="rc",
            behaviour=self.behaviour,
        )

    def subscribe(self, row: int = 0, condition: Condition = OCTETS, conditions: tuple[Condition, ...] = ()) -> Any:
        action = kpm.ActionDefinition(4, NAMES, PERIOD_MS, self.mac.carriers[row].cell, conditions or (condition,))
        request = procedures.SubscriptionRequest(
            e2ap.RicRequestId(123, 1 + row),
            2,
            kpm.encode_event_trigger(kpm.EventTrigger(PERIOD_MS)),
            (procedures.Action(0, "report", kpm.encode_action_definition(action), None),),
        )
        (answer,) = self.agent.handle(procedures.encode(request))
        return procedures.decode(answer)

    def report(self) -> list[e2ap.Indication]:
        indications = [e2ap.decode_indication(pdu) for pdu in self.agent.indications(self.mac.observe())]
        left = PERIOD_MS
        while left:
            left -= self.mac.play(left)
        return indications

    def kpm(self) -> KpmReport:
        (indication,) = self.report()
        return decode_report(indication.message, NAMES)

    def limit(self, ue_id: Any) -> Any:
        header, message = rc.encode_prb_quota_control(ue_id, rc.PrbQuota(PLMN, 1, None, 0, 40))
        request = e2ap.ControlRequest(
            e2ap.RicRequestId(123, 1), RC_FUNCTION_ID, header, message, b"\0\0\0\1", e2ap.AckRequest.ACK
        )
        (answer,) = self.agent.handle(e2ap.encode_control_request(request))
        kind, _ = e2ap.peek(answer)
        read = e2ap.decode_control_acknowledge if int(kind) == 1 else e2ap.decode_control_failure
        return read(answer)


@pytest.mark.parametrize("behave", ["ocudu", "srsran", "oai"])
def test_an_idle_node_says_nothing_at_all(behave: str) -> None:
    node = Node(behave, ues=0)
    assert isinstance(node.subscribe(), procedures.SubscriptionResponse)
    assert [node.report() for _ in range(5)] == [[]] * 5


@pytest.mark.parametrize("behave", ["ocudu", "srsran"])
def test_a_du_reports_all_its_ues_whichever_cell_is_asked_for(behave: str) -> None:
    node = Node(behave, cells=2)
    for row in (0, 1):
        node.subscribe(row)
    reports = [decode_report(indication.message, NAMES) for indication in node.report()]
    everybody = {f1ap_id(row, ue) for row in (0, 1) for ue in node.mac.batch.ue_table(row).ue_ids}
    assert [set(report.ue_keys) for report in reports] == [everybody] * 2
    assert (node.agent.identity.ran_name, len(everybody)) == ("gnbd_001_001_00000001_0", 8)


def test_the_labs_own_node_looks_at_the_cell() -> None:
    node = Node("", cells=2)
    node.subscribe(1)
    (indication,) = node.report()
    assert {key >> 20 for key in decode_report(indication.message, NAMES).ue_keys} == {1}


def test_values_repeat_until_they_are_renewed_once_a_second() -> None:
    node = Node("ocudu")
    node.subscribe()
    values = [node.kpm().values for _ in range(31)]
    changed = [k for k in range(1, 31) if not np.array_equal(values[k], values[k - 1], equal_nan=True)]
    assert set(changed) <= {10, 20, 30} and len(changed) >= 2


@pytest.mark.parametrize(("behave", "echoed"), [("ocudu", None), ("srsran", b"\0\0\0\1"), ("oai", None)])
def test_indications_have_no_number_and_some_answers_name_no_control(behave: str, echoed: bytes | None) -> None:
    node = Node(behave)
    node.subscribe()
    (indication,) = node.report()
    assert indication.sn is None
    report = decode_report(indication.message, NAMES)
    ue_id = report.ue_id(0)
    assert isinstance(ue_id, GnbUeId if behave == "oai" else GnbDuUeId)
    answer = node.limit(ue_id)
    assert isinstance(answer, e2ap.ControlAcknowledge)
    assert answer.call_process_id == echoed
    assert list(node.mac.quotas[0].limited().values()) == [Quota(0, 40)]
    stranger = GnbDuUeId(1) if behave == "oai" else GnbUeId(1, Guami(PLMN, 9, 9, 9))
    assert isinstance(node.limit(stranger), e2ap.ControlFailure)


@pytest.mark.parametrize(
    "condition",
    [
        Condition("ul-rSRP", "lessthan", {"valueInt": 1000}),
        Condition("cQI", "greaterthan", {"valueInt": 0}),
        Condition("sNSSAI", "greaterthan", {"valueOctS": "01"}),
        Condition("sNSSAI", "equal", {"valueInt": 1}),
        Condition("sNSSAI", "equal", {"valueOctS": "0101"}),
        Condition("sNSSAI", "present"),
    ],
    ids=str,
)
def test_openairinterface_dies_of_any_condition_but_one_and_the_others_do_not_look(condition: Condition) -> None:
    with pytest.raises(NodeDied):
        Node("oai").subscribe(condition=condition)
    for behave in ("ocudu", "srsran", ""):
        node = Node(behave)
        node.subscribe(condition=condition)
        assert node.report()


@pytest.mark.parametrize(("octets", "reports"), [("01", 1), ("01ffffff", 1), ("02", 0), ("01000001", 0)])
def test_openairinterface_reports_who_is_in_the_slice(octets: str, reports: int) -> None:
    node = Node("oai")
    node.subscribe(condition=Condition("sNSSAI", "equal", {"valueOctS": octets}))
    assert len(node.report()) == reports


def test_a_way_to_behave_that_nobody_has_is_one_line() -> None:
    with pytest.raises(UserMistake, match="--behave is 'nokia', expected one of ocudu, oai, srsran"):
        Gnb(GnbOptions(behave="nokia"))


def test_another_behaviour_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BEHAVIOURS, "mute", Behaviour("kpm_oai", echoes_calls=False))
    options = LabOptions(behave="mute")
    check_names(options)
    assert (options.resolved().control, options.resolved().observe) == ("rc", "kpm_oai")
    gnb = Gnb(GnbOptions(behave="mute", scenario="mix", k=1, e2_transport="tcp"))
    assert (gnb.control, gnb.observe) == ("rc", "kpm_oai")


@pytest.mark.parametrize(("behave", "functions"), [("ocudu", [2, 3, 4]), ("srsran", [2, 3]), ("oai", [2, 3])])
def test_ocudu_offers_ratios_of_slices_beside_quotas_and_the_others_do_not(behave: str, functions: list[int]) -> None:
    setup = procedures.decode(Node(behave).agent.connected())
    assert isinstance(setup, procedures.E2SetupRequest)
    assert [item.function_id for item in setup.functions] == functions


@pytest.mark.parametrize(("behave", "left_out"), [("", ""), ("ocudu", ""), ("srsran", ""), ("oai", "SST 2")])
def test_both_slices_of_the_lab_are_asked_for_at_every_node_that_takes_two_conditions(
    behave: str, left_out: str
) -> None:
    """As srsRAN and OCUDU do the node lists all report styles; OpenAirInterface's style 4 takes one condition."""
    node = Node(behave)
    setup = procedures.decode(node.agent.connected())
    assert isinstance(setup, procedures.E2SetupRequest)
    functions = tuple(RanFunction(f.function_id, f.oid or "", f.definition) for f in setup.functions)
    options = LabOptions(behave=behave, control="" if behave else "rc", policy=(Path("slice-sla.json"),)).resolved()
    (settings,) = node_settings(options)
    members = parse_controls({"a1": {"slices": slice_members(options)}}).a1.slices
    planned = plan_node(
        E2Node(node.agent.identity.ran_name, True, functions),
        report_period_ms=PERIOD_MS,
        measurements=NAMES,
        settings=parse_controls({"nodes": [settings]}).nodes[0],
        slices=members,
    )
    missing = [problem.text for problem in planned.problems if problem.fault == "slices_not_reported"]
    assert [left_out in text for text in missing] == [True] * bool(left_out)
    (wanted,) = planned.wanted
    action = kpm.decode_action_definition(wanted.action_definition)
    assert isinstance(node.subscribe(conditions=action.conditions), procedures.SubscriptionResponse)
    assert len(node.report()) == 1
