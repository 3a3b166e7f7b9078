"""Which subscriptions the simulated node honours: its period, cells and measurements; the rest is refused by cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from policy.observation import ObservationProfile
from training.simulator.metrics import UeTable
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.e2.kpm import messages as kpm
from xapp.lab.gnb.behaviour import BEHAVIOURS, Behaviour
from xapp.lab.gnb.mac import Mac
from xapp.lab.gnb.ran_functions import KPM_FUNCTION_ID, KPM_STYLE


class Refusal(NamedTuple):
    """A subscription or an action that is not honoured."""

    cause: e2ap.Cause
    reason: str


class ReportAction(NamedTuple):
    action_id: int
    measurements: tuple[str, ...]
    """KPM only."""
    reports_anybody: bool = True
    """Somebody may meet its conditions."""


@dataclass(slots=True)
class NodeSubscription:
    """One active subscription: one function of one cell."""

    request_id: e2ap.RicRequestId
    function_id: int
    kind: Literal["kpm", "dcm"]
    row: int
    """Row of the cell in the MAC."""
    every_periods: int
    actions: tuple[ReportAction, ...]
    previous: UeTable
    """The UEs' totals at the last report (at first: when it was set up)."""
    previous_slot: int
    next_sn: int = 0


Admitted = tuple[NodeSubscription, dict[int, Refusal]]
"""The subscription, and those of its actions that are not honoured."""


def _refusal(value: str, reason: str) -> Refusal:
    return Refusal(e2ap.Cause("ricRequest", value), reason)


def admit(
    request: procedures.SubscriptionRequest,
    mac: Mac,
    period_ms: int,
    profile: ObservationProfile,
    *,
    has_dcm: bool = True,
    dialect: Dialect = Dialect.STANDARD,
    behaviour: Behaviour = BEHAVIOURS[""],
) -> Admitted | Refusal:
    """Honour what can be honoured: a subscription with at least one action, all for the same cell. Raises NodeDied."""
    if request.function_id not in (KPM_FUNCTION_ID, *((dcm.DCM_FUNCTION_ID,) if has_dcm else ())):
        return _refusal("ran-function-id-invalid", f"no RAN function {request.function_id}")
    is_kpm = request.function_id == KPM_FUNCTION_ID
    every_periods = _every_periods(request.event_trigger, is_kpm, period_ms)
    if isinstance(every_periods, Refusal):
        return every_periods
    actions: dict[int, ReportAction] = {}
    refused: dict[int, Refusal] = {}
    rows: set[int] = set()
    for action in request.actions:
        answer = (
            _kpm_action(action, mac, every_periods * period_ms, profile, dialect, behaviour)
            if is_kpm
            else _dcm_action(action, mac)
        )
        if isinstance(answer, Refusal):
            refused[action.action_id] = answer
        elif action.action_id in actions:
            refused[action.action_id] = _refusal("duplicate-action", f"action {action.action_id} is given twice")
        elif rows and answer[0] not in rows:
            refused[action.action_id] = _refusal("action-not-supported", "a subscription is for one cell")
        else:
            rows.add(answer[0])
            actions[action.action_id] = answer[1]
    if not actions:
        return next(iter(refused.values()), _refusal("action-not-supported", "no action"))
    row = rows.pop()
    subscription = NodeSubscription(
        request.request_id,
        request.function_id,
        "kpm" if is_kpm else "dcm",
        row,
        every_periods,
        tuple(actions.values()),
        mac.batch.ue_table(row),
        mac.slot,
    )
    return subscription, refused


def _every_periods(trigger: bytes, is_kpm: bool, period_ms: int) -> int | Refusal:
    """How many of the node's periods lie between two reports."""
    try:
        wanted_ms = (
            kpm.decode_event_trigger(trigger).period_ms
            if is_kpm
            else dcm.decode_event_trigger(trigger).report_period_ms
        )
    except E2DecodeError as error:
        return _refusal("eventTriggerNotSupported", str(error))
    if wanted_ms % period_ms:
        return _refusal("eventTriggerNotSupported", f"a period of {wanted_ms} ms, expected multiples of {period_ms} ms")
    return wanted_ms // period_ms


def _dcm_action(action: procedures.Action, mac: Mac) -> tuple[int, ReportAction] | Refusal:
    if action.action_type != "report" or action.definition is None:
        return _refusal("action-not-supported", f"action {action.action_id} is no report with a definition")
    try:
        cell = dcm.decode_action_definition(action.definition).cell
    except E2DecodeError as error:
        return _refusal("action-not-supported", str(error))
    row = mac.row_of(cell)
    if row is None:
        return _refusal("invalid-information-request", f"no cell {cell}")
    return row, ReportAction(action.action_id, ())


def _kpm_action(
    action: procedures.Action,
    mac: Mac,
    report_ms: int,
    profile: ObservationProfile,
    dialect: Dialect,
    behaviour: Behaviour,
) -> tuple[int, ReportAction] | Refusal:
    if action.action_type != "report" or action.definition is None:
        return _refusal("action-not-supported", f"action {action.action_id} is no report with a definition")
    try:
        wanted = kpm.decode_action_definition(action.definition, dialect)
    except E2DecodeError as error:
        return _refusal("action-not-supported", str(error))
    if wanted.style != KPM_STYLE or not wanted.conditions:
        return _refusal("action-not-supported", f"report style {wanted.style}, expected {KPM_STYLE} (format 4)")
    if wanted.granularity_ms != report_ms:
        reason = f"a granularity of {wanted.granularity_ms} ms, expected that of the report, {report_ms} ms"
        return _refusal("action-not-supported", reason)
    if unknown := [name for name in wanted.measurements if name not in profile.measurements]:
        return _refusal("requested-information-unavailable", f"not measured here: {', '.join(unknown)}")
    if wanted.cell is None:
        if len(mac.carriers) > 1:
            return _refusal("invalid-information-request", "no cellGlobalID, and the node has several cells")
        row: int | None = 0
    else:
        row = mac.row_of(wanted.cell)
    if row is None:
        return _refusal("invalid-information-request", f"no cell {wanted.cell}")
    reports_anybody = behaviour.reports_anybody(wanted.conditions)
    return row, ReportAction(action.action_id, wanted.measurements, reports_anybody)
