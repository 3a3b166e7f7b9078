"""How decisions become control messages: one encoder for each service model that nodes are controlled by.

DCM says a whole allocation in one message with a lease. RC (xapp.quotas.rc_encoder) knows only quotas of single UEs,
which are many, stay for ever and wait for their turn. The sender (xapp.control.sender) knows neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.intent import Intent
from policy.time_scales import LEASE_PERIODS
from xapp.e2.dcm import messages as dcm
from xapp.e2.kpm.report_reader import KpmReport


class DecisionContext(NamedTuple):
    """What a decision rests on, as far as its controls say so."""

    state: CellState
    """The cell's newest, which the allocation is for."""
    intent: Intent = Intent()
    indication_sn: int = 0
    """Of the DCM indication behind the state, 0 = none."""
    lead_slots: int = 0
    """From the report to the period that the decision governs."""
    kpm: KpmReport | None = None
    """The KPM report behind the state: it names the UEs in full."""
    measurement: int | None = None
    """Counts the cell's measurements: the same as that of the decision before where the report has brought no new one.
    None = every report brings one."""


class SendContext(NamedTuple):
    """When, and as whose how manieth control, something is said."""

    instance_epoch: int
    next_id: Callable[[], int]
    """A number for one more control, larger than all before."""
    now_s: float
    """time.monotonic()."""
    lease_periods: int = LEASE_PERIODS
    """Periods after a report until which its control holds, where a control has a lease."""


class ControlMessage(NamedTuple):
    """One control on its way out."""

    what: str
    """`controls` or `releases`."""
    decision_id: int
    header: bytes
    message: bytes
    cell: str
    """Key of the cell that it is about; "" = not known."""
    subject: int | None = None
    """The UE that it is about; None = the whole cell."""
    call_process_id: bytes | None = None
    """What the answer names again; None = nothing, for a node that knows no format of it."""


class ControlEncoder(Protocol):
    """One service model. Thread safe.

    Whatever it returns is to be sent now; it hears of each with a subject by `answered` or `not_sent`.
    """

    def control(
        self,
        cell: str,
        carrier: dcm.Carrier,
        allocation: Allocation,
        context: DecisionContext,
        send_context: SendContext,
    ) -> Sequence[ControlMessage]:
        """Say an allocation, which has passed the guard. Raises E2EncodeError if it does not fit the carrier."""
        ...

    def release(self, cell: str, carrier: dcm.Carrier, send_context: SendContext) -> Sequence[ControlMessage]:
        """Give a cell back to the node's own scheduler."""
        ...

    def due(self, send_context: SendContext, *, closing: bool = False) -> Sequence[ControlMessage]:
        """What had to wait and need not any longer. closing: everything is to be given back, as fast as may be."""
        ...

    def answered(self, subject: int, accepted: bool | None, *, echoed: bool, now_s: float) -> None:
        """A node's answer; None = none came in time. echoed: the answer named the control that it answers."""
        ...

    def not_sent(self, subject: int) -> None:
        """A message could not be handed over."""
        ...

    def explain(self, cell: str) -> dict[str, Any]:
        """What is in force beyond the newest allocation, for a screen."""
        ...

    @property
    def limited(self) -> int:
        """UEs that stay limited until they are released, whoever lives."""
        ...


class DcmEncoder:
    """The project's own service model. Stateless: what was decided last replaces what was before."""

    def control(
        self,
        cell: str,
        carrier: dcm.Carrier,
        allocation: Allocation,
        context: DecisionContext,
        send_context: SendContext,
    ) -> Sequence[ControlMessage]:
        """One control. Its lease ends `lease_periods` periods after the report: the lead is part of them."""
        slots = context.state.slots_per_dcm
        decision_id = send_context.next_id()
        message = dcm.encode_control(
            allocation,
            instance_epoch=send_context.instance_epoch,
            decision_id=decision_id,
            based_on_indication_sn=context.indication_sn,
            carrier=carrier,
            apply_from_slot=0,
            valid_for_slots=max(slots, send_context.lease_periods * slots - context.lead_slots),
        )
        return (self._message("controls", decision_id, carrier, message, cell, send_context),)

    def release(self, cell: str, carrier: dcm.Carrier, send_context: SendContext) -> Sequence[ControlMessage]:
        decision_id = send_context.next_id()
        message = dcm.encode_release(
            instance_epoch=send_context.instance_epoch, decision_id=decision_id, carrier=carrier
        )
        return (self._message("releases", decision_id, carrier, message, cell, send_context),)

    @staticmethod
    def _message(
        what: str, decision_id: int, carrier: dcm.Carrier, message: bytes, cell: str, send_context: SendContext
    ) -> ControlMessage:
        # With the epoch in it: answers to another instance's controls may come here, and its ids count from 1 as well.
        call = send_context.instance_epoch.to_bytes(8, "big") + decision_id.to_bytes(8, "big")
        return ControlMessage(what, decision_id, _header(carrier), message, cell, call_process_id=call)

    def due(self, send_context: SendContext, *, closing: bool = False) -> Sequence[ControlMessage]:
        return ()

    def answered(self, subject: int, accepted: bool | None, *, echoed: bool, now_s: float) -> None:
        """Its messages have no subject."""

    def not_sent(self, subject: int) -> None:
        """Its messages have no subject."""

    def explain(self, cell: str) -> dict[str, Any]:
        return {}

    @property
    def limited(self) -> int:
        return 0


def _header(carrier: dcm.Carrier) -> bytes:
    return dcm.encode_control_header(dcm.ControlHeader(carrier.cell))
