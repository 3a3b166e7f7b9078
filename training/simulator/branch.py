"""What would come of other decisions: copies of cells as they are, each played on under its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policy.allocation import Allocation
from training.simulator.cell import CellBatch, Followers
from training.simulator.plan import Plan


def branch(
    batch: CellBatch,
    dcms: Sequence[Allocation | None] | Plan,
    horizon: int,
    *,
    rows: Sequence[int] | NDArray[np.int64] | None = None,
    followers: Followers = "best_response",
) -> CellBatch:
    """Cell rows[n] of `batch` under dcms[n] for `horizon` slots, all n at once; `batch` stays as it is.

    rows: cells, repeats allowed; None = each cell once. Branches of a cell meet the same future, so what they differ by
    is what was decided. Raises ValueError where dcms and rows do not fit, RuntimeError within a slot.
    """
    chosen = np.arange(batch.cells) if rows is None else np.asarray(rows, np.int64)
    count = len(dcms.owner_BM) if isinstance(dcms, Plan) else len(dcms)
    if count != len(chosen):
        raise ValueError(f"{count} allocations for {len(chosen)} branches")
    branches = batch.select(chosen)
    branches.play(dcms, horizon, followers)
    return branches
