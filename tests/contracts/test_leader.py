"""What every leader owes its callers, whatever it is: a scheduler, a language model, anyone's plug-in.

To add a leader: one entry in LEADERS, a function that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_checker import twins_of

from policy.allocation import Allocation
from policy.cell_state import COLUMNS, CellState, make_cell_state
from policy.grammar import LAB, PAPER, GrammarOptions, compile_grammar
from policy.guard import guard
from policy.intent import Intent
from policy.leader import Decision, Leader, never_expires
from policy.leader_models.language_model import ModelConfig, new_leader_model
from policy.limits import compile_limits
from policy.model_leader import ModelLeader, load_bundled_leader
from policy.prompt.compact import PromptLayout
from policy.registry import make_leader
from policy.schedulers.schedulers import SCHEDULERS
from policy.text.model import TextConfig, new_text_model
from xapp.leader.process import ProcessLeader

pytestmark = pytest.mark.timeout(900)  # whoever is first compiles: 42 s of a core when measured


def random_model(options: GrammarOptions) -> Leader:
    """A language model that learned nothing: the contract holds whatever the weights say."""
    torch.set_num_threads(1)
    model = new_leader_model(ModelConfig(hidden_size=32, num_heads=2, intermediate_size=48), PromptLayout(), seed=1)
    return ModelLeader(model, options)


def random_engine(options: GrammarOptions) -> Leader:
    """The same, compiled; of the shipped bundles' size, as every other is compiled for its test alone."""
    model = new_leader_model(ModelConfig(), PromptLayout(), seed=1)
    return twins_of(model, options).engine


def random_text_model(checkpoint: Path) -> Leader:
    """The same for a pretrained model's text prompts and multi-token words."""
    torch.set_num_threads(1)
    return ModelLeader(new_text_model(TextConfig(str(checkpoint), lora_rank=0)), PAPER)


LEADERS: dict[str, Callable[[], Leader]] = {name: lambda name=name: make_leader(name) for name in SCHEDULERS}
LEADERS |= {
    "fair_caps_in_a_process_of_its_own": lambda: ProcessLeader("fair_caps"),
    "bundled": lambda: make_leader("bundled"),
    "bundled_by_torch": load_bundled_leader,
    "random_paper_engine": lambda: random_engine(PAPER),
    "random_lab_engine": lambda: random_engine(LAB),
    "random_paper_model": lambda: random_model(PAPER),
    "random_lab_model": lambda: random_model(LAB),
}

EVERYTHING = GrammarOptions(max_periodic_grants=18)
"""A grammar that can say whatever an intent allows."""

HIGHEST = {
    "traffic_class_U": 3,
    "cqi_U": 16,
    "buffer_bits_U": 40_000,
    "inflight_bits_U": 9_000,
    "head_delay_slots_U": 20,
    "served_bits_per_slot_U": 4_000,
    "prb_share_U": 1,
    "deadline_slots_U": 20,
    "packet_bits_U": 3_000,
    "age_slots_U": 12,
}


def random_state(rng: np.random.Generator, num_ues: int, missing: float) -> CellState:
    """A cell with reports of all kinds, each value missing with a probability, `missing` = 1: none at all."""
    num_rbgs = int(rng.integers(1, 19))
    columns = {name: np.floor(rng.random(num_ues) * HIGHEST.get(name, 1)) for name in COLUMNS}
    columns["preferred_rbg_U"] = rng.integers(0, num_rbgs, num_ues).astype(float)
    columns["arrival_period_slots_U"] = rng.integers(1, 26, num_ues).astype(float)
    columns["arrival_phase_slots_U"] = np.floor(rng.random(num_ues) * columns["arrival_period_slots_U"])
    for column in columns.values():
        column[rng.random(num_ues) < missing] = np.nan
    return make_cell_state(
        "cell",
        num_rbgs=num_rbgs,
        slots_per_dcm=int(rng.choice([1, 5, 20, 100])),
        slot=int(rng.integers(0, 10**6)),
        ue_ids=tuple(np.sort(rng.choice(10_000, num_ues, replace=False)).tolist()),
        **columns,
    )


def random_intent(rng: np.random.Generator, state: CellState) -> Intent:
    """Caps and floors for about a third of the UEs each, sometimes contradictory, and for one that is not there."""
    some = [ue for ue in (*state.ue_ids, 10_001) if rng.random() < 0.3]
    others = [ue for ue in (*state.ue_ids, 10_001) if rng.random() < 0.3]
    return Intent(
        alpha=float(rng.choice([0.0, 1.0, 2.0])),
        max_share_percent={ue: float(rng.integers(0, 101)) for ue in some},
        min_share_percent={ue: float(rng.integers(0, 60)) for ue in others},
    )


@lru_cache
def cases() -> tuple[tuple[CellState, Intent], ...]:
    rng = np.random.default_rng(2)
    found = []
    for k, num_ues in enumerate([0, 0, 1, 1, 2, 3, 5, 8, 20, 60] * 3):
        state = random_state(rng, num_ues, missing=(0.0, 0.4, 1.0)[k % 3])
        found.append((state, random_intent(rng, state) if k % 2 else Intent()))
    return tuple(found)


@pytest.fixture(params=[*LEADERS, "random_text_model"], scope="module")
def leader(request: pytest.FixtureRequest) -> Iterator[Leader]:
    if request.param == "random_text_model":
        yield random_text_model(request.getfixturevalue("tiny_checkpoint"))
        return
    made = LEADERS[request.param]()
    yield made
    if isinstance(made, ProcessLeader):
        made.close()


@pytest.fixture(scope="module")
def decided(leader: Leader) -> list[Decision]:
    """About each case alone."""
    return [decision for state, intent in cases() for decision in leader.decide([state], [intent], never_expires)]


def same(a: Allocation, b: Allocation) -> bool:
    return (
        a.ue_ids == b.ue_ids
        and a.owner_M.tolist() == b.owner_M.tolist()
        and a.leftover == b.leftover
        and a.periodic_grants == b.periodic_grants
        and a.open_allowed_U.tolist() == b.open_allowed_U.tolist()
        and a.max_rbgs_U.tolist() == b.max_rbgs_U.tolist()
    )


def test_it_is_a_leader_with_a_name(leader: Leader) -> None:
    assert isinstance(leader, Leader) and leader.name


def test_every_decision_is_legal(decided: list[Decision]) -> None:
    for decision, (state, intent) in zip(decided, cases(), strict=True):
        assert decision.decided_by and not decision.reason
        assert guard(decision.allocation, state, intent).changes == ()
        if (decision.allocation.max_rbgs_U < compile_limits(state, intent).max_rbgs_U).any():
            continue  # caps of a leader's own: a control carries them, but there are no words for them
        grammar = compile_grammar(state, intent, EVERYTHING)
        spoken = grammar.tokens(decision.allocation)
        assert spoken is not None
        assert grammar.allocation(spoken).owner_M.tolist() == decision.allocation.owner_M.tolist()


def test_tokens_and_log_probs_belong_to_the_allocation(decided: list[Decision]) -> None:
    for decision, (state, intent) in zip(decided, cases(), strict=True):
        if decision.tokens:
            assert same(compile_grammar(state, intent, EVERYTHING).allocation(decision.tokens), decision.allocation)
        if decision.log_probs is not None:
            assert len(decision.log_probs) == len(decision.tokens)
            assert np.all(decision.log_probs <= 1e-9)


def test_the_same_state_gives_the_same_decision(leader: Leader, decided: list[Decision]) -> None:
    for first, (state, intent) in zip(decided, cases(), strict=True):
        (second,) = leader.decide([state], [intent], never_expires)
        assert same(first.allocation, second.allocation) and first.tokens == second.tokens


def test_a_batch_is_decided_like_its_cells_one_by_one_and_in_order(leader: Leader, decided: list[Decision]) -> None:
    states, intents = zip(*cases())
    together = leader.decide(states, intents, never_expires)
    assert [d.allocation.ue_ids for d in together] == [s.ue_ids for s in states]
    for decision, alone in zip(together, decided, strict=True):
        assert same(decision.allocation, alone.allocation)
    assert leader.decide([], [], never_expires) == []


def test_a_decision_that_nobody_waits_for_is_still_legal(leader: Leader) -> None:
    states, intents = zip(*cases())
    decisions = leader.decide(states, intents, lambda: True)
    assert len(decisions) == len(states)
    for decision, state, intent in zip(decisions, states, intents):
        assert guard(decision.allocation, state, intent).changes == ()
