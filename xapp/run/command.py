"""The command line of `stackmac run`: the xApp's process."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from policy.errors import RunFailed, UserMistake
from training.command_line.options import command
from training.command_line.values import goes_with
from xapp.config.live import Configuration, descriptor_path
from xapp.monitoring.garbage import Garbage
from xapp.monitoring.logs import set_up
from xapp.monitoring.process import let_go_of_code, nothing_collected
from xapp.record.part_files import check_place
from xapp.run.options import RunOptions

if TYPE_CHECKING:
    from xapp.run.app import App

log = logging.getLogger(__name__)

run_app = typer.Typer(add_completion=False, rich_markup_mode=None)

STATUS_PERIOD_S = 0.5
HUMAN_PERIOD_S = 5.0
STATUS_LINE = "status line"
"""What a status that fails is called, among the tasks that do."""
COMPILER = "libllvmlite"
"""It has put the decision's code into memory, and is not called again: a third of what this process takes."""


@command(run_app, "run", RunOptions)
def run(options: RunOptions) -> int:
    """Run the xApp until SIGTERM or Ctrl-C; then release every cell, unsubscribe and exit 0."""
    path = descriptor_path(options.config)
    check_place("--record", options.record)
    for flag, name in (("--record-max-mb", "record_max_mb"), ("--record-parts", "record_parts")):
        goes_with(flag, getattr(options, name), getattr(RunOptions(), name), "--record", options.record)
    configuration = Configuration.from_file(path, {"leader": options.leader} if options.leader else {})
    controls = configuration.controls
    recent = set_up(controls.log_level, controls.log_format)
    return serve(
        configuration,
        log_lines=recent.lines,
        json_lines=options.json_lines,
        record=options.record,
        record_max_bytes=options.record_max_mb << 20,
        record_parts=options.record_parts,
    )


def stop_on_signals(stop: threading.Event) -> None:
    """SIGTERM and SIGINT set it; the first of them begins the time that a stop may take. Until then they end the
    process at once, with status 0 (xapp.cli.entry).
    """
    from xapp.run.stop_budget import end_process_in_time

    has_begun = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        if not has_begun.is_set():
            has_begun.set()
            end_process_in_time()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


def emit(event: str, values: dict[str, Any]) -> None:
    """One JSON line on standard output."""
    print(json.dumps({"event": event, **values}), flush=True)


def show(line: str) -> None:
    """To a person at a terminal; else into the log, where every line has one shape."""
    if sys.stdout.isatty():
        print(line, flush=True)
    else:
        log.info("%s", line)


def serve(
    configuration: Configuration,
    *,
    json_lines: bool,
    log_lines: Callable[[], list[str]] = list,
    record: Path | None = None,
    record_max_bytes: int = 0,
    record_parts: int = 1,
) -> int:
    """The xApp from start to stop; the exit status."""
    with nothing_collected(all_stays=True):
        from policy.leader import Leader
        from policy.registry import LeaderError
        from xapp.control.cold_start import make_live_leader
        from xapp.leader.process import ProcessLeader
        from xapp.run.app import App
        from xapp.run.report_code import read_reports_by_machine_code
        from xapp.run.stop_budget import RECORDING_S

        controls = configuration.controls

        def fresh_leader() -> Leader:
            own_process = controls.leader_limits if controls.leader_process else None
            return make_live_leader(controls.leader, threads=controls.torch_threads, own_process=own_process)

        try:
            leader = fresh_leader()
        except LeaderError as error:
            raise UserMistake(f"controls.leader: {error}") from None
        read_reports_by_machine_code()
    let_go_of_code(COMPILER)
    stop = threading.Event()
    app = App(configuration, leader, log_lines=log_lines, renew_leader=fresh_leader)
    recorder = None
    try:
        if record is not None:
            from xapp.record.recorder import Recorder

            recorder = app.observer = Recorder(record, app.metrics, max_bytes=record_max_bytes, parts=record_parts)
        app.start(on_begin=lambda: stop_on_signals(stop))
        garbage = Garbage()
        garbage.keep_out_of_decisions()
        app.parts.loop.between_periods = garbage.between_periods
    except OSError as error:  # a port that is taken, or a recording that cannot be written
        raise RunFailed(str(error)) from error
    failed: list[Exception] = []

    def report() -> None:
        try:
            _report(app, controls.leader, stop, json_lines=json_lines)
        except Exception as error:  # nobody reads what we print any more: the cells are given back all the same
            failed.append(error)
            stop.set()

    # Not in this thread: somebody who keeps standard output open and does not read it must not hold up a stop.
    threading.Thread(target=report, name="report", daemon=True).start()
    try:
        stop.wait()
    finally:
        app.stop()
        if isinstance(leader, ProcessLeader):
            leader.close()
        if recorder is not None:
            recorder.close(RECORDING_S)
    if failed:
        raise RunFailed(f"standard output: {failed[0]}") if isinstance(failed[0], OSError) else failed[0]
    final = app.parts.task_runner.attempt(STATUS_LINE, app.status)
    if final is not None and json_lines:
        emit("final", final)
    elif final is not None:
        show(f"stopped: {status_line(final)}")
    return 0


def _report(app: App, leader: str, stop: threading.Event, *, json_lines: bool) -> None:
    """Status lines until it is time to stop."""
    http_port, rmr_port, kind = app.server.port, app.parts.transport.port, app.parts.transport.kind
    if json_lines:
        emit("ready", {"http_port": http_port, "rmr_port": rmr_port, "rmr_transport": kind})
    else:
        show(f"stackmac runs: HTTP {http_port}, RMR {rmr_port} ({kind}), leader {leader}")
    attempt = app.parts.task_runner.attempt
    while not stop.wait(STATUS_PERIOD_S if json_lines else HUMAN_PERIOD_S):
        status = attempt(STATUS_LINE, app.status)
        if status is None:
            continue  # it is named in the next that does not fail
        if json_lines:
            emit("status", status)
        else:
            show(status_line(status))


def status_line(status: dict[str, Any]) -> str:
    """The counters that an operator watches, in one line."""
    decided = ", ".join(f"{who} {count}" for who, count in status["decided_by"].items()) or "none"
    return (
        f"nodes {sum(status['nodes'].values())}, cells {len(status['cells'])},"
        f" indications {status['indications_received']} ({status['decode_errors']} undecodable),"
        f" decisions {status['decisions']} ({decided}),"
        f" controls {status['controls_sent']} sent {status['controls_acked']} acknowledged"
        f" {status['controls_failed']} failed, loop p99 {status['loop_ms']['p99']} ms{_about(status['policies'])}"
    )


def _about(policies: dict[str, str]) -> str:
    enforced = sum(state == "ENFORCED" for state in policies.values())
    return f", policies {len(policies)} ({enforced} enforced)" if policies else ""
