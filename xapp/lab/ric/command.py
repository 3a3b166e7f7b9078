"""`stackmac ric`: stand-ins for the near-RT RIC platform in one process, speaking its real protocols.

E2 termination, subscription manager, application manager, A1 mediator, R-NIB (e2mgr's REST, SDL) and route manager. Any
part can be replaced by the real one: what goes over the wire is RMR, E2AP and the platform's REST.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from policy.errors import RunFailed, UserMistake, counted
from training.command_line.options import command
from xapp.http.server import BackgroundServer
from xapp.lab.counters import Counters
from xapp.lab.e2_link.e2_wire import choose_wire
from xapp.lab.ric.a1_mediator import A1Mediator, make_a1_app
from xapp.lab.ric.alarm_manager import AlarmManager
from xapp.lab.ric.appmgr import AppManager, make_appmgr_app
from xapp.lab.ric.e2term import E2Term
from xapp.lab.ric.options import RicOptions
from xapp.lab.ric.rnib import NodeInventory, make_e2mgr_app
from xapp.lab.ric.rtmgr import RouteManager
from xapp.lab.ric.static_routes import check_route_file, write_xapp_routes
from xapp.lab.ric.submgr import SubscriptionManager, make_submgr_app
from xapp.lab.status_lines import Lines
from xapp.rmr.routes import is_endpoint
from xapp.rmr.si95 import Si95Transport


class Ric:
    """All stand-ins together."""

    def __init__(self, options: RicOptions) -> None:
        """Listening when made. Raises OSError for an address or a file that cannot be had, else UserMistake."""
        if options.xapp_rmr and not is_endpoint(options.xapp_rmr):
            raise UserMistake(f"--xapp-rmr is {options.xapp_rmr!r}, expected host:port")
        if not options.host.strip():
            raise UserMistake(f"--host is {options.host!r}, expected an address of this machine")
        if options.write_routes:
            check_route_file(Path(options.write_routes))
        self.options = options
        self.wire = choose_wire(options.e2_transport)
        self.counters = Counters()
        self.transport = Si95Transport(options.host, options.rmr_port)
        opened: list[Any] = [self.transport]
        try:
            self.inventory = NodeInventory(self.counters)
            opened.append(self.inventory)
            self.alarms = AlarmManager(self.counters, options.host, options.alarm_port)
            opened.append(self.alarms)
            self.appmgr = AppManager()
            self.routes = RouteManager(
                options.host,
                options.rtmgr_port,
                self.counters,
                nodes=self.inventory.e2terms,
                xapps=self.appmgr.endpoints,
                default_xapp=options.xapp_rmr,
                xapp_route_port=options.xapp_route_port,
            )
            opened.append(self.routes)
            self.routes.add_platform(self.transport.routes)
            self.inventory.on_change = self.appmgr.on_change = self.routes.refresh
            self.e2term = E2Term(
                self.transport,
                self.inventory,
                self.counters,
                rmr_address=self.transport.source,
                host=options.host,
                port=options.e2_port,
                wire=self.wire,
            )
            opened.append(self.e2term)
            self.submgr = SubscriptionManager(
                self.e2term, self.routes, self.counters, notify_first=options.notify_first
            )
            opened.append(self.submgr)
            self.e2term.on_node_lost = self.submgr.node_lost
            self.submgr_http = BackgroundServer(make_submgr_app(self.submgr), options.host, options.submgr_port)
            opened.append(self.submgr_http)
            self.e2mgr_http = BackgroundServer(make_e2mgr_app(self.inventory), options.host, options.e2mgr_port)
            opened.append(self.e2mgr_http)
            self.appmgr_http = BackgroundServer(make_appmgr_app(self.appmgr), options.host, options.appmgr_port)
            opened.append(self.appmgr_http)
            self.a1 = A1Mediator(options.host, options.a1_rmr_port, self.counters, form=options.a1_form)
            opened.append(self.a1)
            self.routes.add_platform(self.a1.rmr.routes)
            self.routes.set_a1_mediator(self.a1.rmr.source)
            self.a1_http = BackgroundServer(make_a1_app(self.a1), options.host, options.a1_port)
            opened.append(self.a1_http)
            for server in (self.submgr_http, self.e2mgr_http, self.appmgr_http, self.a1_http):
                if not server.wait_started():
                    raise RunFailed(f"no HTTP server on {options.host}:{server.port}")
            if options.write_routes:
                write_xapp_routes(Path(options.write_routes), self.transport.source, self.a1.rmr.source)
        except BaseException:
            for part in reversed(opened):
                part.close()
            raise

    def ports(self) -> dict[str, Any]:
        """Where everything listens."""
        return {
            "host": self.options.host,
            "e2_port": self.e2term.port,
            "rmr_port": self.transport.port,
            "submgr_port": self.submgr_http.port,
            "e2mgr_port": self.e2mgr_http.port,
            "appmgr_port": self.appmgr_http.port,
            "a1_port": self.a1_http.port,
            "a1_rmr_port": self.a1.rmr.port,
            "rtmgr_port": self.routes.rmr.port,
            "alarm_port": self.alarms.port,
            "e2_transport": self.wire,
        }

    def status(self) -> dict[str, Any]:
        return {
            "nodes": {node.name: node.connected for node in self.inventory.all()},
            "subscriptions": len(self.submgr.listing()),
            "xapps": [endpoint.name for endpoint in self.appmgr.endpoints()],
            "routes": self.routes.status(),
            "alarms": self.alarms.active(),
            "counters": self.counters.snapshot(),
            "rmr": self.transport.counters,
        }

    def close(self) -> None:
        """Stop everything, what faces clients first."""
        servers = (self.submgr_http, self.e2mgr_http, self.appmgr_http, self.a1_http)
        for server in servers:
            server.begin_close()
        for server in servers:
            server.close()
        self.a1.close()
        self.e2term.close()  # answers what the subscription manager waits for
        self.submgr.close()
        self.inventory.close()
        self.routes.close()
        self.alarms.close()
        self.transport.close()


def _human(event: str, fields: dict[str, Any]) -> str:
    if event == "ready":
        return (
            f"RIC on {fields['host']}: E2 {fields['e2_port']}/{fields['e2_transport']}, RMR {fields['rmr_port']}, "
            f"submgr {fields['submgr_port']}, e2mgr {fields['e2mgr_port']}, appmgr {fields['appmgr_port']}, "
            f"rtmgr {fields['rtmgr_port']}, A1 {fields['a1_port']}, alarms {fields['alarm_port']}"
        )
    nodes = ", ".join(name if connected else f"{name} (lost)" for name, connected in fields["nodes"].items())
    return f"nodes: {nodes or 'none'}; {counted(fields['subscriptions'], 'subscription')}"


ric_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@command(ric_app, "ric", RicOptions)
def ric_command(options: RicOptions) -> None:
    """Stand-ins for the near-RT RIC platform: E2 termination, R-NIB; managers of subscriptions, xApps, routes; A1."""
    lines = Lines(options.json_lines, _human)
    lines.own_process()
    ric = Ric(options)
    try:
        lines.emit("ready", ric.ports())
        while not lines.stop.wait(0.1):
            if lines.status_due():
                lines.emit("status", ric.status())
        lines.emit("final", ric.status())
    finally:
        ric.close()
