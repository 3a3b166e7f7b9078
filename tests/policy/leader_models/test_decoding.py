"""Decoding under the grammar: legal whatever the weights, and exactly as probable as it says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from policy.cell_state import COLUMNS
from policy.grammar import FIRST_UE, LAB, PAPER, GrammarError, GrammarOptions, StepKind, compile_grammar
from policy.intent import Intent
from policy.leader_models.decoding import score
from policy.leader_models.language_model import LeaderModel, ModelConfig, new_leader_model
from policy.leader_models.leader_network import masked_log_softmax
from policy.leader_models.transcript import Steps, teacher_forcing_batch, teacher_forcing_example
from policy.prompt.compact import PromptLayout

SMALL = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=48)
OPTIONS = [
    PAPER,
    LAB,
    GrammarOptions(),
    GrammarOptions(allow_open=False, allow_contention=False, max_periodic_grants=3),
]


@pytest.fixture(scope="module")
def model() -> LeaderModel:
    """Random weights, loud enough that decisions differ."""
    torch.set_num_threads(1)  # steps are far too small for more to help
    model = new_leader_model(SMALL, PromptLayout(), seed=1).eval()
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(2.0)
    return model


def random_intent(rng: np.random.Generator, state) -> Intent:
    if rng.random() < 0.4 or not state.num_ues:
        return Intent()
    ues = [int(u) for u in rng.permutation(state.ue_ids)]
    caps = {u: float(rng.integers(0, 101)) for u in ues[: len(ues) // 2]}
    floors = {u: float(rng.integers(0, 40)) for u in ues[len(ues) // 3 :]}
    return Intent(alpha=float(rng.uniform(0, 5)), max_share_percent=caps, min_share_percent=floors)


def random_batch(rng, make_random_state, count, options, num_rbgs=None):
    states = [make_random_state(rng, num_rbgs=num_rbgs or int(rng.integers(1, 19))) for _ in range(count)]
    intents = [random_intent(rng, s) for s in states]
    return states, intents, [compile_grammar(s, i, options) for s, i in zip(states, intents)]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("sampled", [False, True])
def test_whatever_the_weights_say_the_dcm_is_legal(model, make_random_state, options, sampled):
    rng = np.random.default_rng(5)
    states, intents, grammars = random_batch(rng, make_random_state, 40, options)
    length = max(g.max_tokens for g in grammars)
    uniforms = rng.random((len(states), length)) if sampled else None
    for decoded, grammar, state in zip(model.decode(states, intents, grammars, uniforms_BL=uniforms), grammars, states):
        allocation = grammar.allocation(decoded.tokens)  # raises for an illegal token
        assert np.array_equal(allocation.owner_M, decoded.allocation.owner_M)
        assert allocation.periodic_grants == decoded.allocation.periodic_grants
        assert len(decoded.allocation.owner_M) == state.num_rbgs
        assert decoded.complete
        assert len(decoded.log_probs) == len(decoded.tokens)
        assert (decoded.log_probs <= 0.0).all()


@pytest.mark.parametrize("options", OPTIONS)
def test_score_equals_what_decoding_said(model, make_random_state, options):
    rng = np.random.default_rng(6)
    states, intents, grammars = random_batch(rng, make_random_state, 30, options)
    uniforms = rng.random((30, max(g.max_tokens for g in grammars)))
    decoded_dcms = model.decode(states, intents, grammars, uniforms_BL=uniforms)
    scored_BL = score(model, states, intents, grammars, [s.tokens for s in decoded_dcms]).detach().numpy()
    for row, decoded in enumerate(decoded_dcms):
        length = len(decoded.tokens)
        np.testing.assert_allclose(scored_BL[row, :length], decoded.log_probs, atol=1e-4)
        assert not scored_BL[row, length:].any()
    assert min(s.log_probs.min() for s in decoded_dcms) < -0.5  # there was something to get wrong


def test_cells_of_different_size_together_are_what_they_are_alone(model, make_random_state):
    rng = np.random.default_rng(7)
    states, intents, grammars = random_batch(rng, make_random_state, 25, LAB)
    uniforms = rng.random((25, max(g.max_tokens for g in grammars)))
    together = model.decode(states, intents, grammars, uniforms_BL=uniforms)
    for row, decoded in enumerate(together):
        (alone,) = model.decode(
            states[row : row + 1], intents[row : row + 1], grammars[row : row + 1], uniforms_BL=uniforms[[row]]
        )
        assert alone.tokens == decoded.tokens
        np.testing.assert_allclose(alone.log_probs, decoded.log_probs, atol=1e-4)


def random_tokens(rng: np.random.Generator, grammar) -> list[int]:
    cursor = grammar.start()
    while not cursor.done:
        cursor.advance(int(rng.choice(np.flatnonzero(cursor.mask()))))
    return list(cursor.tokens)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_a_draft_changes_no_word_however_wrong_it_is(model, make_random_state, options, sampled, together):
    rng = np.random.default_rng(11)
    states, intents, grammars = random_batch(rng, make_random_state, 18, options)
    uniforms = rng.random((18, max(g.max_tokens for g in grammars))) if sampled else None
    plain = model.decode(states, intents, grammars, uniforms_BL=uniforms)
    # Right all along, right up to some step and then anything, nonsense, none at all.
    drafts: list[list[int] | None] = []
    for b, (decoded, grammar) in enumerate(zip(plain, grammars)):
        other = random_tokens(rng, grammar)
        cut = int(rng.integers(len(decoded.tokens)))
        drafts.append(
            [list(decoded.tokens), [*decoded.tokens[:cut], *other[cut:]][: len(decoded.tokens)], other, None][b % 4]
        )
        if b % 4 == 1 and len(drafts[-1]) < grammar.num_rbgs:
            drafts[-1] = other

    if together:
        drafted = model.decode(states, intents, grammars, uniforms_BL=uniforms, drafts=drafts)
    else:
        drafted = [
            model.decode([states[b]], [intents[b]], [grammars[b]], drafts=[drafts[b]],
                uniforms_BL=None if uniforms is None else uniforms[b : b + 1],
            )[0]
            for b in range(18)
        ]  # fmt: skip

    for one, other_speech in zip(plain, drafted):
        assert one.tokens == other_speech.tokens
        assert np.allclose(one.log_probs, other_speech.log_probs, atol=1e-4)


def test_the_order_of_ues_does_not_matter(model, make_random_state):
    rng = np.random.default_rng(8)
    for _ in range(10):
        state = make_random_state(rng, ues=7, missing=0.0)
        grammar = compile_grammar(state, Intent(), PAPER)
        (decoded,) = model.decode([state], [Intent()], [grammar], uniforms_BL=rng.random((1, grammar.max_tokens)))
        order = rng.permutation(7)
        of_ues = (*COLUMNS, "last_cqi_UM", "last_cqi_age_slots_UM")
        shuffled = dataclasses.replace(state, **{c: getattr(state, c)[order] for c in of_ues})
        place = np.argsort(order)
        chosen = [t if t < FIRST_UE else FIRST_UE + int(place[t - FIRST_UE]) for t in decoded.tokens]
        shuffled_grammar = compile_grammar(shuffled, Intent(), PAPER)
        scored = score(model, [shuffled], [Intent()], [shuffled_grammar], [chosen])[0].detach().numpy()
        np.testing.assert_allclose(np.exp(scored), np.exp(decoded.log_probs), atol=1e-5)


def test_sampling_follows_the_distribution(model, make_random_state):
    state = make_random_state(np.random.default_rng(9), ues=3, num_rbgs=1, missing=0.0)
    grammar = compile_grammar(state, Intent(), GrammarOptions(allow_contention=False))
    cells = 4000
    uniforms = np.random.default_rng(10).random((cells, grammar.max_tokens))
    decoded_dcms = model.decode([state] * cells, [Intent()] * cells, [grammar] * cells, uniforms_BL=uniforms)
    owners = np.array([s.tokens[-1] for s in decoded_dcms])
    for token in np.unique(owners):
        chosen = float(np.exp(next(s.log_probs[-1] for s in decoded_dcms if s.tokens[-1] == token)))
        assert abs((owners == token).mean() - chosen) < 4 * np.sqrt(chosen * (1 - chosen) / cells) + 1e-9
    assert len(np.unique(owners)) > 2


def test_greedy_says_the_likeliest_token(model, make_random_state):
    rng = np.random.default_rng(11)
    states, intents, grammars = random_batch(rng, make_random_state, 12, PAPER, num_rbgs=6)
    for state, intent, grammar, decoded in zip(states, intents, grammars, model.decode(states, intents, grammars)):
        teacher_batch = teacher_forcing_batch([teacher_forcing_example(grammar, state, decoded.tokens)])
        logits = model.logits(
            model.read(model.layout.encode([state], [intent])), teacher_batch.steps, teacher_batch.features_BLA
        )
        best = masked_log_softmax(logits, torch.from_numpy(teacher_batch.mask_BLA)).max(-1).values[0]
        np.testing.assert_allclose(best.detach().numpy(), decoded.log_probs, atol=1e-4)


def test_blocks_and_their_cache_are_one_sequence_under_a_block_mask(model, make_random_state):
    """Blocks apart and caches change nothing: one dense run of the backbone agrees."""
    state = make_random_state(np.random.default_rng(12), ues=4, missing=0.0)
    grammar = compile_grammar(state, Intent(), PAPER)
    (decoded,) = model.decode([state], [Intent()], [grammar])
    teacher_batch = teacher_forcing_batch([teacher_forcing_example(grammar, state, decoded.tokens)])
    prompts = model.layout.encode([state], [Intent()])
    with torch.no_grad():
        ours = model.logits(model.read(prompts), teacher_batch.steps, teacher_batch.features_BLA)

        memory = model.read(prompts)
        blocks, width = prompts.tokens_NT.shape
        steps = teacher_batch.steps.query_BL.shape[1]
        total = blocks * width + steps
        embedded = torch.cat(
            (
                model.backbone.embed(torch.from_numpy(prompts.tokens_NT.reshape(1, -1))),
                model.embed_steps(memory, Steps(*teacher_batch.steps), teacher_batch.features_BLA),
            ),
            dim=1,
        )
        block = np.concatenate([np.repeat(np.arange(blocks), width), np.full(steps, -1)])
        causal = np.tril(np.ones((total, total), bool))
        visible = causal & ((block[:, None] == block[None, :]) | (block == -1)[:, None])
        positions = np.concatenate([np.tile(np.arange(width), blocks), width + np.arange(steps)])
        hidden = model.backbone(embedded, torch.from_numpy(positions)[None], torch.from_numpy(visible)[None, None])
        dense = model.head(hidden[:, -steps:], memory.keys_BAd, torch.from_numpy(teacher_batch.features_BLA))
    torch.testing.assert_close(ours, dense, atol=1e-4, rtol=0)


def test_time_running_out_still_gives_a_legal_dcm(model, make_random_state):
    rng = np.random.default_rng(13)
    states, intents, grammars = random_batch(rng, make_random_state, 10, LAB, num_rbgs=6)
    calls = iter([False, False, False] + [True] * 100)
    for decoded, grammar in zip(model.decode(states, intents, grammars, expired=lambda: next(calls)), grammars):
        grammar.allocation(decoded.tokens)
        assert not decoded.complete
        assert np.isnan(decoded.log_probs[-1])


def test_learning_reaches_every_weight(model, make_random_state):
    rng = np.random.default_rng(14)
    states, intents, grammars = random_batch(rng, make_random_state, 30, LAB)
    uniforms = rng.random((30, max(g.max_tokens for g in grammars)))
    decoded_dcms = model.decode(states, intents, grammars, uniforms_BL=uniforms)
    model.zero_grad()
    score(model, states, intents, grammars, [s.tokens for s in decoded_dcms]).sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []
    model.zero_grad()


def test_an_illegal_dcm_cannot_be_scored(model, make_random_state):
    state = make_random_state(np.random.default_rng(15), ues=2)
    grammar = compile_grammar(state, Intent(), PAPER)
    with pytest.raises(GrammarError):
        score(model, [state], [Intent()], [grammar], [(0,)])


def test_no_cells_no_decisions(model):
    assert model.decode([], [], []) == []


def test_every_kind_of_step_is_asked_for(model, make_random_state):
    rng = np.random.default_rng(16)
    states, intents, grammars = random_batch(rng, make_random_state, 30, LAB, num_rbgs=6)
    uniforms = rng.random((30, max(g.max_tokens for g in grammars)))
    decoded_dcms = model.decode(states, intents, grammars, uniforms_BL=uniforms)
    examples = [teacher_forcing_example(g, s, p.tokens) for g, s, p in zip(grammars, states, decoded_dcms)]
    asked = {int(q) for example in examples for q in example.query_L}
    assert asked == {*range(StepKind.OWNER), *(StepKind.OWNER + m for m in range(6))}
