"""Judges controls by their bytes: what an operator's cap allows, and that newer reports are not followed by older ones.

It reads the wire formats alone, and shares no line with the grammar, the limits or the guard that it judges.
"""

from __future__ import annotations

import threading
from collections import Counter, deque

import numpy as np

from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dcm import dcm_pb2
from xapp.e2.dcm.messages import DCM_FUNCTION_ID
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap.elements import PduKind, Procedure
from xapp.e2.rc import messages as rc

ROUNDED = 1e-9
HALF_RANGE = e2ap.SN_RANGE // 2
ALL_PERCENT = 100
REMEMBERED = 512


class WireJudge:
    """Any thread may call it. Violations are counted by kind."""

    def __init__(self, cap_percent: float) -> None:
        """cap_percent: what a UE may hold of a cell, while `cap_holds`."""
        self.cap_percent = cap_percent
        self.cap_holds = False
        """The xApp has said that the policy is in force."""
        self.violations: Counter[str] = Counter()
        self.controls = 0
        self.acks = 0
        """Acknowledgements that nodes sent."""
        self._reported: deque[int] = deque(maxlen=REMEMBERED)
        """Numbers of the newest reports that the node itself has sent."""
        self._newest: dict[tuple[int, str], int] = {}
        """Number of the report that the newest control was based on, by epoch and cell."""
        self._lock = threading.Lock()

    def see(self, up: bool, pdu: bytes) -> None:
        """A PDU as its sender wrote it; up = from the node."""
        try:
            kind = e2ap.peek(pdu)
            if up and kind == (PduKind.SUCCESSFUL, Procedure.RIC_CONTROL):
                with self._lock:
                    self.acks += 1
            elif up and kind == (PduKind.INITIATING, Procedure.E2_SETUP):
                with self._lock:  # the node numbers its reports anew
                    self._newest.clear()
                    self._reported.clear()
            elif up and kind == (PduKind.INITIATING, Procedure.RIC_INDICATION):
                if (number := e2ap.decode_indication(pdu).sn) is not None:
                    with self._lock:
                        self._reported.append(number)
            elif not up and kind == (PduKind.INITIATING, Procedure.RIC_CONTROL):
                self._control(e2ap.decode_control_request(pdu))
        except E2DecodeError:
            with self._lock:
                self.violations["unreadable"] += not up  # what an xApp sends must be readable

    def _control(self, request: e2ap.ControlRequest) -> None:
        found = Counter(self._dcm(request) if request.function_id == DCM_FUNCTION_ID else self._quota(request))
        with self._lock:
            self.controls += 1
            self.violations += found

    def _dcm(self, request: e2ap.ControlRequest) -> list[str]:
        control = dcm_pb2.Control.FromString(request.message)
        if control.release:
            return []
        found = []
        key, based_on = (control.instance_epoch, control.carrier.cell), control.based_on_indication_sn
        with self._lock:
            newest = self._newest.get(key, based_on)
            if based_on not in self._reported:
                pass  # a forged one: what matters is that the node's own count again
            elif (based_on - newest) % e2ap.SN_RANGE < HALF_RANGE:
                self._newest[key] = based_on
            else:
                found.append("older_report")
        if not self.cap_holds:
            return found
        num_rbgs = control.carrier.num_rbgs
        cap = int(self.cap_percent / 100 * num_rbgs + ROUNDED)
        ues = len(control.ue_ids) // 4
        bits = np.unpackbits(np.frombuffer(control.rbg_bitmaps, np.uint8).reshape(ues, -1), axis=1)
        may_contend = np.unpackbits(np.frombuffer(control.open_allowed, np.uint8))[:ues]
        max_rbgs = np.frombuffer(control.max_rbgs, np.uint8)
        own_UM = bits[:, :num_rbgs].astype(bool)
        granted = np.searchsorted(np.frombuffer(control.ue_ids, "<u4"), np.frombuffer(control.grant_ue_ids, "<u4"))
        own_UM[granted, np.frombuffer(control.grant_rbgs, np.uint8)] = True
        own = own_UM.sum(axis=1)
        found += ["over_cap"] * int((own > cap).sum())
        found += ["capped_ue_may_contend"] * int(may_contend.sum())
        if control.dynamic_bitmap.strip(b"\0"):
            found += ["dynamic_over_cap"] * int((max_rbgs > cap).sum())
        return found

    def _quota(self, request: e2ap.ControlRequest) -> list[str]:
        quotas = rc.decode_prb_quotas(request.message)
        limited = [quota.max_percent for quota in quotas if quota.max_percent < ALL_PERCENT]  # the others are releases
        return ["over_cap"] * (self.cap_holds and any(percent > self.cap_percent for percent in limited))
