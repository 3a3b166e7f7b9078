"""Prompts as text: fixed words and numbers, whatever a report says."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.cell_state import CellState, make_cell_state
from policy.grammar import FIRST_UE, StepKind
from policy.intent import Intent
from policy.prompt.text import TEXT_FIELDS, action_text, number_text, prompt_text, step_prefix_text

WORDS = {"Uplink", "cell", "RBGs", "UEs", "slots", "per", "DCM", "alpha", "embb", "periodic", "sporadic", "unknown"}
WORDS |= {"Last", "slot:", "idle", "decoded", "lost", "open-idle", "open-decoded", "open-lost", "heard"}
WORDS |= {"at", "most", "least", *(word for field in TEXT_FIELDS for word in field.words.split())}


def two_ues(**changes: object) -> CellState:
    columns: dict[str, object] = {
        "traffic_class_U": [0.0, 2.0],
        "buffer_bits_U": [2250.0, math.nan],
        "cqi_U": [9.0, 4.0],
        "preferred_rbg_U": [2.0, 0.0],
        "served_bits_per_slot_U": [309.6, 45.2],
        "deadline_slots_U": [6.0, 6.0],
        "last_cqi_UM": [[9.0, math.nan, 11.0], [math.nan] * 3],
        "last_outcome_M": [1.0, 5.0, 0.0],
    }
    return make_cell_state("gnb7/x", num_rbgs=3, slots_per_dcm=1, slot=77_777, ue_ids=(4242, 5353), **columns | changes)


def test_the_template_stands_as_documented() -> None:
    assert prompt_text(two_ues(), Intent(max_share_percent={5353: 40.0}, min_share_percent={4242: 30.0})) == (
        "Uplink cell, 3 RBGs, 2 UEs, 1 slots per DCM, alpha 1.\n"
        "Last slot: decoded open-lost idle\n"
        "UE0 embb buffer 2250 CQI 9 best RBG 2 rate 310 deadline 6 heard 9 unknown 11 at least 1\n"
        "UE1 sporadic buffer unknown CQI 4 best RBG 0 rate 45 deadline 6 at most 1\n"
        "DCM\n"
    )


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=8, max_size=8), st.floats(0, 10))
def test_only_fixed_words_and_short_numbers_enter_a_prompt(values: list[float], alpha: float) -> None:
    first = dict(zip([f.column for f in TEXT_FIELDS], values))
    columns = {name: [value, 1.0] for name, value in first.items()}
    columns |= {"last_cqi_UM": [values[:3], values[3:6]], "last_outcome_M": values[5:8]}
    text = prompt_text(two_ues(**columns, traffic_class_U=[values[0], 1.0]), Intent(alpha=alpha))
    for word in re.findall(r"[^\s,]+", text):
        assert word in WORDS or re.fullmatch(r"(UE)?-?\d{1,9}(\.\d+)?(e-\d+)?\.?", word), word


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_unknown(value: float) -> None:
    assert number_text(value) == "unknown"


def test_who_the_cell_and_its_ues_are_is_not_said() -> None:
    text = prompt_text(two_ues(), Intent(max_share_percent={5353: 40.0}))
    assert not {"gnb7", "4242", "5353", "77777"} & set(re.findall(r"\w+", text))


def test_every_step_is_a_line_of_its_own() -> None:
    assert step_prefix_text(StepKind.OWNER, 4) + action_text(FIRST_UE + 11) == "RBG4 UE11\n"
    lines = [action_text(token) for token in range(FIRST_UE + 100)]
    assert len(set(lines)) == len(lines)
    assert all(line[0] == " " and line[-1] == "\n" and line.count("\n") == 1 for line in lines)


def test_a_cell_without_ues_is_read_too() -> None:
    empty = make_cell_state("c", num_rbgs=6, slots_per_dcm=20, slot=0, ue_ids=(), cqi_U=np.zeros(0))
    assert prompt_text(empty, Intent()) == "Uplink cell, 6 RBGs, 0 UEs, 20 slots per DCM, alpha 1.\nDCM\n"
