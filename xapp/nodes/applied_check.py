"""Whether a cell does what it was told, as far as its reports say. Asked for on demand, never in the decision path."""

from __future__ import annotations

import math
from typing import NamedTuple

from xapp.control.cell_link import CellLink
from xapp.control.encoder import DcmEncoder

SLACK_RBGS = 1.0
"""Shares are reported in whole percent, quotas hold in whole PRBs: less than one RBG above a quota is not a breach."""


class AppliedCheck(NamedTuple):
    """What the newest report shows."""

    effective: bool | None
    """None = the reports do not say."""
    text: str = ""


def check_applied(link: CellLink, epoch: int) -> AppliedCheck:
    """`epoch`: of this instance. A cell under nobody's control, or without a report, says nothing."""
    if link.target is None or link.newest is None:
        return AppliedCheck(None)
    if isinstance(link.target.encoder, DcmEncoder):
        return _applied(link, epoch)
    return _within_quotas(link)


def _applied(link: CellLink, epoch: int) -> AppliedCheck:
    """A DCM indication names the control that governs the cell."""
    applied = link.tracker.applied
    if applied is None:
        return AppliedCheck(False, "the node's own scheduler is in charge")
    if applied.instance_epoch != epoch:
        return AppliedCheck(False, f"it follows decision {applied.decision_id} of another instance")
    return AppliedCheck(True, f"it follows decision {applied.decision_id}")


def _within_quotas(link: CellLink) -> AppliedCheck:
    """Quotas have no identity: what a UE used must be within what it may use."""
    assert link.target is not None and link.newest is not None
    state = link.newest.state
    quotas = link.target.encoder.explain(link.target.cell).get("quotas", {})
    shares = dict(zip(state.ue_ids, (state.prb_share_U * 100.0).tolist(), strict=True))
    known = {ue: shares[ue] for ue in quotas if ue in shares and math.isfinite(shares[ue])}
    slack = 100.0 * SLACK_RBGS / state.num_rbgs
    above = [
        f"UE {ue} used {share:.0f} % of {quotas[ue]} %" for ue, share in known.items() if share > quotas[ue] + slack
    ]
    if above:
        return AppliedCheck(False, ", ".join(above))
    if not known:
        return AppliedCheck(None, f"{len(quotas)} UEs are under a quota, none of which is in the newest report")
    return AppliedCheck(True, f"{len(known)} UEs are within their quotas")
