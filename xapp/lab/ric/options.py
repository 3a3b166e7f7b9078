"""Where the RIC's stand-ins listen, and how they behave."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from training.command_line.options import option

E2_PORT = 36421
"""E2AP's registered SCTP port."""
RIC_PORTS = (
    "e2_port",
    "rmr_port",
    "submgr_port",
    "e2mgr_port",
    "appmgr_port",
    "rtmgr_port",
    "a1_port",
    "a1_rmr_port",
    "alarm_port",
)
"""What it listens on, as options and in its `ready` line."""


def _port(default: int, help: str) -> Any:
    return option(default, help, min=0, max=65535)


class Form(StrEnum):
    """Whose messages and paths the A1 mediator has."""

    GO = "go"
    PYTHON = "python"

    @property
    def path(self) -> str:
        """What its REST is under."""
        return "/A1-P/v2" if self is Form.GO else "/a1-p"


@dataclass(frozen=True, slots=True)
class RicOptions:
    """What is typed, by a person or by the lab; port 0 = any free one."""

    host: str = option("127.0.0.1", "Address that everything listens on.")
    e2_port: int = _port(E2_PORT, "E2 (0 = any free port).")
    rmr_port: int = _port(38000, "RMR of the E2 termination.")
    submgr_port: int = _port(8088, "Subscription manager's REST.")
    e2mgr_port: int = _port(3800, "E2 manager's REST.")
    appmgr_port: int = _port(8081, "Application manager's REST.")
    """Not the real one's 8080, which is the xApp's own: in the lab both are on one host."""
    a1_port: int = _port(10000, "A1 mediator's REST.")
    a1_rmr_port: int = _port(38002, "RMR of the A1 mediator.")
    a1_form: Form = option(Form.GO, "Whose policy messages: the mediator's in Go or in Python.")
    rtmgr_port: int = _port(38001, "RMR of the route manager.")
    alarm_port: int = _port(38003, "RMR of the alarm manager.")
    xapp_route_port: int = _port(4561, "Route tables are pushed to this port of registered xApps; 0 = never.")
    xapp_rmr: str = option("", "host:port of an xApp for what belongs to no subscription.")
    e2_transport: str = option("auto", "auto, sctp or tcp (length-prefixed).")
    write_routes: str = option("", "Write the xApp's route file (RMR_SEED_RT) here.")
    notify_first: bool = option(False, "Notify an xApp before its POST is answered.")
    json_lines: bool = option(False, "Print JSON lines.")
