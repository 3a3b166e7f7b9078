"""The R-NIB stand-in: which E2 nodes there are, as e2mgr's REST and in SDL.

REST answers are the protobuf entities as camelCase JSON without zero values, as e2mgr gives them. SDL (namespace
e2Manager) is written, and what happens published, when DBAAS_SERVICE_HOST is set; by a thread of its own, as Redis may
block.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from xapp.e2.e2ap.procedures import GnbId, RanFunctionItem
from xapp.lab.counters import Counters
from xapp.platform.redis_sdl import open_sdl
from xapp.platform.rnib_entities import entities

logger = logging.getLogger(__name__)

NAMESPACE = "e2Manager"
STATUS_CHANNEL = "RAN_CONNECTION_STATUS_CHANGE"
CONNECTED, DISCONNECTED = 1, 2
"""ConnectionStatus values (nb_identity.proto)."""
NODE_TYPE_GNB = 2


@dataclass(frozen=True, slots=True)
class Node:
    """An E2 node by its RAN name (the meid of its RMR messages)."""

    identity: GnbId
    functions: tuple[RanFunctionItem, ...]
    e2term: str
    """RMR address of the E2 termination in charge."""
    connected: bool = True

    @property
    def name(self) -> str:
        return self.identity.ran_name


class NodeInventory:
    """All nodes ever seen, connected or not. Thread safe."""

    def __init__(self, counters: Counters) -> None:
        self.on_change: Callable[[], None] = lambda: None
        """Called after a node came, changed or was lost."""
        self._counters = counters
        self._lock = threading.Lock()
        self._nodes: dict[str, Node] = {}
        self._sdl_work: queue.SimpleQueue[Node | None] = queue.SimpleQueue()
        self._sdl_thread: threading.Thread | None = None
        if os.environ.get("DBAAS_SERVICE_HOST"):
            self._sdl_thread = threading.Thread(target=self._sdl_loop, name="rnib-sdl", daemon=True)
            self._sdl_thread.start()

    def put(self, node: Node) -> None:
        """Add a node, or replace what was known of it."""
        with self._lock:
            self._nodes[node.name] = node
        self._store(node)
        self.on_change()

    def disconnected(self, name: str) -> None:
        """The node's association is gone; it stays listed."""
        with self._lock:
            if name not in self._nodes:
                return
            node = self._nodes[name] = replace(self._nodes[name], connected=False)
        self._store(node)
        self.on_change()

    def get(self, name: str) -> Node | None:
        with self._lock:
            return self._nodes.get(name)

    def e2terms(self) -> dict[str, str]:
        """RAN name -> RMR address of its E2 termination, of the nodes that are connected."""
        return {node.name: node.e2term for node in self.all() if node.connected}

    def all(self) -> list[Node]:
        with self._lock:
            return sorted(self._nodes.values(), key=lambda node: node.name)

    def close(self) -> None:
        """Finish writing to SDL, for at most two seconds."""
        if self._sdl_thread is not None:
            self._sdl_work.put(None)
            self._sdl_thread.join(2.0)

    def _store(self, node: Node) -> None:
        if self._sdl_thread is not None:
            self._sdl_work.put(node)

    def _sdl_loop(self) -> None:
        sdl: Any = None
        identities: dict[str, set[bytes]] = {}
        while (node := self._sdl_work.get()) is not None:
            try:
                if sdl is None:
                    sdl = open_sdl(is_shared=True)
                    # Of an earlier run that may have been killed: a name that comes back replaces what it said.
                    for member in sdl.get_members(NAMESPACE, "GNB", usemsgpack=False):
                        identities.setdefault(_name_in(member), set()).add(member)
                # The status is part of the member's bytes: a change is a new member in place of the old.
                for old in identities.pop(node.name, ()):
                    sdl.remove_member(NAMESPACE, "GNB", old, usemsgpack=False)
                identity = identity_of(node).SerializeToString()
                identities[node.name] = {identity}
                sdl.add_member(NAMESPACE, "GNB", identity, usemsgpack=False)
                sdl.set(NAMESPACE, f"RAN:{node.name}", nodeb_info_of(node).SerializeToString(), usemsgpack=False)
                _publish(f"{node.name}_{'CONNECTED' if node.connected else 'DISCONNECTED'}")
            except Exception as error:  # ricsdl's errors share no base class that is safe to name here
                self._counters.add("sdl_error")
                logger.warning("SDL: cannot write node %s: %s", node.name, error)


def _name_in(member: bytes) -> str:
    """Empty for what is no identity."""
    identity = entities().NbIdentity()
    try:
        identity.ParseFromString(member)
    except (DecodeError, ValueError, RecursionError):
        return ""
    return str(identity.inventory_name)


def _publish(event: str) -> None:
    """SDL's own way to publish needs the platform's Redis module; what goes over the wire is this."""
    from redis import Redis

    host, port = os.environ["DBAAS_SERVICE_HOST"], int(os.environ.get("DBAAS_SERVICE_PORT", "6379"))
    with Redis(host=host, port=port) as redis:
        redis.publish(f"{{{NAMESPACE}}},{STATUS_CHANNEL}", event)


def identity_of(node: Node) -> Any:
    """NbIdentity as e2mgr keeps it in the set of gNBs."""
    gnb = node.identity
    global_id = entities().GlobalNbId(plmn_id=gnb.plmn.hex().upper(), nb_id=format(gnb.gnb_id, f"0{gnb.gnb_id_bits}b"))
    return entities().NbIdentity(
        inventory_name=node.name,
        global_nb_id=global_id,
        connection_status=CONNECTED if node.connected else DISCONNECTED,
    )


def nodeb_info_of(node: Node) -> Any:
    """NodebInfo as e2mgr keeps it under RAN:<name>; RAN function definitions are hex text of their APER."""
    identity = identity_of(node)
    info = entities().NodebInfo(
        ran_name=node.name,
        connection_status=identity.connection_status,
        global_nb_id=identity.global_nb_id,
        node_type=NODE_TYPE_GNB,
        setup_from_network=True,
    )
    if node.connected:
        info.associated_e2t_instance_address = node.e2term
    info.gnb.SetInParent()
    for function in node.functions:
        info.gnb.ran_functions.add(
            ran_function_id=function.function_id,
            ran_function_definition=function.definition.hex(),
            ran_function_revision=function.revision,
            ran_function_oid=function.oid,
        )
    return info


def make_e2mgr_app(inventory: NodeInventory) -> FastAPI:
    """e2mgr's read side: /v1/nodeb/states and /v1/nodeb/{ran}."""
    app = FastAPI(title="e2mgr stand-in", openapi_url=None)

    # The states route first: a node's route would match it too.
    @app.get("/v1/nodeb/states")
    def states() -> JSONResponse:
        return JSONResponse([MessageToDict(identity_of(node)) for node in inventory.all()])

    @app.get("/v1/nodeb/{name}")
    def nodeb(name: str) -> JSONResponse:
        node = inventory.get(name)
        if node is None:
            return JSONResponse({"errorCode": 404, "errorMessage": "Resource not found"}, status_code=404)
        return JSONResponse(MessageToDict(nodeb_info_of(node)))

    return app
