"""A bundle answers as it did when it was written, by torch and by the engine, or it is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from policy.bundle import Bundle, load_bundle, save_bundle
from policy.bundle_files import BUNDLES, DESCRIPTION, LEADER_FILE, BundleError, description_text
from policy.follower import new_follower_model
from policy.leader import Leader
from policy.leader_models.recorded_answers import ANSWERS, MAX_ANSWERS, RECORDED, Answer, made_up_state, read, record
from policy.registry import LeaderError, WrongAnswers, check_answers, engine_or_reason, load_by_torch, make_leader

pytestmark = pytest.mark.timeout(900)  # whoever is first compiles: 42 s of a core when measured

WAYS: dict[str, Callable[[str], Leader]] = {
    "engine": make_leader,
    "torch": lambda name: load_by_torch(name, "the test wants it"),
}
SHIPPED = ["lab", "paper"]


def change(folder: Path, weights: Callable[[np.ndarray], np.ndarray], **description: Any) -> str:
    """Other weights, with checksums that fit, and other entries of the description (None: left out)."""
    file = folder / LEADER_FILE
    save_file({name: weights(tensor) for name, tensor in load_file(file).items()}, file)
    document = json.loads((folder / DESCRIPTION).read_text())
    content = file.read_bytes()
    document["files"][LEADER_FILE] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    document = {name: value for name, value in (document | description).items() if value is not None}
    (folder / DESCRIPTION).write_text(description_text(document))
    return str(folder)


@pytest.fixture(params=SHIPPED)
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / request.param
    shutil.copytree(BUNDLES / request.param, folder)
    return folder


def times(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda tensor: tensor * np.float32(factor)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_bundles_carry_answers(name: str) -> None:
    recorded = read(json.loads((BUNDLES / name / DESCRIPTION).read_text()), name)
    assert len(recorded) == RECORDED
    bundle = load_bundle(BUNDLES / name)
    assert {each.state.slots_per_dcm for each in recorded} == {bundle.min_slots_per_dcm, bundle.max_slots_per_dcm}


@pytest.mark.parametrize("way", WAYS)
def test_the_shipped_bundles_answer_as_recorded(way: str) -> None:
    check_answers("bundled", WAYS[way]("bundled"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("factor", [1e30, 1e10, 1e3, 0.0, -1.0])
def test_weights_that_are_finite_but_absurd_are_refused(copied: Path, way: str, factor: float) -> None:
    name = change(copied, times(factor))
    with pytest.raises(WrongAnswers) as caught:
        WAYS[way](name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert copied.name in str(caught.value)


@pytest.mark.parametrize("way", WAYS)
def test_another_bundles_weights_are_refused(copied: Path, way: str) -> None:
    """Sane ones, but not those whose answers it carries."""
    rng = np.random.default_rng(0)
    name = change(copied, lambda tensor: tensor + rng.normal(0.0, 0.3, tensor.shape).astype(np.float32))
    with pytest.raises(WrongAnswers, match=r"it answers .* expected"):
        WAYS[way](name)


@pytest.mark.parametrize("way", WAYS)
def test_a_bundle_of_before_is_asked_about_a_standard_state(copied: Path, way: str) -> None:
    name = change(copied, times(1.0), answers=None)
    assert WAYS[way](name).name == copied.name
    change(copied, times(1e30))
    with pytest.raises(WrongAnswers, match="not finite: its weights are absurd"):
        WAYS[way](name)


def test_what_is_saved_carries_what_it_answers(tmp_path: Path) -> None:
    shipped = load_bundle(BUNDLES / "paper")
    save_bundle(shipped, tmp_path / "again")
    document = json.loads((tmp_path / "again" / DESCRIPTION).read_text())
    assert document[ANSWERS] == json.loads((BUNDLES / "paper" / DESCRIPTION).read_text())[ANSWERS]
    assert not shipped.leader.training
    shipped.leader.train()
    save_bundle(shipped, tmp_path / "again")
    assert shipped.leader.training, "it is trained on"


def test_an_absurd_model_that_is_saved_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    import torch

    shipped = load_bundle(BUNDLES / "paper")
    with torch.no_grad():
        for parameter in shipped.leader.parameters():
            parameter *= 1e30
    follower = new_follower_model(shipped.follower.config, 0)
    save_bundle(Bundle(shipped.leader, follower, shipped.options, 1, 1), tmp_path / "absurd")
    assert json.loads((tmp_path / "absurd" / DESCRIPTION).read_text())[ANSWERS] == []
    with pytest.raises(LeaderError, match="absurd"):
        load_by_torch(str(tmp_path / "absurd"), "")


def test_what_rounding_might_change_is_not_recorded() -> None:
    def answer(margin: float, log_prob: float) -> Callable[[Any], Answer]:
        return lambda state: Answer((1, 2), np.array([log_prob, -1.0]), margin)

    assert record(answer(0.001, -1.0), (1, 5)) == []
    assert record(answer(1.0, np.nan), (1, 5)) == []
    assert [each["slots_per_dcm"] for each in record(answer(1.0, -1.0), (1, 5))] == [1, 1, 5, 5]


def test_a_recorded_state_comes_back(tmp_path: Path) -> None:
    documents = record(lambda state: Answer((3, 4), np.array([-1.0, -1.0])), (20,))
    for number, found in enumerate(read(json.loads(json.dumps({ANSWERS: documents})), "x")):
        meant = made_up_state(number, 20)
        assert (found.tokens, found.state.ue_ids) == ((3, 4), meant.ue_ids)
        assert np.array_equal(found.state.cqi_U, meant.cqi_U)
        assert np.isnan(found.state.ucm_U).all() and np.isnan(found.state.last_cqi_UM).all()


GOOD = {"num_rbgs": 6, "slots_per_dcm": 1, "ue_ids": [1], "columns": {}, "tokens": [1]}


@pytest.mark.parametrize(
    "answers",
    [
        7,
        "text",
        [7],
        [{}],
        [GOOD | {"num_rbgs": 10**9}],
        [GOOD | {"num_rbgs": -1}],
        [GOOD | {"slots_per_dcm": 10**12}],
        [GOOD | {"ue_ids": list(range(1000))}],
        [GOOD | {"ue_ids": [2, 1]}],
        [GOOD | {"ue_ids": 7}],
        [GOOD | {"columns": {"cqi_U": [1, 2, 3]}}],
        [GOOD | {"columns": {"nothing_U": [1]}}],
        [GOOD | {"columns": 7}],
        [GOOD | {"tokens": ["a"]}],
        [GOOD | {"tokens": float("inf")}],
        [GOOD] * (MAX_ANSWERS + 1),
    ],
)
def test_answers_that_are_none_are_one_line(answers: Any) -> None:
    with pytest.raises(BundleError) as caught:
        read({ANSWERS: answers}, "mine")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert "mine/bundle.json: answers: " in str(caught.value)


def test_the_engine_packs_absurd_weights_without_a_word(copied: Path) -> None:
    """Warnings are errors here; what such weights answer is tried afterwards."""
    assert not isinstance(engine_or_reason(change(copied, times(1e30))), str)
