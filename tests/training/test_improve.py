"""The trainer: it improves what it is given, always the same way, and can be stopped and resumed without a trace."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from policy.bundle import Bundle, BundleError, load_bundle, save_bundle
from policy.decoding import decode
from policy.follower import new_follower_model
from policy.grammar import LAB, PAPER, compile_grammar
from policy.intent import Intent
from policy.language_model import ModelConfig, new_leader_model, state_of
from policy.prompt.compact import PromptLayout
from training.checkpoint import TrainingError
from training.counterfactual import Search, Spoken, evaluate
from training.improve import Example, ImproveConfig, config_for, counterfactual_loss, improve
from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario

MIX, RIC20 = make_scenario("mix"), make_scenario("ric20")
SMALL = ModelConfig(16, 1, 2, 24)
TINY = ImproveConfig(updates=5, worlds=2, cells=3, round_updates=2, warm_up_updates=2)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def start(tmp_path):
    return untrained(tmp_path / "start", PAPER, 1)


def untrained(path, options, pace):
    """A bundle whose leader knows nothing yet."""
    leader, follower = new_leader_model(SMALL, PromptLayout(), 0), new_follower_model(SMALL, 0)
    provenance = {"command": "stackmac warm-start --out DIR", "method": "imitation", "scenarios": {"mix": "?"}}
    save_bundle(Bundle(leader, follower, options, pace, pace, provenance, {"loss": 1.0}), path)
    return path


def run(start, out, config=TINY, scenarios=(MIX,), **kwargs):
    return improve(start, scenarios, out, config, **({"ues": (2, 3)} | kwargs))


def sampled_utility(path) -> float:
    """Of fixed worlds led by a bundle's leader, its tokens drawn."""
    leader, rng, utilities = load_bundle(path).leader, np.random.default_rng(0), []
    for ues in (3, 4):
        world = CellBatch(MIX, 16, ues, seed=77)
        for _ in range(40):
            states = world.observe()
            grammars = [compile_grammar(state, Intent(), PAPER) for state in states]
            uniforms_BL = rng.random((len(states), 9))
            speeches = decode(leader, states, [Intent()] * len(states), grammars, uniforms_BL=uniforms_BL)
            world.play([speech.allocation for speech in speeches], 1)
        utilities += [cell.utility for cell in world.metrics()]
    return float(np.mean(utilities))


def test_a_small_budget_makes_what_the_leader_says_worth_more(start, tmp_path):
    config = ImproveConfig(updates=40, worlds=4, cells=12, round_updates=5, warm_up_updates=5, learning_rate=5e-3)
    result = run(start, tmp_path / "run", config, ues=(3, 4), command="stackmac train --out DIR2")
    assert sampled_utility(result.bundle) > 1.1 * sampled_utility(start)
    assert result.complete
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [line["update"] for line in log] == list(range(40))
    bundle, before = load_bundle(result.bundle), load_bundle(start)
    assert bundle.provenance["command"] == "stackmac warm-start --out DIR && stackmac train --out DIR2"
    assert bundle.provenance["scenarios"] == {"mix": MIX.hash}
    assert bundle.metrics["loss"] == 1.0
    assert bundle.options == before.options
    followers = state_of(bundle.follower), state_of(before.follower)
    assert all(torch.equal(followers[0][name], followers[1][name]) for name in followers[1])


class StopAt:
    """Ctrl-C while an update is reported."""

    def __init__(self, update: int) -> None:
        self.update = update

    def __call__(self, report) -> None:
        if report.update == self.update:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("options", "scenario"), [(PAPER, MIX), (LAB, RIC20)])
def test_a_run_that_was_stopped_and_resumed_is_the_unbroken_run(tmp_path, options, scenario):
    start = untrained(tmp_path / "start", options, scenario.slots_per_dcm)
    config = dataclasses.replace(TINY, kl=0.1, search=Search(owner_steps=1, owners_per_step=1, grants=1))
    unbroken = run(start, tmp_path / "a", config, (scenario,))
    stopped = run(start, tmp_path / "b", config, (scenario,), progress=StopAt(3))
    assert not stopped.complete
    load_bundle(stopped.bundle)
    resumed = run(start, tmp_path / "b", config, (scenario,), resume=True)
    assert resumed.complete
    assert (tmp_path / "a/log.jsonl").read_text() == (tmp_path / "b/log.jsonl").read_text()
    a, b = (state_of(load_bundle(result.bundle).leader) for result in (unbroken, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_another_seed_is_another_run(start, tmp_path):
    one, other = run(start, tmp_path / "a"), run(start, tmp_path / "b", dataclasses.replace(TINY, seed=1))
    assert one.last.value != other.last.value


def test_a_clock_can_stop_it(start, tmp_path):
    with pytest.raises(TrainingError, match="before the first update"):
        run(start, tmp_path / "a", seconds=0.0)
    assert run(start, tmp_path / "a", resume=True, seconds=math.inf).complete


@pytest.mark.parametrize(
    ("change", "message"),
    [({"config": dataclasses.replace(TINY, seed=5)}, "config was"), ({"ues": (4,)}, "ues was")],
)
def test_a_run_is_not_resumed_with_other_settings(start, tmp_path, change, message):
    run(start, tmp_path / "a")
    with pytest.raises(TrainingError, match=message):
        run(start, tmp_path / "a", resume=True, **change)


def test_a_run_is_resumed_from_its_own_start_only(start, tmp_path):
    run(start, tmp_path / "a")
    with pytest.raises(TrainingError, match="start was"):
        run(tmp_path / "a/bundle", tmp_path / "a", resume=True)


def test_what_cannot_be_improved_is_refused(start, tmp_path):
    with pytest.raises(BundleError, match="no such bundle"):
        run(tmp_path / "nowhere", tmp_path / "a")
    with pytest.raises(TrainingError, match="for another K"):
        run(start, tmp_path / "a", scenarios=(RIC20,))
    run(start, tmp_path / "a")
    with pytest.raises(TrainingError, match="resume it, or choose another directory"):
        run(start, tmp_path / "a")


def example_of(start) -> tuple[Bundle, Example]:
    """One state, in whose DCM the owner of RBG 2 is known to be best OPEN."""
    bundle = load_bundle(start)
    world = CellBatch(MIX, 1, 3, seed=5)
    world.play(None, 30)
    (state,) = world.observe()
    grammar = compile_grammar(state, Intent(), PAPER)
    (said,) = decode(bundle.leader, [state], [Intent()], [grammar], uniforms_BL=np.full((1, 9), 0.5))
    spoken = Spoken(state, Intent(), grammar, said.tokens)
    (values,), _ = evaluate(world, [spoken], Search(), np.random.default_rng(0))
    value_LA, known_LA = np.zeros_like(values.value_LA), np.zeros_like(values.known_LA)
    known_LA[5] = values.line.mask_LA[5]
    value_LA[5, 0] = 1.0
    blocks = bundle.leader.layout.encode([state], [Intent()]).tokens_NT
    return bundle, Example(blocks, values.line, known_LA, value_LA, 0.0, 1.0)


@pytest.mark.parametrize("exploration", [0.0, 0.3])
def test_the_loss_climbs_towards_the_better_token_and_leaves_the_others(start, exploration):
    bundle, example = example_of(start)
    config = ImproveConfig(exploration=exploration, entropy=0.0)

    def probabilities() -> torch.Tensor:
        from policy.decoding import masked_log_softmax, script_of
        from training.imitation import prompts_of

        script = script_of([example.line])
        logits = bundle.leader.logits(bundle.leader.read(prompts_of([example])), script.steps, script.situation_BLA)
        return masked_log_softmax(logits, torch.from_numpy(script.mask_BLA)).exp()[0, 5]

    before = probabilities()
    counterfactual_loss(bundle.leader, [example], config).loss.backward()
    with torch.no_grad():
        for parameter in bundle.leader.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad
    assert probabilities()[0] > before[0]


def test_without_exploration_the_gradient_is_that_of_the_expected_value(start):
    bundle, example = example_of(start)
    config = ImproveConfig(exploration=0.0, entropy=0.0, scale=1.0)
    parameter = bundle.leader.head.fixed_keys
    counterfactual_loss(bundle.leader, [example], config).loss.backward()
    found = parameter.grad.clone()
    parameter.grad = None
    from policy.decoding import masked_log_softmax, script_of
    from training.imitation import prompts_of

    script = script_of([example.line])
    logits = bundle.leader.logits(bundle.leader.read(prompts_of([example])), script.steps, script.situation_BLA)
    probs = masked_log_softmax(logits, torch.from_numpy(script.mask_BLA)).exp()
    (probs[0, 5] * torch.from_numpy(example.value_LA[5])).sum().neg().backward()
    assert torch.allclose(found, parameter.grad, atol=1e-6)
    assert found.abs().max() > 1e-4


def test_a_slow_leaders_search_is_thinner():
    assert config_for([MIX]) == ImproveConfig()
    slow = config_for([RIC20], updates=7)
    assert slow.updates == 7
    assert slow.search.owner_steps is not None
