"""What nodes lack or do, for a person: problems of a plan and of what its node does, entries that fit nobody. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from policy.errors import counted
from xapp.control_kinds.control_kind import Problem
from xapp.nodes.gnb_parts import HARMLESS, controlled_part
from xapp.nodes.subscription_plan import NodePlan

UNMATCHED_S = 30.0
"""How long after the first node an entry of controls.nodes may match none, before that is warned of."""
LATER = float("inf")
"""Never."""


def other_parts(plans: Mapping[str, NodePlan], connected: Iterable[str]) -> dict[str, str]:
    """Node that cannot be controlled -> another part of the same gNB that is. connected: nodes that have a plan."""
    controlled = [name for name in connected if plans[name].control and plans[name].carriers]
    parts = {name: controlled_part(name, controlled) for name, plan in plans.items() if not plan.control}
    return {name: part for name, part in parts.items() if part}


def problems_of(node: str, plan: NodePlan, is_part: bool, refused: Sequence[str], shared_ues: int) -> list[Problem]:
    """Problems of one node. is_part: another part of its gNB is controlled, so that it need not be. refused:
    measurements that it does not take. shared_ues: how many UEs it reports in several cells.
    """
    problems = [problem for problem in plan.problems if not is_part or problem.fault not in HARMLESS]
    if refused:
        problems.append(Problem("measurements_refused", f"{node} refuses {', '.join(refused)}: subscribed to without"))
    if shared_ues:
        text = f"{node} reports {counted(shared_ues, 'UE')} in several cells: each counts for one"
        problems.append(Problem("ues_in_several_cells", text))
    return problems


def unmatched_entries(entries: Iterable[str], nodes: Sequence[str]) -> list[str]:
    """Name patterns that fit none of the nodes; none of them before there is a node."""
    return [entry for entry in entries if nodes and not any(fnmatchcase(node, entry) for node in nodes)]
