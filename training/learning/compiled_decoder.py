"""Drawing DCMs while worlds are played: by the compiled decision where it runs the leader's kind, else by torch.

The compiled decision draws the same tokens by the same uniforms, but where rounding decides between two of them; its
log-probabilities are those of torch to about 1e-5. Its weights are packed anew whenever the leader's have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.engine.leader import EngineLeader
from policy.engine.model import PackedModel, pack_model, why_not
from policy.grammar import Grammar, GrammarOptions
from policy.intent import Intent
from policy.leader_models.language_model import state_of
from policy.leader_models.leader_network import LeaderNetwork
from training.errors import Diverged


class DrawnDcm(Protocol):
    """A DCM as it was decoded."""

    @property
    def tokens(self) -> tuple[int, ...]: ...
    @property
    def log_probs(self) -> NDArray[np.float64]: ...


class Decoder(Protocol):
    """Whoever draws DCMs: a network itself, or what plays in its place."""

    def decode(
        self,
        states: Sequence[CellState],
        intents: Sequence[Intent],
        grammars: Sequence[Grammar],
        *,
        uniforms_BL: NDArray[np.float64] | None = None,
    ) -> Sequence[DrawnDcm]: ...


class CompiledDecoder:
    """A pointer network as the compiled decision plays it."""

    def __init__(self, network: LeaderNetwork, options: GrammarOptions) -> None:
        self._network, self._options = network, options
        self._engine = EngineLeader(self._packed())
        self._engine.prepare()

    def repack(self) -> None:
        """Take the network's weights as they are now. Raises Diverged where one is not finite."""
        try:
            self._engine.model = self._packed()
        except ValueError as error:
            raise Diverged(f"the leader's weights: {error}") from error

    def decode(
        self,
        states: Sequence[CellState],
        intents: Sequence[Intent],
        grammars: Sequence[Grammar],
        *,
        uniforms_BL: NDArray[np.float64] | None = None,
    ) -> Sequence[DrawnDcm]:
        return self._engine.draw(states, intents, [grammar.limits for grammar in grammars], uniforms_BL)

    def _packed(self) -> PackedModel:
        network = self._network
        tensors: dict[str, Any] = {name: tensor.cpu().numpy() for name, tensor in state_of(network).items()}
        return pack_model(tensors, network.config, network.layout, self._options)


def compiled_decoder(network: LeaderNetwork, options: GrammarOptions) -> CompiledDecoder | None:
    """None where the compiled decision does not run such a network."""
    if network.kind != "pointer" or why_not(network.kind, network.config):
        return None
    return CompiledDecoder(network, options)
