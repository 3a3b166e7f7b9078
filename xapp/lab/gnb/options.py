"""How one simulated node is set up: options that fit together, and the followers they name."""

from __future__ import annotations

from dataclasses import dataclass

from policy.errors import UserMistake, how_to_add, is_installed
from policy.time_scales import MAX_PERIOD_MS, SLOT_MS
from training.command_line.options import option
from training.command_line.values import goes_with
from training.simulator.cell import Followers
from training.simulator.scenario import MAX_SEED, SCENARIOS
from xapp.e2.dialect import Dialect
from xapp.lab.gnb.behaviour import BEHAVIOUR_NAMES, make_behaviour
from xapp.lab.gnb.ran_functions import MAX_CELLS


@dataclass(frozen=True, slots=True)
class GnbOptions:
    """One simulated node: what is typed, by a person or by the lab."""

    e2: str = option("127.0.0.1:36421", "host:port of the RIC's E2 termination.")
    cells: int = option(1, "Cells of the node.", min=1, max=MAX_CELLS)
    ues: int = option(8, "UEs per cell.", min=0, max=1000)
    scenario: str = option("lab", f"Which world: {', '.join(SCENARIOS)}.")
    k: int = option(0, "Slots per DCM (0 = period / slot).", flag="--k", min=0, max=MAX_PERIOD_MS)
    period_ms: int = option(100, "Wall time of a report period.", min=1, max=MAX_PERIOD_MS)
    time_scale: float = option(0.0, "Simulated per wall time (0 = from K and period).", min=0)
    seed: int = option(1, "Seed of the world.", min=0, max=MAX_SEED)
    slots: int = option(0, "Metrics cover the first N slots (0 = all).", min=0)
    start_on_subscription: bool = option(False, "Slot 0 waits for subscriptions.")
    followers: str = option("rule", "rule (best response) or learned (a bundle's).")
    bundle: str = option("", "Bundle of learned followers (default: shipped, by K).")
    e2_transport: str = option("auto", "auto, sctp or tcp (length-prefixed).")
    observe: str = option("full", "What is reported: full, kpm_srsran or kpm_oai.")
    gnb_id: int = option(1, "gNB identity.", min=0, max=2**32 - 1)
    control: str = option(
        "",
        "What it is controlled by: dcm, or as gNBs of today ccc (shares of slices) or rc (quotas of UEs); default: dcm;"
        " with --behave: rc, with ocudu also ccc.",
    )
    dialect: Dialect = option(Dialect.STANDARD, "How it writes KPM and RC; flexric: as FlexRIC up to v2.0.0.")
    behave: str = option("", f"Whose ways it has: {BEHAVIOUR_NAMES} (implies --control rc); default its own.")
    json_lines: bool = option(False, "Print JSON lines.")

    def slots_per_dcm(self) -> int:
        """K out of k, period and time scale. Raises UserMistake when they contradict each other."""
        from_scale = self.period_ms * self.time_scale / SLOT_MS if self.time_scale else self.period_ms / SLOT_MS
        if self.k and self.time_scale and abs(self.k - from_scale) > 1e-6 * self.k:
            raise UserMistake(
                f"--k {self.k} and --time-scale {self.time_scale:g} with --period-ms {self.period_ms}: "
                f"a period would have {from_scale:g} slots; give one of the two"
            )
        # Python rounds no infinity.
        k = self.k or (round(from_scale) if from_scale <= MAX_PERIOD_MS / SLOT_MS else 0)
        if k < 1 or (self.time_scale and not self.k and abs(k - from_scale) > 1e-6 * k):
            raise UserMistake(f"a period of {from_scale:g} slots, expected a whole number from 1 to {MAX_PERIOD_MS}")
        return k


CONTROLS = ("dcm", "ccc", "rc")


def check_control(behave: str, control: str) -> None:
    """Refuse an unknown kind of control. Raises UserMistake."""
    taken = ("ccc", "rc") if make_behaviour(behave).offers_ratios else ("rc",)
    if behave and control and control not in taken:
        raise UserMistake(
            f"--behave {behave} with --control {control}, expected {' or '.join(taken)}: that is what it takes"
        )


def check_followers(name: str) -> None:
    """Refuse learned followers where torch, which they are run by, is not installed (UserMistake)."""
    if name == "learned" and not is_installed("torch"):
        raise UserMistake(f"--followers learned: {how_to_add('torch')}")


def make_followers(name: str, bundle: str, k: int) -> Followers:
    """The followers called `name`; learned ones are of `bundle`, "" = the shipped one for K.

    Raises UserMistake for an unknown name, or a bundle that cannot be read or is of no use.
    """
    if name == "rule":
        goes_with("--bundle", bundle, "", "--followers learned", False)
        return "best_response"
    if name != "learned":
        raise UserMistake(f"--followers is {name!r}, expected rule or learned")
    check_followers(name)
    # torch is heavy: only when it is asked for.
    import torch

    from policy.bundle import load_bundle
    from policy.follower import FollowerPolicy
    from policy.shipped import shipped_bundle
    from training.simulator.learned_followers import LearnedFollowers

    torch.set_num_threads(1)  # so small a model is fastest so, and other processes want the cores
    return LearnedFollowers(FollowerPolicy(load_bundle(bundle or shipped_bundle(k)).follower))
