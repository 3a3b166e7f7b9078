"""Our Llama against transformers' own: the same weights from a seed, the same numbers under masks and with a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.leader_models.backbone import Backbone
from policy.leader_models.llama import KeyValueCache, Llama
from policy.model_config import ModelConfig

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

CONFIG = ModelConfig(hidden_size=32, num_layers=3, num_heads=2, intermediate_size=48)
VOCABULARY = 23
TOKENS = 11


def original(config: ModelConfig = CONFIG) -> LlamaForCausalLM:
    from transformers import LlamaConfig, LlamaForCausalLM  # not by whoever only collects tests: it takes seconds

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_heads,
            max_position_embeddings=config.max_positions,
            tie_word_embeddings=True,
            initializer_range=0.08,
        )
    )


@pytest.fixture
def backbone() -> Backbone:
    torch.manual_seed(1)
    return Backbone(CONFIG, VOCABULARY)


@pytest.fixture
def reference(backbone: Backbone) -> LlamaForCausalLM:
    """transformers' own code on the backbone's weights."""
    reference = original()
    unknown = reference.load_state_dict(backbone.llama.state_dict(), strict=False)
    assert unknown.unexpected_keys == []
    assert set(unknown.missing_keys) <= {"lm_head.weight"}
    return reference


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("config", [CONFIG, ModelConfig(64, 1, 4, 96)])
def test_a_seed_makes_the_originals_weights_and_leaves_the_generator_where_it_does(config: ModelConfig, seed: int):
    torch.manual_seed(seed)
    theirs = original(config).state_dict()
    next_of_theirs = torch.rand(2)
    torch.manual_seed(seed)
    ours = Llama(config, VOCABULARY).state_dict()
    assert torch.equal(torch.rand(2), next_of_theirs)
    assert ours.keys() == theirs.keys() - {"lm_head.weight"}
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_it_computes_what_the_original_does_and_learns_alike(data: st.DataObject):
    torch.manual_seed(data.draw(st.integers(0, 99)))
    backbone, reference = Backbone(CONFIG, VOCABULARY), original()
    reference.load_state_dict(backbone.llama.state_dict(), strict=False)
    tokens = torch.randint(VOCABULARY, (2, TOKENS))
    positions = torch.randint(CONFIG.max_positions, (2, TOKENS))
    visible = torch.rand(2, 1, TOKENS, TOKENS) < 0.5
    visible |= torch.eye(TOKENS, dtype=torch.bool)
    ours = backbone(backbone.embed(tokens), positions, visible)
    theirs = reference.model(
        inputs_embeds=reference.model.embed_tokens(tokens),
        attention_mask=visible,
        position_ids=positions,
        use_cache=False,
    ).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    for hidden in (ours, theirs):
        hidden.square().sum().backward()
    gradients = dict(reference.named_parameters())
    for name, weight in backbone.llama.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name].grad, atol=1e-3, rtol=1e-4)


def test_without_a_mask_a_sequence_is_causal(backbone: Backbone, reference: LlamaForCausalLM):
    tokens = torch.arange(TOKENS)[None]
    with torch.no_grad():
        ours = backbone(backbone.embed(tokens), torch.arange(TOKENS)[None])
        theirs = reference.model(input_ids=tokens, use_cache=False).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_steps_upon_a_cache_are_the_whole_sequence_and_dropped_tokens_leave_no_trace(backbone: Backbone):
    tokens = torch.arange(2 * TOKENS).reshape(2, TOKENS)
    positions = torch.arange(TOKENS).expand(2, -1)
    cache = KeyValueCache()
    assert cache.length == 0
    with torch.no_grad():
        embedded = backbone.embed(tokens)
        whole = backbone(embedded, positions)
        ends = backbone.ends(embedded[:, :6], cache)
        torch.testing.assert_close(ends, whole[:, 5], atol=1e-6, rtol=1e-6)
        for place in range(6, TOKENS):
            backbone(torch.randn(2, 1, CONFIG.hidden_size), positions[:, :1], cache=cache)
            assert cache.length == place + 1
            cache.drop_last(1)
            cache.drop_last(0)
            step = backbone(embedded[:, place : place + 1], positions[:, place : place + 1], cache=cache)
            torch.testing.assert_close(step[:, 0], whole[:, place], atol=1e-6, rtol=1e-6)
