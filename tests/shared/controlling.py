"""A sender with the RC encoder of one node on real sockets, and the node's answers to its quotas."""

from __future__ import annotations

from typing import Any

import numpy as np
from waiting import PATIENCE_S

from policy.allocation import IDLE, Allocation
from policy.cell_state import make_cell_state
from policy.intent import Intent
from xapp.config.model import Controls, NodeConfig, QuotaConfig
from xapp.control.cell_link import ControlTarget
from xapp.control.encoder import DecisionContext
from xapp.control.sender import ControlSender
from xapp.e2.dcm import messages as dcm
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm.report_reader import decode_report
from xapp.e2.kpm.report_writer import encode_report
from xapp.e2.rc import messages as rc
from xapp.e2.ue_id.ue_id import GnbDuUeId, UeId, ue_key
from xapp.monitoring.metrics import Metrics
from xapp.quotas.quota_store import QuotaKeeper
from xapp.ric.sdl import SharedStore
from xapp.rmr.transport import RIC_CONTROL_REQUEST, RmrMessage

FUNCTION_ID = 3
INSTANCE = 40
RBGS = 10
PLMN = bytes.fromhex("130062")
MARK = b"no control"
FAILED = e2ap.Cause("ricRequest", "control-failed-to-execute")


def controls(**quota: int) -> Controls:
    rules = QuotaConfig(**{"smooth_periods": 1, "max_controls_per_s": 1000, **quota})
    return Controls(quota=rules, nodes=(NodeConfig(plmn="310260", sst=7, sd="0000FF"),))


def shares(*owned: int) -> Allocation:
    """UEs 1, 2, ... own so many RBGs each, nobody the others."""
    owner_M = np.full(RBGS, IDLE, np.int16)
    owner_M[: sum(owned)] = np.repeat(np.arange(len(owned)), owned)
    return Allocation(tuple(range(1, 1 + len(owned))), owner_M)


ECHOES = rc.QuotaForm(call_process_ids=True)
"""As srsRAN lists it."""


class Controlling:
    """A sender with the RC encoder of one node, and shared data in memory or in Redis."""

    def __init__(
        self, node: Any, store: SharedStore, config: Controls | None = None, form: rc.QuotaForm = ECHOES
    ) -> None:
        self.node, self.store = node, store
        self.metrics = Metrics()
        self.sender = ControlSender(node.xapp, self.metrics, instance_epoch=1, lease_periods=2)
        self.changes = 0
        self.keeper = QuotaKeeper(config or controls(), store, on_change=self._changed)
        self.encoder = self.keeper.encoder(node.name, form)
        carrier = dcm.Carrier.of("", bwp_size_prb=40, rbg_size_prb=4)
        self.target = ControlTarget(node.name, node.cell, FUNCTION_ID, INSTANCE, carrier, self.encoder)
        self.sender.watch(self.target)

    def _changed(self) -> None:
        self.changes += 1

    def decide(
        self, allocation: Allocation, *, ue_ids: tuple[UeId, ...] = (), keep: bool = True, **options: Any
    ) -> bool:
        """One decision, and (keep) what the task runner then does. ue_ids: as the node reports them, default DU ids."""
        names = ue_ids or tuple(map(GnbDuUeId, allocation.ue_ids))
        report = decode_report(encode_report(names, ("DRB.UEThpUl",), np.ones((len(names), 1)), 100, reals=()))
        keys = tuple(map(ue_key, names))
        state = make_cell_state(self.node.cell, num_rbgs=RBGS, slots_per_dcm=100, slot=0, ue_ids=keys)
        allocation = Allocation(keys, allocation.owner_M)
        intent = options.pop("intent", Intent())
        measurement = options.pop("measurement", None)
        context = DecisionContext(state, intent, kpm=report, measurement=measurement)
        sent = self.sender.send(self.target, allocation, context, **options)
        if keep:
            self.keeper.save()
            self.sender.pump()
        return sent

    def receive(self, timeout_s: float = PATIENCE_S) -> e2ap.ControlRequest | None:
        message = self.node.rmr.receive(timeout_s)
        if message is None:
            return None
        assert (message.mtype, message.meid) == (RIC_CONTROL_REQUEST, self.node.name)
        return e2ap.decode_control_request(message.payload)

    def next_quota(self) -> tuple[e2ap.ControlRequest, rc.ControlHeader, rc.PrbQuota]:
        request = self.receive()
        assert request is not None, "no control came"
        (quota,) = rc.decode_prb_quotas(request.message)
        return request, rc.decode_control_header(request.header), quota

    def sent_so_far(self) -> list[e2ap.ControlRequest]:
        """What the node has not taken yet: all that arrives before a message that is sent now."""
        assert self.node.xapp.send(RmrMessage(RIC_CONTROL_REQUEST, MARK, meid=self.node.name))
        requests = []
        while (message := self.node.rmr.receive(PATIENCE_S)) is None or message.payload != MARK:
            assert message is not None, "nothing came"
            requests.append(e2ap.decode_control_request(message.payload))
        return requests

    def silence(self) -> bool:
        return not self.sent_so_far()

    def acknowledge(self, request: e2ap.ControlRequest, *, echo: bool = True) -> None:
        call = request.call_process_id if echo else None
        self.sender.on_acknowledge(e2ap.ControlAcknowledge(request.request_id, FUNCTION_ID, call), self.node.name)

    def refuse(self, request: e2ap.ControlRequest, *, echo: bool = True) -> None:
        call = request.call_process_id if echo else None
        self.sender.on_failure(e2ap.ControlFailure(request.request_id, FUNCTION_ID, FAILED, call), self.node.name)

    def play(self, **options: bool) -> dict[int, int]:
        """The node acknowledges whatever comes: {UE: max %}, the last it was told."""
        in_force = {}
        while requests := self.sent_so_far():
            for request in requests:
                (quota,) = rc.decode_prb_quotas(request.message)
                in_force[ue_key(rc.decode_control_header(request.header).ue_id)] = quota.max_percent
                self.acknowledge(request, **options)
        return in_force
