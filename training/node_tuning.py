"""How eagerly a node's UEs should contend for what its own scheduler leaves over: c of `node_scheduler`.

That one number is worth more than most schedulers, so the row without an xApp deserves a good one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from policy.grammar import CONTENDERS
from training.evaluation import replay
from training.simulator.scenario import Scenario

TUNING_SEED = 1_000_003
"""Worlds that nothing is ever evaluated on."""


class Tuned(NamedTuple):
    """One candidate and what it brought, mean over cells."""

    contenders: float
    utility: float
    throughput_bits_per_slot: float


def tune_node_contenders(scenario: Scenario, *, ues: int = 8, cells: int = 200, slots: int = 1000) -> list[Tuned]:
    """Every c that a DCM can say, under the node's own scheduler, the best utility first."""
    rows = []
    for contenders in CONTENDERS:
        tried = scenario.with_(node_contenders=contenders)
        periods = max(1, slots // scenario.slots_per_dcm)
        metrics = replay(tried, None, ues=ues, cells=cells, seed=TUNING_SEED, periods=periods)
        utility = np.nanmean([m.utility for m in metrics])
        throughput = np.mean([m.throughput_bits_per_slot for m in metrics])
        rows.append(Tuned(contenders, float(utility), float(throughput)))
    return sorted(rows, key=lambda row: -row.utility)
