"""The decision path in one thread, and the reports that `stackmac bench` feeds it."""

from __future__ import annotations

import numpy as np

from policy.allocation import DYNAMIC, OPEN, Allocation, LeftoverRule
from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Leader, never_expires
from policy.time_scales import LEASE_PERIODS
from xapp.a1.enforcement import PoliciesInForce
from xapp.config.model import KPM_MEASUREMENTS, Controls
from xapp.control.cell_link import CellLink, ControlTarget, Report, ReportSubscription
from xapp.control.cell_tracker import CellTracker
from xapp.control.control_loop import ControlLoop
from xapp.control.mailbox import Mailbox
from xapp.control.receiver import Receiver
from xapp.control.sender import REQUESTOR_ID, ControlSender
from xapp.control_kinds.dcm import DcmEncoder
from xapp.e2.dcm import messages as dcm
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm.report_writer import encode_report
from xapp.e2.ue_id.ue_id import GnbDuUeId
from xapp.monitoring.metrics import Metrics
from xapp.rmr.transport import RIC_INDICATION, RmrMessage

NODE = "gnb_001_001_00000001"
NCI = "00f110000000011"
MEASUREMENTS = (*KPM_MEASUREMENTS, "RRU.PrbAvailUl", "DRB.RlcDelayUl")
REALS = ("DRB.UEThpUl", "DRB.AirIfDelayUl", "DRB.RlcDelayUl")
DCM_INSTANCE, KPM_INSTANCE = 1, 2
MODEL_DEADLINE_MS = 10_000.0
"""Far away: what is measured is how long the leader takes, not what happens when it takes too long."""


class Sent:
    """The sending half of a transport: keeps the newest control, loses nothing to sockets."""

    def __init__(self) -> None:
        self.payload = b""
        self.ready = True
        self.counters: dict[str, int] = {}

    def send(self, message: RmrMessage) -> bool:
        self.payload = message.payload
        return True

    def receive(self, timeout_s: float) -> RmrMessage | None:
        return None

    @property
    def waiting(self) -> int:
        return 0

    def reply(self, request: RmrMessage, mtype: int, payload: bytes) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""


class DecisionPath:
    """The xApp's decision path around one leader, without threads of its own but the leader's."""

    def __init__(self, leader: Leader, k: int, num_rbgs: int) -> None:
        self.leader, self.k, self.num_rbgs = leader, k, num_rbgs
        self.intent = Intent()
        self.sent = Sent()
        self.metrics = Metrics()
        self.mailbox: Mailbox[Report] = Mailbox(0.0)
        self.sender = ControlSender(self.sent, self.metrics, instance_epoch=1, lease_periods=LEASE_PERIODS)
        self.receiver = Receiver(self.sent, self.mailbox, self.sender, self.metrics)
        controls = Controls(decision_deadline_ms=MODEL_DEADLINE_MS)
        policies = PoliciesInForce()
        self.loop = ControlLoop(
            controls,
            leader,
            self.mailbox,
            self.sender,
            self.metrics,
            links=self.receiver.links,
            intent_of=policies.intent_for,
            on_decided=policies.on_decided,
        )
        cell = f"{NODE}/{NCI}"
        tracker = CellTracker(cell, num_rbgs=num_rbgs, report_period_ms=100, has_kpm=True, has_dcm=True)
        target = ControlTarget(NODE, cell, dcm.DCM_FUNCTION_ID, DCM_INSTANCE, carrier(num_rbgs), DcmEncoder())
        self.link = CellLink(tracker, target)
        self.receiver.attach(DCM_INSTANCE, ReportSubscription(cell, "dcm"), self.link)
        self.receiver.attach(KPM_INSTANCE, ReportSubscription(cell, "kpm", MEASUREMENTS), self.link)
        self._sn = 0

    def reports(self, rng: np.random.Generator, ues: int) -> tuple[RmrMessage, RmrMessage]:
        """A period's two reports."""
        self._sn += 1
        # In this order: what a seed draws stays what it is.
        kpm = kpm_report(rng, ues=ues, sn=self._sn)
        return dcm_report(rng, ues=ues, k=self.k, num_rbgs=self.num_rbgs, sn=self._sn), kpm

    def state(self, rng: np.random.Generator, ues: int) -> CellState:
        """What one period's reports come to."""
        for message in self.reports(rng, ues):
            self.receiver.on_message(message)
        ((_, report),) = self.mailbox.take(0.0)
        return report.state

    def decide_alone(self, state: CellState) -> None:
        """The leader, without what is around it."""
        self.leader.decide([state], [self.intent], never_expires)

    def decide(self, messages: tuple[RmrMessage, RmrMessage]) -> bytes:
        """Reports in, control out."""
        for message in messages:
            self.receiver.on_message(message)
        self.sent.payload = b""
        self.loop.decide([report for _, report in self.mailbox.take(0.0)])
        if not self.sent.payload:
            raise RuntimeError(f"no control was sent: {self.metrics.summary()}")
        return self.sent.payload

    def close(self) -> None:
        self.loop.close()


def carrier(num_rbgs: int) -> dcm.Carrier:
    return dcm.Carrier.of(NCI, bwp_size_prb=4 * num_rbgs, rbg_size_prb=4)


def allocation(rng: np.random.Generator, *, ues: int, num_rbgs: int) -> Allocation:
    """Some RBGs to UEs, some OPEN, some DYNAMIC."""
    owners = rng.choice([DYNAMIC, OPEN, *range(min(ues, num_rbgs))], num_rbgs).astype(np.int16)
    return Allocation(tuple(range(ues)), owners, LeftoverRule(7, 1.2))


def control_bytes(chosen: Allocation) -> bytes:
    return dcm.encode_control(
        chosen,
        instance_epoch=1,
        decision_id=1,
        based_on_indication_sn=1,
        carrier=carrier(chosen.num_rbgs),
        valid_for_slots=2,
    )


def indication(rng: np.random.Generator, *, ues: int, k: int, num_rbgs: int, slot: int = 0) -> dcm.Indication:
    """Busy UEs of all three classes."""
    classes_U = np.arange(ues) % 3
    periodic_U = classes_U == 1
    periods_U = np.where(periodic_U, rng.integers(10, 26, ues), np.nan)
    return dcm.Indication(
        tuple(range(ues)),
        k,
        slot if k < 10 else slot + k,
        4,
        traffic_class=classes_U.astype(float),
        buffer_bits=rng.integers(0, 40_000, ues).astype(float),
        cqi=rng.integers(1, 16, ues).astype(float),
        preferred_rbg=rng.integers(0, num_rbgs, ues).astype(float),
        head_delay_slots=rng.integers(0, 8, ues).astype(float),
        served_bits=rng.integers(0, 1000 * k, ues).astype(float),
        inflight_bits=rng.integers(0, 1000, ues).astype(float),
        deadline_slots=np.where(classes_U == 0, 20.0, 8.0),
        arrival_period_slots=periods_U,
        arrival_phase_slots=np.where(periodic_U, np.floor(periods_U / 2), np.nan),
        packet_bits=np.full(ues, 1000.0),
    )


def dcm_report(
    rng: np.random.Generator,
    *,
    ues: int,
    k: int,
    num_rbgs: int,
    sn: int,
    instance: int = DCM_INSTANCE,
    node: str = NODE,
) -> RmrMessage:
    header = dcm.encode_indication_header(dcm.IndicationHeader(NCI, sn * k, 0))
    message = dcm.encode_indication(indication(rng, ues=ues, k=k, num_rbgs=num_rbgs, slot=sn * k))
    return as_indication(instance, sn, header, message, node)


def kpm_report(
    rng: np.random.Generator, *, ues: int, sn: int, instance: int = KPM_INSTANCE, node: str = NODE
) -> RmrMessage:
    values_UN = rng.integers(0, 100, (ues, len(MEASUREMENTS))).astype(np.float64)
    values_UN[:, MEASUREMENTS.index("CQI")] %= 16
    message = encode_report([GnbDuUeId(ue) for ue in range(ues)], MEASUREMENTS, values_UN, 100, reals=REALS)
    return as_indication(instance, sn, b"\0", message, node)


def as_indication(instance: int, sn: int, header: bytes, message: bytes, node: str = NODE) -> RmrMessage:
    pdu = e2ap.encode_indication(
        e2ap.Indication(
            e2ap.RicRequestId(REQUESTOR_ID, instance),
            dcm.DCM_FUNCTION_ID,
            0,
            e2ap.IndicationType.REPORT,
            header,
            message,
            sn=sn,
        )
    )
    return RmrMessage(RIC_INDICATION, pdu, sub_id=instance, meid=node)
