"""What every network that can lead owes decoding, scoring and bundles, whatever it is.

To add one: one entry in MODELS.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from policy.bundle import Bundle, load_bundle, save_bundle
from policy.follower import new_follower_model
from policy.grammar import FIRST_UE, LAB, PAPER, Grammar, GrammarOptions, compile_grammar
from policy.intent import Intent
from policy.leader_models.decoding import score
from policy.leader_models.encoder_model import SEATS
from policy.leader_models.language_model import NAMES, ModelConfig
from policy.leader_models.leader_network import LeaderNetwork, PromptError
from policy.leader_models.transcript import teacher_forcing_batch, teacher_forcing_example
from policy.model_kinds import WITHOUT_LANGUAGE, new_model
from policy.prompt.numeric import NumericLayout

SIZE = ModelConfig(hidden_size=16, num_layers=2, num_heads=2, intermediate_size=24)
MODELS: dict[str, tuple[str, ModelConfig]] = {
    f"{kind}, {attention}, {decoding}": (kind, dataclasses.replace(SIZE, attention=attention, decoding=decoding))
    for kind in ("pointer", "vocabulary")
    for attention in ("block", "dense")
    for decoding in ("autoregressive", "one_pass")
}
MODELS |= {
    f"pointer, {attention}, {positions} positions": (
        "pointer",
        dataclasses.replace(SIZE, attention=attention, block_positions=positions),
    )
    for attention, positions in (("block", 1), ("block", 3), ("dense", 2))
}
MODELS |= {kind: (kind, SIZE) for kind in WITHOUT_LANGUAGE}
OPTIONS = [PAPER, LAB, GrammarOptions(allow_open=False, allow_contention=False, max_periodic_grants=3)]


@pytest.fixture(scope="module", params=MODELS)
def model(request) -> LeaderNetwork:
    return loud_model(*MODELS[request.param])


def loud_model(kind: str, config: ModelConfig) -> LeaderNetwork:
    """Random weights, loud enough that decisions differ."""
    torch.set_num_threads(1)
    model = new_model(kind, config, seed=1).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_tokens" not in name:
                parameter.mul_(1.5)
    return model


def random_batch(rng, make_random_state, count, options):
    states = [make_random_state(rng, num_rbgs=int(rng.integers(1, 19))) for _ in range(count)]
    intents = [random_intent(rng, s) for s in states]
    return states, intents, [compile_grammar(s, i, options) for s, i in zip(states, intents)]


def random_intent(rng: np.random.Generator, state) -> Intent:
    ues = [int(u) for u in rng.permutation(state.ue_ids)]
    caps = {u: float(rng.integers(0, 101)) for u in ues[: len(ues) // 3]}
    floors = {u: float(rng.integers(0, 40)) for u in ues[len(ues) // 2 :]}
    return Intent(alpha=float(rng.uniform(0, 5)), max_share_percent=caps, min_share_percent=floors)


def draws(rng: np.random.Generator, grammars: list[Grammar]):
    return rng.random((len(grammars), max(g.max_tokens for g in grammars)))


@pytest.mark.parametrize("options", OPTIONS)
def test_every_dcm_is_legal_and_as_likely_as_decoding_said(model, make_random_state, options):
    rng = np.random.default_rng(20)
    states, intents, grammars = random_batch(rng, make_random_state, 15, options)
    decoded_dcms = model.decode(states, intents, grammars, uniforms_BL=draws(rng, grammars))
    scored_BL = score(model, states, intents, grammars, [s.tokens for s in decoded_dcms]).detach().numpy()
    for row, (decoded, grammar) in enumerate(zip(decoded_dcms, grammars)):
        grammar.allocation(decoded.tokens)  # raises for an illegal token
        length = len(decoded.tokens)
        np.testing.assert_allclose(scored_BL[row, :length], decoded.log_probs, atol=2e-4)
        assert not scored_BL[row, length:].any()
        assert decoded.complete
    assert min(s.log_probs.min() for s in decoded_dcms) < -0.5  # there was something to get wrong


def test_cells_together_are_what_they_are_alone(model, make_random_state):
    rng = np.random.default_rng(21)
    states, intents, grammars = random_batch(rng, make_random_state, 8, LAB)
    uniforms = draws(rng, grammars)
    for row, decoded in enumerate(model.decode(states, intents, grammars, uniforms_BL=uniforms)):
        (alone,) = model.decode([states[row]], [intents[row]], [grammars[row]], uniforms_BL=uniforms[[row]])
        assert alone.tokens == decoded.tokens
        np.testing.assert_allclose(alone.log_probs, decoded.log_probs, atol=2e-4)


def random_tokens(rng: np.random.Generator, grammar: Grammar) -> list[int]:
    cursor = grammar.start()
    while not cursor.done:
        cursor.advance(int(rng.choice(np.flatnonzero(cursor.mask()))))
    return cursor.tokens


def test_drafts_change_nothing(model, make_random_state):
    rng = np.random.default_rng(22)
    states, intents, grammars = random_batch(rng, make_random_state, 10, LAB)
    uniforms = draws(rng, grammars)
    plain = model.decode(states, intents, grammars, uniforms_BL=uniforms)
    drafts = [p.tokens if row % 3 == 0 else random_tokens(rng, g) for row, (p, g) in enumerate(zip(plain, grammars))]
    for before, after in zip(plain, model.decode(states, intents, grammars, uniforms_BL=uniforms, drafts=drafts)):
        assert after.tokens == before.tokens
        np.testing.assert_allclose(after.log_probs, before.log_probs, atol=2e-4)


def test_a_saved_model_leads_as_it_did(model, make_random_state, tmp_path):
    rng = np.random.default_rng(23)
    bundle = Bundle(model, new_follower_model(SIZE, 0), LAB, 6, 100)
    save_bundle(bundle, tmp_path / "mine")
    loaded = load_bundle(tmp_path / "mine").leader
    assert (type(loaded), loaded.kind, loaded.config) == (type(model), model.kind, model.config)
    states, intents, grammars = random_batch(rng, make_random_state, 6, LAB)
    uniforms = draws(rng, grammars)
    before, after = (m.decode(states, intents, grammars, uniforms_BL=uniforms) for m in (model, loaded))
    assert [s.tokens for s in before] == [s.tokens for s in after]
    assert all(np.array_equal(a.log_probs, b.log_probs) for a, b in zip(before, after))


def test_learning_reaches_every_weight(model, make_random_state):
    rng = np.random.default_rng(24)
    states, intents, grammars = random_batch(rng, make_random_state, 40, LAB)
    decoded_dcms = model.decode(states, intents, grammars, uniforms_BL=draws(rng, grammars))
    model.zero_grad()
    score(model, states, intents, grammars, [s.tokens for s in decoded_dcms]).sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    model.zero_grad()
    assert idle == []


def test_time_over_before_the_first_forward_still_gives_a_legal_dcm(model, make_random_state):
    rng = np.random.default_rng(25)
    states, intents, grammars = random_batch(rng, make_random_state, 3, LAB)
    for decoded, grammar in zip(model.decode(states, intents, grammars, expired=lambda: True), grammars):
        grammar.allocation(decoded.tokens)
        assert not decoded.complete


def permuted(state, order):
    columns = {c: getattr(state, c)[order] for c in dir(state) if c.endswith(("_U", "_UM")) and not c.startswith("_")}
    return dataclasses.replace(state, **columns)


@pytest.mark.parametrize("name", ["pointer, block, autoregressive", "pointer, block, one_pass", "mappo_g"])
def test_who_is_named_first_does_not_matter(name, make_random_state):
    model = loud_model(*MODELS[name])
    rng = np.random.default_rng(26)
    state = make_random_state(rng, ues=6, missing=0.0)
    order = rng.permutation(6)
    grammar = compile_grammar(state, Intent(), PAPER)
    tokens = random_tokens(rng, grammar)
    row_of = np.argsort(order)
    moved = [FIRST_UE + int(row_of[t - FIRST_UE]) if t >= FIRST_UE else t for t in tokens]
    other = permuted(state, order)
    first = score(model, [state], [Intent()], [grammar], [tokens])
    second = score(model, [other], [Intent()], [compile_grammar(other, Intent(), PAPER)], [moved])
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)


def test_a_vocabulary_has_only_so_many_names(make_random_state):
    model = loud_model("vocabulary", SIZE)
    rng = np.random.default_rng(27)
    for ues, fits in ((NAMES, True), (NAMES + 1, False)):
        state = make_random_state(rng, ues=ues)
        grammar = compile_grammar(state, Intent(), PAPER)
        if fits:
            model.decode([state], [Intent()], [grammar])
        else:
            with pytest.raises(PromptError, match="128 UEs, expected at most 127"):
                model.decode([state], [Intent()], [grammar])


def test_dense_attention_reads_only_so_far(make_random_state):
    model = loud_model("pointer", dataclasses.replace(SIZE, attention="dense"))
    state = make_random_state(np.random.default_rng(28), ues=600)
    with pytest.raises(PromptError, match="600 UEs, expected at most"):
        model.read(model.layout.encode([state], [Intent()]))


def test_a_padded_network_seats_the_largest_backlogs_and_the_rest_are_alike(make_random_state):
    model = loud_model("mappo", SIZE)
    ues = SEATS + 5
    state = make_random_state(np.random.default_rng(29), ues=ues, missing=0.0)
    backlog_U = np.random.default_rng(30).permutation(ues) * 500.0
    nothing_U = np.full(ues, np.nan)
    state = dataclasses.replace(
        state,
        buffer_bits_U=backlog_U,
        inflight_bits_U=np.zeros(ues),
        preferred_rbg_U=nothing_U,
        last_cqi_UM=np.full(state.last_cqi_UM.shape, np.nan),
    )
    grammar = compile_grammar(state, Intent(), PAPER)
    teacher_batch = teacher_forcing_batch(
        [teacher_forcing_example(grammar, state, random_tokens(np.random.default_rng(31), grammar))]
    )
    memory = model.read(model.layout.encode([state], [Intent()]))
    logits_LA = model.logits(memory, teacher_batch.steps, teacher_batch.features_BLA)[0].detach().numpy()
    owner_A = logits_LA[-1, FIRST_UE:]
    rest = np.argsort(backlog_U)[: ues - SEATS]
    assert len(set(owner_A[rest].tolist())) == 1
    assert len(set(owner_A.tolist())) == SEATS + 1


def test_numbers_stay_in_their_range_whatever_is_reported(make_random_state):
    layout = NumericLayout()
    rng = np.random.default_rng(32)
    states = [make_random_state(rng, missing=0.3) for _ in range(20)]
    wild = make_random_state(rng, ues=4, missing=0.0)
    wild = dataclasses.replace(wild, buffer_bits_U=np.array([np.inf, -np.inf, 1e300, -5.0]))
    features = layout.encode([*states, wild], [Intent()] * 21).tokens_NT
    assert features.dtype == np.float32
    assert np.abs(features).max() <= 1.0
    assert type(layout).from_json(json.loads(json.dumps(layout.as_json()))) == layout


@pytest.mark.parametrize("kind", ["gpt", ""])
def test_an_unknown_kind_is_named(kind):
    with pytest.raises(ValueError, match="model kind is"):
        new_model(kind, SIZE, seed=0)


@pytest.mark.parametrize(("kind", "positions"), [("pointer", 15), ("pointer", -1), ("vocabulary", 2)])
def test_positions_that_a_block_cannot_take_are_refused(kind, positions):
    with pytest.raises(ValueError, match=f"block_positions is {positions}, expected"):
        new_model(kind, dataclasses.replace(SIZE, block_positions=positions), 0)


def test_one_position_per_field_is_what_no_option_means():
    spelled = dataclasses.replace(SIZE, block_positions=14)
    for name, tensor in new_model("pointer", spelled, 0).state_dict().items():
        assert torch.equal(tensor, new_model("pointer", SIZE, 0).state_dict()[name])
    assert ModelConfig(**{k: v for k, v in dataclasses.asdict(SIZE).items() if k != "block_positions"}) == SIZE
