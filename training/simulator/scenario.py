"""What world a run lives in: the cell, its traffic, and what the node does without a leader.

A slot is 1 ms everywhere. `mix` and `sporadic` are the reference game to the number (one decision a slot), `paper` is
`mix` for I in {3, 4, 5}, and in `paper_dynamic` I changes within an episode. `ric20` and `ric100` have the period of
a near-RT RIC, and regimes that shift; `lab_paper` and `lab` are what the lab shows, with UEs that come and go. `dense`
has 10-30 UEs on 17 RBGs, `mmtc` a hundred and more with short packets, and in `coupled` neighbouring RBGs interfere.

`node_contenders` is the best by utility of what a DCM can hold: `tune_node_contenders(scenario, ues=8)`;
`paper` at its 4 UEs, `ric20` and `ric100` at 30, where RBGs are scarce (at 8 UEs 4.8 is .4 to .8 % better there).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from policy.cell_state import TrafficClass
from policy.errors import UserMistake
from policy.time_scales import LEASE_PERIODS
from training.simulator.traffic import KNOB, TrafficProfile, resolved

BITS_PER_RBG_AT_FULL_LOAD = 1000.0
"""A load of 1 offers this many bits per RBG and slot."""
MAX_SEED = 2**63 - 1
"""The largest seed of a world."""
NODE_RULES = ("proportional_fair", "max_weight", "max_rate")
REGIME_SHARE = 0.6
"""Share of the UEs that are of the class whose regime it is; the others are shared by their `ue_share`."""
SLOW_LEADER_SLOTS = 10
"""From this K on a decision arrives while its period already runs, and governs the next one."""


class ScenarioError(UserMistake, ValueError):
    """A scenario that there is not, or that cannot be. It is a ValueError too, as the lab's gNB refuses its options."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One uplink cell and what is asked of it. Frozen: change it with `with_`."""

    name: str
    num_rbgs: int
    """M: RBGs of the uplink BWP, 1-18."""
    slots_per_dcm: int
    """K: slots that one decision governs."""
    report_delay_slots: int
    """D: age of the buffer status, CQI and preferred RBG that scheduler and leader see."""
    load: float
    """Load of the classes that have a load_share: 1 = 1000 bits per RBG and slot for the whole cell."""
    traffic: tuple[TrafficProfile, ...]
    rho: float = 0.9
    """Slot-to-slot correlation of the Rayleigh fading of each RBG."""
    buffer_limit_bits: float = 40_000.0
    """Per UE; what does not fit is lost on arrival."""
    present_slots: float = 0.0
    """Mean stay of a UE in the cell; 0 = all stay for ever. The first UE always stays: a cell is never empty."""
    absent_slots: float = 0.0
    """Mean time until a UE that left is followed by a new one, with a new id and a new place."""
    node_contenders: float = 1.2
    """c of the node's own leftover rule (all classes): what it uses when no leader decides. 0 = leftovers unused."""
    node_subtracts_inflight: bool = True
    """The node's scheduler subtracts what it served since the report. False = the reference game's plain PF."""
    ue_counts: tuple[int, ...] = (3, 4, 5)
    """UEs per cell that training draws from."""
    resident_ues: int = field(default=1, metadata=KNOB)
    """UEs of the first so many seats stay for ever, where UEs come and go."""
    regime_slots: float = field(default=0.0, metadata=KNOB)
    """Mean length of a regime, slots; 0 = one regime for ever. A new regime is that of another class, drawn uniformly:
    every UE draws its class anew, that one with REGIME_SHARE, and the load is drawn anew from `regime_load`. What
    waits with a UE that changes its class is gone. The leader learns of it with the reports, D slots later."""
    regime_load: tuple[float, float] = field(default=(1.0, 1.0), metadata=KNOB)
    """Range of the factor on `load` in a regime, uniform; the first regime has 1."""
    coupling: float = field(default=0.0, metadata=KNOB)
    """Share of a transmission's power that leaks into each neighbouring RBG, as noise for others who send there."""
    node_rule: Literal["proportional_fair", "max_weight", "max_rate"] = field(
        default="proportional_fair", metadata=KNOB
    )
    """What the node's own scheduler is greedy on."""

    def __post_init__(self) -> None:
        expected = {
            "num_rbgs": 1 <= self.num_rbgs <= 18,
            "slots_per_dcm": self.slots_per_dcm >= 1,
            "report_delay_slots": 0 <= self.report_delay_slots <= 64,
            "load": self.load >= 0,
            "rho": 0 <= self.rho <= 1,
            "present_slots": self.present_slots == 0 or self.present_slots >= 1,
            "absent_slots": self.present_slots == 0 or self.absent_slots >= 1,
            "node_contenders": self.node_contenders >= 0,
            "resident_ues": self.resident_ues >= 1,
            "regime_slots": self.regime_slots == 0 or self.regime_slots >= 1,
            "regime_load": 0 <= self.regime_load[0] <= self.regime_load[1],
            "coupling": 0 <= self.coupling <= 1,
            "node_rule": self.node_rule in NODE_RULES,
        }
        for field_name, fine in expected.items():
            if not fine:
                raise ScenarioError(f"scenario {self.name}: {field_name} is {getattr(self, field_name)}, out of range")
        share = sum(profile.ue_share for profile in self.traffic)
        if abs(share - 1.0) > 1e-6:
            raise ScenarioError(f"scenario {self.name}: the traffic's ue_share add up to {share}, expected 1")

    @property
    def control_lead_periods(self) -> int:
        """Whole periods between a report and the period that the decision on it governs."""
        return 0 if self.slots_per_dcm < SLOW_LEADER_SLOTS else 1

    @property
    def lease_slots(self) -> int:
        """Validity of a control: until LEASE_PERIODS after its report."""
        return (LEASE_PERIODS - self.control_lead_periods) * self.slots_per_dcm

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any field: goes into every result row."""
        return hashlib.sha256(json.dumps(resolved(self), sort_keys=True).encode()).hexdigest()[:12]

    def with_(self, **changes: Any) -> Scenario:
        """A copy with some fields changed; raises TypeError for an unknown field, ValueError for a bad value."""
        return replace(self, **changes)

    @property
    def regime_shares(self) -> tuple[tuple[float, ...], ...]:
        """Row k: the share of UEs that become of each profile in the regime of profile k."""
        if len(self.traffic) == 1:
            return ((1.0,),)
        shares = []
        for k, own in enumerate(self.traffic):
            rest = (1.0 - REGIME_SHARE) / max(1.0 - own.ue_share, 1e-9)
            shares.append(tuple(REGIME_SHARE if j == k else rest * p.ue_share for j, p in enumerate(self.traffic)))
        return tuple(shares)

    def profile_of_seats(self, ues: int) -> list[int]:
        """Index into `traffic` for each of `ues` UEs: shares as even as whole UEs allow, classes interleaved."""
        given = [0] * len(self.traffic)
        seats = []
        for count in range(1, ues + 1):
            owed = [profile.ue_share * count - got for profile, got in zip(self.traffic, given)]
            choice = max(range(len(owed)), key=lambda k: (round(owed[k], 9), -k))
            given[choice] += 1
            seats.append(choice)
        return seats


def _bursts(traffic_class: TrafficClass, p_on: float, p_off: float, deadline_slots: int) -> tuple[TrafficProfile, ...]:
    """The one class of a reference scenario: it carries the cell's whole load."""
    return (TrafficProfile(traffic_class, 1.0, deadline_slots, load_share=1.0, p_on=p_on, p_off=p_off),)


MIX = Scenario(
    name="mix",
    num_rbgs=6,
    slots_per_dcm=1,
    report_delay_slots=2,
    load=0.6,
    traffic=_bursts(TrafficClass.EMBB, 0.1, 0.3, 6),
    node_contenders=1.2,
)

SPORADIC = Scenario(
    name="sporadic",
    num_rbgs=6,
    slots_per_dcm=1,
    report_delay_slots=4,
    load=0.4,
    traffic=_bursts(TrafficClass.SPORADIC, 0.02, 0.5, 8),
    node_contenders=9.6,
)

PAPER = MIX.with_(name="paper", node_contenders=2.4, ue_counts=(3, 4, 5))

# Sessions of 150 slots on, 150 off; the load is that of the eMBB class, since the two others bring their own volume.
_SESSIONS = TrafficProfile(TrafficClass.EMBB, 1 / 3, 20, load_share=1.0, p_on=1 / 150, p_off=1 / 150)
# About 60 bits a slot and UE on average.
_SENSORS = TrafficProfile(TrafficClass.PERIODIC, 1 / 3, 8, period_slots=(10, 25))
# A burst every ~52 slots, ~2 slots long, ~3 packets: the same 60 bits a slot and UE as the periodic class.
_ALARMS = TrafficProfile(TrafficClass.SPORADIC, 1 / 3, 8, ue_bits_per_slot=60.0, p_on=0.02, p_off=0.5)

_RIC = Scenario(
    name="ric",
    num_rbgs=17,
    slots_per_dcm=100,
    report_delay_slots=8,
    # At 30 UEs the two small classes add about .07 to it.
    load=0.9,
    traffic=(_SESSIONS, _SENSORS, _ALARMS),
    rho=0.99,
    node_contenders=2.4,
    ue_counts=(8, 10, 20, 30),
)

# The published ricU: the base load, and deadlines that reports cannot serve.
RIC20 = _RIC.with_(name="ric20", slots_per_dcm=20, regime_slots=400.0, regime_load=(0.6, 1.4))

# The published ricS: more volume, and alarms that are dormant half of the time.
_RIC_BUSY = _RIC.with_(
    load=1.3, traffic=(_SESSIONS, _SENSORS, replace(_ALARMS, active_slots=200.0, dormant_slots=200.0))
)
RIC100 = _RIC_BUSY.with_(name="ric100", regime_slots=1000.0, regime_load=(0.6, 1.4))

# Two of five seats are taken half of the time: I is 3, 4 or 5 and changes every 50 slots or so.
PAPER_DYNAMIC = PAPER.with_(
    name="paper_dynamic", present_slots=100.0, absent_slots=100.0, resident_ues=3, ue_counts=(5,)
)

COUPLED = MIX.with_(name="coupled", coupling=0.02)

DENSE = Scenario(
    name="dense",
    num_rbgs=17,
    slots_per_dcm=1,
    report_delay_slots=4,
    load=0.7,
    traffic=(
        TrafficProfile(TrafficClass.EMBB, 0.5, 6, load_share=0.7, p_on=0.1, p_off=0.3),
        TrafficProfile(TrafficClass.SPORADIC, 0.5, 8, load_share=0.3, p_on=0.02, p_off=0.5),
    ),
    node_contenders=2.4,
    ue_counts=(10, 15, 20, 30),
)

MMTC = Scenario(
    name="mmtc",
    num_rbgs=17,
    slots_per_dcm=1,
    report_delay_slots=4,
    load=0.1,
    traffic=(
        # A quarter are meters: 200 bits every 50 to 100 slots, which come when they come.
        TrafficProfile(TrafficClass.PERIODIC, 0.25, 20, packet_bits=200.0, period_slots=(50, 100), jitter_slots=5),
        # The others are silent for 200 slots and then send three packets or so.
        TrafficProfile(TrafficClass.SPORADIC, 0.75, 20, packet_bits=200.0, load_share=1.0, p_on=0.005, p_off=0.5),
    ),
    node_contenders=9.6,
    ue_counts=(100, 150, 200),
)

LAB_PAPER = Scenario(
    name="lab_paper",
    num_rbgs=6,
    slots_per_dcm=1,
    report_delay_slots=4,
    load=0.5,
    traffic=(
        # As in `mix` and as in `sporadic`; two UEs in five are of each, one is a sensor.
        TrafficProfile(TrafficClass.EMBB, 0.4, 6, load_share=0.6, p_on=0.1, p_off=0.3),
        TrafficProfile(TrafficClass.SPORADIC, 0.4, 8, load_share=0.4, p_on=0.02, p_off=0.5),
        TrafficProfile(TrafficClass.PERIODIC, 0.2, 8, period_slots=(10, 25)),
    ),
    # A demonstration at K = 1 lasts a few hundred slots: a UE should be seen to leave within it.
    present_slots=400.0,
    absent_slots=40.0,
    node_contenders=2.4,
    ue_counts=(3, 4, 5, 6, 8, 10),
)

LAB = _RIC_BUSY.with_(name="lab", present_slots=20_000.0, absent_slots=2_000.0, node_contenders=4.8)

# Whatever is not given to one UE is another's loss: what an operator's target costs can be read off.
FULL = Scenario(
    name="full",
    num_rbgs=17,
    slots_per_dcm=100,
    report_delay_slots=8,
    load=0.0,
    traffic=(TrafficProfile(TrafficClass.EMBB, 1.0, 50, full_buffer=True),),
    node_contenders=1.2,
    ue_counts=(20, 30),
)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        *(MIX, SPORADIC, PAPER, PAPER_DYNAMIC, COUPLED, DENSE, MMTC),
        *(RIC20, RIC100, LAB_PAPER, LAB, FULL),
    )
}


def make_scenario(name: str) -> Scenario:
    """The named scenario, or that of a file (training.simulator.scenario_file). ScenarioError lists the names."""
    if name in SCENARIOS:
        return SCENARIOS[name]
    if name.endswith(".toml"):  # imported by name: the module knows this one
        found: Scenario = import_module("training.simulator.scenario_file").load_scenario(Path(name))
        return found
    raise ScenarioError(f"unknown scenario {name!r}; known: {', '.join(SCENARIOS)}, or a FILE.toml")
