"""What a model is told of RBGs: it reaches the right step, changes what is said, and leaves older bundles alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from policy.cell_state import RBG_COLUMNS, CellState, make_cell_state
from policy.grammar import FIRST_UE, PAPER, StepKind, compile_grammar
from policy.intent import Intent
from policy.leader_models.action_features import (
    CHANNEL_HISTORY_LEVELS,
    FEATURE_CODES,
    OUTCOME_LEVELS,
    OUTCOMES,
    rbg_reports,
    without_usage,
)
from policy.leader_models.language_model import ModelConfig, new_leader_model
from policy.leader_models.transcript import TeacherForcingBatch, teacher_forcing_batch, teacher_forcing_example
from policy.prompt.compact import PromptLayout

SMALL = ModelConfig(hidden_size=32, num_layers=1, num_heads=2, intermediate_size=48)


def state_with(**columns) -> CellState:
    return make_cell_state("c", num_rbgs=2, slots_per_dcm=1, slot=9, ue_ids=(4, 7), cqi_U=[8.0, 8.0], **columns)


def parts(state: CellState) -> tuple[list[list[int]], list[int]]:
    reports = rbg_reports(state)
    assert reports is not None
    return (reports.channel_history_MU // FEATURE_CODES).tolist(), (reports.outcome_M // OUTCOMES).tolist()


def test_levels_compare_with_the_wideband_cqi_and_tell_age() -> None:
    def level(cqi: float, age: float) -> int:
        nan = np.nan
        state = state_with(last_cqi_UM=[[nan, nan], [cqi, nan]], last_cqi_age_slots_UM=[[nan, nan], [age, nan]])
        channel_history_MU, outcome_M = parts(state)
        assert channel_history_MU[1] == [0, 0] and channel_history_MU[0][0] == 0 and outcome_M == [0, 0]
        return channel_history_MU[0][1]

    better = [level(cqi, 1) for cqi in (2, 5, 8, 11, 14)]
    assert better == sorted(set(better)) and min(better) > 0
    assert len({level(8, 1), level(8, 3), level(8, 6)}) == 3
    assert level(8, 1) == level(9, 2) and level(8, 6) == level(8, 12)
    every = {level(cqi, age) for cqi in range(1, 16) for age in range(1, 13)}
    assert every == set(range(1, CHANNEL_HISTORY_LEVELS))


def test_what_is_not_known_or_out_of_range_is_level_0() -> None:
    assert rbg_reports(state_with()) is None
    assert parts(state_with(last_outcome_M=[-1.0, 5.0]))[1] == [0, OUTCOME_LEVELS - 1]
    assert parts(state_with(last_outcome_M=[np.inf, 0.0]))[1] == [0, 1]
    channel_history = {"last_cqi_UM": np.full((2, 2), 9.0), "last_cqi_age_slots_UM": np.full((2, 2), np.nan)}
    assert rbg_reports(state_with(**channel_history)) is None


def teacher_batch(state: CellState, tokens) -> TeacherForcingBatch:
    return teacher_forcing_batch([teacher_forcing_example(compile_grammar(state, Intent(), PAPER), state, tokens)])


def test_an_rbgs_reports_reach_the_step_that_asks_for_its_owner(make_random_state) -> None:
    rng = np.random.default_rng(1)
    state = make_random_state(rng, ues=5, missing=0.0)
    grammar = compile_grammar(state, Intent(), PAPER)
    model = new_leader_model(SMALL, PromptLayout(), seed=1).eval()
    (decoded,) = model.decode([state], [Intent()], [grammar])
    example = teacher_batch(state, decoded.tokens)
    reports = rbg_reports(state)
    assert reports is not None
    for query, features_A in zip(example.steps.query_BL[0], example.features_BLA[0]):
        if query < StepKind.OWNER:
            assert (features_A < FEATURE_CODES).all()
            continue
        m = int(query) - int(StepKind.OWNER)
        assert (features_A // OUTCOMES == 1 + state.last_outcome_M[m]).all()
        np.testing.assert_array_equal(
            features_A[FIRST_UE:] % OUTCOMES // FEATURE_CODES * FEATURE_CODES, reports.channel_history_MU[m]
        )
    cleared = without_usage(example.features_BLA)
    assert (cleared % FEATURE_CODES <= 1).all()
    np.testing.assert_array_equal(cleared // FEATURE_CODES, example.features_BLA // FEATURE_CODES)


@pytest.mark.parametrize("column", ["last_cqi_UM", "last_cqi_age_slots_UM", "last_outcome_M"])
def test_what_is_known_of_an_rbg_changes_only_what_is_said_of_it_and_after(make_random_state, column: str) -> None:
    rng = np.random.default_rng(3)
    state = make_random_state(rng, ues=4, missing=0.0)
    grammar = compile_grammar(state, Intent(), PAPER)
    model = new_leader_model(SMALL, PromptLayout(), seed=2).eval()
    (decoded,) = model.decode([state], [Intent()], [grammar])
    values = getattr(state, column).copy()
    values[..., 3] = np.nan
    other = dataclasses.replace(state, **{column: values})
    prompts = model.layout.encode([state], [Intent()])  # of both: the counts in the cell's block aside
    with torch.no_grad():
        logits = []
        for known in (state, other):
            chosen = teacher_batch(known, decoded.tokens)
            logits.append(model.logits(model.read(prompts), chosen.steps, chosen.features_BLA)[0])
    first_owner = len(decoded.tokens) - state.num_rbgs
    differs_L = (logits[0] != logits[1]).any(-1).tolist()
    assert not any(differs_L[: first_owner + 3])
    assert differs_L[first_owner + 3]


def test_a_layout_of_version_1_is_told_nothing_of_rbgs(make_random_state) -> None:
    document = PromptLayout().as_json() | {"version": 1}
    del document["rbg_features"]
    layout = PromptLayout.from_json(document)
    assert layout.rbg_features == ()
    model = new_leader_model(SMALL, layout, seed=4).eval()
    assert not [name for name, _ in model.named_parameters() if "heard" in name or "outcome" in name]
    state = make_random_state(np.random.default_rng(5), ues=4, missing=0.0)
    grammar = compile_grammar(state, Intent(), PAPER)
    prompts = model.layout.encode([state], [Intent()])
    (decoded,) = model.decode([state], [Intent()], [grammar])
    gone = {name: np.full_like(getattr(state, name), np.nan) for name in RBG_COLUMNS}
    logits = []
    for known in (state, dataclasses.replace(state, **gone)):
        chosen = teacher_batch(known, decoded.tokens)
        with torch.no_grad():
            logits.append(model.logits(model.read(prompts), chosen.steps, chosen.features_BLA))
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=0)
