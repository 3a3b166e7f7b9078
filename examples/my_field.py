"""A field of one's own in the prompt: how often a UE could still try before its oldest packet is too late.

    export STACKMAC_PROMPT_FIELDS=my_field
    stackmac warm-start --scenario mix --steps 400 --out DIR
    stackmac evaluate --scenario mix --bundle DIR/bundle

A model that is made while the variable is set reads the field, and needs it wherever it decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.plug_ins.prompt_fields import ue_field


@ue_field("tries_left", edges=(0.5, 1.5, 2.5, 4.5, 8.5))
def tries_left(state: CellState) -> NDArray[np.float64]:
    """One number a UE; NaN = not known."""
    return np.maximum(state.deadline_slots_U - state.head_delay_slots_U - state.age_slots_U, 0.0)
