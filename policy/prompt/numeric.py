"""A cell's state as numbers, for networks that read no tokens: the same fields, the same blocks, in -1..1.

An amount lies between its field's edges as if they were evenly spaced, so it is as fine where it matters as the tokens
are; one more number says whether it is known. What is a name, not an amount, is one-hot, all 0 where it is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy.prompt.compact import Field, PromptLayout

NAMES = ("traffic_class", "preferred_rbg")
"""Fields whose order means nothing."""


@dataclass(frozen=True)
class NumericLayout(PromptLayout):
    """Blocks of features [N, T], float32: the shorter kind of block ends in zeros."""

    @property
    def block_tokens(self) -> int:
        return max(self.ue_width, self.cell_width)

    @property
    def ue_width(self) -> int:
        """Features of a UE."""
        return sum(width_of(field) for field in self.ue_fields)

    @property
    def cell_width(self) -> int:
        """Features of a cell."""
        return sum(width_of(field) for field in self.cell_fields)

    def first_feature(self, ue_field: str) -> int:
        """Where in a UE's block a field begins. Raises ValueError for a field that is not there."""
        before = 0
        for field in self.ue_fields:
            if field.name == ue_field:
                return before
            before += width_of(field)
        raise ValueError(f"the prompt has no field {ue_field}")

    def _blocks(
        self, cells: Mapping[str, NDArray[np.float64]], ues: Mapping[str, NDArray[np.float64]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._padded(cells, self.cell_fields), self._padded(ues, self.ue_fields)

    def _padded(self, features: Mapping[str, NDArray[np.float64]], fields: Sequence[Field]) -> NDArray[np.float32]:
        columns = np.concatenate([_columns(field, features[field.name]) for field in fields], axis=1)
        padded = np.zeros((len(columns), self.block_tokens), np.float32)
        padded[:, : columns.shape[1]] = columns
        return padded


def width_of(field: Field) -> int:
    """Features that a field takes."""
    return len(field.edges) + 1 if field.name in NAMES else 2


def _columns(field: Field, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """[rows, width]."""
    known = ~np.isnan(value)
    if field.name in NAMES:
        level = np.searchsorted(field.edges, value, side="right")
        return (level[:, None] == np.arange(width_of(field))) & known[:, None]
    amount = np.interp(np.where(known, value, 0.0), field.edges, np.linspace(-1.0, 1.0, len(field.edges)))
    return np.stack([np.where(known, amount, 0.0), known], axis=1)
