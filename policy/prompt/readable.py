"""A prompt as a person reads it: what the model was shown, decoded from what it was shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState, TrafficClass
from policy.intent import Intent
from policy.prompt.compact import Field, PromptLayout
from policy.prompt.numeric import NAMES, NumericLayout, width_of
from policy.prompt.text import prompt_text

CONTINUOUS = ("alpha", "cqi_mean")
"""Fields whose levels are wider than the one integer in them."""


class Shown(NamedTuple):
    """One field of a block."""

    field: str
    low: float | None
    """The token's level holds values from here up to, not including, `high`; None = no bound, both NaN = not known. For
    a network that reads numbers both are its value in -1..1."""
    high: float | None

    def __str__(self) -> str:
        if self.field == "traffic_class" and not math.isnan(self.low or 0.0):
            return TrafficClass(math.ceil(self.low or 0.0)).name.lower()
        if self.low is None:
            return "any" if self.high is None else f"below {self.high:g}"
        if math.isnan(self.low):
            return "not known"
        if self.high is None:
            return f"{self.low:g} or more"
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class ReadablePrompt:
    """What a model was shown. text: the prompt of a model that reads text; else empty, and the blocks hold all."""

    text: str
    cell: tuple[Shown, ...]
    ues: Mapping[int, tuple[Shown, ...]]
    """Each UE's fields, by UE id."""


def readable_prompt(layout: object, state: CellState, intent: Intent) -> ReadablePrompt:
    """What a model with this layout is shown of a cell."""
    if not isinstance(layout, PromptLayout):
        return ReadablePrompt(prompt_text(state, intent), (), {})
    blocks_NT = layout.encode([state], [intent]).tokens_NT
    read = _numbers if isinstance(layout, NumericLayout) else _levels
    cell = read(layout.cell_fields, blocks_NT[0], 0)
    first = sum(field.size for field in layout.cell_fields)
    ues = {ue: read(layout.ue_fields, block_T, first) for ue, block_T in zip(state.ue_ids, blocks_NT[1:])}
    return ReadablePrompt("", cell, ues)


def _levels(fields: Sequence[Field], tokens_T: NDArray[Any], first: int) -> tuple[Shown, ...]:
    shown = []
    for field, token in zip(fields, tokens_T.tolist()):
        level, edges = token - first - 1, field.edges
        first += field.size
        if level < 0:
            shown.append(Shown(field.name, math.nan, math.nan))
            continue
        low = edges[level - 1] if level > 0 else None
        high = edges[level] if level < len(edges) else None
        if field.name not in CONTINUOUS and low is not None and high == low + 1.0 and low % 1.0 == 0.5:
            low = high = low + 0.5  # a level of one integer
        shown.append(Shown(field.name, low, high))
    return tuple(shown)


def _numbers(fields: Sequence[Field], features_T: NDArray[Any], _: int) -> tuple[Shown, ...]:
    shown, at = [], 0
    for field in fields:
        features = features_T[at : at + width_of(field)]
        at += width_of(field)
        if field.name in NAMES:
            value = float(np.argmax(features)) if features.any() else math.nan
        else:
            value = float(features[0]) if features[1] else math.nan
        shown.append(Shown(field.name, value, value))
    return tuple(shown)
