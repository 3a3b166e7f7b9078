"""The simulated node's E2 side: setup, subscriptions, indications and controls as PDUs in and PDUs out.

No sockets and no wall clock of its own; one thread owns it together with the MAC. Whatever bytes arrive, it answers or
counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.observation import ObservationProfile
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dcm import messages as dcm
from xapp.e2.dcm.messages import Outcome, OutcomeCode
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.e2.e2ap.elements import PduKind, Procedure
from xapp.e2.kpm import messages as kpm
from xapp.e2.ue_id.ue_id import UeId
from xapp.lab.counters import Counters
from xapp.lab.gnb import ccc_function, rc_function
from xapp.lab.gnb.behaviour import BEHAVIOURS, Behaviour
from xapp.lab.gnb.mac import CellReport, Mac
from xapp.lab.gnb.measurements import MEASUREMENTS, Measured, RefreshedMeasurements, Totals, measure, totals_since
from xapp.lab.gnb.ran_functions import dcm_function, setup_request
from xapp.lab.gnb.slice_table import slice_row
from xapp.lab.gnb.subscriptions import NodeSubscription, Refusal, ReportAction, admit

logger = logging.getLogger(__name__)

RAN_FUNCTION_INVALID = e2ap.Cause("ricRequest", "ran-function-id-invalid")
CONTROL_INVALID = e2ap.Cause("ricRequest", "control-message-invalid")
CONTROL_FAILED = e2ap.Cause("ricRequest", "control-failed-to-execute")
REQUEST_UNKNOWN = e2ap.Cause("ricRequest", "request-id-unknown")
UNREADABLE = e2ap.Cause("protocol", "transfer-syntax-error")
UNEXPECTED = e2ap.Cause("protocol", "message-not-compatible-with-receiver-state")

REAL_NAMES = frozenset(name for name, measurement in MEASUREMENTS.items() if not measurement.integer)


class E2Agent:
    """Between the MAC and the RIC."""

    def __init__(
        self,
        mac: Mac,
        identity: procedures.GnbId,
        *,
        period_ms: int,
        profile: ObservationProfile,
        counters: Counters,
        control: Literal["dcm", "ccc", "rc"] = "dcm",
        dialect: Dialect = Dialect.STANDARD,
        behaviour: Behaviour = BEHAVIOURS[""],
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """period_ms: wall time of one report period. control: the service model that the node is controlled by.

        dialect: how it writes KPM and RC. wall_ns: ns since 1970, for time stamps only.
        """
        self.mac, self.identity, self.profile = mac, identity, profile
        self._period_ms, self._counters, self._wall_ns = period_ms, counters, wall_ns
        self._subscriptions: dict[e2ap.RicRequestId, NodeSubscription] = {}
        self._transaction = 0
        self._has_dcm, self._dialect, self._behaviour = control == "dcm", dialect, behaviour
        self._has_ccc = control == "ccc" or behaviour.offers_ratios
        self._has_rc = control == "rc" or behaviour.offers_ratios
        refresh_slots = behaviour.refresh_ms * mac.scenario.slots_per_dcm // period_ms
        self._measured = [RefreshedMeasurements(carrier, refresh_slots) for carrier in mac.carriers]
        """By row of the cell."""
        self.set_up = False
        """The RIC has accepted this node's setup."""

    @property
    def subscriptions(self) -> int:
        return len(self._subscriptions)

    @property
    def covered(self) -> bool:
        """Every cell has a KPM subscription, and a DCM one if the node has DCM."""
        functions = ("kpm", "dcm") if self._has_dcm else ("kpm",)
        wanted = {(cell, function) for cell in range(len(self.mac.carriers)) for function in functions}
        return wanted <= {(s.row, s.kind) for s in self._subscriptions.values()}

    # -- association --------------------------------------------------------------------------------------------------

    def connected(self) -> bytes:
        """The association is up: the setup request to send."""
        self._transaction = (self._transaction + 1) % 256
        functions = [dcm_function(self.mac.carriers)] if self._has_dcm else []
        functions += [rc_function.function_item()] if self._has_rc else []
        functions += [ccc_function.function_item(self.mac)] if self._has_ccc else []
        measurements, all_styles = self.profile.measurements, self._behaviour.all_styles
        return procedures.encode(
            setup_request(self._transaction, self.identity, measurements, functions, all_styles=all_styles)
        )

    def disconnected(self) -> None:
        """The association is gone, and with it every subscription. Controls stay until their lease is over."""
        self.set_up = False
        self._subscriptions.clear()

    def handle(self, pdu: bytes) -> list[bytes]:
        """The answers to one PDU from the RIC. Raises NodeDied where the node that is imitated would die."""
        kind: int | None = None
        procedure: int | None = None
        try:
            kind, procedure = e2ap.peek(pdu)
            if (kind, procedure) == (PduKind.INITIATING, Procedure.RIC_CONTROL):
                return self._control(e2ap.decode_control_request(pdu))
            return self._procedure(procedures.decode(pdu))
        except E2DecodeError as error:
            self._counters.add("e2_undecodable")
            logger.warning("undecodable PDU from the RIC: %s", error)
            # An error about an error would never end.
            return [] if procedure == Procedure.ERROR_INDICATION else [_error(UNREADABLE)]

    def _procedure(self, message: procedures.Message) -> list[bytes]:
        match message:
            case procedures.E2SetupResponse():
                self.set_up = True
                for rejected in message.rejected:
                    self._counters.add("ran_function_rejected")
                    logger.error("the RIC rejected RAN function %d: %s: %s", rejected.function_id, *rejected.cause)
                return []
            case procedures.E2SetupFailure():
                self._counters.add("e2_setup_failed")
                logger.error("the RIC refused E2 setup: %s: %s", *message.cause)
                return []
            case procedures.SubscriptionRequest():
                return [procedures.encode(self._subscribe(message))]
            case procedures.SubscriptionDeleteRequest():
                return [procedures.encode(self._unsubscribe(message))]
            case procedures.ErrorIndication():
                self._counters.add("e2_error_indication")
                logger.warning("the RIC indicates an error: %s", message)
                return []
            case _:
                self._counters.add("e2_unexpected")
                return [_error(UNEXPECTED)]

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def _subscribe(self, request: procedures.SubscriptionRequest) -> procedures.Message:
        admitted = admit(
            request,
            self.mac,
            self._period_ms,
            self.profile,
            has_dcm=self._has_dcm,
            dialect=self._dialect,
            behaviour=self._behaviour,
        )
        if isinstance(admitted, Refusal):
            self._counters.add("subscriptions_refused")
            logger.warning("subscription %s refused: %s", request.request_id, admitted.reason)
            return procedures.SubscriptionFailure(request.request_id, request.function_id, admitted.cause)
        subscription, refused = admitted
        # A repeated request is a lost answer: it takes the place of the first.
        self._subscriptions[request.request_id] = subscription
        actions = tuple(procedures.RefusedAction(action_id, refusal.cause) for action_id, refusal in refused.items())
        for action_id, refusal in refused.items():
            logger.warning("action %d of subscription %s refused: %s", action_id, request.request_id, refusal.reason)
        return procedures.SubscriptionResponse(
            request.request_id, request.function_id, tuple(a.action_id for a in subscription.actions), actions
        )

    def _unsubscribe(self, request: procedures.SubscriptionDeleteRequest) -> procedures.Message:
        if self._subscriptions.pop(request.request_id, None) is None:
            return procedures.SubscriptionDeleteFailure(request.request_id, request.function_id, REQUEST_UNKNOWN)
        return procedures.SubscriptionDeleteResponse(request.request_id, request.function_id)

    # -- indications --------------------------------------------------------------------------------------------------

    def indications(self, reports: list[CellReport]) -> list[bytes]:
        """What is due at this boundary: per cell its DCM indications, then its KPM reports."""
        pdus = []
        period = self.mac.slot // self.mac.scenario.slots_per_dcm
        for refreshed, report in zip(self._measured, reports):
            refreshed.boundary(self.mac.slot, report)
        for row, report in enumerate(reports):
            due = [s for s in self._subscriptions.values() if s.row == row and period % s.every_periods == 0]
            for subscription in sorted(due, key=lambda s: s.kind):  # "dcm" < "kpm"
                totals = totals_since(report.table, subscription.previous, self.mac.slot - subscription.previous_slot)
                measured = Measured(report, totals, self.mac.carriers[row])
                for action in subscription.actions:
                    header, message = (
                        self._dcm_report(measured, subscription)
                        if subscription.kind == "dcm"
                        else self._kpm_report(measured, action, subscription)
                    )
                    if message:
                        pdus.append(self._indication(subscription, action.action_id, header, message))
                subscription.previous, subscription.previous_slot = report.table, self.mac.slot
        return pdus

    def _indication(self, subscription: NodeSubscription, action_id: int, header: bytes, message: bytes) -> bytes:
        number = subscription.next_sn
        subscription.next_sn = (number + 1) % e2ap.SN_RANGE
        if subscription.kind == "dcm":
            self.mac.reported_as(subscription.row, number)
        return e2ap.encode_indication(
            e2ap.Indication(
                subscription.request_id,
                subscription.function_id,
                action_id,
                e2ap.IndicationType.REPORT,
                header,
                message,
                sn=number if self._behaviour.numbers_indications or subscription.kind == "dcm" else None,
            )
        )

    def _kpm_report(
        self, measured: Measured, action: ReportAction, subscription: NodeSubscription
    ) -> tuple[bytes, bytes]:
        period_ms = subscription.every_periods * self._period_ms
        start_s = self._wall_ns() / 1e9 - period_ms / 1e3
        header = kpm.encode_indication_header(kpm.IndicationHeader(kpm.ntp_time(start_s)))
        if not self._has_dcm:
            self._count_quotas(measured, subscription)
        names, ue_ids, values = action.measurements, list[UeId](), list[NDArray[np.float64]]()
        for row in self._rows_of(subscription):
            ues = measured.report.table.ue_ids if row == subscription.row else self._measured[row].ue_ids
            ue_ids += [self._behaviour.ue_id(ue if self._has_dcm else rc_function.f1ap_id(row, ue)) for ue in ues]
            if self._behaviour.refresh_ms:
                values.append(self._measured[row].values(names))
            elif row == subscription.row:
                values.append(measure(measured, names, late_ues=self.profile.dcm_columns))
        if not ue_ids or not action.reports_anybody:
            return header, b""  # format 3 cannot say that there is nobody
        return header, kpm.encode_report(
            ue_ids, names, np.concatenate(values), period_ms, reals=REAL_NAMES, dialect=self._dialect
        )

    def _rows_of(self, subscription: NodeSubscription) -> Sequence[int]:
        """Cells whose UEs the subscription reports."""
        return range(len(self.mac.carriers)) if self._behaviour.ignores_cells else (subscription.row,)

    def _count_quotas(self, measured: Measured, subscription: NodeSubscription) -> None:
        """Count UEs under a quota, and those that were on more than it says."""
        quotas = self.mac.quotas[subscription.row]
        used_U = measure(measured, ("RRU.PrbUsedUl",))[:, 0]
        slices = self.mac.slices[subscription.row]
        for row in range(len(slices.ratios)):
            most_prb = slices.most_prb_since(row, subscription.previous_slot)
            if most_prb is not None:
                members = [slice_row(ue) == row for ue in measured.report.table.ue_ids]
                # Each UE's figure is rounded to whole PRBs.
                is_over = used_U[members].sum() > most_prb + 0.5 * sum(members)
                self._counters.add("slice_reports_under_ratio")
                self._counters.add("slice_reports_over_ratio", int(is_over))
        for ue, used_prb in zip(measured.report.table.ue_ids, used_U.tolist()):
            most_prb = quotas.most_prb_since(ue, subscription.previous_slot)
            if most_prb is not None:
                self._counters.add("ue_reports_under_quota")
                self._counters.add("ue_reports_over_quota", int(used_prb > most_prb))

    def _dcm_report(self, measured: Measured, subscription: NodeSubscription) -> tuple[bytes, bytes]:
        report, carrier = measured.report, measured.carrier
        header = dcm.IndicationHeader(carrier.cell, self.mac.slot, self._wall_ns())
        applied = None
        if report.applied is not None:
            bitmaps = dcm.allocation_bitmaps(report.applied.allocation)
            applied = dcm.AppliedControl(report.applied.instance_epoch, report.applied.decision_id, *bitmaps)
        indication = dcm.Indication(
            report.state.ue_ids,
            slots_per_report=subscription.every_periods * self.mac.scenario.slots_per_dcm,
            next_boundary_slot=self.mac.next_boundary_slot,
            report_delay_slots=self.mac.scenario.report_delay_slots,
            applied=applied,
            **(_columns(report.state, measured.totals, report) if self.profile.dcm_columns else {}),
        )
        return dcm.encode_indication_header(header), dcm.encode_indication(indication)

    # -- controls -----------------------------------------------------------------------------------------------------

    def _control(self, request: e2ap.ControlRequest) -> list[bytes]:
        self._counters.add("controls_received")
        if self._has_ccc and request.function_id == ccc_function.CCC_FUNCTION_ID:
            return self._slice_ratios(request)
        if self._has_rc and request.function_id == rc_function.RC_FUNCTION_ID:
            return self._quota(request)
        if not self._has_dcm or request.function_id != dcm.DCM_FUNCTION_ID:
            self._counters.add("control_failed_ran_function")
            return [_failure(request, RAN_FUNCTION_INVALID, None)]
        outcome = self._outcome(request)
        if outcome.code is not OutcomeCode.OK:
            self._counters.add(f"control_failed_{outcome.code.name.lower()}")
            logger.info("control %d refused: %s %s", outcome.decision_id, outcome.code.name, outcome.detail)
            stale = outcome.code in (OutcomeCode.STALE_DECISION, OutcomeCode.STALE_EPOCH)
            return [_failure(request, CONTROL_FAILED if stale else CONTROL_INVALID, outcome)]
        self._counters.add("controls_accepted")
        if request.ack_request is e2ap.AckRequest.NO_ACK:
            return []
        acknowledge = e2ap.ControlAcknowledge(
            request.request_id, request.function_id, request.call_process_id, dcm.encode_outcome(outcome)
        )
        return [e2ap.encode_control_acknowledge(acknowledge)]

    def _quota(self, request: e2ap.ControlRequest) -> list[bytes]:
        refused = rc_function.obey(self.mac, request, self._dialect, self._behaviour)
        if not self._behaviour.echoes_calls:
            request = request._replace(call_process_id=None)
        if refused is not None:
            self._counters.add(f"control_failed_{refused.name}")
            logger.info("control refused: %s", refused.reason)
            return [_failure(request, refused.cause, None)]
        self._counters.add("controls_accepted")
        if request.ack_request is e2ap.AckRequest.NO_ACK:
            return []
        acknowledge = e2ap.ControlAcknowledge(request.request_id, request.function_id, request.call_process_id)
        return [e2ap.encode_control_acknowledge(acknowledge)]

    def _slice_ratios(self, request: e2ap.ControlRequest) -> list[bytes]:
        time_text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall_ns() // 1_000_000_000))
        outcome, refused = ccc_function.obey(self.mac, request, time_text)
        answer = request.request_id, request.function_id
        if refused is not None:
            self._counters.add(f"control_failed_{refused.name}")
            logger.info("control refused: %s", refused.reason)
            return [e2ap.encode_control_failure(e2ap.ControlFailure(*answer, refused.cause, None, outcome or None))]
        self._counters.add("controls_accepted")
        if request.ack_request is e2ap.AckRequest.NO_ACK:
            return []
        return [e2ap.encode_control_acknowledge(e2ap.ControlAcknowledge(*answer, None, outcome))]

    def _outcome(self, request: e2ap.ControlRequest) -> Outcome:
        try:
            cell = dcm.decode_control_header(request.header).cell
            if self.mac.row_of(cell) is None:
                return Outcome(OutcomeCode.UNKNOWN_CELL, f"no cell {cell}")
            return self.mac.control(cell, dcm.decode_control(request.message))
        except dcm.DcmColumnError as error:
            return Outcome(OutcomeCode.BAD_BITMAP, str(error))
        except E2DecodeError as error:
            return Outcome(OutcomeCode.MALFORMED, str(error))


def _columns(state: CellState, totals: Totals, report: CellReport) -> dict[str, NDArray[np.float64]]:
    """What a DCM indication says of each UE and RBG, by the names of its fields."""
    return {
        "traffic_class": state.traffic_class_U,
        "buffer_bits": state.buffer_bits_U,
        "cqi": state.cqi_U,
        "preferred_rbg": state.preferred_rbg_U,
        "head_delay_slots": state.head_delay_slots_U,
        "served_bits": totals.served_bits_U,
        "inflight_bits": state.inflight_bits_U,
        "ul_sinr_db": report.table.sinr_db_U,
        "deadline_slots": state.deadline_slots_U,
        "arrival_period_slots": state.arrival_period_slots_U,
        "arrival_phase_slots": state.arrival_phase_slots_U,
        "packet_bits": state.packet_bits_U,
        "buffer_bits_before": state.buffer_bits_before_U,
        "slots_since_served": state.slots_since_served_U,
        "ucm": state.ucm_U,
        # The simulator counts bits.
        "lost_packets": totals.dropped_bits_U / state.packet_bits_U,
        "delivered_packets": totals.served_bits_U / state.packet_bits_U,
        "heard_cqi": state.last_cqi_UM,
        "heard_age_slots": state.last_cqi_age_slots_UM,
        "last_outcome": state.last_outcome_M,
    }


def _failure(request: e2ap.ControlRequest, cause: e2ap.Cause, outcome: Outcome | None) -> bytes:
    return e2ap.encode_control_failure(
        e2ap.ControlFailure(
            request.request_id,
            request.function_id,
            cause,
            request.call_process_id,
            dcm.encode_outcome(outcome) if outcome is not None else None,
        )
    )


def _error(cause: e2ap.Cause) -> bytes:
    return procedures.encode(procedures.ErrorIndication(cause=cause))
