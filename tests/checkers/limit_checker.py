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


class Share(NamedTuple):
    ue_ids: frozenset[int]
    least_percent: float = 0.0
    most_percent: float = 100.0


def violations(shares: Iterable[Share], allocation: Any) -> list[str]:
    """One line for each limit that does not hold; for limits that can all hold at once."""
    owners, row_of = allocation.owner_M.tolist(), {ue: row for row, ue in enumerate(allocation.ue_ids)}
    granted = {(int(grant.ue), int(grant.rbg)) for grant in allocation.periodic_grants}
    shared, num_rbgs = {rbg for _, rbg in granted}, len(owners)
    owned, held = [0] * len(row_of), [0] * len(row_of)
    """Of each UE, the RBGs that count for floors, and all that it holds."""
    for rbg, owner in enumerate(owners):
        if owner >= 0:
            owned[owner] += rbg not in shared
            held[owner] += (owner, rbg) not in granted
    for row, _ in granted:
        held[row] += 1
    may_contend, may_be_given = allocation.open_allowed_U.tolist(), allocation.max_rbgs_U.tolist()
    is_dynamic, found = NOBODYS_DYNAMIC in owners, []
    for share in shares:
        rows = [row_of[ue] for ue in share.ue_ids if ue in row_of]
        counted = sum([owned[row] for row in rows])
        least = whole_rbgs(share.least_percent, num_rbgs, up=True)
        if rows and counted < least:
            found.append(f"UEs {sorted(share.ue_ids)} own {counted} RBGs, at least {least} were promised")
        most = whole_rbgs(share.most_percent, num_rbgs, up=False)
        if most >= num_rbgs:
            continue
        holding = sum([held[row] for row in rows])
        if holding > most:
            found.append(f"UEs {sorted(share.ue_ids)} hold {holding} RBGs, at most {most} are allowed")
        if any(may_contend[row] for row in rows):
            found.append(f"UEs {sorted(share.ue_ids)} may contend in spite of a cap")
        if is_dynamic and sum([may_be_given[row] for row in rows]) > most:
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
