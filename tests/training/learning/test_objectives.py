"""What each objective climbs: towards the better token, as far as its limits let it, and nothing else moves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

from policy.grammar import PAPER, compile_grammar
from policy.intent import Intent
from policy.leader_models.language_model import ModelConfig, new_leader_model
from policy.leader_models.transcript import teacher_forcing_batch, teacher_forcing_example
from policy.prompt.compact import PromptLayout
from training.errors import InvalidToken, TrainingError
from training.learning.config import make_config
from training.learning.example import Example, check_legal
from training.learning.leader_learner import LeaderLearner, token_choices
from training.learning.objectives import OBJECTIVES, Objective, log_probs
from training.learning.rollout import Rollout
from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario

MIX = make_scenario("mix")
STEP = 5
"""The owner of RBG 2."""
BEST = 0
"""OPEN."""


class Case(NamedTuple):
    leader: torch.nn.Module
    example: Example

    def logits(self) -> torch.Tensor:
        prompts = self.leader.layout.encode([self.example.state], [self.example.intent])
        teacher_batch = teacher_forcing_batch([self.example.steps])
        return self.leader.logits(self.leader.read(prompts), teacher_batch.steps, teacher_batch.features_BLA)

    def probabilities(self) -> torch.Tensor:
        """Of the varied step."""
        legal = torch.from_numpy(self.example.steps.mask_LA)[None]
        return log_probs(self.logits(), legal).exp()[0, STEP] * legal[0, STEP]


@pytest.fixture
def case() -> Case:
    """One state, in whose DCM the owner of one RBG is known to be best OPEN."""
    torch.set_num_threads(1)
    leader = new_leader_model(ModelConfig(16, 1, 2, 24), PromptLayout(), 0)
    world = CellBatch(MIX, 1, 3, seed=5)
    world.play(None, 30)
    (state,) = world.observe()
    grammar = compile_grammar(state, Intent(), PAPER)
    (decoded,) = leader.decode([state], [Intent()], [grammar], uniforms_BL=np.full((1, 9), 0.5))
    line = teacher_forcing_example(grammar, state, decoded.tokens)
    known_LA, value_LA = np.zeros_like(line.mask_LA), np.zeros(line.mask_LA.shape)
    known_LA[STEP] = line.mask_LA[STEP]
    value_LA[STEP, BEST] = 0.1
    return Case(leader, Example(0, state, Intent(), line, decoded.log_probs, 0.0, 0.0, 0.0, known_LA, value_LA))


def objective_of(name: str, **changes) -> Objective:
    return OBJECTIVES[name](make_config("tiny", [MIX], objective=name, scale=1.0, **changes))


def learner(case: Case, name: str, **changes) -> LeaderLearner:
    config = make_config("tiny", [MIX], objective=name, entropy=0.0, **changes)
    return LeaderLearner(case.leader, config, None)


@pytest.mark.parametrize("exploration", [0.0, 0.3])
@pytest.mark.parametrize("name", ["regression", "counterfactual", "token", "all_action"])
def test_the_better_token_becomes_likelier(case, name, exploration):
    if name == "token":  # it learns from what was chosen alone
        tokens_L = case.example.steps.tokens_L.copy()
        tokens_L[STEP] = BEST
        case.example.steps.tokens_L[:] = tokens_L
        case.example.log_probs_L[STEP] = case.probabilities()[BEST].log().item()
    before = case.probabilities()[BEST].item()
    figures = learner(case, name, exploration=exploration).learn([case.example], 1e-3, np.random.default_rng(0))
    assert case.probabilities()[BEST].item() > before
    assert figures.explained_variance is None
    assert figures.epochs == (1 if name in ("regression", "all_action") else 2)


@pytest.mark.parametrize("name", ["counterfactual", "all_action"])
def test_without_exploration_the_gradient_is_that_of_the_expected_value(case, name):
    tried = token_choices([case.example], torch.device("cpu"))
    parameter = case.leader.head.fixed_keys
    logits = case.logits()
    objective = objective_of(name, exploration=0.0)
    objective.divides_by_spread = False
    objective.of_tokens(tried, objective.baseline(tried, logits), logits).total.backward()
    found, parameter.grad = parameter.grad.clone(), None
    (case.probabilities() * torch.from_numpy(case.example.value_LA[STEP]).float()).sum().mul(
        case.example.size
    ).backward()
    assert torch.allclose(found, parameter.grad, atol=1e-7)
    assert found.abs().max() > 1e-5


def test_beyond_the_clip_nothing_pulls_any_more(case):
    tried = token_choices([case.example], torch.device("cpu"))
    objective = objective_of("counterfactual", exploration=0.0, clip=0.2)
    before = objective.baseline(tried, case.logits())
    logits = case.logits().detach()
    logits[0, STEP, BEST] += 5.0  # far likelier than it was, and with it every other far less likely
    logits.requires_grad_()
    gain = objective.of_tokens(tried, before, logits)
    gain.total.backward()
    assert logits.grad.abs().max() == 0
    assert gain.clipped / gain.weighed > 0.5


def test_a_regression_rests_where_the_logits_are_the_values(case):
    tried = token_choices([case.example], torch.device("cpu"))
    objective = objective_of("regression", sharpness=100.0)
    before = objective.baseline(tried, case.logits())
    logits = (100.0 * tried.value + 7.0).requires_grad_()
    gain = objective.of_tokens(tried, before, logits)
    gain.total.backward()
    assert abs(gain.total.item()) < 1e-9
    assert logits.grad.abs().max() < 1e-6


def test_epochs_end_at_the_target_kl(case):
    figures = learner(case, "counterfactual", epochs=50, target_kl=1e-4).learn(
        [case.example], 1e-2, np.random.default_rng(0)
    )
    assert 1 < figures.epochs < 50
    assert figures.step_kl > 1e-4


def test_gradients_of_small_forwards_add_up_to_those_of_a_large_one():
    states = []
    for micro_batch in (0, 2):
        torch.set_num_threads(1)
        leader = new_leader_model(ModelConfig(16, 1, 2, 24), PromptLayout(), 0)
        config = make_config("tiny", [MIX], ues=(3,), worlds=1, cells=5, micro_batch=micro_batch)
        rollout = Rollout(config, PAPER, np.random.default_rng(3))
        LeaderLearner(leader, config, None).learn(rollout.play(leader.eval()), 1e-3, np.random.default_rng(0))
        states.append(leader.state_dict())
    for name, tensor in states[0].items():
        assert torch.allclose(tensor, states[1][name], atol=2e-4), name


def played(name: str, periods: int) -> tuple[torch.nn.Module, list[Example]]:
    torch.set_num_threads(1)
    leader = new_leader_model(ModelConfig(16, 1, 2, 24), PromptLayout(), 0).eval()
    config = make_config("tiny", [MIX], ues=(2, 4), worlds=2, cells=2, objective=name)
    rollout = Rollout(config, PAPER, np.random.default_rng(0))
    return leader, [example for _ in range(periods) for example in rollout.play(leader)]


def test_what_was_drawn_is_as_likely_as_the_learner_says():
    leader, examples = played("all_action", 1)
    tried = token_choices(examples, torch.device("cpu"))
    prompts = leader.layout.encode([e.state for e in examples], [e.intent for e in examples])
    logits = leader.logits(leader.read(prompts), tried.teacher_batch.steps, tried.teacher_batch.features_BLA)
    new = log_probs(logits, tried.legal).gather(-1, tried.chosen[..., None])[..., 0]
    assert torch.allclose(new, tried.old_log_prob, atol=1e-4)


def test_a_sequence_has_advantages_over_time_and_its_critic_learns():
    leader, examples = played("sequence", 5)
    config = make_config("tiny", [MIX], objective="sequence", epochs=12, target_kl=0.0)
    learning = LeaderLearner(leader, config, None)
    known = [learning.learn(examples, 0.0, np.random.default_rng(0)).explained_variance for _ in range(3)]
    assert known[-1] > max(known[0], 0.1)


def test_a_sequence_of_one_decision_has_no_advantage():
    leader, examples = played("sequence", 1)
    with pytest.raises(TrainingError, match="horizon of 2 or more"):
        LeaderLearner(leader, make_config("tiny", [MIX], objective="sequence"), None).learn(
            examples, 1e-3, np.random.default_rng(0)
        )


def test_an_invalid_token_is_a_hard_error(case):
    line = case.example.steps
    check_legal(case.example.log_probs_L, line)
    illegal = line.tokens_L.copy()
    illegal[STEP] = np.flatnonzero(~line.mask_LA[STEP])[0]
    with pytest.raises(InvalidToken, match=r"step 5 chose \d+ .* masks \(PAG\)"):
        check_legal(case.example.log_probs_L, line._replace(tokens_L=illegal))
    with pytest.raises(InvalidToken, match="log-probability -inf"):
        check_legal(np.where(np.arange(len(line.tokens_L)) == STEP, -np.inf, 0.0), line)
