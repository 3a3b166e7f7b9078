"""A leader for soak tests: the shipped one, in moods that a file names. What it does wrong is told in its own words.

The file STACKMAC_SOAK_MOOD holds one of MOODS; beside it the leader keeps, in FILE.counts, what happened.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np

from policy.allocation import DYNAMIC, Allocation, LeftoverRule, PeriodicGrant, all_dynamic
from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision
from policy.registry import make_leader

MOOD_VARIABLE, LEADER_VARIABLE = "STACKMAC_SOAK_MOOD", "STACKMAC_SOAK_LEADER"
WELL, RAISES, SLOW, ENDLESS, HUGE, GREEDY = "well", "raises", "slow", "endless", "huge", "greedy"
MOODS = (WELL, RAISES, SLOW, ENDLESS, HUGE, GREEDY)
SLEEP_S = 0.5
MANY = 200_000
ROUNDED = 1e-9


class MoodyLeader:
    """The variable STACKMAC_SOAK_LEADER names who decides while it is well."""

    name = "moody"

    def __init__(self) -> None:
        self._file = Path(os.environ[MOOD_VARIABLE])
        self._counts: Counter[str] = Counter()
        self._leader = make_leader(os.environ[LEADER_VARIABLE])

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        mood = self._file.read_text()
        self._counts[f"asked_{mood}"] += 1
        try:
            if mood == RAISES:
                raise RuntimeError("in a bad mood")
            if mood == SLOW:
                time.sleep(SLEEP_S)
            if mood in (ENDLESS, HUGE, GREEDY):
                return [Decision(_odd(mood, state), decided_by=self.name) for state in states]
            decisions = self._leader.decide(states, intents, expired)
            self._counts["over_cap"] += sum(map(_over_cap, decisions, states, intents))
            return [Decision(d.allocation, d.tokens, d.log_probs, self.name, d.reason) for d in decisions]
        finally:
            self._keep_counts()

    def _keep_counts(self) -> None:
        staging = self._file.with_suffix(f".{os.getpid()}.tmp")
        staging.write_text(json.dumps(self._counts))
        os.replace(staging, self._file.with_suffix(f".{os.getpid()}.counts"))


def _odd(mood: str, state: CellState) -> Allocation:
    if mood == GREEDY:  # one UE gets everything, and all may contend
        owners = np.full(state.num_rbgs, 0 if state.num_ues else DYNAMIC, np.int16)
        return Allocation(state.ue_ids, owners, LeftoverRule(7, 5.0))
    allocation = all_dynamic(state.ue_ids, state.num_rbgs)
    grant = PeriodicGrant(0, 0, 10, 0)
    grants: Iterator[PeriodicGrant] = repeat(grant) if mood == ENDLESS else repeat(grant, MANY)
    object.__setattr__(allocation, "periodic_grants", grants if mood == ENDLESS else tuple(grants))
    return allocation


def _over_cap(decision: Decision, state: CellState, intent: Intent) -> int:
    """UEs that may take more RBGs than their cap, by a count of its own."""
    allocation = decision.allocation
    held: dict[int, set[int]] = {}
    for rbg, owner in enumerate(allocation.owner_M.tolist()):
        if owner >= 0:
            held.setdefault(allocation.ue_ids[owner], set()).add(rbg)
    for grant in allocation.periodic_grants:
        held.setdefault(allocation.ue_ids[grant.ue], set()).add(grant.rbg)
    caps = {ue: percent / 100 * state.num_rbgs + ROUNDED for ue, percent in intent.max_share_percent.items()}
    row_of = {ue: row for row, ue in enumerate(allocation.ue_ids)}
    return sum(
        len(held.get(ue, ())) > cap
        or bool(allocation.open_allowed_U[row_of[ue]])
        or int(allocation.max_rbgs_U[row_of[ue]]) > cap
        for ue, cap in caps.items()
        if ue in row_of
    )
