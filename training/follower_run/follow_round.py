"""A round of a run of followers: updates that share worlds; what it holds between two of them can be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from training.following import worlds
from training.following.worlds import FollowerWorld, KeptFollowerWorld
from training.frozen_round import rng_state, set_rng_state


class KeptRound(NamedTuple):
    """What a round holds between two updates."""

    first: int
    rng: dict[str, Any]
    worlds: tuple[KeptFollowerWorld, ...]


@dataclass(frozen=True, slots=True)
class FollowRound:
    """Updates that share worlds."""

    first: int
    """The update that it began with ..."""
    end: int
    """... and the one before which it is over."""
    rng: np.random.Generator
    worlds: list[FollowerWorld]

    def keep(self) -> KeptRound:
        return KeptRound(self.first, rng_state(self.rng), tuple(world.keep() for world in self.worlds))

    def put_back(self, kept: KeptRound) -> None:
        """Stand as the round that kept this did."""
        for world, held in zip(self.worlds, kept.worlds, strict=True):
            world.put_back(held)
        set_rng_state(self.rng, kept.rng)


KEPT_CLASSES = (KeptRound, *worlds.KEPT_CLASSES)
"""What a kept round is made of: for training.frozen_round."""
