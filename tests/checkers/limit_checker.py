"""Counts what an allocation breaks of an operator's limits. It shares no code with what is to keep them.

A limit is written as (UE ids, percent, percent): what these UEs may hold together, least and most, in percent of the
cell's RBGs. Caps round down, floors up. Where a node adds RBGs on its own (DYNAMIC), a UE's `max_rbgs` counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

NOBODYS_DYNAMIC = -2
NO_CAP = 255


class Share(NamedTuple):
    ue_ids: frozenset[int]
    least_percent: float = 0.0
    most_percent: float = 100.0


def violations(shares: Iterable[Share], allocation: Any) -> list[str]:
    """One line for each limit that does not hold; for limits that can all hold at once."""
    owners = [int(owner) for owner in allocation.owner_M]
    num_rbgs, ue_ids = len(owners), list(allocation.ue_ids)
    granted = {(int(grant.ue), int(grant.rbg)) for grant in allocation.periodic_grants}
    found = []
    for share in shares:
        rows = [row for row, ue in enumerate(ue_ids) if ue in share.ue_ids]
        counted = sum(1 for rbg, owner in enumerate(owners) if owner in rows and all(g[1] != rbg for g in granted))
        least = whole_rbgs(share.least_percent, num_rbgs, up=True)
        if rows and counted < least:
            found.append(f"UEs {sorted(share.ue_ids)} own {counted} RBGs, at least {least} were promised")
        most = whole_rbgs(share.most_percent, num_rbgs, up=False)
        if most >= num_rbgs:
            continue
        held = sum(
            len({r for r, o in enumerate(owners) if o == row} | {r for u, r in granted if u == row}) for row in rows
        )
        if held > most:
            found.append(f"UEs {sorted(share.ue_ids)} hold {held} RBGs, at most {most} are allowed")
        if any(bool(allocation.open_allowed_U[row]) for row in rows):
            found.append(f"UEs {sorted(share.ue_ids)} may contend in spite of a cap")
        if NOBODYS_DYNAMIC in owners and sum(int(allocation.max_rbgs_U[row]) for row in rows) > most:
            found.append(f"UEs {sorted(share.ue_ids)} may be given more than {most} RBGs by the node")
    return found


@lru_cache(maxsize=4096)
def whole_rbgs(percent: float, num_rbgs: int, *, up: bool) -> int:
    """Percent to RBGs; a percentage written with nine digits means the whole number next to it."""
    exact = Fraction(percent).limit_denominator(10**9) * num_rbgs / 100
    nearest = round(exact)
    if abs(exact - nearest) < Fraction(1, 10**8):
        return nearest
    return -int(-exact // 1) if up else int(exact // 1)
