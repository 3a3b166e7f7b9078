"""Bundles: what was saved comes back exactly, and nothing else is let in."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from policy.bundle import Bundle, load_bundle, record_answers, save_bundle
from policy.bundle_files import DESCRIPTION, FOLLOWER_FILE, LEADER_FILE, BundleError, read_description
from policy.follower import new_follower_model
from policy.grammar import LAB
from policy.intent import Intent
from policy.leader import never_expires
from policy.leader_models.language_model import ModelConfig, new_leader_model, state_of
from policy.model_leader import load_leader
from policy.prompt.compact import PromptLayout
from policy.registry import LeaderError, engine_or_reason, make_leader
from xapp.kpi_guard.leader_id import bundle_hash

SMALL = ModelConfig(hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24)


def small_bundle(seed: int = 0) -> Bundle:
    return Bundle(
        leader=new_leader_model(SMALL, PromptLayout(), seed),
        follower=new_follower_model(SMALL, seed),
        options=LAB,
        min_slots_per_dcm=6,
        max_slots_per_dcm=100,
        provenance={"command": "stackmac warm-start", "seed": seed},
        metrics={"loss": 0.5},
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Not to be changed: each test has a copy."""
    folder = tmp_path_factory.mktemp("saved") / "mine"
    save_bundle(small_bundle(), folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "mine")


def edit(folder, **changes):
    file = folder / DESCRIPTION
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def sign(folder, name):
    """Make the description agree with a file that was changed."""
    content = (folder / name).read_bytes()
    files = json.loads((folder / DESCRIPTION).read_text())["files"]
    files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit(folder, files=files)


def refused(folder) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_saved_comes_back(folder):
    saved, loaded = small_bundle(), load_bundle(folder)
    for before, after in ((saved.leader, loaded.leader), (saved.follower, loaded.follower)):
        assert state_of(before).keys() == state_of(after).keys()
        assert all(torch.equal(t, state_of(after)[n]) for n, t in state_of(before).items())
    assert loaded.options == saved.options
    assert (loaded.min_slots_per_dcm, loaded.max_slots_per_dcm) == (6, 100)
    assert loaded.provenance == saved.provenance
    assert loaded.metrics == saved.metrics
    assert loaded.leader.layout == saved.leader.layout


def test_it_leads_as_it_did_before(folder, make_random_state):
    rng = np.random.default_rng(0)
    states = [make_random_state(rng, slots_per_dcm=20) for _ in range(5)]
    first, second = load_leader(folder), load_leader(folder)
    decided = [[d.tokens for d in leader.decide(states, [Intent()] * 5, never_expires)] for leader in (first, second)]
    assert decided[0] == decided[1]
    assert first.name == "mine"


def test_saving_again_replaces_and_leaves_nothing_behind(folder):
    save_bundle(small_bundle(seed=9), folder)
    assert load_bundle(folder).provenance["seed"] == 9
    assert [p.name for p in folder.parent.iterdir()] == ["mine"]
    assert sorted(p.name for p in folder.iterdir()) == [DESCRIPTION, FOLLOWER_FILE, LEADER_FILE]


def test_a_failed_save_leaves_the_old_bundle(folder, monkeypatch):
    monkeypatch.setattr("policy.bundle_files.json.dumps", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_bundle(small_bundle(seed=9), folder)
    monkeypatch.undo()
    assert load_bundle(folder).provenance["seed"] == 0
    assert [p.name for p in folder.parent.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", [LEADER_FILE, FOLLOWER_FILE])
def test_one_changed_byte_is_noticed(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-3] ^= 1
    (folder / name).write_bytes(content)
    message = refused(folder)
    assert name in message
    assert "sha256" in message


def test_a_file_cut_short_is_noticed(folder):
    (folder / LEADER_FILE).write_bytes((folder / LEADER_FILE).read_bytes()[:-1])
    assert "size is" in refused(folder)


@pytest.mark.parametrize("name", [LEADER_FILE, FOLLOWER_FILE, DESCRIPTION])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert name in refused(folder)


def test_no_bundle_at_all(tmp_path):
    assert "no such bundle directory" in refused(tmp_path / "nowhere")


def test_the_folder_of_a_training_run_is_taken_as_its_bundle(saved, tmp_path):
    run = tmp_path / "leader-7"
    shutil.copytree(saved, run / "bundle")
    (run / "log.jsonl").write_text("")
    assert load_bundle(run).provenance == load_bundle(saved).provenance
    assert read_description(run) == read_description(saved)
    assert load_leader(run).name == "leader-7"
    engine = engine_or_reason(str(run))
    assert not isinstance(engine, str) and engine.name == "leader-7"
    assert bundle_hash(str(run)) == bundle_hash(str(saved)) != ""
    assert record_answers(run) == len(read_description(saved)["answers"])


def test_a_bundle_that_has_a_folder_of_that_name_is_itself(saved, folder):
    shutil.copytree(saved, folder / "bundle")
    edit(folder / "bundle", format_version=9)
    assert load_bundle(folder).provenance["seed"] == 0


def test_a_damaged_bundle_of_a_run_is_named_by_its_file(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "bundle")
    edit(tmp_path / "bundle", format_version=9)
    assert f"{tmp_path / 'bundle' / DESCRIPTION}: format_version is 9" in refused(tmp_path)


def test_a_folder_that_is_neither_is_refused_by_both_names(tmp_path):
    line = f"{tmp_path}: no bundle, nor a training run with one: it has neither bundle.json nor bundle/bundle.json"
    assert refused(tmp_path) == line
    (tmp_path / "bundle").mkdir()
    assert refused(tmp_path) == line
    with pytest.raises(LeaderError) as caught:
        make_leader(str(tmp_path))
    assert str(caught.value) == f"leader {str(tmp_path)!r}: {line}"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "leader.pt", "extra.pkl", "WEIGHTS.PTH"])
def test_a_pickle_is_refused_and_not_opened(folder, tmp_path, name):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "fell"), "w"))

    (folder / name).write_bytes(pickle.dumps(Bomb()))
    assert name in refused(folder)
    assert not (tmp_path / "fell").exists()


def test_a_pickle_in_disguise_is_refused(folder):
    (folder / LEADER_FILE).write_bytes(pickle.dumps({"a": 1}))
    sign(folder, LEADER_FILE)
    assert "not a safetensors file" in refused(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version is 2, expected 1"),
        ({"format_version": None}, "format_version is None, expected 1"),
        ({"slots_per_dcm": [5, 1]}, "slots_per_dcm"),
        ({"slots_per_dcm": "all"}, "bundle.json"),
        ({"grammar": {"allow_poetry": True}}, "allow_poetry"),
        ({"leader": {"hidden_size": 15}}, "hidden_size is 15"),
        ({"leader": {"head": "megaphone"}}, "head is 'megaphone', expected pointer or vocabulary"),
        ({"model": "oracle"}, "model kind is 'oracle', expected one of pointer, vocabulary, mappo, mappo_g"),
        ({"prompt_layout": {"version": 7}}, "prompt layout version is 7, expected 1"),
        ({"prompt_layout": None}, "bundle.json"),
        ({"files": {}}, "files are"),
        ({"files": {LEADER_FILE: 1, FOLLOWER_FILE: 2}}, "expected bytes, sha256"),
    ],
)
def test_a_description_that_says_something_else_is_refused(folder, changes, message):
    edit(folder, **changes)
    assert message in refused(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"{"])
def test_a_description_that_is_none_is_refused(folder, content):
    (folder / DESCRIPTION).write_bytes(content)
    assert DESCRIPTION in refused(folder)


def test_a_missing_entry_is_named(folder):
    file = folder / DESCRIPTION
    description = json.loads(file.read_text())
    del description["grammar"]
    file.write_text(json.dumps(description))
    assert "'grammar' is missing" in refused(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:-1].clone(), "expected torch.float32"),
        (lambda t: t.half(), "torch.float16"),
        (lambda t: t * float("nan"), "not finite"),
        (lambda t: None, "missing"),
    ],
)
def test_tensors_of_another_shape_type_or_value_are_refused(folder, change, message):
    tensors = load_file(folder / LEADER_FILE)
    changed = change(tensors.pop("head.fixed_keys"))
    if changed is not None:
        tensors["head.fixed_keys"] = changed
    save_file(tensors, folder / LEADER_FILE)
    sign(folder, LEADER_FILE)
    error = refused(folder)
    assert "head.fixed_keys" in error
    assert message in error


def test_an_unknown_tensor_is_refused(folder):
    tensors = load_file(folder / LEADER_FILE)
    save_file(tensors | {"zz": torch.zeros(1)}, folder / LEADER_FILE)
    sign(folder, LEADER_FILE)
    assert "tensor zz is unknown" in refused(folder)
