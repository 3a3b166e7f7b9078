"""How decisions become control messages: one encoder for each service model that nodes are controlled by.

DCM says a whole allocation in one message with a lease. RC (xapp.quotas.rc_encoder) knows only quotas of single UEs,
which are many, stay for ever and wait for their turn. The sender (xapp.control.sender) knows neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

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
    """When a control is sent, by which instance and under which number."""

    instance_epoch: int
    next_id: Callable[[], int]
    """A number for one more control, larger than all before."""
    now_s: float
    """time.monotonic()."""
    lease_periods: int = LEASE_PERIODS
    """Periods after a report until which its control holds, where a control has a lease."""


class OnAnswer(Protocol):
    """What an encoder does with an answer to one of its controls."""

    def __call__(self, accepted: bool | None, *, echoed: bool, now_s: float) -> None:
        """accepted: None = no answer came in time. echoed: the answer named the control that it answers."""
        ...


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
    on_answer: OnAnswer | None = None
    """Called with the node's answer, where the encoder waits for it."""
    on_not_sent: Callable[[], None] | None = None
    """Called where the message could not be handed over, instead of `on_answer`."""


class AppliedCheck(NamedTuple):
    """What a cell's newest report shows of whether it does what it is asked for."""

    effective: bool | None
    """None = the reports do not say."""
    text: str = ""


class ControlEncoder(Protocol):
    """One service model. Thread safe.

    Whatever it returns is to be sent now; a message says itself who wants to know what became of it.
    """

    service_model: ClassVar[str]
    """Its name in configurations and recordings."""

    def encode(
        self,
        cell: str,
        carrier: dcm.Carrier,
        allocation: Allocation,
        context: DecisionContext,
        send_context: SendContext,
    ) -> Sequence[ControlMessage]:
        """Write an allocation, which has passed the guard. Raises E2EncodeError if it does not fit the carrier."""
        ...

    def release(self, cell: str, carrier: dcm.Carrier, send_context: SendContext) -> Sequence[ControlMessage]:
        """Give a cell back to the node's own scheduler."""
        ...

    def is_applied(self, state: CellState, applied: dcm.AppliedControl | None, epoch: int) -> AppliedCheck:
        """Whether the cell does what it is asked for, as far as its newest state and report say.

        applied: the control that the report names as in force, if it names one. epoch: this instance's. Asked for on
        demand, never in the decision path.
        """
        ...

    def due(self, send_context: SendContext, *, closing: bool = False) -> Sequence[ControlMessage]:
        """What had to wait and need not any longer. closing: everything is to be given back, as fast as may be."""
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

    service_model: ClassVar[str] = "dcm"

    def encode(
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

    def is_applied(self, state: CellState, applied: dcm.AppliedControl | None, epoch: int) -> AppliedCheck:
        """A DCM indication names the control that governs the cell."""
        if applied is None:
            return AppliedCheck(False, "the node's own scheduler is in charge")
        if applied.instance_epoch != epoch:
            return AppliedCheck(False, f"it follows decision {applied.decision_id} of another instance")
        return AppliedCheck(True, f"it follows decision {applied.decision_id}")

    @staticmethod
    def _message(
        what: str, decision_id: int, carrier: dcm.Carrier, message: bytes, cell: str, send_context: SendContext
    ) -> ControlMessage:
        # With the epoch in it: answers to another instance's controls may come here, and its ids count from 1 as well.
        call = send_context.instance_epoch.to_bytes(8, "big") + decision_id.to_bytes(8, "big")
        return ControlMessage(what, decision_id, _header(carrier), message, cell, call_process_id=call)

    def due(self, send_context: SendContext, *, closing: bool = False) -> Sequence[ControlMessage]:
        return ()

    def explain(self, cell: str) -> dict[str, Any]:
        return {}

    @property
    def limited(self) -> int:
        return 0


def _header(carrier: dcm.Carrier) -> bytes:
    return dcm.encode_control_header(dcm.ControlHeader(carrier.cell))
