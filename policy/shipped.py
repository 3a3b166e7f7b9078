"""The two shipped bundles, and what leaders that are models have in common; free of torch."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policy.bundle_files import BUNDLES
from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision, Leader
from policy.leader_models.token_probabilities import HasTokenProbabilities, TokenProbabilities

BUNDLED = "bundled"
"""The name of the shipped bundles, chosen by K."""
PAPER_MAX_SLOTS_PER_DCM = 5
"""Up to this K the `paper` bundle leads, beyond it the `lab` bundle."""
EXPIRED = "expired"
"""Decision.reason when time ran out between two steps."""


class ModelLed(Leader, HasTokenProbabilities, Protocol):
    """A leader that is a model."""


class BundledLeader:
    """The two shipped bundles: each state is led by the one trained for its K."""

    name = BUNDLED

    def __init__(self, paper: ModelLed, lab: ModelLed) -> None:
        self._paper, self._lab = paper, lab

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        decisions: dict[int, Decision] = {}
        for leader, fast in ((self._paper, True), (self._lab, False)):
            rows = [k for k, s in enumerate(states) if self._is_fast(s) == fast]
            if rows:
                mine = leader.decide([states[k] for k in rows], [intents[k] for k in rows], expired)
                decisions.update(zip(rows, mine))
        return [decisions[k] for k in range(len(states))]

    def token_probabilities(self, state: CellState, intent: Intent, tokens: Sequence[int]) -> TokenProbabilities:
        """Those of the leader at this K (policy.leader_models.token_probabilities.HasTokenProbabilities)."""
        return (self._paper if self._is_fast(state) else self._lab).token_probabilities(state, intent, tokens)

    @staticmethod
    def _is_fast(state: CellState) -> bool:
        return state.slots_per_dcm <= PAPER_MAX_SLOTS_PER_DCM


def shipped_bundle(slots_per_dcm: int) -> Path:
    """The directory of the shipped bundle for this K."""
    return BUNDLES / ("paper" if slots_per_dcm <= PAPER_MAX_SLOTS_PER_DCM else "lab")


def draws(seed: int, state: CellState, length: int) -> NDArray[np.float64]:
    """A cell's own draws in a slot, [length], whoever else is in its batch; of fewer they are the first ones."""
    return np.random.default_rng((seed, zlib.crc32(state.cell.encode()), state.slot)).random(length)
