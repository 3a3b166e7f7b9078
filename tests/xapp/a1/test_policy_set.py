"""Several policies together: one meaning, whatever order they came in."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.cell_state import CellState, make_cell_state
from policy.intent import Intent, Mode
from xapp.a1.policy_model import Policy, parse_policy
from xapp.a1.policy_set import PolicySet
from xapp.config.slices import SliceMembers
from xapp.e2.ue_id.ue_key import UeIdKind, key_of

CELL = "gnb_1/00f110000000011"
OTHER = "gnb_2/00f110000000021"


def policy(**parts: Any) -> Policy:
    return parse_policy(json.dumps(parts))


def cell(classes: dict[int, float] | None = None, name: str = CELL) -> CellState:
    """UEs 1 to 4: eMBB, eMBB, periodic, sporadic."""
    classes = classes if classes is not None else {1: 0.0, 2: 0.0, 3: 1.0, 4: 2.0}
    return make_cell_state(
        name,
        num_rbgs=10,
        slots_per_dcm=1,
        slot=0,
        ue_ids=tuple(classes),
        traffic_class_U=np.array(list(classes.values())),
    )


def limit(least: float = 0.0, most: float = 100.0) -> dict[str, float]:
    return {"min_share_percent": least, "max_share_percent": most}


SLICE = {"sst": 1, "sd": "0000FF"}


def test_without_policies_the_defaults_hold() -> None:
    assert PolicySet().compile(cell()).intent == Intent()
    elsewhere = policy(scope={"cells": [OTHER]}, mode="shadow")
    assert PolicySet({"a": elsewhere}).compile(cell()).intent == Intent()


def test_a_policy_that_names_the_cell_comes_first_then_the_lower_id() -> None:
    policies = {
        "a": policy(objective={"alpha": 1.0}),
        "b": policy(objective={"alpha": 2.0}),
        "z": policy(scope={"cells": [CELL]}, objective={"alpha": 3.0}),
    }
    assert PolicySet(policies).compile(cell()).order == ("z", "a", "b")
    assert PolicySet(policies).compile(cell()).intent.alpha == 3.0
    assert PolicySet(policies).compile(cell(name=OTHER)).intent.alpha == 1.0


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (["control", "fallback", "shadow"], Mode.SHADOW),
        (["control", "fallback"], Mode.FALLBACK),
        (["control"], Mode.CONTROL),
    ],
)
def test_the_most_careful_mode_wins(modes: list[str], expected: Mode) -> None:
    for order in permutations(modes):
        policies = {f"p{k}": policy(mode=mode) for k, mode in enumerate(order)}
        assert PolicySet(policies).compile(cell()).intent.mode is expected


def test_of_several_limits_the_tightest_holds() -> None:
    policies = {
        "a": policy(limits={"per_ue": limit(10, 60)}),
        "b": policy(scope={"cells": [CELL], "ue_ids": [1, 99]}, limits={"per_ue": limit(20, 80)}),
        "c": policy(scope={"slices": [{"traffic_class": "embb"}]}, limits={"per_ue": limit(0, 50)}),
    }
    compiled = PolicySet(policies).compile(cell())
    assert compiled.intent.max_share_percent == {1: 50.0, 2: 50.0, 3: 60.0, 4: 60.0}
    assert compiled.intent.min_share_percent == {1: 20.0, 2: 10.0, 3: 10.0, 4: 10.0}
    assert compiled.of_ue[1] == ("b", "a", "c")


def test_a_slice_is_a_class_or_who_is_listed_or_configured() -> None:
    rows = (
        SliceMembers(sst=1, sd="0000ff", traffic_classes=("periodic",)),
        SliceMembers(sst=1, sd="0000ff", cells=(OTHER,), ue_ids=(2,)),
        SliceMembers(sst=2, ue_ids=(2, 77)),
    )
    scope = {"cells": [CELL], "slices": [{**SLICE, "ue_ids": [4, 88]}, {"sst": 2}, {"traffic_class": "embb"}]}
    compiled = PolicySet({"p": policy(scope=scope, limits={"per_slice": limit(10, 90)})}, rows).compile(cell())
    assert [(s.name, sorted(s.ue_ids)) for s in compiled.intent.slice_limits] == [
        ("1-0000ff", [3, 4]),
        ("2", [2]),
        ("embb", [1]),
    ]
    assert compiled.unmet == (("p", "slice embb: some of its UEs count for slice 2 instead"),)


def test_a_limit_of_a_slice_whose_members_are_not_known_is_refused_with_that_reason() -> None:
    for limits in ({"per_slice": limit(20)}, {"per_ue": limit(20)}):
        compiled = PolicySet({"p": policy(scope={"slices": [SLICE]}, limits=limits)}).compile(cell())
        assert compiled.intent == Intent()
        ((who, reason),) = compiled.unmet
        assert who == "p" and "slice 1-0000ff: its members are not known" in reason


def test_a_class_that_is_not_reported_is_said_and_holds_for_those_known() -> None:
    embb = {"p": policy(scope={"slices": [{"traffic_class": "embb"}]}, limits={"per_slice": limit(0, 50)})}
    compiled = PolicySet(embb).compile(cell({1: 0.0, 2: float("nan")}))
    assert [sorted(s.ue_ids) for s in compiled.intent.slice_limits] == [[1]]
    assert compiled.unmet == (("p", "slice embb: the traffic class of 1 UE is not reported"),)


def test_the_same_slice_in_two_policies_has_both_lists_and_the_tighter_limits() -> None:
    policies = {
        "a": policy(scope={"cells": [CELL], "slices": [{**SLICE, "ue_ids": [1]}]}, limits={"per_slice": limit(10, 50)}),
        "b": policy(scope={"cells": [CELL], "slices": [{**SLICE, "ue_ids": [2]}]}, limits={"per_slice": limit(30, 90)}),
    }
    (merged,) = PolicySet(policies).compile(cell()).intent.slice_limits
    assert (merged.ue_ids, merged.min_share_percent, merged.max_share_percent) == ({1, 2}, 30.0, 50.0)


def test_another_period_than_the_reports_is_said() -> None:
    asked = PolicySet({"p": policy(period_ms=200)}, report_period_ms=100).compile(cell())
    assert asked.intent == Intent()
    assert asked.unmet[0][1].startswith("period_ms is 200, but reports come every 100 ms")
    assert PolicySet({"p": policy(period_ms=100)}, report_period_ms=100).compile(cell()).unmet == ()


scopes = st.fixed_dictionaries(
    {"cells": st.sampled_from([[CELL], [OTHER], [CELL, OTHER]])},
    optional={
        "ue_ids": st.lists(st.integers(1, 5), min_size=1, max_size=3),
        "slices": st.lists(
            st.sampled_from([{**SLICE, "ue_ids": [1, 3]}, {"sst": 2, "ue_ids": [2]}, {"traffic_class": "embb"}]),
            min_size=1,
            max_size=3,
            unique_by=str,
        ),
    },
)
shares = st.tuples(st.integers(0, 60), st.integers(60, 100)).map(lambda pair: limit(*pair))


@st.composite
def policy_documents(draw: st.DrawFn) -> dict[str, Any]:
    scope = draw(scopes)
    limits = {"per_ue": draw(shares)}
    if "slices" in scope and draw(st.booleans()):
        limits["per_slice"] = draw(shares)
    document: dict[str, Any] = {"scope": scope, "limits": limits}
    if draw(st.booleans()):
        document["objective"] = {"alpha": draw(st.integers(0, 10))}
    if draw(st.booleans()):
        document["mode"] = draw(st.sampled_from(["control", "shadow", "fallback"]))
    return document


@given(st.lists(policy_documents(), max_size=4), st.randoms(use_true_random=False))
def test_the_meaning_does_not_depend_on_the_order_of_arrival(documents: list[dict[str, Any]], random: Any) -> None:
    policies = [(f"p{k}", policy(**document)) for k, document in enumerate(documents)]
    shuffled = policies.copy()
    random.shuffle(shuffled)
    assert PolicySet(dict(shuffled)).compile(cell()) == PolicySet(dict(policies)).compile(cell())


def test_ues_are_named_by_their_nodes_own_number_where_that_means_one() -> None:
    by_amf, by_other_amf = (key_of(UeIdKind.GNB_AMF, 5, bytes(6)[:-1] + bytes((n,))) for n in (1, 2))
    capped = PolicySet({"p": policy(scope={"cells": [CELL], "ue_ids": [5]}, limits={"per_ue": limit(most=10.0)})})
    alone = capped.compile(cell({3: 0.0, by_amf: 0.0}))
    assert (dict(alone.intent.max_share_percent), alone.unmet) == ({by_amf: 10.0}, ())
    both = capped.compile(cell(dict.fromkeys(sorted((by_amf, by_other_amf)), 0.0)))
    assert dict(both.intent.max_share_percent) == {}
    assert both.unmet == (("p", "UE 5: 2 UEs of the node have this number"),)
