"""The odds behind a compiled decision are worked out without torch, and are the reference's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from engine_checker import CLOSE_NATS, packed, random_limits

from policy.engine.leader import EngineLeader
from policy.grammar import LAB, PAPER, GrammarError, GrammarOptions
from policy.intent import Intent
from policy.leader import never_expires
from policy.leader_models.language_model import ModelConfig, new_leader_model
from policy.model_leader import ModelLeader, load_bundled_leader
from policy.prompt.compact import PromptLayout
from policy.registry import make_leader

SMALL = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=40)


@pytest.mark.parametrize(
    ("options", "layout", "positions"),
    [
        (PAPER, PromptLayout(), 0),
        (PAPER, PromptLayout(rbg_features=()), 1),
        (PAPER, PromptLayout(rbg_features=("heard",)), 5),
        (LAB, PromptLayout.with_grants(), 0),
        (GrammarOptions(max_periodic_grants=3), PromptLayout.with_grants(), 2),
    ],
)
def test_every_alternative_is_as_likely_as_the_reference_says(
    make_random_state, options: GrammarOptions, layout: PromptLayout, positions: int
) -> None:
    """Of DCMs that were drawn, so that unlikely tokens are fed back too."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(11)
    model = new_leader_model(dataclasses.replace(SMALL, block_positions=positions), layout, seed=2).eval()
    reference, engine = ModelLeader(model, options, sampling_seed=5), EngineLeader(packed(model, options))
    for ues in (0, 1, 5, 15, 16, 40, 9, 3):
        state = make_random_state(rng, ues=ues, num_rbgs=int(rng.integers(1, 19)), missing=0.2)
        intent = random_limits(rng, state)
        (decision,) = reference.decide([state], [intent], never_expires)
        expected = reference.token_probabilities(state, intent, decision.tokens)
        found = engine.token_probabilities(state, intent, decision.tokens)
        for ours, theirs in zip(found.steps, expected.steps, strict=True):
            np.testing.assert_allclose(ours.log_probs_A, theirs.log_probs_A, rtol=0, atol=CLOSE_NATS)
            assert ours[:3] == theirs[:3] and ours.masked == theirs.masked
        assert found.layout == expected.layout


@pytest.mark.parametrize("k", [1, 100])
def test_of_the_shipped_bundles_too(make_random_state, k: int) -> None:
    state = dataclasses.replace(make_random_state(np.random.default_rng(k), ues=12, num_rbgs=6), slots_per_dcm=k)
    compiled = make_leader("bundled")
    (decision,) = compiled.decide([state], [Intent()], never_expires)
    found = compiled.token_probabilities(state, Intent(), decision.tokens)
    expected = load_bundled_leader().token_probabilities(state, Intent(), decision.tokens)
    np.testing.assert_allclose(found.log_probs_L, decision.log_probs, rtol=0, atol=CLOSE_NATS)
    for ours, theirs in zip(found.steps, expected.steps, strict=True):
        np.testing.assert_allclose(ours.log_probs_A, theirs.log_probs_A, rtol=0, atol=CLOSE_NATS)


def test_what_cannot_have_been_said_is_refused(make_random_state) -> None:
    state = make_random_state(np.random.default_rng(1), ues=2, num_rbgs=3)
    engine = EngineLeader(packed(new_leader_model(SMALL, PromptLayout(), 1).eval(), PAPER))
    with pytest.raises(GrammarError):
        engine.token_probabilities(state, Intent(), (0, 0, 0))
