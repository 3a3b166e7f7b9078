"""The odds behind a DCM: the distribution that it was said from, and true reasons for what could not be said."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policy.cell_state import CellState, make_cell_state
from policy.grammar import (
    DYNAMIC_TOKEN,
    END_GRANTS,
    FIRST_CONTENDERS,
    FIRST_MASK,
    FIRST_UE,
    IDLE_TOKEN,
    LAB,
    OPEN_TOKEN,
    PAPER,
    GrammarError,
    GrammarOptions,
    StepKind,
)
from policy.intent import Intent, SliceLimit
from policy.leader import never_expires
from policy.leader_models.language_model import ModelConfig
from policy.leader_models.token_probabilities import HasTokenProbabilities, MaskReason, compute_token_probabilities
from policy.model_kinds import new_model
from policy.model_leader import ModelLeader, load_bundled_leader
from policy.prompt.readable import Shown, readable_prompt
from policy.text.model import TextConfig, new_text_model

SMALL = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=48)
LOG_PROB_TOLERANCE = 1e-4


def leader_of_kind(kind: str, options: GrammarOptions) -> ModelLeader:
    torch.set_num_threads(1)
    return ModelLeader(new_model(kind, SMALL, 1), options)


@pytest.mark.parametrize("kind", ["pointer", "vocabulary", "mappo", "mappo_g"])
@pytest.mark.parametrize("options", [PAPER, LAB, GrammarOptions(max_periodic_grants=2)])
def test_recomputed_log_probs_are_those_of_the_decision(make_random_state: Any, kind: str, options: Any) -> None:
    leader, rng = leader_of_kind(kind, options), np.random.default_rng(3)
    states = [make_random_state(rng, num_rbgs=int(rng.integers(1, 19))) for _ in range(6)]
    intents = [Intent(alpha=2.0, max_share_percent=dict.fromkeys(s.ue_ids[:2], 20.0)) for s in states]
    for state, intent, decision in zip(states, intents, leader.decide(states, intents, never_expires)):
        token_probabilities = leader.token_probabilities(state, intent, decision.tokens)
        assert decision.log_probs is not None
        np.testing.assert_allclose(token_probabilities.log_probs_L, decision.log_probs, atol=LOG_PROB_TOLERANCE)
        for step in token_probabilities.steps:
            assert math.isclose(np.exp(step.log_probs_A).sum(), 1.0, abs_tol=1e-9)
            assert step.log_probs_A[step.token] >= step.log_probs_A.max() - LOG_PROB_TOLERANCE, "greedy"
            if step.kind is StepKind.OWNER:
                unsayable = np.flatnonzero(np.isneginf(step.log_probs_A))
                owners = {int(t) for t in unsayable if t <= IDLE_TOKEN or t >= FIRST_UE}
                assert set(step.masked) == owners


def test_a_text_models_odds_are_those_of_its_words(tiny_checkpoint: Path, make_random_state: Any) -> None:
    torch.set_num_threads(1)
    leader = ModelLeader(new_text_model(TextConfig(str(tiny_checkpoint), lora_rank=0)), PAPER)
    state = make_random_state(np.random.default_rng(1), ues=3, num_rbgs=4)
    (decision,) = leader.decide([state], [Intent()], never_expires)
    token_probabilities = leader.token_probabilities(state, Intent(), decision.tokens)
    assert decision.log_probs is not None
    np.testing.assert_allclose(token_probabilities.log_probs_L, decision.log_probs, atol=LOG_PROB_TOLERANCE)
    prompt = readable_prompt(leader.model.layout, state, Intent())
    assert prompt.text.startswith("Uplink cell, 4 RBGs, 3 UEs") and prompt.ues == {}


def test_the_shipped_leader_tells_at_every_pace(make_random_state: Any) -> None:
    leader = load_bundled_leader()
    assert isinstance(leader, HasTokenProbabilities)
    for k in (1, 100):
        state = make_random_state(np.random.default_rng(k), ues=5, slots_per_dcm=k)
        (decision,) = leader.decide([state], [Intent()], never_expires)
        assert decision.log_probs is not None
        token_probabilities = leader.token_probabilities(state, Intent(), decision.tokens)
        np.testing.assert_allclose(token_probabilities.log_probs_L, decision.log_probs, atol=LOG_PROB_TOLERANCE)


@pytest.mark.parametrize("kind", ["pointer", "mappo_g", "text"])
def test_asking_for_odds_leaves_decisions_that_are_being_made_alone(
    tiny_checkpoint: Path, make_random_state: Any, kind: str
) -> None:
    """An HTTP thread asks while the leader's own thread decides."""
    torch.set_num_threads(1)
    text = TextConfig(str(tiny_checkpoint), lora_rank=0)
    leader = ModelLeader(new_text_model(text), PAPER) if kind == "text" else leader_of_kind(kind, PAPER)
    rng = np.random.default_rng(9)
    states = [make_random_state(rng, ues=4, num_rbgs=3) for _ in range(4)]
    alone = [leader.decide([state], [Intent()], never_expires)[0] for state in states]
    wrong: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            for state, decision in zip(states, alone):
                assert decision.log_probs is not None
                if not np.allclose(
                    leader.token_probabilities(state, Intent(), decision.tokens).log_probs_L,
                    decision.log_probs,
                    0,
                    1e-4,
                ):
                    wrong.append("odds")

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(5):
        for state, decision in zip(states, alone):
            if leader.decide([state], [Intent()], never_expires)[0].tokens != decision.tokens:
                wrong.append("decision")
    done.set()
    asking.join()
    assert wrong == []


def cell(**columns: Any) -> CellState:
    return make_cell_state("c", num_rbgs=4, slots_per_dcm=1, slot=0, ue_ids=(3, 7), **columns)


HEADER = (FIRST_MASK, FIRST_CONTENDERS, END_GRANTS)
UE3, UE7 = FIRST_UE, FIRST_UE + 1


def masked(options: GrammarOptions, intent: Intent, *owners: int) -> list[dict[int, MaskReason]]:
    leader = leader_of_kind("pointer", options)
    return [
        dict(step.masked)
        for step in leader.token_probabilities(cell(), intent, (*HEADER, *owners)).steps
        if step.kind is StepKind.OWNER
    ]


def test_a_ue_at_its_cap_is_masked_by_it() -> None:
    intent = Intent(max_share_percent={7: 30.0})  # one RBG of four
    first, second, *_ = masked(GrammarOptions(), intent, UE7, UE3, UE3, OPEN_TOKEN)
    assert (first, second) == ({}, {UE7: MaskReason.CAP})
    assert masked(GrammarOptions(), Intent(max_share_percent={7: 20.0}), *[UE3] * 4)[0] == {UE7: MaskReason.CAP}


def test_a_ue_is_masked_by_what_the_others_of_its_slice_hold() -> None:
    intent = Intent(slice_limits=(SliceLimit("gold", frozenset({3, 7}), max_share_percent=50.0),))
    steps = masked(GrammarOptions(), intent, UE3, UE7, OPEN_TOKEN, OPEN_TOKEN)
    full = dict.fromkeys((UE3, UE7), MaskReason.SLICE_CAP)
    assert steps == [{}, {}, full, full]


def test_what_floors_are_owed_nobody_else_may_have() -> None:
    half = Intent(min_share_percent={7: 50.0})
    owed = dict.fromkeys((OPEN_TOKEN, IDLE_TOKEN, UE3), MaskReason.FLOORS)
    assert masked(GrammarOptions(), half, UE3, OPEN_TOKEN, UE7, DYNAMIC_TOKEN) == [{}, {}, owed, owed]
    owed[DYNAMIC_TOKEN] = MaskReason.LANGUAGE
    only = {DYNAMIC_TOKEN: MaskReason.LANGUAGE}
    assert masked(GrammarOptions(allow_dynamic=False), half, UE3, OPEN_TOKEN, UE7, UE7) == [only, only, owed, owed]


def test_what_the_leader_never_says_is_not_blamed_on_the_operator() -> None:
    options = GrammarOptions(allow_dynamic=False, allow_ue_grants=False)
    expected = dict.fromkeys((DYNAMIC_TOKEN, UE3, UE7), MaskReason.LANGUAGE)
    assert masked(options, Intent(), *[OPEN_TOKEN] * 4) == [expected] * 4


def test_tokens_that_cannot_have_been_said_are_an_error() -> None:
    leader = leader_of_kind("pointer", PAPER)
    with pytest.raises(GrammarError):
        compute_token_probabilities(leader.model, PAPER, cell(), Intent(), (*HEADER, UE3, UE3, UE3, FIRST_UE + 2))


def test_a_prompt_is_read_back_as_fields_and_levels() -> None:
    state = cell(buffer_bits_U=[0.0, 700.0], cqi_U=[15.0, np.nan], traffic_class_U=[0.0, 2.0])
    prompt = readable_prompt(leader_of_kind("pointer", PAPER).model.layout, state, Intent(alpha=2.0))
    shown = {s.field: str(s) for s in prompt.ues[7]}
    assert (shown["buffer_bits"], shown["cqi"], shown["traffic_class"]) == ("500 to 1500", "not known", "sporadic")
    assert {s.field: str(s) for s in prompt.ues[3]}["buffer_bits"] == "below 1"
    of_cell = {s.field: str(s) for s in prompt.cell}
    assert (of_cell["num_ues"], of_cell["alpha"], of_cell["num_rbgs"]) == ("2", "1.5 to 2.5", "4")


def test_a_network_that_reads_numbers_is_shown_numbers() -> None:
    state = cell(buffer_bits_U=[0.0, 1e9], preferred_rbg_U=[2.0, np.nan])
    prompt = readable_prompt(leader_of_kind("mappo", PAPER).model.layout, state, Intent())
    assert Shown("preferred_rbg", 2.0, 2.0) in prompt.ues[3]
    of_ue = {s.field: str(s) for s in prompt.ues[7]}
    assert (of_ue["buffer_bits"], of_ue["preferred_rbg"]) == ("1", "not known")
