"""How long a run of a scenario is, unless somebody says otherwise."""

from __future__ import annotations

from training.simulator.scenario import SLOW_LEADER_SLOTS, Scenario, make_scenario

FAST_GAME_SLOTS = 100
"""Length of an episode beside the node: the reference game's T."""
SLOW_GAME_PERIODS = 20
"""The same at a RIC's period, so that most of the run is under the leader's decisions."""


def make_scenario_at(name: str, k: int) -> Scenario:
    """The named scenario with K slots per DCM; 0 = its own. Raises ValueError."""
    scenario = make_scenario(name)
    return scenario.with_(slots_per_dcm=k) if k else scenario


def periods_of(scenario: Scenario, slots: int) -> int:
    """Periods of a run of `slots` slots; 0 = the usual length."""
    slots_per_dcm = scenario.slots_per_dcm
    usual = FAST_GAME_SLOTS if slots_per_dcm < SLOW_LEADER_SLOTS else SLOW_GAME_PERIODS * slots_per_dcm
    return max(1, (slots or usual) // slots_per_dcm)
