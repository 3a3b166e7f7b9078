"""The link of a cell that has just been subscribed to: nothing has been reported, nothing is controlled yet."""

from __future__ import annotations

from xapp.control.cell_link import CellLink
from xapp.control.cell_tracker import CellTracker
from xapp.nodes.subscription_plan import NodePlan, Wanted


def new_link(plan: NodePlan, wanted: Wanted, report_period_ms: int) -> CellLink:
    """Make a cell's link, with a tracker for the kinds of report that the plan asks of it."""
    kinds = {other.kind for other in plan.wanted if other.cell == wanted.cell}
    tracker = CellTracker(
        wanted.cell_key,
        num_rbgs=plan.carriers[wanted.cell].num_rbgs,
        report_period_ms=report_period_ms,
        has_kpm="kpm" in kinds,
        has_dcm="dcm" in kinds,
    )
    return CellLink(tracker, None)
