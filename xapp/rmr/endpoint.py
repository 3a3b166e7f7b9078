"""The xApp's RMR endpoint as its settings want it: the transport, and whatever keeps its route table."""

from __future__ import annotations

import logging

from xapp.config.model import ConfigError
from xapp.http.server import cannot_listen
from xapp.rmr.osc import LibrmrTransport, librmr_problem
from xapp.rmr.route_client import RouteClient
from xapp.rmr.settings import RmrSettings, TableSource
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.si95_options import Si95Options

log = logging.getLogger(__name__)


def open_endpoint(settings: RmrSettings, transport: str, options: Si95Options | None = None) -> RmrEndpoint:
    """transport: si95, librmr, or auto = librmr where it can be loaded, unless not everybody may bring route tables:
    librmr takes them from everybody. ConfigError if it must be librmr and cannot; OSError (one line) for a port that
    cannot be had."""
    if settings.route_sources and transport == "auto":
        transport = "si95"
    if settings.route_sources and transport == "librmr":
        raise ConfigError(
            "controls.rmr.transport is 'librmr', which takes route tables from everybody: expected si95 or auto with"
            " controls.rmr.route_sources"
        )
    problem = librmr_problem() if transport != "si95" else ""
    if transport == "librmr" and problem:
        raise ConfigError(f"controls.rmr.transport is 'librmr': {problem}")
    if transport == "si95" or problem:
        return Si95Endpoint(settings, options)
    return LibrmrTransport(settings, options)


class Si95Endpoint(Si95Transport):
    """The pure-Python transport with a route manager's client beside it, as librmr has one inside.

    OSError (one line) when a port cannot be had. The control port of nobody's choice (4561) may be taken: then, as with
    librmr, the seed file is all there is.
    """

    def __init__(self, settings: RmrSettings, options: Si95Options | None = None) -> None:
        try:
            super().__init__(
                settings.bind_host,
                settings.port,
                host=settings.host,
                own_hosts=settings.own_hosts,
                routes=settings.seed,
                options=options,
            )
        except (OSError, UnicodeError) as error:
            raise cannot_listen(settings.bind_host, settings.port, error) from None
        self.route_client: RouteClient | None = None
        if settings.tables is TableSource.FILE:
            return
        try:
            self.route_client = RouteClient(self.routes, settings, self.source)
        except OSError as error:
            if settings.control_port_is_wanted:
                self.close()
                raise cannot_listen(settings.bind_host, settings.control_port, error) from None
            log.warning("no route manager can reach this xApp: port %d: %s", settings.control_port, error)
            self.count("control_port_taken")

    @property
    def counters(self) -> dict[str, int]:
        """Those of the transport and of the route client."""
        extra = self.route_client.counters if self.route_client is not None else {}
        return {**super().counters, **extra}

    @property
    def route_problem(self) -> str:
        """Who brought a route table that should not have; "" = nobody."""
        return self.route_client.sources.problem if self.route_client is not None else ""

    def close(self) -> None:
        if self.route_client is not None:
            self.route_client.close()
        super().close()


RmrEndpoint = Si95Endpoint | LibrmrTransport
"""A transport that has a port of its own."""
