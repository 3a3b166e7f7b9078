"""A round of a warm start: steps that learn from the same states; what it holds between two of them can be kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.follower import stack_views
from training.frozen_round import rng_state, set_rng_state
from training.imitation import collector
from training.imitation.collector import Collected, FollowerExamples


class _Order:
    """Indices in random order, one permutation after another."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._count, self._rng = count, rng
        self.left: NDArray[np.int64] = np.zeros(0, np.int64)

    def take(self, count: int) -> NDArray[np.int64]:
        while len(self.left) < count:
            self.left = np.concatenate([self.left, self._rng.permutation(self._count)])
        taken, self.left = self.left[:count], self.left[count:]
        return taken


class KeptRound(NamedTuple):
    """What a round holds between two steps."""

    end: int
    rng: dict[str, Any]
    left: NDArray[np.int64]
    collected: Collected


KEPT_CLASSES = (KeptRound, *collector.KEPT_CLASSES)
"""What a kept round is made of: for training.frozen_round."""


class ImitationRound(NamedTuple):
    """Steps that share what was collected."""

    end: int
    """The step before which it is over."""
    rng: np.random.Generator
    collected: Collected
    order: _Order
    watched: list[FollowerExamples]

    def keep(self) -> KeptRound:
        return KeptRound(self.end, rng_state(self.rng), self.order.left, self.collected)

    @classmethod
    def begun(cls, end: int, rng: np.random.Generator, collected: Collected) -> ImitationRound:
        return cls(end, rng, collected, _Order(len(collected.leader), rng), _stack(collected.followers))

    @classmethod
    def of(cls, kept: KeptRound) -> ImitationRound:
        """As the round that kept this stood."""
        rng = np.random.default_rng()
        set_rng_state(rng, kept.rng)
        order = _Order(len(kept.collected.leader), rng)
        order.left = kept.left
        return cls(kept.end, rng, kept.collected, order, _stack(kept.collected.followers))


def _stack(examples: Sequence[FollowerExamples]) -> list[FollowerExamples]:
    """One stack per number of RBGs."""
    stacks = []
    for num_rbgs in sorted({e.sends_NM.shape[1] for e in examples}):
        chosen = [e for e in examples if e.sends_NM.shape[1] == num_rbgs]
        view = stack_views([e.view for e in chosen])
        stacks.append(FollowerExamples(view, np.concatenate([e.sends_NM for e in chosen])))
    return stacks
