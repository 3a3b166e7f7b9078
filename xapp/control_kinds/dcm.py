"""The project's own service model: a whole allocation in one message with a lease (docs/dcm.md)."""

from __future__ import annotations

from collections.abc import Sequence

from policy.allocation import Allocation
from policy.cell_state import CellState
from xapp.config.model import NodeConfig
from xapp.control.encoder import AppliedCheck, ControlEncoder, ControlMessage, DecisionContext, SendContext
from xapp.control_kinds.control_kind import ControlKind, Offer, Problem
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dcm import messages as dcm
from xapp.e2.dcm.messages import AppliedControl, Carrier
from xapp.ric.nodes import RanFunction


class DcmEncoder(ControlEncoder):
    """Stateless: what was decided last replaces what was before."""

    service_model = "dcm"

    def encode(
        self, cell: str, carrier: Carrier, allocation: Allocation, context: DecisionContext, send_context: SendContext
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

    def release(self, cell: str, carrier: Carrier, send_context: SendContext) -> Sequence[ControlMessage]:
        decision_id = send_context.next_id()
        message = dcm.encode_release(
            instance_epoch=send_context.instance_epoch, decision_id=decision_id, carrier=carrier
        )
        return (self._message("releases", decision_id, carrier, message, cell, send_context),)

    def is_applied(self, state: CellState, applied: AppliedControl | None, epoch: int) -> AppliedCheck:
        """A DCM indication names the control that governs the cell."""
        if applied is None:
            return AppliedCheck(False, "the node's own scheduler is in charge")
        if applied.instance_epoch != epoch:
            return AppliedCheck(False, f"it follows decision {applied.decision_id} of another instance")
        return AppliedCheck(True, f"it follows decision {applied.decision_id}")

    def read_outcome(self, outcome: bytes) -> dcm.Outcome:
        return dcm.decode_outcome(outcome)

    @staticmethod
    def _message(
        what: str, decision_id: int, carrier: Carrier, message: bytes, cell: str, send_context: SendContext
    ) -> ControlMessage:
        # With the epoch in it: answers to another instance's controls may come here, and its ids count from 1 as well.
        call = send_context.instance_epoch.to_bytes(8, "big") + decision_id.to_bytes(8, "big")
        return ControlMessage(what, decision_id, _header(carrier), message, cell, call_process_id=call)


def _header(carrier: Carrier) -> bytes:
    return dcm.encode_control_header(dcm.ControlHeader(carrier.cell))


class Kind(ControlKind):
    """Control of nodes that have the DCM function."""

    function = "a DCM function"
    oids = (dcm.DCM_OID,)
    short_name = "STACKMAC-DCM"
    shared = DcmEncoder()
    decode = staticmethod(dcm.decode_ran_function)

    @staticmethod
    def offer(node: str, function: RanFunction, settings: NodeConfig) -> Offer:
        try:
            cells = dcm.decode_ran_function(function.definition).cells
        except E2DecodeError as error:
            return Offer(function.id, {}, problems=(Problem("function_unreadable", f"{node}: {error}"),))
        return Offer(function.id, {carrier.cell: carrier for carrier in cells})

    @staticmethod
    def indications(cell: str, report_period_ms: int) -> tuple[bytes, bytes]:
        trigger = dcm.encode_event_trigger(dcm.EventTrigger(report_period_ms))
        return trigger, dcm.encode_action_definition(dcm.ActionDefinition(cell))
