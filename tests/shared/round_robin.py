"""The reference game's round robin, all cells at once: a leader's decides cell by cell, from reports."""

from __future__ import annotations

import numpy as np

from training.simulator.cell import CellBatch
from training.simulator.plan import Plan, owner_plan


def round_robin_plan(batch: CellBatch) -> Plan:
    """RBG m goes to UE (offset + m) mod U, and the offset moves on by M in every slot."""
    num_rbgs = batch.scenario.num_rbgs
    owner_M = (batch.slot * num_rbgs + np.arange(num_rbgs)) % batch.ues
    return owner_plan(np.tile(owner_M, (batch.cells, 1)).astype(np.int16), batch.ues, 0.0)
