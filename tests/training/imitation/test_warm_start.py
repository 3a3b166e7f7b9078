"""Warm start: it learns, the same way every time, and can be stopped and resumed without a trace."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from policy.bundle import load_bundle
from policy.errors import UserMistake
from policy.follower import FollowerPolicy
from policy.grammar import FIRST_UE, LAB, PAPER, compile_grammar
from policy.intent import Intent
from policy.leader import never_expires
from policy.leader_models.language_model import ModelConfig, new_leader_model, state_of
from policy.model_leader import load_leader
from policy.prompt.compact import PromptLayout
from policy.schedulers.schedulers import SCHEDULERS
from training.errors import Stopped, TrainingError
from training.imitation.collector import Collector, best_response, prompts_of
from training.imitation.teachers import make_teacher
from training.imitation.warm_start import WarmStartConfig, options_for, warm_start
from training.rounds import Clock
from training.simulator.cell import CellBatch
from training.simulator.learned_followers import LearnedFollowers
from training.simulator.scenario import make_scenario

MIX = make_scenario("mix")
FAIR = SCHEDULERS["proportional_fair"]
TEACHER = make_teacher(FAIR.name)
TINY = WarmStartConfig(
    steps=9,
    batch=6,
    follower_batch=32,
    round_steps=4,
    warm_up_steps=3,
    leader=ModelConfig(16, 1, 2, 24),
    follower=ModelConfig(16, 1, 2, 24),
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def run(out, config=TINY, **kwargs):
    return warm_start([MIX], TEACHER, out, config, ues=(2, 3), **kwargs)


def test_it_learns_and_leaves_a_bundle_that_leads(tmp_path):
    config = dataclasses.replace(TINY, steps=80, batch=16, round_steps=20, warm_up_steps=10, learning_rate=5e-3)
    result = run(tmp_path, config, command="stackmac warm-start --scenario mix --out DIR")
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(80))
    for figure in ("loss", "follower_loss"):
        first, last = (np.mean([e[figure] for e in part]) for part in (log[:10], log[-10:]))
        assert last < 0.8 * first
    assert result.complete
    assert result.steps == 80
    bundle = load_bundle(result.bundle)
    assert bundle.options == PAPER
    assert bundle.provenance["command"] == "stackmac warm-start --scenario mix --out DIR"
    assert bundle.provenance["scenarios"] == {"mix": MIX.hash}
    assert bundle.metrics["unspeakable"] == 0
    states = CellBatch(MIX, 3, 4, seed=1).observe()
    decisions = load_leader(result.bundle).decide(states, [Intent()] * 3, never_expires)
    assert [d.decided_by for d in decisions] == ["model"] * 3


class StopAt:
    """Ctrl-C while a step is reported."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, report) -> None:
        if report.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stops", [[3, 5], list(range(8))])  # where a round ends and within one, and everywhere
def test_a_run_that_was_stopped_and_resumed_is_the_unbroken_run_and_does_no_step_twice(tmp_path, stops):
    unbroken = run(tmp_path / "a")
    for number, stop in enumerate(stops):
        stopped = run(tmp_path / "b", progress=StopAt(stop), resume=number > 0)
        assert not stopped.complete and stopped.is_asked and stopped.kept == stopped.steps == stop + 1
    load_bundle(stopped.bundle)
    steps = []
    resumed = run(tmp_path / "b", resume=True, progress=lambda report: steps.append(report.step))
    assert resumed.complete and steps == list(range(stops[-1] + 1, 9))
    assert (tmp_path / "a/log.jsonl").read_text() == (tmp_path / "b/log.jsonl").read_text()
    a, b = load_bundle(unbroken.bundle), load_bundle(resumed.bundle)
    for one, other in ((a.leader, b.leader), (a.follower, b.follower)):
        assert all(torch.equal(tensor, state_of(other)[name]) for name, tensor in state_of(one).items())
    assert a.metrics == b.metrics


def test_a_finished_run_can_be_resumed_and_stays_what_it_is(tmp_path):
    first = run(tmp_path)
    before = (first.bundle / "leader.safetensors").read_bytes()
    again = run(tmp_path, resume=True)
    assert again.complete
    assert (again.bundle / "leader.safetensors").read_bytes() == before


def test_another_seed_is_another_run(tmp_path):
    one = run(tmp_path / "a").last
    other = run(tmp_path / "b", dataclasses.replace(TINY, seed=1)).last
    assert one.loss != other.loss


def test_a_clock_can_stop_it(tmp_path):
    first = run(tmp_path, seconds=0.0)
    assert (first.complete, first.is_asked, first.steps) == (False, False, 1)
    assert run(tmp_path, resume=True, seconds=math.inf).complete


def test_a_signal_before_the_first_step_leaves_nothing_to_show_but_where_to_go_on(tmp_path):
    with Clock() as clock:
        clock.ask()
        with pytest.raises(Stopped, match=r"before the first step: there is no .*/bundle yet; .* from step 0$"):
            run(tmp_path, clock=clock)
    assert run(tmp_path, resume=True).complete


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": dataclasses.replace(TINY, seed=5)}, r"checkpoint\.safetensors: config\.seed was 0, is now 5$"),
        ({"ues": (4,)}, r"ues was \[2, 3\], is now \[4\]$"),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(tmp_path, change, message):
    run(tmp_path)
    with pytest.raises(TrainingError, match=message):
        warm_start([MIX], TEACHER, tmp_path, **({"config": TINY, "ues": (2, 3), "resume": True} | change))


def test_a_teacher_that_is_none_is_told_which_there_are():
    with pytest.raises(
        UserMistake, match=r"unknown leader 'nobody': expected .*bundled, oracle, belief_pf, a bundle's"
    ):
        make_teacher("nobody")


def test_a_run_is_not_overwritten(tmp_path):
    run(tmp_path)
    with pytest.raises(TrainingError, match="resume it, or choose another directory"):
        run(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint at all"])
def test_a_checkpoint_that_is_none_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "checkpoint.safetensors").write_bytes(content)
    expected = r"checkpoint\.safetensors: " + ("there is no run to resume" if content is None else "")
    with pytest.raises(TrainingError, match=expected):
        run(tmp_path, resume=True)


def test_one_bundle_has_one_pace():
    assert options_for([MIX]) == PAPER
    assert options_for([make_scenario("lab"), make_scenario("ric20")]) == LAB
    with pytest.raises(TrainingError, match="slots per DCM"):
        options_for([MIX, make_scenario("lab")])


@pytest.mark.parametrize(("name", "teacher"), [("lab_paper", "proportional_fair"), ("ric20", "static_config")])
def test_what_is_collected_is_the_teachers_answer(name, teacher):
    scenario = make_scenario(name)
    options = options_for([scenario])
    collector = Collector((scenario,), (6,), make_teacher(teacher), options)
    student = new_leader_model(TINY.leader, PromptLayout(), 0).eval()
    lesson = collector.collect(student, 0.5, 40, np.random.default_rng(1))
    again = collector.collect(student, 0.5, 40, np.random.default_rng(1))
    assert lesson.unspeakable == 0
    assert len(lesson.leader) >= 40
    for one, other in zip(lesson.leader, again.leader, strict=True):
        assert np.array_equal(one.steps.tokens_L, other.steps.tokens_L)
        assert np.array_equal(one.blocks_PT, other.blocks_PT)
        assert one.steps.mask_LA[np.arange(len(one.steps.tokens_L)), one.steps.tokens_L].all()
    prompts = prompts_of(lesson.leader[:5])
    assert prompts.num_ues_B.sum() + 5 == len(prompts.tokens_NT)


def test_followers_are_watched_while_they_play_the_rule():
    scenario = make_scenario("lab_paper")
    watched, plain = (CellBatch(scenario, 4, 6, seed=3) for _ in range(2))
    for _ in range(60):
        states = watched.observe()
        plain.observe()
        allocations = [d.allocation for d in FAIR.decide(states, [Intent()] * 4, never_expires)]
        _, sends_BUM = best_response(watched, allocations)
        plain.play(allocations, 1)
        assert sends_BUM.any()
        assert np.array_equal(watched.state.counters_BUC, plain.state.counters_BUC)
    assert watched.metrics()[0].transmissions_outside_grant == 0


def test_learned_followers_stay_within_what_they_may(tmp_path):
    bundle = load_bundle(run(tmp_path).bundle)
    world = CellBatch(MIX, 4, 5, seed=4)
    for _ in range(30):
        decisions = FAIR.decide(world.observe(), [Intent()] * 4, never_expires)
        world.play([d.allocation for d in decisions], 1, LearnedFollowers(FollowerPolicy(bundle.follower)))
    assert sum(m.occupied_fraction for m in world.metrics()) > 0
    assert sum(m.transmissions_outside_grant for m in world.metrics()) == 0


def test_intents_and_gaps_are_part_of_the_lesson():
    collector = Collector((MIX,), (5,), TEACHER, PAPER)
    student = new_leader_model(TINY.leader, PromptLayout(), 0).eval()
    lesson = collector.collect(student, 0.0, 200, np.random.default_rng(2))
    blocks = np.stack([e.blocks_PT for e in lesson.leader])
    names = [f.name for f in PromptLayout().cell_fields]
    assert len(np.unique(blocks[:, 0, names.index("alpha")])) > 3
    state = CellBatch(MIX, 1, 5, seed=1).observe()[0]
    known = PromptLayout().encode([state], [Intent()]).tokens_NT
    assert (blocks[:, 1:, 3].min(axis=1) < known[1:, 3].min()).any()  # CQI not known
    free_choice = compile_grammar(state, Intent(), PAPER).start().mask().size - FIRST_UE
    owners = [e.steps.mask_LA[-MIX.num_rbgs :, FIRST_UE:].sum(axis=1) for e in lesson.leader]
    assert any((legal < free_choice).any() for legal in owners)  # caps and floors
