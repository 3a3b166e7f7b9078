"""Floors that nobody has: shares and throughputs promised to UEs of whom none is in any of a policy's cells.

A UE that is named by its number may have left, or may be mistyped; so may all members of a slice that are named so.
What is promised to each UE of a cell, of a class or of a node's only slice is for whoever comes, and holds while nobody
does. So does a ceiling of a share, a throughput, a delay or a loss: whoever is not there does not break it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from xapp.a1.policy_model import Policy, ShareLimit, TargetSet
from xapp.monitoring.wording import listed


class Presence(NamedTuple):
    """Who is in one cell."""

    numbers: frozenset[int]
    """Of its UEs, as their node has them."""
    empty_slices: frozenset[str]
    """See cell_policies.Compiled."""


def floors_of_nobody(policy: Policy, cells: Sequence[Presence]) -> Iterator[str]:
    """Why a policy is not enforced. cells: its own, as far as they report."""
    scope, limits, targets = policy.scope, policy.limits, policy.targets
    of_ues, of_slices = _is_floor(limits.per_ue, targets.per_ue), _is_floor(limits.per_slice, targets.per_slice)
    if not cells or not (of_ues or of_slices):
        return
    if of_ues and (absent := sorted(scope.numbers.difference(*(cell.numbers for cell in cells)))):
        yield f"{listed('UE', absent)}: not there, and so nobody has the floor"
    for each in scope.slices:
        # Whom the policy itself lists as a member has been named above.
        is_promised = of_slices or not each.ue_ids
        if is_promised and all(each.name in cell.empty_slices for cell in cells):
            yield f"slice {each.name}: no UE of it is there, and so nobody has the floor"


def _is_floor(limit: ShareLimit | None, target: TargetSet | None) -> bool:
    is_share = limit is not None and limit.min_share_percent > 0.0
    return is_share or (target is not None and target.min_throughput_kbps is not None)
