"""Fields of one's own in the prompt: a decorator, and the modules in which it is used.

    @ue_field("retries", edges=(0.5, 1.5, 3.5))
    def retries(state: CellState) -> FloatU: ...    # one number a UE, NaN = not known

All blocks are equally long, so the cell's block gets a field, too: of how many UEs the number is known. A model that is
made while a field is there reads it, and needs it wherever it decides: the modules are named in the environment,
STACKMAC_PROMPT_FIELDS=module,module, which child processes inherit. A bundle names its fields, never code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.errors import UserMistake
from policy.plug_ins.loading import import_plug_in

MODULES = "STACKMAC_PROMPT_FIELDS"
"""Names the modules with fields, separated by commas."""
COUNT_EDGES = (0.5, 1.5, 2.5, 3.5, 4.5, 6.5, 9.5, 14.5, 24.5, 60.5)
"""Levels of how many UEs a field is known of."""
Values = Callable[[CellState], NDArray[np.float64]]


class FieldError(UserMistake):
    """A field that cannot be: its name, and what is wrong."""


class OwnField(NamedTuple):
    """One number a UE; level k holds values from edges[k - 1] up to, not including, edges[k]."""

    name: str
    edges: tuple[float, ...]
    values: Values

    @property
    def count_name(self) -> str:
        """The field of the cell's block."""
        return f"{self.name}_ues"

    def of(self, states: Sequence[CellState]) -> NDArray[np.float64]:
        """The number of each UE of all states. Raises FieldError for a function that gives another shape."""
        columns = [np.zeros(0)]
        for state in states:
            column = np.asarray(self.values(state), np.float64)
            if column.shape != (state.num_ues,):
                raise FieldError(f"prompt field {self.name} has shape {column.shape}, expected {(state.num_ues,)}")
            columns.append(column)
        return np.concatenate(columns)


_fields: dict[str, OwnField] = {}


def ue_field(name: str, edges: Sequence[float]) -> Callable[[Values], Values]:
    """Make a function a field of every UE's block. Raises FieldError for edges that do not ascend."""
    if not name.isidentifier() or not edges or any(a >= b for a, b in zip(edges, edges[1:], strict=False)):
        raise FieldError(f"prompt field {name!r} has edges {tuple(edges)}, expected a word and edges that ascend")

    def add(values: Values) -> Values:
        _fields[name] = OwnField(name, tuple(map(float, edges)), values)
        return values

    return add


def own_fields() -> tuple[OwnField, ...]:
    """Those there are, with the modules of the environment imported. Raises FieldError."""
    for module in filter(None, os.environ.get(MODULES, "").split(",")):
        try:
            import_plug_in(module.strip())
        except Exception as error:  # somebody else's code: importing it can fail in any way
            raise FieldError(f"{MODULES} names {module!r}: {type(error).__name__}: {error}") from error
    return tuple(_fields.values())
