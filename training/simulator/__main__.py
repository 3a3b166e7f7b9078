"""`python -m training.simulator`: compile the slot loop, so that nobody waits for it later; what is compiled stays."""

from __future__ import annotations

import numpy as np

from training.simulator.cell import CellBatch
from training.simulator.scenario import MIX

if __name__ == "__main__":
    batch = CellBatch(MIX, cells=1, ues=1, seed=0)
    batch.observe()
    batch.play(None, 1)
    batch.play(None, 1, lambda slot: np.zeros(slot.coin_BUM.shape, bool))  # followers that answer for themselves
