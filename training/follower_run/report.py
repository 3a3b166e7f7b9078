"""What is logged of an update of `stackmac train-followers`."""

from __future__ import annotations

from typing import NamedTuple


class FollowReport(NamedTuple):
    """One line of the log."""

    update: int
    """Negative while imitating."""
    reward: float
    """Mean reward of a cell in a slot."""
    loss: float
    entropy: float
    """Nats a bit that could be chosen."""
    step_kl: float
    """KL between the followers that played and those last looked at, nats a bit."""
    kl: float
    """KL from the followers that it began with, nats a bit; 0 where that has no weight."""
    value_error: float
    """Mean square of the critic's error; 0 without one."""
    choices: int
