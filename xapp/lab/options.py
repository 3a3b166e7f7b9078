"""The options of one run of the lab, and the defaults that follow from one another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from training.simulator.scenario import SLOT_MS
from xapp.lab.gnb.behaviour import make_behaviour

MARGIN_SEED = 90_001
"""Neither the live run's world nor any that a bundle or a tuned rate has seen."""


@dataclass(frozen=True, slots=True)
class LabOptions:
    """One run of the lab."""

    cells: int = 1
    ues: int = 8
    seconds: float = 15.0
    leader: str = ""
    """"" = bundled; under RC fair_caps: what the bundled leader says means no quota."""
    compare: tuple[str, ...] = ()
    period_ms: int = 100
    k: int = 0
    """Slots per DCM; 0 = period / slot."""
    seed: int = 1
    scenario: str = ""
    """"" = lab_paper for K <= 5, else lab."""
    followers: str = "rule"
    e2_transport: str = "auto"
    control: str = "dcm"
    """The service model that the gNB is controlled by: dcm, or rc as gNBs of today."""
    observe: str = ""
    """"" = full; under RC kpm_srsran."""
    dialect: str = "standard"
    """How the gNB writes KPM and RC: by the standard, or as FlexRIC up to v2.0.0 does."""
    worlds: int = 0
    """Other worlds over which the leader is compared as well; 0 = none."""
    world_seed: int = MARGIN_SEED
    routes: str = "rtmgr"
    """Where the xApp's routes come from: it asks the route manager, or reads a static `file`."""
    record: str = ""
    """Where the xApp writes its recording; "" = nowhere."""
    rmr: str = "auto"
    """The xApp's transport: auto, si95 or librmr."""
    behave: str = ""
    """Whose ways the gNB has: ocudu, oai or srsran, which are controlled by rc; "" = its own."""

    def resolved(self) -> LabOptions:
        """With the defaults that depend on other options filled in."""
        k = self.k or max(1, round(self.period_ms / SLOT_MS))
        rc = self.control == "rc" or bool(self.behave)
        observe = make_behaviour(self.behave).observe if self.behave else "kpm_srsran" if rc else "full"
        return replace(
            self,
            k=k,
            control="rc" if rc else self.control,
            scenario=self.scenario or ("lab_paper" if k <= 5 else "lab"),
            leader=self.leader or ("fair_caps" if rc else "bundled"),
            observe=self.observe or observe,
        )

    @property
    def follower_bundle(self) -> str:
        """Whose learned followers: those that come with the leader, "" = the shipped ones for K."""
        return self.leader if Path(self.leader).is_dir() else ""

    @property
    def periods(self) -> int:
        """Report periods measured."""
        return max(1, int(self.seconds * 1e3 / self.period_ms + 1e-9))

    @property
    def length_s(self) -> float:
        """How long the run takes: at least one period."""
        return max(self.seconds, self.period_ms / 1e3)
