"""Branching: a DCM's value, and what it would have been with one token different."""

from __future__ import annotations

import numpy as np
import pytest

from policy.cell_state import ALL_CLASSES, TrafficClass
from policy.grammar import (
    DYNAMIC_TOKEN,
    END_GRANTS,
    FIRST_CONTENDERS,
    FIRST_MASK,
    FIRST_RBG,
    FIRST_UE,
    IDLE_TOKEN,
    GrammarOptions,
    compile_grammar,
)
from policy.intent import Intent
from policy.leader import never_expires
from policy.leader_models.transcript import teacher_forcing_example
from policy.schedulers.schedulers import SCHEDULERS
from training.alternatives import DecidedDcm, Search
from training.counterfactual import branch_values, evaluate
from training.imitation.collector import random_allocation
from training.imitation.warm_start import options_for
from training.rewards import served_weights
from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario

EVERYTHING = Search()
SPARSE = Search(owner_steps=2, owners_per_step=2, grants=2)


def world_of(name: str, cells: int, ues: int, seed: int, periods: int) -> CellBatch:
    world = CellBatch(make_scenario(name), cells, ues, seed)
    world.play(None, periods * world.scenario.slots_per_dcm)
    return world


def decided_by(world: CellBatch, speaker: str = "random", intent: Intent | None = None) -> list[DecidedDcm]:
    rng, options, intent = np.random.default_rng(0), options_for([world.scenario]), intent or Intent()
    decided = []
    for state in world.observe():
        grammar = compile_grammar(state, intent, options)
        if speaker == "random":
            allocation = random_allocation(grammar, rng)
        else:
            allocation = SCHEDULERS[speaker].decide([state], [intent], never_expires)[0].allocation
        tokens = grammar.tokens(allocation)
        assert tokens is not None
        decided.append(DecidedDcm(state, intent, grammar, tokens))
    return decided


@pytest.mark.parametrize(
    ("name", "speaker", "periods"),
    [
        ("lab_paper", "random", 60),
        ("mix", "proportional_fair", 60),
        ("ric20", "static_config", 4),
        ("lab", "random", 1),
    ],
)
def test_what_is_played_in_a_branch_is_the_dcm_with_that_token(name, speaker, periods):
    world = world_of(name, 3, 7, 5, periods)
    decided = decided_by(world, speaker)
    before, slot = world.select(range(world.cells)).state, world.slot
    values, plan = evaluate(world, decided, SPARSE, np.random.default_rng(1))
    assert all(np.array_equal(now, then) for now, then in zip(world.state, before))
    assert world.slot == slot
    weights_BU = served_weights(world.state, np.ones(3))
    checked = 0
    for cell, (said, value) in enumerate(zip(decided, values)):
        lone = np.array([cell])
        for step, token in zip(*np.nonzero(value.known_LA)):
            tokens = list(said.tokens)
            if token == tokens[step]:
                assert value.value_LA[step, token] == value.base
                continue
            if (
                teacher_forcing_example(said.grammar, said.state, tokens).query_L[step] == 2
            ):  # a periodic grant: a test of its own
                continue
            tokens[step] = int(token)
            if step == 0 and token == FIRST_MASK:
                tokens[1] = FIRST_CONTENDERS
            if step == 0 and said.tokens[0] == FIRST_MASK:
                continue  # contenders are drawn
            allocation = said.grammar.allocation(tokens)
            branch = world.select(lone)
            alone = branch_values(branch, np.array([0]), branch.plan([allocation]), weights_BU[[cell]])
            assert value.value_LA[step, token] == pytest.approx(alone[0], abs=1e-12)
            checked += 1
    assert checked > 20
    assert len(plan.class_mask_B) == 3


def test_every_action_is_tried_where_all_are_asked_for():
    world = world_of("lab_paper", 2, 4, 3, 50)
    for said, value in zip(
        decided_by(world), evaluate(world, decided_by(world), EVERYTHING, np.random.default_rng(0))[0]
    ):
        choice_L = value.steps.mask_LA.sum(axis=1) > 1
        assert np.array_equal(value.known_LA[choice_L], value.steps.mask_LA[choice_L])
        assert not value.known_LA[~choice_L].any()
        assert np.isfinite(value.value_LA).all()
        assert len(said.tokens) == len(choice_L)


def test_a_hole_in_a_good_dcm_is_best_filled_with_who_was_there():
    world = world_of("mix", 4, 3, 8, 40)
    rng = np.random.default_rng(2)
    best = checked = 0
    for said in decided_by(world, "proportional_fair"):
        cell = int(said.state.cell.rsplit("/", 1)[1])
        lone = world.select([cell])
        for step in range(3, len(said.tokens)):
            if said.tokens[step] < FIRST_UE:
                continue
            emptied = [*said.tokens[:step], IDLE_TOKEN, *said.tokens[step + 1 :]]
            hole = said._replace(tokens=tuple(emptied))
            (value,), _ = evaluate(lone, [hole], EVERYTHING, rng)
            best += value.value_LA[step, said.tokens[step]] >= value.base - 1e-12
            checked += 1
    assert checked >= 6
    assert best >= 0.8 * checked


def test_silence_is_seen_to_be_worse_where_only_contention_serves():
    """All RBGs OPEN, nobody allowed to contend: any class and eagerness is better, and an owner is."""
    world = world_of("mix", 6, 4, 1, 40)
    decided = []
    for state in world.observe():
        grammar = compile_grammar(state, Intent(), options_for([world.scenario]))
        decided.append(DecidedDcm(state, Intent(), grammar, (FIRST_MASK, FIRST_CONTENDERS, END_GRANTS, *[0] * 6)))
    values, _ = evaluate(world, decided, EVERYTHING, np.random.default_rng(0))
    embb = FIRST_MASK + (1 << TrafficClass.EMBB)
    everybody = FIRST_MASK + ALL_CLASSES
    assert sum(v.value_LA[0, [embb, everybody]].max() > v.base for v in values) >= 5
    assert sum(v.value_LA[3:, FIRST_UE:].max() > v.base for v in values) >= 5
    # UEs of other classes are not in this scenario: letting them contend changes nothing.
    nobody = FIRST_MASK + (1 << TrafficClass.PERIODIC)
    assert all(v.value_LA[0, nobody] == v.base for v in values)


def test_periodic_grants_are_left_out_and_put_in():
    world = world_of("ric20", 8, 9, 4, 3)
    options = GrammarOptions(max_periodic_grants=8)
    decided, ues = [], []
    for state in world.observe():
        grammar = compile_grammar(state, Intent(), options)
        sensors = np.flatnonzero(state.has_class(TrafficClass.PERIODIC))
        a, b = (FIRST_UE + int(u) for u in sensors[:2])
        header = (FIRST_MASK + ALL_CLASSES, FIRST_CONTENDERS + 3)
        grants = (a, FIRST_RBG, a, FIRST_RBG + 1, b, FIRST_RBG + 2)
        decided.append(DecidedDcm(state, Intent(), grammar, (*header, *grants, END_GRANTS, *[DYNAMIC_TOKEN] * 17)))
        ues.append((a, b, FIRST_UE + int(sensors[2])))
    search = Search(owner_steps=0, grants=99)
    values, _ = evaluate(world, decided, search, np.random.default_rng(0))
    differs = 0
    for (a, b, c), value in zip(ues, values):
        assert value.known_LA[2, [a, b]].all()  # without a's grants, b's come first
        assert value.known_LA[6, [b, END_GRANTS]].all()
        assert value.known_LA[8, [c, END_GRANTS]].all()
        assert not value.known_LA[[3, 5, 7]].any()
        assert not value.known_LA[9:].any()
        differs += value.value_LA[2, b] != value.base
    assert differs >= 2


def test_alternatives_keep_an_operators_caps_and_floors():
    world = world_of("lab_paper", 6, 4, 6, 40)
    intent = Intent(max_share_percent={1: 20.0}, min_share_percent={2: 40.0})
    for said, value in zip(
        decided_by(world, "proportional_fair", intent),
        evaluate(world, decided_by(world, "proportional_fair", intent), EVERYTHING, np.random.default_rng(0))[0],
    ):
        for step, token in zip(*np.nonzero(value.known_LA)):
            if step >= 3:
                said.grammar.allocation([*said.tokens[:step], int(token), *said.tokens[step + 1 :]])


@pytest.mark.parametrize(("name", "ues", "other", "slots"), [("mix", 5, 0.6, 500), ("lab_paper", 8, 0.0, 500)])
def test_values_add_up_to_the_change_of_utility(name, ues, other, slots):
    """To first order: so weights are taken midway between the two."""
    scenario = make_scenario(name)
    worlds = [CellBatch(scenario.with_(node_contenders=c), 24, ues, 11) for c in (scenario.node_contenders, other)]
    for world in worlds:
        world.play(None, slots)
    ones = np.ones(24)
    weights_BU = (served_weights(worlds[0].state, ones) + served_weights(worlds[1].state, ones)) / 2
    served, events = (
        [w.state.counters_BUC[:, :, 0] for w in worlds],
        [w.state.events_BE for w in worlds],
    )
    gained_B = (weights_BU * (served[1] - served[0])).mean(axis=1) / slots
    lost_B = ((events[1] - events[0])[:, :2] @ np.array([0.5, 0.1])) / slots / scenario.num_rbgs
    utility = [np.mean([m.utility for m in w.metrics()]) for w in worlds]
    assert abs(utility[1] - utility[0]) > 0.01
    assert (gained_B - lost_B).mean() == pytest.approx(utility[1] - utility[0], rel=0.2)


def test_weights_follow_the_operators_alpha_at_equal_mean():
    world = world_of("mix", 3, 5, 2, 200)
    fair, blind, strict = (served_weights(world.state, np.full(3, alpha)) for alpha in (1.0, 0.0, 4.0))
    assert np.allclose(fair.mean(axis=1), strict.mean(axis=1))
    assert np.allclose(blind, fair.mean(axis=1)[:, None])
    assert ((strict.max(axis=1) / strict.min(axis=1)) > (fair.max(axis=1) / fair.min(axis=1))).all()


def test_several_futures_are_the_mean_of_each_and_the_first_is_the_cells_own():
    world = world_of("sporadic", 4, 5, 8, 60)
    plan = world.plan([s.grammar.allocation(s.tokens) for s in decided_by(world)])
    rows, weights_BU = np.arange(4), served_weights(world.state, np.ones(4))
    alone = []
    for future in range(4):
        shifted = world.select(rows, future)
        assert np.array_equal(shifted.state.queue_BU, world.state.queue_BU)
        alone.append(branch_values(shifted, rows, plan, weights_BU))
    assert np.array_equal(alone[0], branch_values(world, rows, plan, weights_BU))
    assert not np.array_equal(alone[0], alone[1])
    assert branch_values(world, rows, plan, weights_BU, futures=4) == pytest.approx(np.mean(alone, axis=0))
    assert np.array_equal(
        branch_values(world, rows, plan, weights_BU, futures=99), branch_values(world, rows, plan, weights_BU, 4)
    )


def test_followers_that_obey_obey_in_branches_too():
    world = world_of("mix", 6, 4, 3, 60)
    decided, rng = decided_by(world, "contention"), np.random.default_rng(0)
    values, _ = evaluate(world, decided, SPARSE, rng, "obey")
    # Everything is open, and who obeys never enters what is open: only what a changed token grants can be worth more.
    assert all(v.value_LA[1][v.known_LA[1]] == pytest.approx(v.base) for v in values)
    freely, _ = evaluate(world, decided, SPARSE, np.random.default_rng(0))
    assert np.mean([v.base for v in freely]) > np.mean([v.base for v in values])
