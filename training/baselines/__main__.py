"""`python -m training.baselines`: compile ahead what baselines and counterfactuals need beside the slot loop."""

from __future__ import annotations

import numpy as np

from policy.intent import Intent
from training.baselines.belief_pf import BeliefPf
from training.baselines.reference import oracle_plan
from training.simulator.cell import CellBatch
from training.simulator.distinct import distinct_branches
from training.simulator.scenario import MIX

if __name__ == "__main__":
    batch = CellBatch(MIX, cells=1, ues=2, seed=0)
    plan = oracle_plan(batch, 1.0)
    distinct_branches(batch, np.zeros(1, np.int64), plan, 0, "obey")
    BeliefPf(MIX).decide(batch.observe(), [Intent()], lambda: False)
