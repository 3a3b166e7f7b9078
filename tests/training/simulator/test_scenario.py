"""Scenarios: named, validated, identified by a hash."""

from __future__ import annotations

from typing import Any

import pytest

from policy.cell_state import TrafficClass
from training.simulator.scenario import LAB, MIX, SCENARIOS, TrafficProfile, make_scenario


def test_names_lead_to_scenarios_and_hashes_differ() -> None:
    assert {make_scenario(name).name for name in SCENARIOS} == set(SCENARIOS)
    assert len({scenario.hash for scenario in SCENARIOS.values()}) == len(SCENARIOS)
    assert MIX.with_(load=0.7).hash != MIX.hash == MIX.with_(load=0.6).hash
    with pytest.raises(ValueError, match="unknown scenario 'mx'; known: mix, sporadic"):
        make_scenario("mx")


def test_a_slow_leader_decides_for_the_next_period() -> None:
    assert [MIX.with_(slots_per_dcm=k).control_lead_periods for k in (1, 5, 10, 100)] == [0, 0, 1, 1]
    assert LAB.lease_slots == 100


def test_classes_are_shared_out_evenly_and_interleaved() -> None:
    assert LAB.profile_of_seats(7) == [0, 1, 2, 0, 1, 2, 0]
    seats = make_scenario("lab_paper").profile_of_seats(10)
    assert [seats.count(profile) for profile in range(3)] == [4, 4, 2]
    assert set(seats[:3]) == {0, 1, 2}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"num_rbgs": 19}, "num_rbgs is 19"),
        ({"slots_per_dcm": 0}, "slots_per_dcm is 0"),
        ({"rho": 1.5}, "rho is 1.5"),
        ({"present_slots": 100.0}, "absent_slots is 0.0"),
        ({"traffic": LAB.traffic[:2]}, "add up to 0.66"),
    ],
)
def test_values_out_of_range_are_named(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        MIX.with_(**changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"load_share": 0.5, "period_slots": (3, 5)}, "expected one of"),
        ({}, "expected one of"),
        ({"load_share": 1.0, "deadline_slots": 0}, "deadline_slots is 0"),
        ({"load_share": 1.0, "p_off": 2.0}, "no probabilities"),
        ({"period_slots": (5, 3)}, "no range"),
    ],
)
def test_a_profile_has_one_source_of_traffic(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        TrafficProfile(**{"traffic_class": TrafficClass.EMBB, "ue_share": 1.0, "deadline_slots": 5, **changes})
