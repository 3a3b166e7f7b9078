"""The compiled engine against its torch reference: the same tokens, the same log-probabilities, the same allocation."""

from __future__ import annotations

import dataclasses
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
"""Share of decisions in which a coin may fall on the edge between two tokens, where rounding decides; of few, one."""


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
    """Ask both about all cells together, and the engine about each alone; how many choices were made.

    That the reference decides a cell among others as it does alone, is the leaders' contract.
    """
    reference = twins.reference.decide(states, intents, never_expires)
    together = twins.engine.decide(states, intents, never_expires)
    choices = edges = 0
    for state, intent, expected, among_others in zip(states, intents, reference, together, strict=True):
        (found,) = twins.engine.decide([state], [intent], never_expires)
        assert found.tokens == among_others.tokens, "a cell's company changes its decision"
        if found.tokens != expected.tokens:
            edges += 1
            expected = on_an_edge(twins.reference, state, intent, found)
        assert expected.log_probs is not None and found.log_probs is not None and among_others.log_probs is not None
        assert np.isfinite(expected.log_probs).all()
        np.testing.assert_allclose(found.log_probs, expected.log_probs, rtol=0, atol=CLOSE_NATS)
        np.testing.assert_allclose(among_others.log_probs, expected.log_probs, rtol=0, atol=CLOSE_NATS)
        check_allocation(expected, found)
        check_allocation(expected, among_others)
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


def on_an_edge(reference: ModelLeader, state: CellState, intent: Intent, found: Decision) -> Decision:
    """What the reference makes of the engine's tokens, which it would not have chosen.

    They are right only where each is as likely as any, or the coin fell on its edge. Raises GrammarError for tokens
    that are no DCM of this cell.
    """
    own = compute_token_probabilities(reference.model, reference.options, state, intent, found.tokens)
    seed, steps = reference.sampling_seed, own.steps
    coins = np.zeros(len(steps)) if seed is None else draws(seed, state, len(steps))
    for number, (step, coin) in enumerate(zip(steps, coins, strict=True)):
        log_prob = step.log_probs_A[step.token]
        assert np.isfinite(log_prob), f"token {number} is masked"
        if seed is None:
            assert step.log_probs_A.max() - log_prob < CLOSE_NATS, f"token {number}: another is likelier"
        else:
            end = np.exp(step.log_probs_A[: step.token + 1]).sum()
            begin = end - np.exp(log_prob)
            assert begin - CLOSE_NATS < coin < end + CLOSE_NATS, f"token {number}: {coin} is not in {begin} to {end}"
    return dataclasses.replace(found, log_probs=own.log_probs_L, allocation=own.grammar.allocation(found.tokens))
