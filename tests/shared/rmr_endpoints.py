"""RMR endpoints on loopback, over either transport, with the routes that a test gives them."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_S, wait_for

from xapp.config.model import RmrConfig
from xapp.rmr.osc import LibrmrTransport, librmr_problem
from xapp.rmr.routes import RouteTable
from xapp.rmr.settings import resolve_settings
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RmrMessage, Transport

NO_LIBRMR = f"{librmr_problem()}; with LD_LIBRARY_PATH on its folder this runs" if librmr_problem() else ""
"""Why tests of librmr do not run here; empty where they do."""
needs_librmr = pytest.mark.skipif(bool(NO_LIBRMR), reason=NO_LIBRMR)


class RmrEndpoints(ExitStack):
    """Opens endpoints, and closes them when it is left."""

    def __init__(self, folder: Path) -> None:
        """folder: where route tables for librmr are written."""
        super().__init__()
        self._folder = folder
        self._tables = 0

    def si95(self, *records: str, port: int = 0, **more: Any) -> Si95Transport:
        """In Python; more: what Si95Transport takes, `routes` in place of the records."""
        arguments = {"routes": RouteTable(table(*records)), "rng": random.Random(1), **more}
        transport = Si95Transport("127.0.0.1", port, **arguments)
        self.callback(transport.close)
        return transport

    def librmr(self, *records: str, manager: str = "-1", **more: Any) -> LibrmrTransport:
        """Over librmr, once it has read the records, if there are any.

        manager: RMR_RTG_SVC, whose tables it takes; -1 = nobody's. more: what LibrmrTransport takes.
        """
        environ = {"RMR_RTG_SVC": manager, "RMR_CTL_PORT": "0"}
        if records:
            self._tables += 1
            seed = self._folder / f"{self._tables}.rt"
            seed.write_text(table(*records))
            environ["RMR_SEED_RT"] = str(seed)
        config = RmrConfig(bind_host="127.0.0.1", host="127.0.0.1", port=0)
        transport = LibrmrTransport(resolve_settings(config, environ), **more)
        self.callback(transport.close)
        wait_for(lambda: transport.ready or not records)
        return transport


def table(*records: str) -> str:
    """A whole route table."""
    return "\n".join(["newrt|start", *records, "newrt|end", ""])


def received(transport: Transport) -> RmrMessage:
    """The next message, which must come."""
    message = transport.receive(PATIENCE_S)
    assert message is not None
    return message


def dial(transport: Si95Transport | LibrmrTransport) -> socket.socket:
    """A connection to it, as a peer opens one."""
    return socket.create_connection(("127.0.0.1", transport.port), timeout=PATIENCE_S)
