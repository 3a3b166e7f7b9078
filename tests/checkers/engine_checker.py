"""The compiled engine against its torch reference: the same tokens, the same log-probabilities, the same allocation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from policy.cell_state import CellState
from policy.engine.leader import EngineLeader
from policy.engine.model import PackedModel, pack_model
from policy.grammar import GrammarOptions
from policy.intent import Intent, SliceLimit
from policy.leader import Decision, never_expires
from policy.leader_models.language_model import LeaderModel, state_of
from policy.leader_models.token_probabilities import compute_token_probabilities
from policy.model_leader import ModelLeader
from policy.shipped import draws

CLOSE_NATS = 1e-4
"""How far log-probabilities may be apart."""
MOST_EDGES = 0.01
"""Share of decisions in which a coin may fall on the edge between two tokens, where rounding decides."""


class Twins(NamedTuple):
    """A model, to be asked both ways."""

    reference: ModelLeader
    engine: EngineLeader

    def sampled(self, seed: int) -> Twins:
        return Twins(self.reference.sampled(seed), self.engine.sampled(seed))


def packed(model: LeaderModel, options: GrammarOptions) -> PackedModel:
    tensors = {name: tensor.numpy() for name, tensor in state_of(model).items()}
    return pack_model(tensors, model.config, model.layout, options)


def twins_of(model: LeaderModel, options: GrammarOptions) -> Twins:
    engine = EngineLeader(packed(model, options))
    engine.prepare()
    return Twins(ModelLeader(model, options), engine)


def random_limits(rng: np.random.Generator, state: CellState) -> Intent:
    """A third without limits; caps and floors of UEs, of slices, or of both, sometimes more than there is."""
    kind, ids = int(rng.integers(6)), list(state.ue_ids)
    if kind < 2 or not ids:
        return Intent(alpha=float(rng.choice([0.5, 1.0, 2.0])))
    some = [ue for ue in ids if rng.random() < (0.2 if kind == 3 else 0.5)]
    others = [ue for ue in ids if rng.random() < 0.2]
    slices: tuple[SliceLimit, ...] = ()
    if kind >= 3:
        slices = (
            SliceLimit("gold", frozenset(ids[::2]), float(rng.integers(0, 50)), float(rng.integers(40, 101))),
            SliceLimit("iron", frozenset(ids[1::4]), float(rng.integers(0, 30)), float(rng.integers(5, 60))),
        )
    return Intent(
        max_share_percent={ue: float(rng.integers(0, 80)) for ue in some},
        min_share_percent={ue: float(rng.integers(1, 30)) for ue in others},
        slice_limits=slices,
    )


def check_decisions(twins: Twins, states: Sequence[CellState], intents: Sequence[Intent]) -> int:
    """Ask both about each cell alone, and the engine about all together; how many choices were made."""
    together = twins.engine.decide(states, intents, never_expires)
    choices = edges = 0
    for state, intent, among_others in zip(states, intents, together, strict=True):
        (expected,) = twins.reference.decide([state], [intent], never_expires)
        (found,) = twins.engine.decide([state], [intent], never_expires)
        assert found.tokens == among_others.tokens, "a cell's company changes its decision"
        if found.tokens != expected.tokens:
            edges += 1
            check_edge(twins, state, intent, expected, found)
            continue
        assert expected.log_probs is not None and found.log_probs is not None and among_others.log_probs is not None
        np.testing.assert_allclose(found.log_probs, expected.log_probs, rtol=0, atol=CLOSE_NATS)
        np.testing.assert_allclose(among_others.log_probs, expected.log_probs, rtol=0, atol=CLOSE_NATS)
        check_allocation(expected, found)
        choices += int((expected.log_probs != 0.0).sum())
    assert edges <= max(1, MOST_EDGES * len(states))
    return choices


def check_allocation(expected: Decision, found: Decision) -> None:
    a, b = expected.allocation, found.allocation
    assert (a.ue_ids, a.leftover, a.periodic_grants) == (b.ue_ids, b.leftover, b.periodic_grants)
    for name in ("owner_M", "open_allowed_U", "max_rbgs_U"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist()
        assert getattr(a, name).dtype == getattr(b, name).dtype
    assert (expected.decided_by, expected.reason) == (found.decided_by, found.reason)


def check_edge(twins: Twins, state: CellState, intent: Intent, expected: Decision, found: Decision) -> None:
    """Other tokens are right only where two were equally likely, or the coin fell between them."""
    step = next(i for i, (a, b) in enumerate(zip(expected.tokens, found.tokens)) if a != b)
    reference = twins.reference
    token_probabilities = compute_token_probabilities(
        reference.model, reference.options, state, intent, expected.tokens
    )
    log_probs_A = token_probabilities.steps[step].log_probs_A
    if reference.sampling_seed is None:
        pair = log_probs_A[[expected.tokens[step], found.tokens[step]]]
        assert log_probs_A.max() - pair.min() < CLOSE_NATS, f"token {step}: {pair}"
        return
    coin = draws(reference.sampling_seed, state, step + 1)[step]
    reached = np.cumsum(np.exp(log_probs_A))[min(expected.tokens[step], found.tokens[step])]
    assert abs(coin - reached) < CLOSE_NATS, f"token {step}: the coin fell at {coin}, the edge is at {reached}"
