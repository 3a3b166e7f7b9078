"""The cell that `stackmac intent show` works policies out for: as asked for, or as the policies suggest, with UEs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from policy.cell_state import CellState, TrafficClass, make_cell_state
from policy.errors import UserMistake
from xapp.a1.policy_model import Policy, slice_name
from xapp.a1.standard_types import StandardPolicy
from xapp.config.slices import SliceMembers

ANY_NODE = "any"
"""What a cell's node is called where no policy says one ..."""
ANY_CELL = f"{ANY_NODE}/000000000000000"
"""... and a cell that no policy names."""
MAX_CELLS = 3
"""Of those that a policy names instead, so many are said and the rest counted."""


def suggested_cell(policies: Iterable[Policy]) -> str:
    """The first that a policy names: where it says no node, under the full name that another one has for it."""
    policies = list(policies)
    first = next((policy for policy in policies if _cells(policy)), None)
    if first is None:
        return ANY_CELL
    full = (name for policy in (first, *policies) for name in policy.scope.cells)
    return next((name for name in full if first.covers(name)), _cells(first)[0])


def _cells(policy: Policy) -> tuple[str, ...]:
    """Cells that a policy names, or one of the gNB that it names; of one that says no node any will do."""
    if isinstance(policy, StandardPolicy):
        own = (policy.gnb.first_cell,) if policy.gnb is not None else ()
        return tuple(f"{ANY_NODE}/{cell}" for cell in policy.nr_cgis or own)
    return policy.scope.cells


def whose_cells(policy: Policy) -> str:
    """The cells of a policy that is not about every one, in words."""
    if not isinstance(policy, StandardPolicy):
        return _some(policy.scope.cells)
    if policy.nr_cgis is not None and not policy.nr_cgis:
        return "none that can be controlled here"
    cells = f"NR-CGI {_some(policy.nr_cgis)}" if policy.nr_cgis else "the cells"
    if policy.gnb is None:
        return cells
    gnb = policy.gnb.gnbId
    return f"{cells} of gNB {gnb.gnbIdValue} ({gnb.gnbIdLength} bits)"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_CELLS} more" if len(names) > MAX_CELLS else ""
    return ", ".join(names[:MAX_CELLS]) + more


def suggested_ues(policies: Mapping[str, Policy], slices: Sequence[SliceMembers], cell: str) -> list[str]:
    """The UEs that policies of the cell name, as eMBB, one of each slice of theirs whose members the configuration has
    by number, and one more of each class.
    """
    mine = [p.scope for p in policies.values() if p.covers(cell)]
    named = {ue for scope in mine for ue in scope.numbers}
    wanted = {each.name for scope in mine for each in scope.slices}
    for row in slices:
        is_theirs = slice_name(row.sst, row.sd) in wanted and (not row.cells or cell in row.cells)
        if is_theirs and row.ue_ids and named.isdisjoint(row.ue_ids):
            named.add(min(row.ue_ids))
    first = max(named, default=0) + 1
    others = [f"{first + k}:{name.lower()}" for k, name in enumerate(TrafficClass.__members__)]
    return [f"{ue}:embb" for ue in sorted(named)] + others


def cell_state(cell: str, rbgs: int, ues: Sequence[str]) -> CellState:
    """A cell with these live UEs, each `ID` or `ID:class`. Raises UserMistake."""
    classes: dict[int, float] = {}
    for text in ues:
        number, _, class_name = text.partition(":")
        if not number.isdecimal() or class_name.upper() not in ("", *TrafficClass.__members__):
            raise UserMistake(f"--ue is {text!r}, expected ID or ID:embb, ID:periodic, ID:sporadic")
        classes[int(number)] = float(TrafficClass[class_name.upper()]) if class_name else float("nan")
    ue_ids = tuple(sorted(classes))
    return make_cell_state(
        cell,
        num_rbgs=rbgs,
        slots_per_dcm=100,
        slot=0,
        ue_ids=ue_ids,
        traffic_class_U=[classes[ue] for ue in ue_ids],
    )
