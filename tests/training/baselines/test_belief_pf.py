"""belief_pf plays better than PF without having learned anything, teaches, and keeps to its own K."""

from __future__ import annotations

import numpy as np
import pytest

from policy.grammar import PAPER, compile_grammar
from policy.intent import Intent
from policy.leader import never_expires
from training.baselines.belief_pf import BeliefPf
from training.baselines.players import BASELINES, Led, World
from training.errors import TrainingError
from training.imitation.teachers import make_teacher
from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario

WORLD = World(make_scenario("sporadic"), 4, 10, 5, 60)


@pytest.fixture(scope="module")
def belief():
    """Utility of each cell."""
    return [cell.utility for cell in BASELINES["belief_pf"].plays[0](WORLD)]


def test_it_gains_over_pf_whose_ues_contend_as_eagerly_as_is_best(belief):
    fair = [cell.utility for cell in BASELINES["inflight_pf_smart"].plays[0](WORLD)]
    assert np.mean(belief) > np.mean(fair)


def test_what_it_knows_of_the_traffic_counts(belief):
    wrong = WORLD.scenario.with_(traffic=make_scenario("mix").traffic, load=3.0)
    misled = [cell.utility for cell in Led(BeliefPf(wrong), "best_response")(WORLD)]
    assert np.mean(belief) > np.mean(misled)


def test_it_teaches_what_the_grammar_can_say_and_the_same_each_time():
    def answers():
        teacher, worlds = make_teacher("belief_pf"), [CellBatch(WORLD.scenario, 3, 4, seed) for seed in (1, 2)]
        found = []
        for _ in range(3):
            for world in worlds:  # in turn: each has a memory of its own
                states = world.observe()
                found += zip(states, teacher.answers(world, states, [Intent()] * 3))
                world.play(None, 1)
        return found

    first = answers()
    for (state, answer), (_, again) in zip(first, answers()):
        assert compile_grammar(state, Intent(), PAPER).tokens(answer) is not None
        np.testing.assert_array_equal(answer.owner_M, again.owner_M)
        assert answer.leftover == again.leftover


def test_at_a_slow_pace_it_is_proportional_fair_and_teaches_nothing():
    world = CellBatch(make_scenario("lab"), 2, 4, 1)
    states, intents = world.observe(), [Intent()] * 2
    decisions = BeliefPf(world.scenario).decide(states, intents, never_expires)
    assert [d.decided_by for d in decisions] == ["belief_pf"] * 2
    with pytest.raises(TrainingError, match="belief_pf decides for one slot, lab has 100"):
        make_teacher("belief_pf").answers(world, states, intents)


def test_the_oracle_with_the_weights_of_utility_is_another_player():
    plain, weighed = (
        [cell.utility for cell in BASELINES[name].plays[0](WORLD)] for name in ("oracle", "oracle_utility")
    )
    fair = [cell.utility for cell in BASELINES["inflight_pf_smart"].plays[0](WORLD)]
    assert plain != weighed
    assert min(np.mean(plain), np.mean(weighed)) > np.mean(fair)
