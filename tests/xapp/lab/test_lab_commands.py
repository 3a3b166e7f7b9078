"""`stackmac ric` and `stackmac gnb` as processes: ready lines, stopping, mistakes; and the E2 agent under any bytes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.errors import UserMistake
from policy.observation import PROFILES
from training.simulator.scenario import make_scenario
from xapp.cli import main
from xapp.e2.e2ap import procedures
from xapp.lab.counters import Counters
from xapp.lab.gnb.e2_agent import E2Agent
from xapp.lab.gnb.gnb import Gnb
from xapp.lab.gnb.mac import Mac
from xapp.lab.gnb.options import GnbOptions
from xapp.lab.gnb.ran_functions import make_carriers, make_identity
from xapp.lab.ric.command import Ric
from xapp.lab.ric.options import RIC_PORTS, RicOptions

STOP_S = 150.0
"""Neither process ends by itself: whatever ends sooner was stopped."""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "xapp.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def lines_until(process: subprocess.Popen[str], wanted: Any) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if wanted(event):
            return dict(event)
    raise AssertionError(f"the process ended: {process.stderr and process.stderr.read()}")


def stop(process: subprocess.Popen[str], number: int) -> dict[str, Any]:
    """The last line; exit 0."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=STOP_S)
    assert process.returncode == 0, errors
    last = json.loads(output.splitlines()[-1])
    assert last["event"] == "final"
    return dict(last)


def test_two_processes_meet_and_stop_cleanly() -> None:
    services = ("e2", "rmr", "submgr", "e2mgr", "appmgr", "rtmgr", "a1", "a1-rmr", "alarm")
    ports = [part for name in services for part in (f"--{name}-port", "0")]
    ric = start("ric", *ports, "--json-lines")
    gnb = None
    try:
        ready = lines_until(ric, lambda event: event["event"] == "ready")
        address = f"127.0.0.1:{ready['e2_port']}"
        gnb = start("gnb", "--e2", address, "--scenario", "mix", "--k", "1", "--ues", "3", "--json-lines")
        described = lines_until(gnb, lambda event: event["event"] == "ready")
        assert described["followers"] == "best-response rule"
        assert (described["k"], described["scenario"]) == (1, "mix")
        status = lines_until(gnb, lambda event: event["event"] == "status" and event["connected"])
        assert {"slots_run", "slots_late", "transmissions_outside_grant", "own_scheduler_periods"} <= status.keys()
        (cell,) = status["cells"]
        assert cell["cell"] == described["cells"][0]
        assert {"id", "traffic_class", "buffer_bits", "cqi", "rbgs", "throughput_mbps"} <= cell["ues"][0].keys()
        lines_until(ric, lambda event: event.get("nodes") == {described["name"]: True})
        assert stop(gnb, signal.SIGTERM)["slots_run"] >= 0
        assert stop(ric, signal.SIGINT)["nodes"] == {described["name"]: False}
    finally:
        for process in (gnb, ric):
            if process is not None and process.poll() is None:
                process.kill()
                process.communicate()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"e2": "nowhere"}, "host:port"),
        ({"e2": "nowhere:70000"}, "host:port"),
        ({"seed": 2**63}, "seed"),
        ({"observe": "everything"}, "kpm_srsran"),
        ({"followers": "sheep"}, "rule or learned"),
        ({"scenario": "utopia"}, "unknown scenario"),
        ({"cells": 99}, "cells"),
        ({"k": 7, "time_scale": 1.0}, "give one of the two"),
        ({"time_scale": 0.123}, "whole number"),
        ({"followers": "learned", "bundle": "/nowhere"}, "/nowhere"),
        ({"e2_transport": "pigeon"}, "auto, sctp, tcp"),
        ({"time_scale": float("inf")}, "a period of inf slots, expected a whole number from 1 to 10240"),
        ({"behave": "oai", "control": "dcm"}, "--behave oai with --control dcm, expected rc"),
    ],
)
def test_options_that_cannot_be_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserMistake, match=message) as caught:
        Gnb(GnbOptions(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("taken", RIC_PORTS)
def test_a_port_in_use_is_named(taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = dict.fromkeys(RIC_PORTS, 0) | {taken: port}
        with pytest.raises(OSError, match=f"127.0.0.1.*{port}.*in use|in use.*127.0.0.1.*{port}"):
            Ric(RicOptions(e2_transport="tcp", **ports))


def test_a_ric_refuses_an_xapp_that_is_no_address() -> None:
    with pytest.raises(UserMistake, match="--xapp-rmr is 'xapp', expected host:port"):
        Ric(RicOptions(xapp_rmr="xapp"))


@pytest.mark.parametrize("host", ["", "no.such.host.invalid", "192.0.2.1"])
def test_a_ric_that_cannot_listen_there_is_one_line(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ric", "--host", host, "--rmr-port", "0", "--e2-transport", "tcp"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stackmac ric: ") and repr(host) in line


def test_people_see_whether_the_gnb_has_found_its_ric() -> None:
    gnb = start("gnb", "--e2", "127.0.0.1:9", "--scenario", "mix", "--k", "1", "--ues", "2")
    try:
        assert gnb.stdout is not None
        assert gnb.stdout.readline().startswith("gNB gnb_001_001_00000001: 1 cell x 2 UEs, scenario mix")
        assert gnb.stdout.readline().startswith("no E2 association; slot ")
    finally:
        gnb.kill()
        gnb.communicate()


def test_k_follows_from_period_and_time_scale() -> None:
    assert GnbOptions().slots_per_dcm() == 100
    assert GnbOptions(time_scale=0.01).slots_per_dcm() == 1
    assert GnbOptions(k=5).slots_per_dcm() == 5
    assert GnbOptions(k=5, time_scale=0.05).slots_per_dcm() == 5


def make_agent() -> E2Agent:
    scenario = make_scenario("mix")
    mac = Mac(scenario, make_carriers(1, 1, scenario.num_rbgs), 3, 1, "best_response")
    return E2Agent(mac, make_identity(1), period_ms=100, profile=PROFILES["full"], counters=Counters())


AGENT = make_agent()


@given(st.binary(max_size=64))
def test_any_bytes_get_an_answer_or_none(pdu: bytes) -> None:
    for answer in AGENT.handle(pdu):
        procedures.decode(answer)


@given(st.sampled_from([0, 4, 8, 9]), st.binary(max_size=64))
def test_any_bytes_that_begin_like_a_request_get_an_answer_or_none(procedure: int, rest: bytes) -> None:
    AGENT.handle(bytes((0, procedure, 0, len(rest))) + rest)


def test_an_error_about_an_error_is_not_sent() -> None:
    assert AGENT.handle(b"\x00\x02\x40\x01\xff") == []
    assert (
        AGENT.handle(procedures.encode(procedures.ErrorIndication(cause=procedures.Cause("misc", "unspecified")))) == []
    )
    assert len(AGENT.handle(b"\xff\xff\xff\xff\xff")) == 1
