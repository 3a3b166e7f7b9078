"""A text model's bundle: its adapters and the base model's name and hash, or, fully trained, all of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from policy.bundle import Bundle, BundleError, load_bundle, save_bundle
from policy.cell_state import CellState, make_cell_state
from policy.follower import new_follower_model
from policy.grammar import PAPER
from policy.intent import Intent
from policy.leader import never_expires
from policy.leader_models.decoding import score
from policy.leader_models.language_model import ModelConfig, state_of
from policy.model_leader import load_leader
from policy.text.model import new_text_model
from policy.text.text_config import TextConfig


@pytest.fixture
def base(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A base model that a test may break."""
    return shutil.copytree(tiny_checkpoint, tmp_path / "base")


def saved(base: Path, folder: Path, lora_rank: int) -> Bundle:
    torch.set_num_threads(1)
    leader = new_text_model(TextConfig(str(base), lora_rank=lora_rank))
    generator = torch.Generator().manual_seed(1)
    for tensor in state_of(leader).values():
        tensor.add_(0.05 * torch.randn(tensor.shape, generator=generator))
    bundle = Bundle(leader, new_follower_model(ModelConfig(16, 1, 2, 24), 0), PAPER, 1, 1)
    save_bundle(bundle, folder)
    return bundle


def cell() -> CellState:
    return make_cell_state(
        "c", num_rbgs=4, slots_per_dcm=1, slot=0, ue_ids=(3, 9, 12), buffer_bits_U=[500.0, 0.0, 9000.0]
    )


@pytest.mark.parametrize("lora_rank", [0, 2], ids=["full", "lora"])
def test_what_is_loaded_decides_as_what_was_saved(base: Path, tmp_path: Path, lora_rank: int) -> None:
    bundle = saved(base, tmp_path / "bundle", lora_rank)
    loaded = load_bundle(tmp_path / "bundle")
    assert all(torch.equal(tensor, state_of(loaded.leader)[name]) for name, tensor in state_of(bundle.leader).items())
    before, after = (
        score(b.leader, [cell()], [Intent()], [grammar], [tokens])
        for b in (bundle, loaded)
        for grammar, tokens in [chosen()]
    )
    assert torch.allclose(before, after, atol=1e-6)


def chosen() -> tuple:
    from policy.grammar import compile_grammar

    grammar = compile_grammar(cell(), Intent(), PAPER)
    cursor = grammar.start()
    while not cursor.done:
        cursor.advance(int(cursor.mask().argmax()))
    return grammar, cursor.tokens


def test_adapters_are_kept_without_the_base_and_a_full_model_without_needing_it(base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path / "lora", lora_rank=2)
    saved(base, tmp_path / "full", lora_rank=0)
    document = json.loads((tmp_path / "lora" / "bundle.json").read_text())
    assert document["model"] == "text" and document["leader"]["base_model"] == str(base)
    assert len(document["base_model"]["sha256"]) == 64 and document["base_model"]["config"]["hidden_size"] == 32
    weights = (base / "model.safetensors").stat().st_size
    assert (tmp_path / "lora" / "leader.safetensors").stat().st_size < weights / 2
    shutil.rmtree(base)
    (decision,) = load_leader(tmp_path / "full").decide([cell()], [Intent()], never_expires)
    assert decision.decided_by == "model" and not decision.reason
    with pytest.raises(BundleError, match=r"bundle.json: base model .*no such directory"):
        load_bundle(tmp_path / "lora")


def change_a_weight(base: Path, bundle: Path) -> None:
    content = bytearray((base / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (base / "model.safetensors").write_bytes(content)


def forget_the_hash(base: Path, bundle: Path) -> None:
    document = json.loads((bundle / "bundle.json").read_text())
    del document["base_model"]
    (bundle / "bundle.json").write_text(json.dumps(document))


def another_template(base: Path, bundle: Path) -> None:
    document = json.loads((bundle / "bundle.json").read_text())
    document["prompt_layout"] = {"template": 99}
    (bundle / "bundle.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (change_a_weight, "sha256 is .*, expected"),
        (forget_the_hash, "'base_model' is missing"),
        (another_template, "prompt template is 99, expected 1"),
    ],
)
def test_a_base_that_is_not_the_one_trained_on_is_refused(
    damage: Callable[[Path, Path], None], says: str, base: Path, tmp_path: Path
) -> None:
    saved(base, tmp_path / "bundle", lora_rank=2)
    damage(base, tmp_path / "bundle")
    with pytest.raises(BundleError, match=says) as error:
        load_bundle(tmp_path / "bundle")
    assert "\n" not in str(error.value)


def test_files_that_a_full_bundle_does_not_list_are_not_read(base: Path, tmp_path: Path) -> None:
    saved(base, tmp_path / "bundle", lora_rank=0)
    (tmp_path / "bundle" / "base" / "tokenizer.py").write_text("raise SystemExit")
    with pytest.raises(BundleError, match=r"tokenizer\.py"):
        load_bundle(tmp_path / "bundle")
