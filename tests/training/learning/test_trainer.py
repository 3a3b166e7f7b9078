"""The trainer: it improves what it is given, always the same way, and can be stopped and resumed without a trace."""

from __future__ import annotations

import json
import math
import os
import signal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from policy.bundle import Bundle, BundleError, load_bundle
from policy.errors import UserMistake
from policy.follower import new_follower_model
from policy.grammar import LAB, PAPER, compile_grammar
from policy.intent import Intent
from policy.leader_models.language_model import ModelConfig, new_leader_model, state_of
from policy.prompt.compact import PromptLayout
from policy.shipped import shipped_bundle
from training.alternatives import Search
from training.checkpoint import read_checkpoint
from training.errors import Diverged, RunFailed, Stopped, TrainingError
from training.learning import health, selection
from training.learning.config import make_config
from training.learning.leader_learner import LeaderLearner
from training.learning.objectives import OBJECTIVES
from training.learning.trainer import train
from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario

MIX, RIC20 = make_scenario("mix"), make_scenario("ric20")
SMALL = ModelConfig(16, 1, 2, 24)
TINY: dict[str, Any] = {
    "ues": (2, 3), "updates": 5, "worlds": 2, "cells": 3, "round_updates": 2, "warm_up_updates": 2, "watch_rounds": 0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def short_looks(monkeypatch):
    """Choosing takes fewer slots than a real choice should."""
    monkeypatch.setattr(selection, "SLOTS", 4)
    monkeypatch.setattr(health, "WATCH_SLOTS", 4)
    monkeypatch.setattr(selection, "PERIODS", 1)


def untrained(options=PAPER, pace=1) -> Bundle:
    """A bundle whose leader knows nothing yet."""
    leader, follower = new_leader_model(SMALL, PromptLayout(), 0), new_follower_model(SMALL, 0)
    provenance = {"command": "stackmac warm-start --out DIR", "method": "imitation", "scenarios": {"mix": "?"}}
    return Bundle(leader, follower, options, pace, pace, provenance, {"loss": 1.0})


def run(out, scenario=MIX, start=None, resume=False, progress=lambda report: None, command="", **changes):
    config = make_config("tiny", [scenario], **(TINY | changes))
    start = start or untrained()
    return train(config, out, start=start, resume=resume, progress=progress, command=command)


def sampled_utility(bundle) -> float:
    """Of fixed worlds led by a bundle's leader, its tokens drawn."""
    rng, utilities = np.random.default_rng(0), []
    for ues in (3, 4):
        world = CellBatch(MIX, 12, ues, seed=77)
        for _ in range(20):
            states = world.observe()
            grammars = [compile_grammar(state, Intent(), PAPER) for state in states]
            uniforms_BL = rng.random((len(states), 9))
            decoded_dcms = bundle.leader.decode(states, [Intent()] * len(states), grammars, uniforms_BL=uniforms_BL)
            world.play([speech.allocation for speech in decoded_dcms], 1)
        utilities += [cell.utility for cell in world.metrics()]
    return float(np.mean(utilities))


def test_a_small_budget_makes_the_leader_better(tmp_path):
    before = sampled_utility(untrained())
    budget = {"ues": (3, 4), "updates": 20, "worlds": 3, "cells": 8, "round_updates": 20, "leader_lr": 5e-3}
    result = run(tmp_path, command="stackmac train --out DIR2", **budget)
    bundle = load_bundle(result.bundle)
    assert sampled_utility(bundle) > 1.1 * before
    assert result.complete
    assert result.cell_steps == 20 * 24
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["update"] for line in log] == list(range(20))
    assert log[-1]["cell_steps"] == result.cell_steps
    assert bundle.provenance["command"] == "stackmac warm-start --out DIR && stackmac train --out DIR2"
    assert bundle.provenance["scenarios"] == {"mix": MIX.hash}
    assert bundle.metrics["loss"] == 1.0
    assert bundle.options == PAPER
    followers = state_of(bundle.follower), state_of(untrained().follower)
    assert all(torch.equal(followers[0][name], followers[1][name]) for name in followers[1])


def lines(out) -> list[str]:
    return (out / "log.jsonl").read_text().splitlines()


class StopAt:
    """Ctrl-C while an update is reported; it keeps which were."""

    def __init__(self, update: int | None, reported: list[int] | None = None) -> None:
        self.update = update
        self.reported = [] if reported is None else reported

    def __call__(self, report) -> None:
        self.reported.append(report.update)
        if report.update == self.update:
            raise KeyboardInterrupt


def left_by(out) -> dict[str, Any]:
    """What a run leaves, by name: its bundle, its log and its checkpoint; what TensorBoard reads has the time in it."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and "tensorboard" not in path.parts]
    found = {str(path.relative_to(out)): path.read_bytes() for path in files}
    return {name: weights(held) if name.endswith("safetensors") else held for name, held in found.items()}


def weights(held: bytes) -> tuple[dict[str, Any], bytes]:
    """Of a safetensors file, whose header has its keys in any order."""
    size = int.from_bytes(held[:8], "little")
    return json.loads(held[8 : 8 + size]), held[8 + size :]


@pytest.mark.usefixtures("short_looks")
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_run_that_was_stopped_and_resumed_is_the_unbroken_run_and_does_no_update_twice(tmp_path, objective):
    horizon = 2 if objective == "sequence" else 1
    changes = {"objective": objective, "kl": 0.1, "horizon": horizon, "updates": 4, "cells": 2, "batch": 3}
    run(tmp_path / "a", **changes)
    done_then = []
    for stop in (1, 2):  # where a round ends, and within one
        stopped = run(tmp_path / "b", resume=stop > 1, progress=StopAt(stop, done_then), **changes)
        assert not stopped.complete and stopped.is_asked
        load_bundle(stopped.bundle)
        assert stopped.kept == stopped.updates == stop + 1
    resumed = run(tmp_path / "b", resume=True, progress=StopAt(None, done_then), **changes)
    assert resumed.complete and not resumed.is_asked
    assert done_then == [0, 1, 2, 3]
    assert left_by(tmp_path / "a") == left_by(tmp_path / "b")


@pytest.mark.usefixtures("short_looks")
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mix", {"roles": ("leader", "follower"), "alternate": False, "watch_rounds": 1, "kl": 0.1}),
        ("mix", {"roles": ("leader", "follower"), "objective": "sequence", "horizon": 2}),
        ("ric20", {"choose_rounds": 1}),
        ("full", {"roles": ("leader", "follower"), "alternate": False, "choose_rounds": 0, "worlds": 1, "cells": 1}),
    ],
)  # fmt: skip
def test_a_run_stopped_after_each_update_is_the_unbroken_run(tmp_path, name, changes):
    scenario, few = make_scenario(name), Search(owner_steps=1, owners_per_step=1, grants=1)
    cheap = {"round_updates": 2, "updates": 3, "worlds": 2, "cells": 2, "search": few, "seconds": 1e-9}
    changes = cheap | changes

    def start() -> Bundle:
        return untrained() if name == "mix" else untrained(LAB, scenario.slots_per_dcm)

    run(tmp_path / "a", scenario, start(), **(changes | {"seconds": 1e9}))
    parts = [run(tmp_path / "b", scenario, start(), **changes)]
    while not parts[-1].complete:
        parts.append(run(tmp_path / "b", scenario, start(), resume=True, **changes))
    assert [part.updates for part in parts] == list(range(1, changes["updates"] + 1))
    a, b = (left_by(tmp_path / name) for name in "ab")
    told = ("bundle/bundle.json", "bundle/README.md")  # with --seconds in them
    assert {name: a[name] for name in a if name not in told} == {name: b[name] for name in b if name not in told}


@cache
def left_by_four_updates() -> dict[str, Any]:
    with TemporaryDirectory() as out:
        run(Path(out), updates=4)
        return left_by(Path(out))


def test_a_signal_lets_the_update_end_and_what_was_learnt_is_kept(tmp_path):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    learn, kept = LeaderLearner.learn, 0
    for number, updates in ((signal.SIGINT, 1), (signal.SIGTERM, 3)):

        def interrupted(self, *arguments, number=number, updates=updates):
            if len(lines(tmp_path)) == updates - 1:
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), number)  # as torchrun does, which passes on what the terminal has sent to all
            return learn(self, *arguments)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(LeaderLearner, "learn", interrupted)
            stopped = run(tmp_path, resume=kept > 0, updates=4)
        kept = stopped.kept
        assert (stopped.complete, stopped.is_asked, stopped.updates, kept) == (False, True, updates, updates)
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert run(tmp_path, resume=True, updates=4).complete
    assert left_by(tmp_path) == left_by_four_updates()


def test_a_second_signal_later_ends_it_at_once_where_its_round_began(tmp_path, monkeypatch):
    now_s, learn = [0.0], LeaderLearner.learn
    monkeypatch.setattr("training.rounds.time", SimpleNamespace(monotonic=lambda: now_s[0]))

    def interrupted(self, *arguments):
        if len(lines(tmp_path)) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            now_s[0] += 2.0
            os.kill(os.getpid(), signal.SIGINT)
        return learn(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(LeaderLearner, "learn", interrupted)
        with pytest.raises(Stopped, match=r"stopped within update 3: there is no .*/bundle yet; .* from update 2$"):
            run(tmp_path, updates=4)
    assert run(tmp_path, resume=True, updates=4).complete
    assert left_by(tmp_path) == left_by_four_updates()


class Backwards(OBJECTIVES["regression"]):
    """What is worth most becomes least likely."""

    def of_tokens(self, choices, before, logits):
        return super().of_tokens(choices._replace(value=-choices.value), before, logits)

    def of_bits(self, bits):
        return super().of_bits(bits._replace(gain=-bits.gain))


def test_another_objective_is_one_class_and_its_entry(tmp_path, monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "backwards", Backwards)
    both = {"roles": ("leader", "follower"), "alternate": False, "updates": 2}
    made = [load_bundle(run(tmp_path / name, objective=name, **both).bundle) for name in ("backwards", "regression")]
    assert made[0].provenance["trained"]["objective"] == "backwards"
    for role in ("leader", "follower"):
        a, b = (state_of(getattr(bundle, role)) for bundle in made)
        assert any(not torch.equal(a[name], b[name]) for name in a), role


@pytest.mark.usefixtures("short_looks")
def test_another_seed_is_another_run(tmp_path):
    assert run(tmp_path / "a", updates=1).last.value != run(tmp_path / "b", updates=1, seed=1).last.value


def test_a_clock_can_stop_it_and_it_goes_on_without_one(tmp_path):
    first = run(tmp_path, seconds=1e-9, updates=2)
    assert (first.complete, first.is_asked, first.updates) == (False, False, 1)
    assert run(tmp_path, resume=True, updates=2).complete


def test_a_number_of_cell_steps_can_end_it(tmp_path):
    result = run(tmp_path, cell_steps=18)
    assert result.complete
    assert (result.updates, result.cell_steps) == (3, 18)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 5}, "seed was"), ({"ues": (4,)}, "ues was"), ({"objective": "token"}, "objective was")],
)
def test_a_run_is_not_resumed_with_other_settings(tmp_path, change, message):
    run(tmp_path, updates=1)
    with pytest.raises(TrainingError, match=message):
        run(tmp_path, resume=True, **({"updates": 1} | change))


def test_a_run_is_resumed_from_its_own_start_only(tmp_path):
    result = run(tmp_path, updates=1)
    with pytest.raises(TrainingError, match="start was"):
        run(tmp_path, start=load_bundle(result.bundle), resume=True, updates=1)


def test_what_cannot_be_trained_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="for another K"):
        run(tmp_path, RIC20)
    run(tmp_path, updates=1)
    with pytest.raises(TrainingError, match="resume it, or choose another directory"):
        run(tmp_path)
    with pytest.raises(TrainingError, match="there is no run to resume"):
        run(tmp_path / "new", resume=True)
    with pytest.raises(BundleError, match="no such bundle"):
        load_bundle(tmp_path / "nowhere")


def test_without_a_bundle_a_warm_start_comes_first_and_is_resumed_too(tmp_path):
    config = make_config("tiny", [MIX], model=SMALL, warm_up_steps=3, teacher="oracle", **(TINY | {"updates": 1}))

    def interrupt(report):
        raise KeyboardInterrupt

    with pytest.raises(Stopped) as stopped:
        train(config, tmp_path, warm_progress=interrupt)
    there, missing = tmp_path / "warm_start/bundle", tmp_path / "bundle"
    assert str(stopped.value) == (
        f"stopped in the warm start, step 1/3, before the training: there is no {missing} yet "
        f"({there} imitates as far as it came); the same command with --resume goes on"
    )
    assert there.exists() and not missing.exists() and stopped.value.exit_status == 130
    steps = []
    result = train(
        config, tmp_path, resume=True, warm_progress=lambda report: steps.append(report.step),
        command="stackmac train --out DIR",
    )  # fmt: skip
    assert steps == [1, 2]
    provenance = load_bundle(result.bundle).provenance
    assert provenance["teacher"] == "oracle"
    assert provenance["method"] == "imitation, then objective regression"
    assert provenance["command"] == "stackmac train --out DIR"


def test_what_is_not_finite_stops_the_run_and_the_last_checkpoint_is_good(tmp_path):
    def poison(report):
        if report.update == 2:
            with torch.no_grad():
                start.leader.head.query.weight[0, 0] = math.nan

    start = untrained()
    with pytest.raises(RunFailed) as failure:
        run(tmp_path, start=start, progress=poison)
    assert "\n" not in str(failure.value)
    metadata, tensors = read_checkpoint(tmp_path / "checkpoint.safetensors")
    assert metadata["step"] == "2"
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    assert not (tmp_path / "bundle").exists()


def test_a_loss_without_bounds_is_named(tmp_path):
    with pytest.raises(Diverged, match=r"the leader's .* is (nan|inf)"):
        run(tmp_path, objective="all_action", scale=1e38)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "huge"}, "preset is 'huge', expected one of tiny, small, llama-1b"),
        (
            {"objective": "luck"},
            "objective is 'luck', expected one of regression, counterfactual, token, all_action, sequence",
        ),
        ({"roles": ("jury",)}, "roles is ('jury',), expected some of leader, follower"),
        ({"clip": 1.5}, "clip is 1.5, expected above 0 and below 1"),
        ({"gamma": 1.1}, "gamma is 1.1, expected 0 to 1"),
        ({"updates": 0}, "updates is 0, expected 1 or more"),
        ({"leader_lr": math.nan}, "leader_lr is nan, expected 0 or more"),
        ({"ues": (0,)}, "ues is (0,), expected counts of 1 or more"),
        ({"colour": 1}, "no training option 'colour'"),
    ],
)
def test_a_mistaken_setting_is_one_line(changes, message):
    with pytest.raises(UserMistake) as failure:
        make_config(**{"preset": "tiny", "scenarios": ["mix"]} | changes)
    assert str(failure.value) == message


def test_a_slow_leaders_search_is_thinner_and_a_sequence_needs_time():
    assert make_config("tiny", [RIC20], updates=7).search.owner_steps is not None
    assert make_config("tiny", [RIC20], updates=7).updates == 7
    assert make_config("tiny", [MIX]).search.owner_steps is None
    assert make_config("tiny", [MIX], objective="sequence").horizon > 1
    assert make_config("small").model.hidden_size == 128
    two = make_config("tiny", [MIX], leader_lr=1e-3, follower_lr=5e-4)
    assert two.kappa_ratio == pytest.approx(2.0)


def test_the_bundle_gets_the_weights_that_led_best_and_a_resumed_run_chooses_alike(tmp_path, short_looks):
    changes = {"choose_rounds": 1, "leader_lr": 5e-3, "cells": 6, "updates": 6}
    unbroken = run(tmp_path / "a", **changes)
    stopped = run(tmp_path / "b", progress=StopAt(3), **changes)
    assert not stopped.complete
    resumed = run(tmp_path / "b", resume=True, **changes)
    bundles = [load_bundle(result.bundle) for result in (unbroken, resumed)]
    trained = [bundle.provenance["trained"] for bundle in bundles]
    assert trained[0]["chosen_update"] in (2, 4, 6) and trained[0]["chosen_value"] > 0
    assert trained[0]["chosen_update"] == trained[1]["chosen_update"]
    a, b = (state_of(bundle.leader) for bundle in bundles)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_that_only_loses_keeps_what_it_began_with(tmp_path, short_looks):
    good = shipped_bundle(1)
    start, budget = load_bundle(good), {"leader_lr": 0.5, "warm_up_updates": 1, "updates": 2}
    ruined = run(tmp_path, start=load_bundle(good), choose_rounds=1, **budget)
    bundle = load_bundle(ruined.bundle)
    assert bundle.provenance["trained"]["chosen_update"] == 0 and bundle.provenance["trained"]["chosen_value"] == 0.0
    a, b = state_of(start.leader), state_of(bundle.leader)
    assert all(torch.equal(a[name], b[name]) for name in a)
