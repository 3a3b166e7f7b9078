"""How followers learn: one frozen object, validated once."""

from __future__ import annotations

from dataclasses import dataclass

from training.ranges import Ranges

CREDITS = ("regression", "counterfactual", "token", "all_action", "sequence")
"""Whose worth is told how: of a DCM's tokens training.learning.objectives, of a UE's bits training.following.losses."""


@dataclass(frozen=True, slots=True)
class FollowConfig:
    """The defaults suit models of 10^4 weights on one core."""

    credit: str = "regression"
    flips: int = 8
    """Bits of a cell that are flipped in a slot, at most; not for `sequence`. 0 = none: to imitate."""
    futures: int = 4
    """Futures in which a flip is tried, as in training.counterfactual.Search: a gain is their mean."""
    own_share: float = 0.0
    """What the UE itself is served weighs this much more than it does for the team; 0 = one team."""
    consistency: float = 0.0
    """rho_2 of the paper's Eq. 2: reward of a slot in which a UE's bits are all as its DCM entitles them."""
    team_share: float = 0.3
    """Share of the cell's reward in a UE's own; `sequence` only."""
    exploration: float = 0.2
    """Share of a bit's weight that is spread evenly over sending and not: a follower that is nearly certain can change
    its mind. `counterfactual` and `all_action` only."""
    sharpness: float = 120.0
    """`regression`: logits per unit of value; its inverse is the temperature at which the followers play."""
    scale: float = 10.0
    """Of values in the loss: what they weigh against entropy and KL."""
    clip: float = 0.2
    entropy: float = 0.0
    kl: float = 0.0
    """Weight of the divergence from the followers that it began with."""
    target_kl: float = 0.02
    """Nats a bit between the followers that played and those that learn: more ends the epochs. 0 = never. Not for
    `regression`, which has a fixed point to go to."""
    gamma: float = 0.9
    lam: float = 0.9
    value: float = 0.5
    """Weight of the critic's error; `sequence` only."""

    def __post_init__(self) -> None:
        ranges = Ranges(self)
        ranges.one_of("credit", CREDITS)
        ranges.at_least_one(("futures",))
        ranges.not_negative(
            ("flips", "own_share", "consistency", "team_share", "entropy", "kl", "target_kl", "scale", "value")
        )
        ranges.share(("exploration", "gamma", "lam"))
        ranges.positive(("sharpness",))
        ranges.inside(0, "clip", 1)
