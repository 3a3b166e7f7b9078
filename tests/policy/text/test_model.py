"""Any causal language model as the leader: exact probabilities, decoding, adapters, and checkpoints that are broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policy.cell_state import CellState
from policy.errors import UserMistake
from policy.grammar import LAB, PAPER, Grammar, GrammarOptions, StepKind, compile_grammar
from policy.intent import Intent
from policy.leader_models.decoding import score
from policy.leader_models.leader_network import PromptError
from policy.leader_models.transcript import DecodedDcm
from policy.model_leader import ModelLeader
from policy.prompt.text import action_text, prompt_text, step_prefix_text
from policy.shipped import EXPIRED
from policy.text.base_model import BaseModelError, find_base_model
from policy.text.model import TextModel, new_text_model
from policy.text.text_config import TextConfig

StateMaker = Callable[..., CellState]
Cells = tuple[list[CellState], list[Intent], list[Grammar]]


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> TextModel:
    torch.set_num_threads(1)
    return perturbed(new_text_model(TextConfig(str(tiny_checkpoint), lora_rank=2)))


def perturbed(model: TextModel) -> TextModel:
    """Fresh adapters change nothing: give them something to say."""
    generator = torch.Generator().manual_seed(1)
    for tensor in model.trained_state().values():
        tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def cells(make_state: StateMaker, options: GrammarOptions, ues: Sequence[int] = (4, 0, 1, 12)) -> Cells:
    rng = np.random.default_rng(3)
    states = [make_state(rng, ues=count, num_rbgs=4, slots_per_dcm=20) for count in ues]
    intents = [Intent(max_share_percent={s.ue_ids[0]: 25.0}) if s.num_ues > 3 else Intent() for s in states]
    return states, intents, [compile_grammar(s, i, options) for s, i in zip(states, intents)]


def uniforms(count: int) -> np.ndarray:
    return np.random.default_rng(4).random((count, 60))


def one_word_at_a_time(
    model: TextModel, state: CellState, intent: Intent, grammar: Grammar, decoded: DecodedDcm
) -> float:
    """A DCM's log-probability by the book: plain causal forwards, all logits, masked by what leads somewhere legal."""
    tokenizer = model.layout.tokenizer
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    ids = [tokenizer.bos_token_id, *encode(prompt_text(state, intent))]
    cursor, total = grammar.start(), 0.0
    for token in decoded.tokens:
        ids += encode(step_prefix_text(cursor.step_kind, cursor.rbg))
        words = [encode(action_text(int(a))) for a in np.flatnonzero(cursor.mask())]
        chosen = encode(action_text(token))
        for k, word in enumerate(chosen):
            ways = sorted({w[k] for w in words if w[:k] == chosen[:k]})
            if len(ways) > 1:
                with torch.no_grad():
                    logits = model.lm(input_ids=torch.tensor([ids])).logits[0, -1, ways].double()
                total += float(torch.log_softmax(logits, -1)[ways.index(word)])
            ids.append(word)
        cursor.advance(token)
    return total


@pytest.mark.parametrize("options", [PAPER, LAB], ids=["paper", "lab"])
def test_probabilities_are_those_of_a_plain_forward_word_by_word(
    model: TextModel, make_random_state: StateMaker, options: GrammarOptions
) -> None:
    given = cells(make_random_state, options, ues=(3, 12))
    for decoded, state, intent, grammar in zip(model.decode(*given, uniforms_BL=uniforms(2)), *given):
        expected = one_word_at_a_time(model, state, intent, grammar, decoded)
        assert decoded.log_probs.sum() == pytest.approx(expected, abs=1e-4)


def test_actions_take_several_of_the_tokenizers_tokens(model: TextModel) -> None:
    lengths = {len(model.trie.spelling(action)) for action in range(60)}
    assert max(lengths) > 2 and not model.trie.separated


@pytest.mark.parametrize("options", [PAPER, LAB], ids=["paper", "lab"])
def test_what_is_decoded_is_scored_alike(
    model: TextModel, make_random_state: StateMaker, options: GrammarOptions
) -> None:
    given = cells(make_random_state, options)
    decoded_dcms = model.decode(*given, uniforms_BL=uniforms(4))
    with torch.no_grad():
        log_probs_BL = score(model, *given, [s.tokens for s in decoded_dcms])
    for b, (decoded, grammar) in enumerate(zip(decoded_dcms, given[2])):
        length = len(decoded.tokens)
        assert grammar.allocation(decoded.tokens).owner_M.tolist() == decoded.allocation.owner_M.tolist()
        assert log_probs_BL[b, :length].tolist() == pytest.approx(decoded.log_probs.tolist(), abs=1e-5)
        assert log_probs_BL[b, length:].tolist() == [0.0] * (log_probs_BL.shape[1] - length)


def test_probabilities_of_a_step_sum_to_one(model: TextModel, make_random_state: StateMaker) -> None:
    states, intents, grammars = cells(make_random_state, LAB, ues=(12,))
    (decoded,) = model.decode(states, intents, grammars)
    cursor = grammars[0].start()
    while cursor.step_kind is not StepKind.OWNER:
        cursor.advance(decoded.tokens[len(cursor.tokens)])
    step, others = len(cursor.tokens), np.flatnonzero(cursor.mask())
    assert len(others) > 10
    whole = [[*decoded.tokens[:step], int(a), *finished(grammars[0], [*decoded.tokens[:step], int(a)])] for a in others]
    many = [[x[0]] * len(whole) for x in (states, intents, grammars)]
    with torch.no_grad():
        probs = score(model, *many, whole)[:, step].double().exp()
    assert float(probs.sum()) == pytest.approx(1.0, abs=1e-5)


def finished(grammar: Grammar, begun: Sequence[int]) -> list[int]:
    """The first legal way to end a DCM."""
    cursor = grammar.start()
    for token in begun:
        cursor.advance(token)
    while not cursor.done:
        cursor.advance(int(cursor.mask().argmax()))
    return cursor.tokens[len(begun) :]


@pytest.mark.parametrize("sampled", [False, True], ids=["greedy", "sampled"])
def test_batches_and_drafts_change_nothing(model: TextModel, make_random_state: StateMaker, sampled: bool) -> None:
    states, intents, grammars = given = cells(make_random_state, LAB)
    draws = uniforms(4) if sampled else None
    together = model.decode(*given, uniforms_BL=draws)
    for b, decoded in enumerate(together):
        own = None if draws is None else draws[b : b + 1]
        (alone,) = model.decode([states[b]], [intents[b]], [grammars[b]], uniforms_BL=own)
        assert alone.tokens == decoded.tokens
    likely = [s.tokens for s in model.decode(*given)]
    unlikely = [s.tokens for s in model.decode(*given, uniforms_BL=uniforms(4)[:, ::-1])]
    for drafts in (likely, unlikely, [likely[0], None, unlikely[2], None]):
        drafted = model.decode(*given, uniforms_BL=draws, drafts=drafts)
        assert [s.tokens for s in drafted] == [s.tokens for s in together]


def test_time_that_runs_out_leaves_a_legal_dcm(model: TextModel, make_random_state: StateMaker) -> None:
    states, intents, grammars = cells(make_random_state, PAPER, ues=(4, 4))
    asked = iter([False, False, False])
    leader = ModelLeader(model, PAPER)
    decisions = leader.decide(states, intents, lambda: next(asked, True))
    whole = leader.decide(states, intents, lambda: False)
    for decision, full, grammar in zip(decisions, whole, grammars):
        assert decision.reason == EXPIRED and not full.reason
        assert grammar.allocation(decision.tokens) is not None
        assert decision.log_probs is not None
        known = int(np.isfinite(decision.log_probs).sum())
        assert 0 < known < len(decision.tokens) and decision.tokens[:known] == full.tokens[:known]


def test_only_adapters_learn_and_checkpointing_changes_no_gradient(
    tiny_checkpoint: Path, make_random_state: StateMaker
) -> None:
    given = cells(make_random_state, PAPER, ues=(3, 4))
    gradients = []
    for checkpointing in (False, True):
        config = TextConfig(str(tiny_checkpoint), lora_rank=2, gradient_checkpointing=checkpointing)
        model = perturbed(new_text_model(config)).train()
        decoded_dcms = model.decode(*given)
        score(model, *given, [s.tokens for s in decoded_dcms]).sum().backward()
        learnt = {name for name, p in model.named_parameters() if p.grad is not None}
        assert learnt and learnt == set(model.trained_state()) and all("lora_" in name for name in learnt)
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-5)


@pytest.mark.parametrize("lora_rank", [0, 2], ids=["full", "lora"])
def test_bfloat16_computes_lower_and_learns_in_float32(
    tiny_checkpoint: Path, make_random_state: StateMaker, lora_rank: int
) -> None:
    given = cells(make_random_state, PAPER, ues=(3,))
    exact = new_text_model(TextConfig(str(tiny_checkpoint), lora_rank=lora_rank))
    lower = new_text_model(TextConfig(str(tiny_checkpoint), lora_rank=lora_rank, bf16=True))
    tokens = [s.tokens for s in exact.decode(*given)]
    expected, found = (score(m, *given, tokens).sum() for m in (exact, lower))
    assert found.dtype is torch.float32 and found.item() != expected.item()
    assert found.item() == pytest.approx(expected.item(), abs=0.5)
    assert all(tensor.dtype is torch.float32 for tensor in lower.trained_state().values())
    found.backward()


def small_lm(name: str, vocabulary: int) -> Any:
    from transformers import (
        BloomConfig,
        BloomForCausalLM,
        Gemma2Config,
        Gemma2ForCausalLM,
        GPT2Config,
        GPT2LMHeadModel,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    if name == "bloom":
        return BloomForCausalLM(BloomConfig(vocab_size=vocabulary, hidden_size=32, n_layer=2, n_head=2))
    if name == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=2, n_positions=2048))
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    if name == "gemma2":
        capped = Gemma2Config(
            vocab_size=vocabulary, num_key_value_heads=1, head_dim=16, final_logit_softcapping=0.5, **sizes
        )
        return Gemma2ForCausalLM(capped)
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=vocabulary, num_key_value_heads=1, **sizes))


@pytest.mark.parametrize("name", ["gpt2", "qwen2", "gemma2"])
def test_other_families_are_led_by_the_same_code(
    name: str, tiny_checkpoint: Path, tmp_path: Path, make_random_state: StateMaker
) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / name)
    small_lm(name, 512).save_pretrained(folder)
    model = new_text_model(TextConfig(str(folder), lora_rank=0)).train()
    given = cells(make_random_state, PAPER, ues=(3,))
    (decoded,) = model.decode(*given, uniforms_BL=uniforms(1))
    score(model, *given, [decoded.tokens]).sum().backward()
    model.eval()
    expected = one_word_at_a_time(model, *(x[0] for x in given), decoded)
    assert decoded.log_probs.sum() == pytest.approx(expected, abs=1e-4)


def test_a_model_that_cannot_read_forks_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "bloom")
    small_lm("bloom", 512).save_pretrained(folder)
    with pytest.raises(BaseModelError, match="BloomForCausalLM") as error:
        new_text_model(TextConfig(str(folder)))
    assert "\n" not in str(error.value)


def test_a_cell_too_big_for_the_models_context_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, make_random_state: StateMaker
) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "short")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 64}))
    model = new_text_model(TextConfig(str(folder)))
    with pytest.raises(PromptError, match="expected at most the 64 of"):
        model.decode(*cells(make_random_state, PAPER, ues=(12,)))


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def foreign_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "mine.MyConfig", "AutoModelForCausalLM": "mine.MyModel"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mine", "auto_map": auto}))


def half_written(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def other_shapes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (no_config, "holds no config.json"),
        (no_weights, r"holds no \*\.safetensors"),
        (foreign_code, "custom code"),
        (half_written, "base model"),
        (other_shapes, "weights are missing or misshapen"),
        (no_tokenizer, "base model"),
    ],
)
def test_a_damaged_checkpoint_is_told_in_one_line(
    damage: Callable[[Path], None], says: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(BaseModelError, match=says) as error:
        new_text_model(TextConfig(str(folder)))
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("./nowhere", "no such directory"),
        ("/no/where", "no such directory"),
        ("", "no such directory"),
        ("no-such-owner/no-such-model", "not in the local cache"),
        ("not a hub id!", "neither a directory nor a hub id"),
    ],
)
def test_a_base_model_that_is_not_there_is_told_in_one_line(name: str, says: str) -> None:
    with pytest.raises(BaseModelError, match=says) as error:
        find_base_model(name, local_files_only=True)
    assert "\n" not in str(error.value)


def test_a_rank_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserMistake, match="lora_rank is -1, expected 0"):
        TextConfig("x", lora_rank=-1)
