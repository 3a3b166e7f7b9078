"""The language model as a Leader: what the live path, the simulator and training all call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from policy.bundle import Bundle, load_bundle
from policy.bundle_files import BUNDLES
from policy.cell_state import CellState, make_cell_state
from policy.grammar import Grammar, GrammarOptions, compile_grammar
from policy.intent import Intent
from policy.leader import Decision, never_expires
from policy.leader_models.leader_network import LeaderNetwork
from policy.leader_models.token_probabilities import TokenProbabilities, compute_token_probabilities
from policy.leader_models.transcript import DecodedDcm
from policy.schedulers.schedulers import SCHEDULERS, Scheduler
from policy.shipped import EXPIRED, BundledLeader, draws


class ModelLeader:
    """One model under the grammar of its operating point: its likeliest tokens, or drawn by their probabilities."""

    def __init__(
        self,
        model: LeaderNetwork,
        options: GrammarOptions,
        name: str = "model",
        draft: Scheduler | None = None,
        sampling_seed: int | None = None,
    ) -> None:
        """draft: a scheduler that often decides like the model. It makes decisions faster, never different.

        sampling_seed: None = greedy. Else what a cell draws in a slot depends on (seed, cell, slot) alone, whoever else
        is in its batch.
        """
        self.name = name
        self.model = model.eval()
        self.options = options
        self.draft = draft
        self.sampling_seed = sampling_seed

    def sampled(self, seed: int) -> ModelLeader:
        """The same leader with sampled decoding; the weights are shared."""
        return ModelLeader(self.model, self.options, self.name, self.draft, seed)

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        """One decision per state.

        Raises GrammarError for a cell of more than 18 RBGs, PromptError for one of more UEs than the model can read.
        """
        grammars = [compile_grammar(s, i, self.options) for s, i in zip(states, intents)]
        drafts = None
        if self.draft is not None and not self.model.one_pass:
            drafts = [g.tokens(self.draft.schedule(s, i)) for g, s, i in zip(grammars, states, intents)]
        uniforms_BL = None if self.sampling_seed is None else _uniforms(self.sampling_seed, states, grammars)
        decoded_dcms = self.model.decode(
            states, intents, grammars, uniforms_BL=uniforms_BL, drafts=drafts, expired=expired
        )
        return [_decision(decoded) for decoded in decoded_dcms]

    def token_probabilities(self, state: CellState, intent: Intent, tokens: Sequence[int]) -> TokenProbabilities:
        """How likely every alternative was, for a DCM that this leader decoded
        (policy.leader_models.token_probabilities.HasTokenProbabilities)."""
        return compute_token_probabilities(self.model, self.options, state, intent, tokens)

    def warm_up(self, num_rbgs: int = 6, slots_per_dcm: int = 1) -> None:
        """Decide once for a made-up cell, so that the first live decision does not pay for first-time work."""
        for ues in (1, 8):
            state = make_cell_state(
                "warm-up",
                num_rbgs=num_rbgs,
                slots_per_dcm=slots_per_dcm,
                slot=0,
                ue_ids=tuple(range(ues)),
                buffer_bits_U=np.full(ues, 1000.0),
            )
            self.decide([state, state], [Intent(), Intent()], never_expires)
            self.decide([state], [Intent()], never_expires)


def leader_of(bundle: Bundle, name: str = "model") -> ModelLeader:
    """A bundle's leader, warmed up; its teacher, where it was a scheduler, drafts for it."""
    leader = ModelLeader(bundle.leader, bundle.options, name, SCHEDULERS.get(str(bundle.provenance.get("teacher"))))
    leader.warm_up(slots_per_dcm=bundle.min_slots_per_dcm)
    return leader


def load_leader(path: str | Path, *, threads: int | None = 1) -> ModelLeader:
    """The leader of the bundle in a directory. Raises BundleError.

    threads: torch threads of this process; a small model is fastest, and steadiest, on one. None = leave as is.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    bundle = load_bundle(path)
    return leader_of(bundle, Path(path).name)


def load_bundled_leader(*, threads: int | None = 1) -> BundledLeader:
    """The shipped leader for every K. Raises BundleError."""
    return BundledLeader(load_leader(BUNDLES / "paper", threads=threads), load_leader(BUNDLES / "lab", threads=threads))


def _uniforms(seed: int, states: Sequence[CellState], grammars: Sequence[Grammar]) -> NDArray[np.float64]:
    """Each cell's own draws, [B, longest DCM]."""
    length = max((g.max_tokens for g in grammars), default=0)
    return np.array([draws(seed, state, length) for state in states])


def _decision(decoded: DecodedDcm) -> Decision:
    reason = "" if decoded.complete else EXPIRED
    return Decision(decoded.allocation, decoded.tokens, decoded.log_probs, "model", reason)
