"""A cell's state as text, and the words of which a DCM is made: what any pretrained causal language model reads.

Only fixed words and numbers ever enter a prompt: a cell's name and UE ids do not (UEs are called UE0, UE1, ... by row),
and what was not reported, or is no number, is `unknown`. A field that no UE of the cell reported is left out. Template,
version 1, for one slot a DCM, two UEs and three RBGs:

    Uplink cell, 3 RBGs, 2 UEs, 1 slots per DCM, alpha 1.
    Last slot: decoded open-lost idle
    UE0 embb buffer 2250 inflight 500 CQI 9 best RBG 2 rate 310 delay 4 deadline 6 age 2 heard 9 unknown 11
    UE1 sporadic buffer unknown inflight 0 CQI 4 best RBG 0 rate 45 delay 0 deadline 6 age 2 at most 1
    DCM
    leftover sporadic
    contenders 1.2
    periodic end
    RBG0 UE1
    RBG1 OPEN
    RBG2 UE0

Everything below `DCM` is the answer, one line a step. Its first word, the step prefix, is given; the rest, the action,
is the model's choice among the actions that the grammar allows there (policy.text.spelling_trie). Bits and slots are
whole numbers, rates in bits a slot, shares of the cell's PRBs in percent. `Last slot` is what became of each RBG,
`heard` the CQI that the UE was last decoded with on each; `at most` and `at least` are an operator's limits, in RBGs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from policy.cell_state import (
    ALL_CLASSES,
    OUTCOME_DECODED,
    OUTCOME_IDLE,
    OUTCOME_LOST,
    WAS_OPEN,
    CellState,
    TrafficClass,
)
from policy.grammar import (
    CONTENDERS,
    DYNAMIC_TOKEN,
    END_GRANTS,
    FIRST_CONTENDERS,
    FIRST_MASK,
    FIRST_RBG,
    FIRST_UE,
    IDLE_TOKEN,
    MAX_RBGS,
    OPEN_TOKEN,
    StepKind,
)
from policy.intent import Intent
from policy.limits import compile_limits

TEMPLATE_VERSION = 1
"""Version of all words and their order; a bundle names the one that it was trained on."""
UNKNOWN = "unknown"
LARGEST = 999_999_999
"""Numbers are cut off here, so that a prompt's length is bounded whatever a report holds."""
END_OF_LINE = "\n"
"""Ends every action: UE1 is not UE10."""


class TextField(NamedTuple):
    """One number of a UE's line."""

    column: str
    """The column of CellState that it comes from."""
    words: str
    scale: float = 1.0


TEXT_FIELDS: tuple[TextField, ...] = (
    TextField("buffer_bits_U", "buffer"),
    TextField("inflight_bits_U", "inflight"),
    TextField("cqi_U", "CQI"),
    TextField("preferred_rbg_U", "best RBG"),
    TextField("cqi_mean_U", "mean CQI"),
    TextField("served_bits_per_slot_U", "rate"),
    TextField("slots_since_served_U", "served before"),
    TextField("prb_share_U", "share", scale=100.0),
    TextField("head_delay_slots_U", "delay"),
    TextField("deadline_slots_U", "deadline"),
    TextField("arrival_period_slots_U", "period"),
    TextField("arrival_phase_slots_U", "phase"),
    TextField("packet_bits_U", "packet"),
    TextField("age_slots_U", "age"),
)
"""Order of a UE's line, after its class."""

CLASS_NAMES = {float(c): c.name.lower() for c in TrafficClass}
OUTCOME_NAMES = {float(OUTCOME_IDLE): "idle", float(OUTCOME_DECODED): "decoded", float(OUTCOME_LOST): "lost"}
OUTCOME_NAMES |= {WAS_OPEN + outcome: f"open-{name}" for outcome, name in OUTCOME_NAMES.items()}


def prompt_text(state: CellState, intent: Intent) -> str:
    """Everything up to and including the line `DCM`."""
    limits = compile_limits(state, intent)
    fields = []
    for field in TEXT_FIELDS:
        column_U = getattr(state, field.column)
        if np.isfinite(column_U).any():
            with np.errstate(over="ignore"):  # beyond every number: cut off below
                fields.append((field.words, (column_U * field.scale).tolist()))
    lines = [
        f"Uplink cell, {state.num_rbgs} RBGs, {state.num_ues} UEs, {state.slots_per_dcm} slots per DCM, "
        f"alpha {intent.alpha:.2g}."
    ]
    if np.isfinite(state.last_outcome_M).any():
        lines.append(f"Last slot: {' '.join(OUTCOME_NAMES.get(o, UNKNOWN) for o in state.last_outcome_M.tolist())}")
    for row, traffic_class in enumerate(state.traffic_class_U.tolist()):
        words = [f"UE{row} {CLASS_NAMES.get(traffic_class, UNKNOWN)}"]
        words += [f"{name} {number_text(values[row])}" for name, values in fields]
        last_cqi_M = state.last_cqi_UM[row]
        if np.isfinite(last_cqi_M).any():
            words.append(f"heard {' '.join(map(number_text, last_cqi_M.tolist()))}")
        if limits.capped_U[row]:
            words.append(f"at most {limits.cap_U[row]}")
        if limits.floor_U[row]:
            words.append(f"at least {limits.floor_U[row]}")
        lines.append(" ".join(words))
    return "\n".join((*lines, "DCM\n"))


def number_text(value: float) -> str:
    """A whole number, or `unknown` for what is not finite."""
    if not np.isfinite(value):
        return UNKNOWN
    return str(round(min(max(value, -LARGEST), LARGEST)))


def step_prefix_text(kind: StepKind, rbg: int) -> str:
    """What a step's line begins with. rbg: whose owner is asked, for StepKind.OWNER."""
    return f"RBG{rbg}" if kind is StepKind.OWNER else STEP_PREFIXES[kind]


STEP_PREFIXES = {
    StepKind.MASK: "leftover",
    StepKind.CONTENDERS: "contenders",
    StepKind.GRANT_UE: "periodic",
    StepKind.GRANT_RBG: "on",
}


def action_text(token: int) -> str:
    """What a grammar token is called, with the space before it and the line's end."""
    return f" {_action_word(token)}{END_OF_LINE}"


def _action_word(token: int) -> str:
    if token >= FIRST_UE:
        return f"UE{token - FIRST_UE}"
    if token >= FIRST_RBG:
        return f"RBG{token - FIRST_RBG}"
    if token >= FIRST_CONTENDERS:
        return f"{CONTENDERS[token - FIRST_CONTENDERS]:g}"
    if token >= FIRST_MASK:
        mask = token - FIRST_MASK
        return "+".join(c.name.lower() for c in TrafficClass if mask >> c & 1) or "none"
    return FIXED_WORDS[token]


FIXED_WORDS = {OPEN_TOKEN: "OPEN", DYNAMIC_TOKEN: "DYNAMIC", IDLE_TOKEN: "IDLE", END_GRANTS: "end"}

assert FIRST_CONTENDERS == FIRST_MASK + ALL_CLASSES + 1 and FIRST_UE == FIRST_RBG + MAX_RBGS
