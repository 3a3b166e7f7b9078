"""The E2 termination's stand-in: E2AP towards nodes, RMR towards xApps, bytes passed on unmodified both ways.

It answers setup, and nothing else in a node's place: an acknowledgement that an xApp sees came from the node.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.e2.e2ap.elements import PduKind, Procedure
from xapp.lab.counters import Counters
from xapp.lab.e2_link.e2_transport import E2Association, E2Server
from xapp.lab.e2_link.e2_wire import E2Wire
from xapp.lab.ric.rnib import Node, NodeInventory
from xapp.lab.ric.submgr import E2Answer
from xapp.lab.ric.submgr_models import Action, Detail
from xapp.rmr.transport import (
    RIC_CONTROL_ACK,
    RIC_CONTROL_FAILURE,
    RIC_CONTROL_REQUEST,
    RIC_INDICATION,
    RmrMessage,
    Transport,
)

logger = logging.getLogger(__name__)

SUBMGR_REQUESTOR = 123
"""Requestor id of every subscription: the subscription manager's, on behalf of all xApps."""
RIC_ID = 1
RECEIVE_TIMEOUT_S = 0.2


class E2Term:
    """Thread safe. `close` ends it; the RMR transport is its maker's."""

    def __init__(
        self,
        transport: Transport,
        inventory: NodeInventory,
        counters: Counters,
        *,
        rmr_address: str,
        host: str,
        port: int,
        wire: E2Wire,
    ) -> None:
        """rmr_address: how xApps reach `transport`. port 0 = any free one. Raises OSError when it cannot be had."""
        self.on_node_lost: Callable[[str], None] = lambda name: None
        """Called with the RAN name after a node's association ended, or was replaced by a new one."""
        self._transport, self._inventory, self._counters = transport, inventory, counters
        self._rmr_address = rmr_address
        self._lock = threading.Lock()
        self._by_name: dict[str, E2Association] = {}
        self._names: dict[E2Association, str] = {}
        self._pending: dict[tuple[str, int, Procedure], SimpleQueue[E2Answer]] = {}
        self._closed = threading.Event()
        self._server = E2Server(host, port, wire, self._on_pdu, self._on_close, counters)
        self.port = self._server.port
        self._thread = threading.Thread(target=self._rmr_loop, name="e2term-rmr", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all associations and stop."""
        self._closed.set()
        self._server.close()
        self._thread.join()

    # -- for the subscription manager ---------------------------------------------------------------------------------

    def connected(self, meid: str) -> bool:
        with self._lock:
            return meid in self._by_name

    def subscribe(self, meid: str, function_id: int, instance_id: int, detail: Detail, timeout_s: float) -> E2Answer:
        """One RICsubscription procedure. Blocks until the node answers or `timeout_s` is over."""
        actions = tuple(_action(action) for action in detail.ActionToBeSetupList)
        request = procedures.SubscriptionRequest(
            e2ap.RicRequestId(SUBMGR_REQUESTOR, instance_id), function_id, bytes(detail.EventTriggers), actions
        )
        return self._procedure(meid, request, instance_id, Procedure.RIC_SUBSCRIPTION, timeout_s)

    def unsubscribe(self, meid: str, function_id: int, instance_id: int, timeout_s: float) -> E2Answer:
        """One RICsubscriptionDelete procedure. Blocks like `subscribe`."""
        request = procedures.SubscriptionDeleteRequest(e2ap.RicRequestId(SUBMGR_REQUESTOR, instance_id), function_id)
        return self._procedure(meid, request, instance_id, Procedure.RIC_SUBSCRIPTION_DELETE, timeout_s)

    def _procedure(
        self, meid: str, request: procedures.Message, instance_id: int, procedure: Procedure, timeout_s: float
    ) -> E2Answer:
        try:
            pdu = procedures.encode(request)
        except E2EncodeError as error:
            return E2Answer(False, str(error))
        answers: SimpleQueue[E2Answer] = SimpleQueue()
        key = (meid, instance_id, procedure)
        with self._lock:
            association = self._by_name.get(meid)
            if association is None:
                return E2Answer(False, f"E2 node {meid} is not connected")
            self._pending[key] = answers
        try:
            association.send(pdu)
            return answers.get(timeout=timeout_s)
        except Empty:
            return E2Answer(False, f"no answer from {meid} within {timeout_s:g} s", timed_out=True)
        finally:
            with self._lock:
                self._pending.pop(key, None)

    def _answer(self, name: str, instance_id: int, procedure: Procedure, answer: E2Answer) -> None:
        with self._lock:
            answers = self._pending.get((name, instance_id, procedure))
        if answers is None:
            self._counters.add("e2term_late_answer")
        else:
            answers.put(answer)

    # -- from nodes --------------------------------------------------------------------------------------------------

    def _on_pdu(self, association: E2Association, pdu: bytes) -> None:
        try:
            kind, procedure = e2ap.peek(pdu)
            with self._lock:
                name = self._names.get(association)
            if (kind, procedure) == (PduKind.INITIATING, Procedure.E2_SETUP):
                self._set_up(association, procedures.decode(pdu))
            elif name is None:
                self._counters.add("e2term_before_setup")
            elif (kind, procedure) == (PduKind.INITIATING, Procedure.RIC_INDICATION):
                self._to_xapp(RIC_INDICATION, e2ap.decode_indication(pdu).request_id.instance, name, pdu)
            elif (kind, procedure) == (PduKind.SUCCESSFUL, Procedure.RIC_CONTROL):
                self._to_xapp(RIC_CONTROL_ACK, e2ap.decode_control_acknowledge(pdu).request_id.instance, name, pdu)
            elif (kind, procedure) == (PduKind.UNSUCCESSFUL, Procedure.RIC_CONTROL):
                self._to_xapp(RIC_CONTROL_FAILURE, e2ap.decode_control_failure(pdu).request_id.instance, name, pdu)
            else:
                self._on_procedure(name, procedures.decode(pdu))
        except E2DecodeError as error:
            self._counters.add("e2term_undecodable")
            logger.warning("from %s: %s", association.peer, error)

    def _to_xapp(self, mtype: int, instance_id: int, name: str, pdu: bytes) -> None:
        if not self._transport.send(RmrMessage(mtype, pdu, sub_id=instance_id, meid=name)):
            self._counters.add(f"e2term_unroutable_{mtype}")

    def _on_procedure(self, name: str, message: procedures.Message) -> None:
        match message:
            case procedures.SubscriptionResponse():
                answer = E2Answer(bool(message.admitted), "" if message.admitted else "no action admitted")
                self._answer(name, message.request_id.instance, Procedure.RIC_SUBSCRIPTION, answer)
            case procedures.SubscriptionFailure():
                answer = E2Answer(False, f"{message.cause.group}: {message.cause.value}")
                self._answer(name, message.request_id.instance, Procedure.RIC_SUBSCRIPTION, answer)
            case procedures.SubscriptionDeleteResponse():
                answer = E2Answer(True)
                self._answer(name, message.request_id.instance, Procedure.RIC_SUBSCRIPTION_DELETE, answer)
            case procedures.SubscriptionDeleteFailure():
                answer = E2Answer(False, f"{message.cause.group}: {message.cause.value}")
                self._answer(name, message.request_id.instance, Procedure.RIC_SUBSCRIPTION_DELETE, answer)
            case procedures.ErrorIndication():
                self._counters.add("e2term_error_indication")
                logger.warning("%s indicates an error: %s", name, message)
            case _:
                self._counters.add("e2term_unexpected")

    def _set_up(self, association: E2Association, message: procedures.Message) -> None:
        if not isinstance(message, procedures.E2SetupRequest):
            self._counters.add("e2term_unexpected")
            return
        node = Node(message.node, message.functions, self._rmr_address)
        with self._lock:
            earlier = self._by_name.get(node.name)
            self._by_name[node.name] = association
            self._names[association] = node.name
            if earlier is not None and earlier is not association:
                self._names.pop(earlier, None)
        if earlier is not None:
            # A node that sets up again has forgotten its subscriptions.
            self._lost(node.name)
            if earlier is not association:
                earlier.close("replaced")
        response = procedures.E2SetupResponse(
            message.transaction_id,
            procedures.RicId(message.node.plmn, RIC_ID),
            tuple(procedures.ComponentAck(c.interface, c.component_id) for c in message.components),
            tuple(procedures.AcceptedFunction(f.function_id, f.revision) for f in message.functions),
        )
        association.send(procedures.encode(response))
        self._inventory.put(node)
        self._counters.add("e2term_setups")
        logger.info("E2 node %s set up from %s", node.name, association.peer)

    def _on_close(self, association: E2Association, reason: str) -> None:
        with self._lock:
            name = self._names.pop(association, None)
            if name is not None:
                del self._by_name[name]
        if name is not None:
            logger.info("E2 node %s lost: %s", name, reason)
            self._inventory.disconnected(name)
            self._lost(name)

    def _lost(self, name: str) -> None:
        with self._lock:
            waiting = [answers for (meid, _, _), answers in self._pending.items() if meid == name]
        for answers in waiting:
            answers.put(E2Answer(False, f"E2 node {name} was lost"))
        self.on_node_lost(name)

    # -- from xApps --------------------------------------------------------------------------------------------------

    def _rmr_loop(self) -> None:
        while not self._closed.is_set():
            message = self._transport.receive(RECEIVE_TIMEOUT_S)
            if message is None:
                continue
            if message.mtype != RIC_CONTROL_REQUEST:
                self._counters.add("e2term_unexpected_mtype")
                continue
            with self._lock:
                association = self._by_name.get(message.meid)
            if association is None:
                self._counters.add("e2term_unknown_meid")
            elif not association.send(message.payload):
                self._counters.add("e2term_control_not_sent")


def _action(action: Action) -> procedures.Action:
    after = action.SubsequentAction
    # E2AP v1's "zero" was the first value of its enumeration; since v2 the first is w1ms.
    wait = "w1ms" if after is None or after.TimeToWait == "zero" else after.TimeToWait
    return procedures.Action(
        action.ActionID,
        action.ActionType,
        bytes(action.ActionDefinition),
        procedures.SubsequentAction(after.SubsequentActionType, wait) if after else None,
    )
