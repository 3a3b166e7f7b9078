"""What of a follower's play is recorded, and how it is rewarded: one frozen object, validated once."""

from __future__ import annotations

from dataclasses import dataclass

from training.ranges import Ranges


@dataclass(frozen=True, slots=True)
class RecordingConfig:
    """The defaults suit models of 10^4 weights on one core."""

    flips: int = 8
    """Bits of a cell that are flipped in a slot, at most. 0 = none: to imitate."""
    futures: int = 4
    """Futures in which a flip is tried, as in training.counterfactual.Search: a gain is their mean."""
    own_share: float = 0.0
    """What the UE itself is served weighs this much more than it does for the team; 0 = one team."""
    consistency: float = 0.0
    """rho_2 of the paper's Eq. 2: reward of a slot in which a UE's bits are all as its DCM entitles them."""
    team_share: float = 0.3
    """Share of the cell's reward in a UE's own; only objectives with a critic read it."""

    def __post_init__(self) -> None:
        ranges = Ranges(self)
        ranges.at_least_one(("futures",))
        ranges.not_negative(("flips", "own_share", "consistency", "team_share"))

    @property
    def flips_a_slot(self) -> int:
        """Bits of a cell that are flipped in branches of the simulator, at most."""
        return self.flips
