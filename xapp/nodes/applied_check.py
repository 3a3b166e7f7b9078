"""Whether a cell does what it is asked for, as far as its reports say: its encoder knows what they would say."""

from __future__ import annotations

from xapp.control.cell_link import CellLink
from xapp.control.encoder import AppliedCheck


def check_applied(link: CellLink, epoch: int) -> AppliedCheck:
    """`epoch`: of this instance. A cell under nobody's control, or without a report, says nothing."""
    if link.target is None or link.newest is None:
        return AppliedCheck(None)
    return link.target.encoder.is_applied(link.newest.state, link.tracker.applied, epoch)
