"""The guard's answers are those that it gave when it still looked at UEs one by one, change by change and word by word.

Their digests were taken then (`python tests/policy/test_guard_kept.py` prints those of today).
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from policy.allocation import Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import CellState, make_cell_state
from policy.guard import guard
from policy.intent import Intent, SliceLimit
from policy.limits import compile_limits

CASES = 400
DIGESTS = {1: "06f9096e1244c6c1", 2: "3570d890f86eacbb", 3: "b0afce6414b36101", 4: "185204a6077e97d5"}
"""By seed."""


def random_case(rng: np.random.Generator) -> tuple[CellState, Intent]:
    """A few UEs, limits on some of them and on slices, sometimes more than there is."""
    count, num_rbgs = int(rng.integers(0, 7)), int(rng.integers(1, 9))
    ue_ids = tuple(sorted(rng.choice(10, count, replace=False).tolist()))
    state = make_cell_state(
        "c",
        num_rbgs=num_rbgs,
        slots_per_dcm=int(rng.choice([1, 20])),
        slot=int(rng.integers(0, 50)),
        ue_ids=ue_ids,
        buffer_bits_U=rng.choice([0.0, 5.0, np.nan], count),
    )

    def percents() -> dict[int, float]:
        return {ue: float(rng.integers(0, 101)) for ue in ue_ids if rng.random() < 0.3}

    slices: tuple[SliceLimit, ...] = ()
    if count and rng.random() < 0.5:
        order, cuts = rng.permutation(ue_ids).tolist(), sorted(rng.integers(0, count + 1, 2).tolist())
        least, most = sorted(rng.integers(0, 101, 2).tolist())
        slices = (
            SliceLimit("a", frozenset(order[: cuts[0]]), float(least / 3), float(most)),
            SliceLimit("b", frozenset(order[cuts[0] : cuts[1]]), float(rng.integers(0, 30)), 40.0),
        )
    floors = {ue: min(percent, 100 / (count + 1)) for ue, percent in percents().items()}
    return state, Intent(max_share_percent=percents(), min_share_percent=floors, slice_limits=slices)


def proposal_for(state: CellState, intent: Intent, rng: np.random.Generator) -> Allocation:
    """For the UEs of now or of another time; half of those for now keep the intent's limits."""
    ue_ids = state.ue_ids
    if rng.random() < 0.3:
        ue_ids = tuple(rng.integers(0, 10, int(rng.integers(0, 7))).tolist())
    count, num_rbgs = len(ue_ids), state.num_rbgs + int(rng.random() < 0.05)
    owners = np.minimum(rng.integers(-3, count + 1, num_rbgs), count - (rng.random() < 0.9)).astype(np.int16)
    grants = tuple(
        PeriodicGrant(*rng.integers(0, (max(1, count), num_rbgs, 5, 3)).tolist()) for _ in range(rng.integers(0, 4))
    )
    allowed, caps = rng.random(count) < 0.6, rng.choice([255, state.num_rbgs, 1, 2, 3], count).astype(np.uint8)
    if ue_ids == state.ue_ids and rng.random() < 0.5:
        limits = compile_limits(state, intent)
        allowed &= limits.open_allowed_U
        caps = np.maximum(np.minimum(caps, limits.max_rbgs_U), limits.floor_U.astype(np.uint8))
    return Allocation(ue_ids, owners, LeftoverRule(int(rng.integers(0, 8)), float(rng.random())), grants, allowed, caps)


def digest_of(seed: int) -> str:
    rng, digest = np.random.default_rng(seed), hashlib.sha256()
    for _ in range(CASES):
        state, intent = random_case(rng)
        allocation, changes = guard(proposal_for(state, intent, rng), state, intent)
        fields = [allocation.ue_ids, allocation.owner_M.tolist(), tuple(allocation.leftover), changes]
        fields += [[tuple(grant) for grant in allocation.periodic_grants]]
        fields += [allocation.open_allowed_U.tolist(), allocation.max_rbgs_U.tolist()]
        digest.update(repr(fields).encode())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("seed", DIGESTS)
def test_the_guards_answers_are_what_they_were(seed: int) -> None:
    assert digest_of(seed) == DIGESTS[seed]


if __name__ == "__main__":
    print({seed: digest_of(seed) for seed in range(1, 5)})
