"""How one simulated node is set up: options that fit together, and the followers they name."""

from __future__ import annotations

from dataclasses import dataclass

from training.simulator.cell import Followers
from training.simulator.scenario import SLOT_MS
from xapp.e2.dialect import Dialect


@dataclass(frozen=True, slots=True)
class GnbOptions:
    """One simulated node."""

    e2: str = "127.0.0.1:36421"
    """host:port of the RIC's E2 termination."""
    cells: int = 1
    ues: int = 8
    scenario: str = "lab"
    k: int = 0
    """Slots per DCM; 0 = what the period and the time scale say."""
    period_ms: int = 100
    """Wall time of a report period."""
    time_scale: float = 0.0
    """Simulated time per wall time; 0 = k x 1 ms / period."""
    seed: int = 1
    slots: int = 0
    """Metrics cover exactly the first so many slots; 0 = all."""
    start_on_subscription: bool = False
    """Slot 0 waits until every cell is subscribed to."""
    followers: str = "rule"
    bundle: str = ""
    e2_transport: str = "auto"
    observe: str = "full"
    gnb_id: int = 1
    control: str = "dcm"
    """The service model that the node is controlled by: dcm, or rc as nodes of today."""
    dialect: Dialect = Dialect.STANDARD
    """How it writes KPM and RC."""
    behave: str = ""
    """Whose ways it has: ocudu, oai or srsran, which are controlled by rc; "" = its own."""

    def slots_per_dcm(self) -> int:
        """K out of k, period and time scale. Raises ValueError when they contradict each other."""
        from_scale = self.period_ms * self.time_scale / SLOT_MS if self.time_scale else self.period_ms / SLOT_MS
        if self.k and self.time_scale and abs(self.k - from_scale) > 1e-6 * self.k:
            raise ValueError(
                f"--k {self.k} and --time-scale {self.time_scale:g} with --period-ms {self.period_ms}: "
                f"a period would have {from_scale:g} slots; give one of the two"
            )
        k = self.k or round(from_scale)
        if k < 1 or (self.time_scale and not self.k and abs(k - from_scale) > 1e-6 * k):
            raise ValueError(f"a period of {from_scale:g} slots, expected a whole number of at least 1")
        return k


CONTROLS = ("dcm", "rc")


def make_followers(name: str, bundle: str, k: int) -> Followers:
    """The followers called `name`; learned ones are of `bundle`, "" = the shipped one for K.

    Raises ValueError for an unknown name or a bundle that cannot be read.
    """
    if name == "rule":
        return "best_response"
    if name != "learned":
        raise ValueError(f"--followers is {name!r}, expected rule or learned")
    # torch is heavy: only when it is asked for.
    import torch

    from policy.bundle import load_bundle
    from policy.follower import FollowerPolicy
    from policy.shipped import shipped_bundle
    from training.simulator.learned_followers import LearnedFollowers

    torch.set_num_threads(1)  # so small a model is fastest so, and other processes want the cores
    return LearnedFollowers(FollowerPolicy(load_bundle(bundle or shipped_bundle(k)).follower))
