"""Whole DCMs for teacher forcing at once are what each is alone."""

from __future__ import annotations

import numpy as np
import pytest

from policy.grammar import LAB, PAPER, GrammarError, compile_grammar
from policy.leader_models.transcript import teacher_forcing_example
from policy.leader_models.whole_dcms import is_plain, teacher_forcing_examples
from training.imitation.collector import random_allocation, random_intent, with_gaps
from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario


@pytest.mark.parametrize(("name", "options"), [("mix", PAPER), ("paper_dynamic", PAPER), ("lab", LAB)])
def test_they_are_what_each_is_alone(name, options):
    rng = np.random.default_rng(3)
    world = CellBatch(make_scenario(name), 24, 5, 4)
    world.play(None, 60)
    states = [with_gaps(state, rng) for state in world.observe()]
    intents = [random_intent(state, rng) for state in states]
    grammars = [compile_grammar(s, i, options) for s, i in zip(states, intents)]
    tokens = [g.tokens(random_allocation(g, rng)) for g in grammars]
    if options is PAPER:
        assert 0 < sum(map(is_plain, grammars)) < len(grammars)
    for found, grammar, state, chosen in zip(
        teacher_forcing_examples(grammars, states, tokens), grammars, states, tokens
    ):
        for name_of, one, other in zip(found._fields, found, teacher_forcing_example(grammar, state, chosen)):
            np.testing.assert_array_equal(one, other, err_msg=name_of)
            assert one.dtype == other.dtype, name_of


def test_tokens_of_another_grammar_are_refused():
    world = CellBatch(make_scenario("mix"), 2, 3, 4)
    states = world.observe()
    grammars = [
        compile_grammar(s, i, PAPER)
        for s, i in zip(states, [random_intent(s, np.random.default_rng(0)) for s in states])
    ]
    wrong = [0] * 9
    with pytest.raises(GrammarError, match="not legal as mask"):
        teacher_forcing_examples(grammars, states, [wrong, wrong])
