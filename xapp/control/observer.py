"""Where a recorder listens: everything that the loop's decisions depend on passes here, in order.

`Observer` itself does nothing: it stands where nobody records. Its methods are called from the loop's threads, some
under a lock, so they must return at once and never raise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from policy.intent import Intent
    from xapp.config.model import Controls
    from xapp.control.cell_link import CellLink, ReportSubscription
    from xapp.control.decision_record import DecisionRecord, SentControl
    from xapp.rmr.transport import RmrMessage


class Batch(NamedTuple):
    """Cells that were decided together."""

    reports: Sequence[int]
    """Report.number of each cell's."""
    intents: Sequence[Intent]
    reason: str
    """Why the leader's answer was not used for those that asked it (`late`, `busy`, `error`); empty = it was."""
    records: Sequence[DecisionRecord]
    """In order; without the cells that could not be sent anything for some error."""


class Observer:
    """Hears and forgets."""

    def opened(self, controls: Controls, instance_epoch: int) -> None:
        """Before anything else: the configuration, the leader's name in it."""

    def attached(self, instance_id: int, subscription: ReportSubscription, link: CellLink) -> None:
        """A subscription's reports feed a cell from now on."""

    def detached(self, instance_id: int) -> None:
        """They do no more."""

    def received(self, message: RmrMessage) -> None:
        """A message that is about to be handled."""

    def decided(self, batch: Batch) -> None:
        """A batch was decided, and what came of it was sent."""

    def encoder_called(self, kind: str, node: str, call: str, arguments: Mapping[str, Any]) -> None:
        """A node's encoder with a state (xapp.control_kinds) was changed by this call, or has sent; `new` made it."""

    def found_harm(self, cell: str, verdict: Mapping[str, Any]) -> None:
        """The KPI guard has reverted the leader of a cell."""

    def entered_standby(self) -> None:
        """Another instance controls: nothing is sent, and what was controlled is forgotten."""

    def released(self, sent: SentControl) -> None:
        """A release that no decision asked for: silence, a policy's end, the xApp's."""
