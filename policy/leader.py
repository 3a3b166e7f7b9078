"""The contract of everything that decides: schedulers, language models, and anyone's plug-in (`module:Class`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.intent import Intent


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """One cell's decision and where it came from."""

    allocation: Allocation
    tokens: tuple[int, ...] = ()
    """The DCM as the leader decoded it (`policy.grammar` token ids); empty for classical schedulers."""
    log_probs: NDArray[np.float64] | None = None
    """Log-probability of each token under the masked sequential distribution (paper, Eq. 12)."""
    decided_by: str = ""
    """`model` for a language model, else the scheduler's name."""
    reason: str = ""
    """Why this was not the model's answer (fallback reason); empty when it is the leader's own."""


class LeaderNotReady(Exception):
    """Raised by `decide` of a leader that cannot decide yet; its text is the reason that a fallback is given."""


@runtime_checkable
class Leader(Protocol):
    """Decides for a batch of cells. Implementations are stateless between calls and never block on I/O."""

    name: str

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        """One decision per state, in order.

        `expired()` turns true when the answer is no longer wanted: a slow leader may then return early, with any
        legal decision (its caller drops it).
        """
        ...


def never_expires() -> bool:
    """The `expired` of callers without a deadline."""
    return False
