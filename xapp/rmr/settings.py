"""What this xApp's RMR endpoint is given by the environment and the configuration, in that order of precedence.

The variables mean what they mean for librmr 4.9.4:

    RMR_BIND_IF     address or interface to listen on
    RMR_SRC_ID      host that peers reply to; a port in it is cut off
    RMR_RTG_SVC     where tables come from: a port to listen on, host:port to ask, a negative number = RMR_SEED_RT alone
    RMR_CTL_PORT    port for route tables while asking (4561). Set without RMR_RTG_SVC: routemgr:4561 is asked
    RMR_RTREQ_FREQ  seconds between two requests (1 to 300, default 5)
    RMR_SEED_RT     file with the first table
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from xapp.config.model import ConfigError, RmrConfig
from xapp.rmr.frame import SOURCE_BYTES
from xapp.rmr.interfaces import LOOPBACK, interface_addresses
from xapp.rmr.routes import is_endpoint

log = logging.getLogger(__name__)

DEFAULT_CONTROL_PORT = 4561
WELL_KNOWN_MANAGER = "routemgr:4561"
REQUEST_PERIOD_S = 5
MAX_REQUEST_PERIOD_S = 300
MAX_HOST_BYTES = SOURCE_BYTES - 1 - len(":65535")
"""An RMR message has room for so much of its sender's name: with a longer one nothing could be sent."""
ANY_ADDRESS = ("", "0.0.0.0", "::", "[::]")


class TableSource(Enum):
    """Who brings the route table."""

    PUSHED = "pushed"
    """A route manager that connects to the control port."""
    ASKED = "asked"
    """A route manager that is asked until it sends one."""
    FILE = "file"
    """Nobody but the seed file."""


@dataclass(frozen=True, slots=True)
class RmrSettings:
    """Everything an endpoint is made with."""

    bind_host: str
    """An address; IPv6 without brackets."""
    port: int
    """0 = any free one."""
    host: str
    """What peers reply to, without the port."""
    own_hosts: tuple[str, ...]
    """Addresses of this endpoint: records for them are meant for it, routes to them are not taken."""
    tables: TableSource
    manager: str
    """host:port that is asked; "" = none."""
    control_port: int
    """Where tables arrive; 0 = any free one."""
    control_port_is_wanted: bool
    """Somebody set it: without it there is no point in starting."""
    request_period_s: float
    seed: Path | None
    route_sources: tuple[str, ...] = ()
    """Networks that tables may come from; empty = from everywhere."""


def resolve_settings(config: RmrConfig, environ: Mapping[str, str]) -> RmrSettings:
    """Raises ConfigError: one line that names the variable or field, its value and what was expected."""
    bind_if = environ.get("RMR_BIND_IF", "")
    bind_host, own_hosts = _bind_address(
        bind_if or config.bind_host, "RMR_BIND_IF" if bind_if else "controls.rmr.bind_host"
    )
    written, name = environ.get("RMR_RTG_SVC", ""), "RMR_RTG_SVC"
    if not written:
        written, name = config.route_manager, "controls.rmr.route_manager"
    control_port = environ.get("RMR_CTL_PORT", "")
    if not written and control_port:
        written = WELL_KNOWN_MANAGER
    tables, manager, port = _table_source(written, name)
    if port is None:
        port = _port(control_port, "RMR_CTL_PORT") if control_port else DEFAULT_CONTROL_PORT
    return RmrSettings(
        bind_host=bind_host,
        port=config.port,
        host=_host(environ.get("RMR_SRC_ID", ""), config.host),
        own_hosts=own_hosts,
        tables=tables,
        manager=manager,
        control_port=port,
        control_port_is_wanted=bool(written),
        request_period_s=_request_period_s(environ.get("RMR_RTREQ_FREQ", "")),
        seed=Path(environ["RMR_SEED_RT"]) if environ.get("RMR_SEED_RT") else None,
        route_sources=config.route_sources,
    )


def _table_source(written: str, name: str) -> tuple[TableSource, str, int | None]:
    """Who brings tables, who is asked, and the control port if that is what `written` names."""
    if not written:
        return TableSource.PUSHED, "", DEFAULT_CONTROL_PORT
    if re.match(r"\s*-[0-9]*[1-9]", written):
        return TableSource.FILE, "", 0
    port = written.removeprefix("tcp:").strip()
    if re.fullmatch("[0-9]{1,5}", port):
        return TableSource.PUSHED, "", _port(port, name)
    if is_endpoint(written):
        return TableSource.ASKED, written, None
    raise ConfigError(f"{name} is {written!r:.80}: expected a port, host:port, or -1")


def _port(text: str, name: str) -> int:
    if re.fullmatch("[0-9]{1,5}", text) is None or int(text) > 65535:
        raise ConfigError(f"{name} is {text!r:.80}: expected a port, 0 to 65535")
    return int(text)


def _request_period_s(text: str) -> float:
    """Out of range means the default, as it does for librmr."""
    if not text:
        return REQUEST_PERIOD_S
    if re.fullmatch("[0-9]{1,3}", text) is not None and 1 <= int(text) <= MAX_REQUEST_PERIOD_S:
        return int(text)
    log.warning("RMR_RTREQ_FREQ is %.80r, expected 1 to %d: %d s it is", text, MAX_REQUEST_PERIOD_S, REQUEST_PERIOD_S)
    return REQUEST_PERIOD_S


def _host(written: str, configured: str) -> str:
    """What peers reply to."""
    name, host = "RMR_SRC_ID", _without_port(written)
    if not host:
        name, host = "controls.rmr.host", configured
    if len(host.encode("utf-8", "replace")) > MAX_HOST_BYTES:
        raise ConfigError(f"{name} is {host!r:.80}: expected at most {MAX_HOST_BYTES} bytes")
    return host


def _without_port(host: str) -> str:
    """`host`, `host:port`, `[v6]` or `[v6]:port`."""
    if host.startswith("["):
        return host[: host.find("]") + 1] or host
    return host.split(":", 1)[0]


def _bind_address(written: str, name: str) -> tuple[str, tuple[str, ...]]:
    """The address to listen on, and under which addresses this endpoint is known. Asks the name server for a name."""
    if written in ANY_ADDRESS:
        found = (address for name, held in interface_addresses().items() if name != LOOPBACK for address in held)
        return written.strip("[]"), tuple(found)
    interfaces = interface_addresses()
    held = interfaces.get(written)
    if held is None:
        try:
            socket.getaddrinfo(written.strip("[]"), None)
        except (OSError, UnicodeError):
            known = ", ".join(sorted(interfaces))
            raise ConfigError(f"{name} is {written!r:.80}: expected an address, or an interface ({known})") from None
        return written.strip("[]"), (written,)
    if not held:
        raise ConfigError(f"{name} is {written!r}: that interface has no address")
    return held[0].strip("[]"), tuple(held)
