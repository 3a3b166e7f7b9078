"""`stackmac lab`: ric, gnb and run as three processes on loopback, watched, summed up, compared."""

from __future__ import annotations

import json
import random
import socket
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from policy.errors import counted
from training.command_line.options import words_of
from training.simulator.scenario import make_scenario
from xapp.lab.comparison import compare_leaders, margins, verdict
from xapp.lab.gnb.behaviour import make_behaviour
from xapp.lab.gnb.options import GnbOptions
from xapp.lab.gnb.ran_functions import make_carriers, make_identity
from xapp.lab.gnb.rc_function import f1ap_id
from xapp.lab.gnb.slice_table import SLICE_SSTS, UNLIMITED, slice_row
from xapp.lab.harmful_leaders import plug_in_of
from xapp.lab.options import LabOptions
from xapp.lab.policy_files import put_files
from xapp.lab.processes import Child, LabError
from xapp.lab.ric.options import RIC_PORTS, RicOptions
from xapp.lab.screen import addresses, live_view, print_summary
from xapp.run.options import RunOptions

NOT_EPHEMERAL = range(20_000, 32_768)
"""Linux gives outgoing connections ports above these."""
CHECK_S = 0.5
"""How often it is looked whether a process has died, while something else is waited for."""
NUMBERED_UES = 500
"""UEs beside the first ones whose slice is known beforehand."""
ABOUT_POLICIES = ("policies", "policy_reasons")
"""Fields of the xApp's status."""
START_TIMEOUT_S = 300.0
"""A first start compiles the simulator's core; later ones take seconds."""


class Lab:
    """Three processes around one temporary folder; use as a context manager."""

    def __init__(self, options: LabOptions) -> None:
        self.options = options.resolved()
        self._folder = tempfile.TemporaryDirectory(prefix="stackmac-lab-")
        self.ric: Child | None = None
        self.gnb: Child | None = None
        self.xapp: Child | None = None
        self.xapp_url = ""
        """Where the xApp's HTTP server answers."""
        self.a1_url = ""
        """Where the A1 mediator takes policies."""
        self._ric_ports: dict[str, Any] = {}
        self._run_options = RunOptions()
        self._route_port = 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for child in (self.xapp, self.gnb, self.ric):
            if child is not None:
                child.stop()
        self._folder.cleanup()

    def _start(self) -> None:
        self._route_port = free_port()
        self.start_ric()
        self.start_gnb(wait=False)
        self.config.write_text(json.dumps(self.descriptor(), indent=2), encoding="utf-8")
        self._run_options = RunOptions(config=self.config, record=self.options.record)
        self.start_xapp(wait=False)
        assert self.gnb is not None
        self.gnb.wait_ready(START_TIMEOUT_S)
        self._wait_xapp()

    def descriptor(self) -> dict[str, Any]:
        """What the xApp is started with."""
        return xapp_descriptor(self.options, self._ric_ports)

    def start_ric(self) -> None:
        """Start the RIC (again, on the same ports)."""
        options = RicOptions(
            **{name: self._ric_ports.get(name, 0) for name in RIC_PORTS},
            xapp_route_port=self._route_port,
            write_routes=str(self._routes),
            e2_transport=self.options.e2_transport,
        )
        self.ric = Child("ric", ["ric", *words_of(options)])
        self._ric_ports = self.ric.wait_ready(START_TIMEOUT_S)
        self.a1_url = f"http://127.0.0.1:{self._ric_ports['a1_port']}"

    def another_xapp(self) -> Child:
        """One more instance of the xApp, which is the caller's to stop."""
        return Child("run", ["run", *words_of(self._run_options)], env=self._xapp_env(free_port()))

    def _xapp_env(self, route_port: int) -> dict[str, str]:
        env = {"OMP_NUM_THREADS": "1", "RMR_SEED_RT": "", "RMR_RTG_SVC": "-1"}
        env |= {"ALARM_MGR_SERVICE_NAME": "127.0.0.1", "ALARM_MGR_SERVICE_PORT": str(self._ric_ports["alarm_port"])}
        if self.options.routes == "file":
            return env | {"RMR_SEED_RT": str(self._routes)}
        asked = f"127.0.0.1:{self._ric_ports['rtmgr_port']}"
        return env | {"RMR_RTG_SVC": asked, "RMR_CTL_PORT": str(route_port)}

    @property
    def config(self) -> Path:
        """The xApp's descriptor."""
        return Path(self._folder.name) / "config-file.json"

    @property
    def _routes(self) -> Path:
        return Path(self._folder.name) / "routes.rt"

    def start_xapp(self, *, leader: str = "", wait: bool = True) -> None:
        """Start the xApp (again), under another leader than the lab's if one is named."""
        options = replace(self._run_options, leader=leader)
        self.xapp = Child("run", ["run", *words_of(options)], env=self._xapp_env(self._route_port))
        if wait:
            self._wait_xapp()

    def _wait_xapp(self) -> None:
        assert self.xapp is not None
        self.xapp_url = f"http://127.0.0.1:{self.xapp.wait_ready(START_TIMEOUT_S)['http_port']}"

    def start_gnb(self, *, wait: bool = True) -> None:
        """Start the gNB (again)."""
        o = self.options
        options = GnbOptions(
            e2=f"127.0.0.1:{self._ric_ports['e2_port']}",
            cells=o.cells,
            ues=o.ues,
            scenario=o.scenario,
            k=o.k,
            period_ms=o.period_ms,
            seed=o.seed,
            slots=o.periods * o.k,
            start_on_subscription=True,
            followers=o.followers,
            bundle=o.follower_bundle,
            e2_transport=o.e2_transport,
            observe=o.observe,
            control="" if o.control == "auto" else o.control,
            dialect=o.dialect,
            behave=o.behave,
        )
        self.gnb = Child("gnb", ["gnb", *words_of(options)])
        if wait:
            self.gnb.wait_ready(START_TIMEOUT_S)

    def wait_first_indication(self, timeout_s: float = 30.0) -> None:
        """S counts from here. Where nobody can be reported it counts from when all subscriptions are active."""
        assert self.xapp is not None

        def begun(status: dict[str, Any]) -> bool:
            states = set(status.get("subscriptions", {}).values())
            nobody = not self.options.ues and states == {"active"}
            return nobody or bool(status.get("indications_received", 0))

        give_up_at_s = time.monotonic() + timeout_s
        while not self.xapp.wait_status(begun, CHECK_S):
            self.check_children()
            if time.monotonic() < give_up_at_s:
                continue
            raise LabError(f"no indication within {timeout_s:g} s; the xApp's last words: {self.xapp.last_error()}")

    def measured(self) -> bool:
        """The gNB has run all slots that count."""
        assert self.gnb is not None
        return bool(self.gnb.status.get("slots_run", 0) >= self.options.periods * self.options.k)

    def check_children(self) -> None:
        """LabError when one of the three has died."""
        for child in (self.ric, self.gnb, self.xapp):
            if child is not None and not child.running:
                raise LabError(f"{child.name} ended with status {child.exit_code}: {child.last_error()}")

    def finish(self) -> dict[str, Any]:
        """Stop in order (the xApp first, so that it can release and unsubscribe) and sum up."""
        assert self.ric is not None and self.gnb is not None and self.xapp is not None
        running = self.xapp.status
        # Whether policies hold is judged before the stop, which takes back what they need.
        xapp = self.xapp.stop() | {name: running[name] for name in ABOUT_POLICIES if name in running}
        xapp_exit = self.xapp.exit_code
        gnb = self.gnb.stop()
        self.ric.stop()
        return summarise(self.options, xapp, gnb, xapp_exit)


def free_port() -> int:
    """A port of loopback that nobody has at the moment, and that no outgoing connection is given before it is used."""
    while True:
        port = random.choice(NOT_EPHEMERAL)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


def xapp_descriptor(options: LabOptions, ric: dict[str, Any]) -> dict[str, Any]:
    """The descriptor of a lab run: everything on loopback, any free port."""
    loopback = {"bind_host": "127.0.0.1", "host": "127.0.0.1", "port": 0}
    return {
        "name": "stackmac",
        "controls": {
            "leader": plug_in_of(options.leader),
            "report_period_ms": options.period_ms,
            "log_format": "text",
            "control": options.control,
            "nodes": node_settings(options),
            "a1": {"slices": slice_members(options) if knows_slices(options) else []},
            "rmr": {**loopback, "transport": options.rmr},
            "http": loopback,
            "ric": {
                "submgr_url": f"http://127.0.0.1:{ric['submgr_port']}",
                "e2mgr_url": f"http://127.0.0.1:{ric['e2mgr_port']}",
                "appmgr_url": f"http://127.0.0.1:{ric['appmgr_port']}",
                "poll_period_s": 0.2,
            },
        },
    }


def knows_slices(options: LabOptions) -> bool:
    """Slices are asked for by their names, so only a lab that has to do with them knows any."""
    return options.offers_ratios or bool(options.policy)


def node_settings(options: LabOptions) -> list[dict[str, Any]]:
    """What E2 does not say of the gNB: its dialect and slices, and without DCM function its cells and carriers."""
    slices = [
        {"sst": sst, "min_ratio": UNLIMITED.min_percent, "max_ratio": UNLIMITED.max_percent} for sst in SLICE_SSTS
    ]
    settings = {"dialect": options.dialect, "slices": slices if knows_slices(options) else []}
    if options.control == "dcm":
        return [settings]
    scenario = make_scenario(options.scenario)
    carriers = make_carriers(GnbOptions().gnb_id, options.cells, scenario.num_rbgs)
    first = carriers[0]
    cells = [carrier.cell for carrier in carriers]
    carrier_settings = {"num_prb": first.bwp_size_prb, "rbg_size_prb": first.rbg_size_prb, "cells": cells}
    return [{**settings, **carrier_settings}]


def slice_members(options: LabOptions) -> list[dict[str, Any]]:
    """Who is in which of the gNB's slices, which no report says: its UEs' numbers, of those that come later, too."""
    carriers = make_carriers(GnbOptions().gnb_id, options.cells, make_scenario(options.scenario).num_rbgs)
    node = make_identity(GnbOptions().gnb_id, is_du=make_behaviour(options.behave).is_du).ran_name
    return [
        {
            "sst": sst,
            "cells": [f"{node}/{carrier.cell}"],
            "ue_ids": [
                ue if options.control == "dcm" else f1ap_id(row, ue)
                for ue in range(1, NUMBERED_UES + options.ues)
                if slice_row(ue) == place
            ],
        }
        for row, carrier in enumerate(carriers)
        for place, sst in enumerate(SLICE_SSTS)
    ]


def summarise(options: LabOptions, xapp: dict[str, Any], gnb: dict[str, Any], xapp_exit: int | None) -> dict[str, Any]:
    """One flat result of a live run (`--json`)."""
    summary: dict[str, Any] = {"leader": options.leader, "options": options.to_json(), "xapp_exit_status": xapp_exit}
    for name in (
        "indications_received",
        "decode_errors",
        "decisions",
        "controls_sent",
        "controls_acked",
        "controls_failed",
    ):
        summary[name] = xapp.get(name, 0)
    for name in ("decided_by", "decision_ms", "loop_ms", "dropped"):
        summary[name] = xapp.get(name, {})
    summary["kpi_guard"] = xapp.get("kpi_guard", {})
    summary["xapp_rss_mb"] = xapp.get("rss_mb")
    summary["start_to_first_decision_s"] = xapp.get("start_to_first_decision_s")
    for name in (
        "guard_changes",
        "late_answers",
        "controls_unanswered",
        "releases_sent",
        "releases_acked",
        "releases_failed",
        "subscriptions_requested",
        "subscriptions_deleted",
        "alarms_raised",
        "ue_reports_elsewhere",
    ):
        summary[name] = xapp.get(name, 0)
    for name in (
        "controls_applied",
        "controls_late",
        "controls_superseded",
        "transmissions_outside_grant",
        "slots_run",
        "slots_late",
        "ues_limited",
        "slices_limited",
        "slice_reports_under_ratio",
        "slice_reports_over_ratio",
        "ue_reports_under_quota",
        "ue_reports_over_quota",
        "least_quota_percent",
    ):
        summary[name] = gnb.get(name, 0)
    for name in (
        "throughput_mbps",
        "jain",
        "utility",
        "mean_delay_ms",
        "collision_fraction",
        "waste_fraction",
        "drop_fraction",
    ):
        summary[name] = gnb.get(name, 0.0)
    summary["drop_fraction_by_class"] = gnb.get("drop_fraction_by_class", {})
    for name in ABOUT_POLICIES:
        summary[name] = xapp.get(name, {})
    summary["targets"] = xapp.get("targets", [])
    summary["followers"] = options.followers
    summary["compare"] = {}
    return summary


def run_lab(options: LabOptions, console: Console, *, title: str = "stackmac lab") -> dict[str, Any]:
    """Run, show, compare; returns the summary. Raises LabError; KeyboardInterrupt ends the run early, summed up."""
    options = options.resolved()
    interrupted = False
    with ExitStack() as running:
        with console.status("starting RIC, gNB and xApp; the first start on a machine compiles the simulator"):
            lab = running.enter_context(Lab(options))
            assert lab.gnb is not None and lab.xapp is not None
            if not console.is_terminal:  # on one, the live view has them
                console.print(addresses(lab.xapp_url, lab.a1_url), highlight=False, soft_wrap=True)
            lab.wait_first_indication()
            put_files(options.policy, lab.a1_url)
        started_s = time.monotonic()
        length_s = options.length_s
        grace_s = max(5.0, 0.5 * length_s)  # a gNB that falls behind may finish its slots, but not for ever
        try:
            with Live(console=console, refresh_per_second=4, transient=True) as live:
                while (elapsed_s := time.monotonic() - started_s) < length_s + grace_s:
                    lab.check_children()
                    if elapsed_s >= length_s and lab.measured():
                        break
                    view = live_view(
                        lab.gnb.status,
                        lab.xapp.status,
                        title=title,
                        elapsed_s=elapsed_s,
                        seconds=length_s,
                        control=options.control,
                    )
                    live.update(Group(view, Text(addresses(lab.xapp_url, lab.a1_url), style="dim")))
                    time.sleep(0.1)
        except KeyboardInterrupt:
            interrupted = True
        summary = lab.finish()
    summary["interrupted"] = interrupted
    if not interrupted:
        summary["compare"] = compare_leaders(options, options.compared, console)
    print_summary(console, summary)
    if options.worlds and options.compared and not interrupted:
        rows = margins(options, options.compared, console, worlds=options.worlds, seed=options.world_seed)
        summary["margins"] = [row._asdict() for row in rows]
        console.print(
            f"utility over {counted(options.worlds, 'other world')}, paired, with 95 % intervals", style="dim"
        )
        console.print(f"{options.leader} {verdict(rows)}", highlight=False, soft_wrap=True)
        shares = ", ".join(f"{row.throughput_percent:+.1f} % against {row.name}" for row in rows)
        console.print(f"throughput {shares}", highlight=False, soft_wrap=True)
    return summary
