"""Why did UE 7 get nothing: causes are planted, and the answer over HTTP must name them."""

from __future__ import annotations

from typing import Any

import numpy as np
from asking import ALL, Ask, Broken, Gives, model

from policy.allocation import Allocation, LeftoverRule
from policy.grammar import FIRST_UE
from policy.intent import Intent, Mode, SliceLimit
from policy.leader import Decision
from policy.schedulers.schedulers import SCHEDULERS
from xapp.e2.dcm import messages as dcm


def test_a_ue_that_is_capped_at_nothing(ask: Ask) -> None:
    asking = ask(model())
    asking.cell.intent = Intent(max_share_percent={7: 10.0})
    asking.cell.decide(1, asking.indication())
    findings_of = asking.findings_of(7)
    assert "caps it at 0 of 6 RBGs" in findings_of["capped"]
    assert findings_of["masked_cap"] == "on RBGs 0, 1, 2, 3, 4, 5 it could not be named: it held its cap"
    assert "outranked" not in findings_of
    document = asking.document(ue=7)
    assert (document["limits"]["caps"], document["ues"][0]["got_nothing"]) == ({"7": 0}, True)
    assert document["ues"][0]["probabilities"] == [None] * 6


def test_a_ue_at_its_cap_is_not_blamed_for_the_rbgs_before(ask: Ask) -> None:
    asking = ask(Gives(7))
    asking.cell.intent = Intent(max_share_percent={7: 34.0})
    asking.cell.decide(1, asking.indication())
    findings_of = asking.findings_of(7)
    assert "holds 2 RBGs, as many as its cap allows (2 of 6)" in findings_of["capped"]
    assert findings_of["guard_took"].startswith("gives gave it RBGs 2, 3, 4, 5, the guard took that away: ")
    assert "UE 7: holds 6 RBGs, capped at 2" in findings_of["guard_took"]
    assert "outranked_by_rule" not in asking.findings_of(3), "what somebody's own leader took into account is not known"


def test_an_empty_buffer_one_that_was_served_and_one_that_nobody_reported(ask: Ask) -> None:
    asking = ask(model())
    buffers, inflight = np.array([0.0, 700.0, np.nan]), np.array([0.0, 800.0, 0.0])
    asking.cell.decide(1, asking.indication(buffer_bits=buffers, inflight_bits=inflight))
    assert asking.findings_of(3)["buffer_empty"].startswith("its buffer was empty when it was reported")
    assert (
        "of the 700 bits" in asking.findings_of(7)["buffer_served"]
        and "(800)" in asking.findings_of(7)["buffer_served"]
    )
    assert "was not reported" in asking.findings_of(9)["buffer_unknown"]


def test_a_ue_that_is_not_there_and_when_it_last_was(ask: Ask) -> None:
    asking = ask(SCHEDULERS["proportional_fair"])
    asking.cell.decide(1, asking.indication())
    asking.cell.decide(2, asking.indication((3, 9)))
    asking.cell.decide(3, asking.indication((3, 9)))
    text = asking.findings_of(7)["not_in_report"]
    assert text.startswith("it was not in the report, which had UEs 3, 9; it was last there ")
    assert text.endswith("in decision 1")
    assert asking.findings_of(8) == {"not_in_report": "it was not in the report, which had UEs 3, 9"}


def test_a_ue_that_left_or_came_while_the_decision_was_made(ask: Ask) -> None:
    asking = ask(Gives(7))
    asking.cell.report(1, asking.indication())
    waiting = asking.cell.mailbox.take(0.0)
    asking.cell.report(2, asking.indication((3, 9, 11)))
    asking.cell.loop.decide([report for _, report in waiting])
    assert "gone from the one that came before the control was sent" in asking.findings_of(7)["left"]
    assert "the next one is its first" in asking.findings_of(11)["came_later"]
    assert "made for UEs (3, 7, 9), now (3, 9, 11)" in asking.document()["guard"]


def test_a_fallback_says_what_kept_the_leader_from_speaking(ask: Ask) -> None:
    asking = ask(Broken())
    asking.cell.decide(1, asking.indication(buffer_bits=np.array([0.0, 4000.0, 9000.0])))
    findings_of = asking.findings_of(3)
    assert findings_of["fallback"] == "the leader failed; proportional_fair decided in its place"
    assert findings_of["outranked_by_rule"].startswith("proportional_fair took it to have 0 bits waiting, CQI 9")
    assert "and UE 7, with 3 RBGs the one with most, 4000 bits waiting" in findings_of["outranked_by_rule"]
    document = asking.document()
    assert (document["decided_by"], document["reason"]) == ("fallback:error", "error")
    assert (document["odds"]["computed"], document["prompt"]) == (False, {})
    asking.cell.intent = Intent(mode=Mode.FALLBACK)
    asking.cell.decide(2, asking.indication())
    assert "policy in force says `fallback`" in asking.findings_of(3)["fallback"]


def test_shadow_mode_decides_and_sends_nothing(ask: Ask) -> None:
    asking = ask(Gives(3))
    asking.cell.decide(1, asking.indication())
    asking.cell.intent = Intent(mode=Mode.SHADOW)
    asking.cell.decide(2, asking.indication())
    assert "shadow" in asking.findings_of(7)
    control = asking.document()["control"]
    assert (control["nothing_sent"], [m["what"] for m in control["messages"]]) == ("shadow", ["release"])
    assert asking.document(limit=2)["decisions"][0]["sent"] == "shadow"


def test_a_control_that_the_node_refused(ask: Ask) -> None:
    asking = ask(Gives(7))
    asking.cell.decide(1, asking.indication())
    request, _ = asking.node.next_control()
    asking.cell.receiver.on_message(asking.node.refusal(request, dcm.OutcomeCode.BAD_CARRIER))
    assert asking.findings_of(7)["refused"] == f"{asking.node.name} refused the control: BAD_CARRIER: because"


def test_what_the_node_decides_by_itself_is_no_refusal(ask: Ask) -> None:
    asking = ask(SCHEDULERS["static_config"])
    asking.cell.decide(1, asking.indication(k=100, traffic_class=np.array([0.0, 1.0, 2.0])))
    (entry,) = asking.document(ue=7)["ues"]
    assert (entry["dynamic_rbgs"], entry["may_contend_on"]) == (6, 6)
    codes = [finding["code"] for finding in entry["why"]]
    assert codes[-2:] == ["left_to_node", "may_contend"]


def test_leftovers_of_another_class(ask: Ask) -> None:
    class Leftovers(Gives):
        def decide(self, states: Any, intents: Any, expired: Any) -> list[Decision]:
            rule = LeftoverRule(class_mask=0b110, contenders=1.2)
            return [Decision(Allocation(s.ue_ids, np.full(s.num_rbgs, -1, np.int16), rule)) for s in states]

    asking = ask(Leftovers(7))
    asking.cell.decide(1, asking.indication(traffic_class=np.array([0.0, 1.0, 2.0])))
    assert (
        asking.findings_of(3)["may_not_contend"] == "it may not contend for leftovers: they are for periodic+sporadic"
    )
    assert "with probability 0.6" in asking.findings_of(7)["may_contend"]


def test_being_outranked_comes_with_the_models_own_probabilities(ask: Ask) -> None:
    asking = ask(model(allow_open=False, allow_dynamic=False, allow_idle=False))
    made = asking.cell.decide(1, asking.indication())
    losers = [ue for row, ue in enumerate(ALL) if not (made.allocation.owner_M == row).any()]
    assert losers, "of three UEs this model serves fewer"
    (entry,) = asking.document(ue=losers[0])["ues"]
    probabilities = entry["probabilities"]
    assert entry["got_nothing"] and all(0 < p < 1 for p in probabilities)
    (outranked,) = [f["text"] for f in entry["why"] if f["code"] == "outranked"]
    best = int(np.argmax(probabilities))
    winner = ALL[int(made.allocation.owner_M[best])]
    assert f"its best chance was RBG {best} with probability {probabilities[best]:.2g}" in outranked
    assert f"where UE {winner} had" in outranked and f"it could expect {sum(probabilities):.2g}" in outranked


def test_floors_of_others_mask_a_ue(ask: Ask) -> None:
    asking = ask(model())
    asking.cell.intent = Intent(min_share_percent={3: 50.0, 9: 50.0})
    asking.cell.decide(1, asking.indication())
    findings_of = asking.findings_of(7)
    assert findings_of["masked_floors"].endswith("every RBG that was left was owed to an operator's floor")
    assert "the policy promises it 3 of 6 RBGs" in asking.findings_of(3)["floor"]


def test_a_floor_that_the_model_left_to_the_node(ask: Ask) -> None:
    asking = ask(model(allow_open=False, allow_idle=False, allow_ue_grants=False))  # DYNAMIC or who is owed
    asking.cell.intent = Intent(min_share_percent={3: 100.0})
    made = asking.cell.decide(1, asking.indication())
    assert (made.allocation.owner_M == 0).all()
    assert made.decision.tokens.count(FIRST_UE) < 6, "this model leaves RBGs that are owed to the node"
    text = asking.findings_of(3)["floor_paid"]
    assert text.startswith("the model left RBG") and text.endswith("floor was still owed to it or its slice")


def test_a_slices_limits_and_what_does_not_hold_are_shown(ask: Ask) -> None:
    asking = ask(model(allow_open=False, allow_dynamic=False))
    gold = SliceLimit("gold", frozenset({3, 7, 99}), max_share_percent=17.0)
    asking.cell.intent = Intent(slice_limits=(gold,), max_share_percent={9: 10.0}, min_share_percent={9: 50.0})
    asking.cell.decide(1, asking.indication())
    limits = asking.document()["limits"]
    assert limits["slices"] == [{"name": "gold", "ues": [3, 7], "cap": 1, "floor": 0}]
    assert limits["not_enforced"] == ["UE 9: floor of 3 RBGs exceeds its cap of 0: the cap holds"]
    assert "masked_slice_cap" in {**asking.findings_of(3), **asking.findings_of(7)}
