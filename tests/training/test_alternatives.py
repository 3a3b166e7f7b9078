"""Which DCMs a decided one is compared with: found together as one by one; and equal branches played once."""

from __future__ import annotations

import numpy as np
import pytest

from policy.grammar import PAPER, GrammarError, compile_grammar
from policy.intent import Intent, SliceLimit
from policy.leader_models.transcript import teacher_forcing_example
from training.alternatives import DecidedDcm, Search, find_alternatives
from training.counterfactual import evaluate
from training.imitation.collector import random_allocation
from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario

CAPS = Intent(max_share_percent={1: 40.0}, min_share_percent={2: 20.0, 3: 30.0})
SLICES = Intent(slice_limits=(SliceLimit("a", frozenset({1, 2}), 20.0, 50.0), SliceLimit("b", frozenset({3}), 34.0)))


def world_and_dcms(intent: Intent, name: str = "mix") -> tuple[CellBatch, list[DecidedDcm]]:
    rng = np.random.default_rng(1)
    world = CellBatch(make_scenario(name), 8, 4, 7)
    world.play(None, 40)
    decided = []
    for state in world.observe():
        grammar = compile_grammar(state, intent, PAPER)
        tokens = grammar.tokens(random_allocation(grammar, rng))
        assert tokens is not None
        decided.append(DecidedDcm(state, intent, grammar, tokens))
    return world, decided


@pytest.mark.parametrize("intent", [Intent(), CAPS, SLICES], ids=["free", "caps", "slices"])
def test_they_are_all_legal_dcms_that_differ_in_one_owner(intent):
    _, dcms = world_and_dcms(intent)
    lines = [teacher_forcing_example(d.grammar, d.state, d.tokens) for d in dcms]
    found = find_alternatives(dcms, lines, Search(), np.random.default_rng(0))
    for cell, (dcm, line) in enumerate(zip(dcms, lines)):
        legal = set()
        for step in range(3, len(dcm.tokens)):
            for token in np.flatnonzero(line.mask_LA[step]).tolist():
                try:
                    dcm.grammar.allocation([*dcm.tokens[:step], token, *dcm.tokens[step + 1 :]])
                except GrammarError:
                    continue
                if token != dcm.tokens[step]:
                    legal.add((step, token))
        own = found.cell_N == cell
        pairs = set(zip(found.step_N[own].tolist(), found.token_N[own].tolist()))
        assert {pair for pair in pairs if pair[0] > 1} == legal
        assert any(step == 0 for step, _ in pairs)


@pytest.mark.parametrize("followers", ["best_response", "obey"])
@pytest.mark.parametrize("name", ["mix", "sporadic", "paper_dynamic"])
def test_branches_that_send_alike_are_worth_what_each_is_worth_played_alone(name, followers):
    world, dcms = world_and_dcms(Intent(), name)
    search, rng = Search(futures=2), np.random.default_rng
    merged, _ = evaluate(world, dcms, search, rng(0), followers)
    single, _ = evaluate(world, dcms, search, rng(0), followers, merge=False)
    for one, other in zip(merged, single):
        assert one.base == other.base
        np.testing.assert_array_equal(one.known_LA, other.known_LA)
        np.testing.assert_array_equal(one.value_LA, other.value_LA)
