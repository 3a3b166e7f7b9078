"""The options of one run of the lab, and the defaults that follow from one another."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from policy.time_scales import MAX_PERIOD_MS, MIN_PERIOD_MS, SLOT_MS
from training.command_line.options import option
from training.command_line.values import names_in
from training.simulator.scenario import MAX_SEED
from xapp.e2.dialect import Dialect
from xapp.lab.gnb.behaviour import BEHAVIOUR_NAMES, make_behaviour
from xapp.lab.gnb.ran_functions import MAX_CELLS

MARGIN_SEED = 90_001
"""Neither the live run's world nor any that a bundle or a tuned rate has seen."""


@dataclass(frozen=True, slots=True)
class LabOptions:
    """One run of the lab: what is typed, and what its JSON says of it."""

    cells: int = option(1, "Cells of the gNB.", min=1, max=MAX_CELLS)
    ues: int = option(8, "UEs per cell.", min=0, max=200)
    seconds: float = option(15.0, "Length of the run, from the first indication.", min=1, max=86_400)
    leader: str = option(
        "",
        "bundled, a scheduler, a bundle directory, or module:Class; default: bundled; with --control ccc or rc, or"
        " --behave: fair_caps.",
    )
    """"" = bundled; under RC fair_caps: what the bundled leader says means no quota."""
    compare: str = option(
        "", "Leaders to replay the same world under, comma-separated, also node_idle, node_scheduler (no xApp)."
    )
    """Names, separated by commas: see `compared`."""
    worlds: int = option(0, "With --compare: the leader's margin over so many other worlds.", min=0, max=1000)
    world_seed: int = option(MARGIN_SEED, "Seed of those worlds.", min=0, max=MAX_SEED)
    period_ms: int = option(100, "E2 report period.", min=MIN_PERIOD_MS, max=MAX_PERIOD_MS)
    k: int = option(
        0, "Slots per DCM; 0 = period / slot. A smaller K slows simulated time.", flag="--k", min=0, max=MAX_PERIOD_MS
    )
    seed: int = option(1, "Seed of the world.", min=0, max=MAX_SEED)
    scenario: str = option("", "Simulator scenario; default: lab_paper for K <= 5, else lab.")
    followers: str = option("rule", "rule = best response; learned = the bundle's followers.")
    e2_transport: str = option("auto", "auto, sctp or tcp (length-prefixed: the lab's one departure).")
    control: str = option(
        "",
        "What the gNB is controlled by: dcm, or as gNBs of today ccc (shares of slices) or rc (quotas of UEs); default:"
        " dcm; with --behave: rc, with ocudu also ccc, for policies about slices.",
    )
    observe: str = option(
        "",
        "What the gNB reports: full, kpm_srsran or kpm_oai; default: full; with --control ccc or rc: kpm_srsran; with"
        " --behave: as that one does.",
    )
    dialect: Dialect = option(Dialect.STANDARD, "How the gNB writes KPM and RC; flexric: as FlexRIC up to v2.0.0.")
    routes: str = option("rtmgr", "rtmgr = the xApp asks the RIC's route manager; file = a static file.")
    record: Path | None = option(
        None,
        "The xApp writes every input and decision there, for `stackmac replay` and `explain`; a recording that is there"
        " becomes FILE.1.",
        dir_okay=False,
    )
    rmr: str = option("auto", "The xApp's RMR: si95, librmr, auto = librmr where it loads.")
    behave: str = option("", f"Whose ways the gNB has: {BEHAVIOUR_NAMES} (docs/nodes.md).")
    """"" = its own; every other is controlled by rc, ocudu by ccc where policies are about slices."""
    policy: tuple[Path, ...] = option(
        (), "A1 policies to put in force when the run begins, one JSON document a file.", metavar="FILE"
    )
    json_file: str = option("", "Write the results there (- = standard output).", flag="--json")

    @property
    def compared(self) -> tuple[str, ...]:
        """The rows that the leader is compared with."""
        return tuple(names_in(self.compare))

    def to_json(self) -> dict[str, Any]:
        """The options as the lab's results name them."""
        typed = asdict(self)
        del typed["json_file"]  # where results go is no part of them
        return {
            **typed,
            "compare": list(self.compared),
            "record": str(self.record or ""),
            "policy": [str(f) for f in self.policy],
        }

    def resolved(self) -> LabOptions:
        """Return the options with the defaults that depend on other options filled in."""
        k = self.k or max(1, round(self.period_ms / SLOT_MS))
        behaviour = make_behaviour(self.behave)
        control = self.control or ("auto" if behaviour.offers_ratios else "rc" if self.behave else "dcm")
        of_today = control != "dcm"
        observe = behaviour.observe if self.behave else "kpm_srsran" if of_today else "full"
        return replace(
            self,
            k=k,
            control=control,
            scenario=self.scenario or ("lab_paper" if k <= 5 else "lab"),
            leader=self.leader or ("fair_caps" if of_today else "bundled"),
            observe=self.observe or observe,
        )

    @property
    def offers_ratios(self) -> bool:
        """The gNB takes shares of slices; resolved options only."""
        return self.control in ("auto", "ccc")

    @property
    def offers_quotas(self) -> bool:
        """The gNB is controlled by quotas of UEs, if nothing asks for more; resolved options only."""
        return self.control in ("auto", "rc")

    @property
    def follower_bundle(self) -> str:
        """Whose learned followers: those that come with the leader; "" = the shipped ones for K, or a rule instead."""
        return self.leader if self.followers == "learned" and Path(self.leader).is_dir() else ""

    @property
    def periods(self) -> int:
        """Report periods measured."""
        return max(1, int(self.seconds * 1e3 / self.period_ms + 1e-9))

    @property
    def length_s(self) -> float:
        """How long the run takes: at least one period."""
        return max(self.seconds, self.period_ms / 1e3)
