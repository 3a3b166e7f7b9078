"""As many policies as there may be, each as large as it may be: worked out once a change, and never by a decision."""

from __future__ import annotations

import json
from typing import Any

import pytest
from counting import calls_of
from many_policies import CELL, cell, maximal

import xapp.a1.policy_set
from policy.cell_state import CellState
from xapp.a1.cell_policies import CellPolicies
from xapp.a1.enforcement import PoliciesInForce
from xapp.a1.mediator_client import MAX_POLICIES
from xapp.a1.policy_model import Policy, PolicyError, parse_policy
from xapp.a1.policy_set import PolicySet
from xapp.control.cell_link import CellLink, Report
from xapp.control.cell_tracker import CellTracker


@pytest.fixture(scope="module")
def policies() -> dict[str, Policy]:
    return {f"p{number:03d}": maximal(number) for number in range(MAX_POLICIES)}


def link(state: CellState) -> CellLink:
    found = CellLink(CellTracker(CELL, num_rbgs=17, report_period_ms=100, has_kpm=True, has_dcm=False), None)
    found.newest = Report(found, state, 1, 0)
    return found


def test_256_maximal_policies_are_compiled_once_per_change(
    policies: dict[str, Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Counted(CellPolicies):
        def __init__(self, name: str, *arguments: Any, **options: Any) -> None:
            made.append(name)
            super().__init__(name, *arguments, **options)

    monkeypatch.setattr(xapp.a1.policy_set, "CellPolicies", Counted)
    in_force = PoliciesInForce(PolicySet(policies))
    for period in range(20):
        state = cell(period)  # a UE goes, and another comes
        assert in_force.intent_for(state).max_share_percent == dict.fromkeys(state.ue_ids, 50.0)
        in_force.statuses([link(state)])
    assert made == [CELL]
    in_force.change(lambda known: PolicySet(dict(list(known.policies.items())[1:])))
    assert made == [CELL] * 2, "by whoever changes them, before a decision needs it"
    in_force.intent_for(cell(0))
    assert made == [CELL] * 2


def test_a_decision_about_ues_that_have_just_come_does_as_much_under_256_policies_as_under_one(
    policies: dict[str, Policy],
) -> None:
    def work_under(known: dict[str, Policy]) -> int:
        in_force = PoliciesInForce(PolicySet(known))
        in_force.intent_for(cell(0))
        return calls_of(lambda: in_force.intent_for(cell(1)))

    assert work_under(policies) <= 1.2 * work_under({"p000": policies["p000"]})


def test_a_policy_beyond_the_stated_maximum_is_refused_with_the_reason() -> None:
    scope = {"cells": [CELL], "ue_ids": list(range(600)), "slices": [{"sst": 1, "ue_ids": list(range(401))}]}
    document = {"scope": scope, "limits": {"per_ue": {"max_share_percent": 50}}}
    with pytest.raises(PolicyError, match=r"names 1001 UEs.*expected at most 1000"):
        parse_policy(json.dumps(document))
    scope["slices"][0]["ue_ids"].pop()  # type: ignore[index]
    assert parse_policy(json.dumps(document))
