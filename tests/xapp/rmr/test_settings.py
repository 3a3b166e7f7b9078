"""RMR_* variables and controls.rmr: who wins, and what librmr's variables mean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xapp.config.model import ConfigError, RmrConfig
from xapp.rmr.interfaces import interface_addresses
from xapp.rmr.settings import TableSource, resolve_settings


@pytest.mark.parametrize(
    ("environ", "configured", "expected"),
    [
        ({}, "", (TableSource.PUSHED, "", 4561, False)),
        ({"RMR_RTG_SVC": "5000"}, "", (TableSource.PUSHED, "", 5000, True)),
        ({"RMR_RTG_SVC": "tcp:5000", "RMR_CTL_PORT": "6000"}, "", (TableSource.PUSHED, "", 5000, True)),
        ({"RMR_RTG_SVC": "rtmgr:4561"}, "", (TableSource.ASKED, "rtmgr:4561", 4561, True)),
        ({"RMR_RTG_SVC": "rtmgr:4561", "RMR_CTL_PORT": "6000"}, "", (TableSource.ASKED, "rtmgr:4561", 6000, True)),
        ({"RMR_RTG_SVC": "[::1]:4561"}, "", (TableSource.ASKED, "[::1]:4561", 4561, True)),
        ({"RMR_CTL_PORT": "6000"}, "", (TableSource.ASKED, "routemgr:4561", 6000, True)),
        ({"RMR_RTG_SVC": "-1"}, "", (TableSource.FILE, "", 0, True)),
        ({"RMR_RTG_SVC": ""}, "-1", (TableSource.FILE, "", 0, True)),
        ({}, "rtmgr:4561", (TableSource.ASKED, "rtmgr:4561", 4561, True)),
        ({"RMR_RTG_SVC": "5000"}, "-1", (TableSource.PUSHED, "", 5000, True)),
    ],
)
def test_where_tables_come_from(
    environ: dict[str, str], configured: str, expected: tuple[TableSource, str, int, bool]
) -> None:
    settings = resolve_settings(RmrConfig(route_manager=configured), environ)
    assert (
        settings.tables,
        settings.manager,
        settings.control_port,
        settings.control_port_is_wanted,
    ) == expected


@pytest.mark.parametrize(
    ("environ", "configured", "line"),
    [
        ({"RMR_RTG_SVC": "rtmgr"}, "", "RMR_RTG_SVC is 'rtmgr': expected a port, host:port, or -1"),
        ({"RMR_RTG_SVC": "65536"}, "", "RMR_RTG_SVC is '65536': expected a port, 0 to 65535"),
        ({"RMR_RTG_SVC": "a:0"}, "", "RMR_RTG_SVC is 'a:0': "),
        ({"RMR_RTG_SVC": "tcp://10.0.0.1:4561"}, "", "RMR_RTG_SVC is 'tcp://10.0.0.1:4561': "),
        ({"RMR_RTG_SVC": "rtmgr:4561,other:4561"}, "", "RMR_RTG_SVC is 'rtmgr:4561,other:4561': "),
        ({}, "nonsense", "controls.rmr.route_manager is 'nonsense': "),
        ({"RMR_BIND_IF": "no such"}, "", "RMR_BIND_IF is 'no such': expected an address, or an interface ("),
        ({"RMR_SRC_ID": "h" * 58}, "", f"RMR_SRC_ID is '{'h' * 58}': expected at most 57 bytes"),
        ({"RMR_RTG_SVC": "a:1", "RMR_CTL_PORT": "x"}, "", "RMR_CTL_PORT is 'x': expected a port, 0 to 65535"),
    ],
)
def test_a_mistake_is_one_line(environ: dict[str, str], configured: str, line: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(line)) as error:
        resolve_settings(RmrConfig(route_manager=configured), environ)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("said", "host"),
    [("", "configured"), ("svc.ricxapp", "svc.ricxapp"), ("svc:4560", "svc"), ("[fd00::1]:4560", "[fd00::1]")],
)
def test_the_source_is_a_host_without_a_port(said: str, host: str) -> None:
    assert resolve_settings(RmrConfig(host="configured"), {"RMR_SRC_ID": said}).host == host


def test_an_interface_stands_for_its_address() -> None:
    assert "127.0.0.1" in interface_addresses()["lo"]
    by_name = resolve_settings(RmrConfig(), {"RMR_BIND_IF": "lo"})
    assert by_name.bind_host == "127.0.0.1" and "127.0.0.1" in by_name.own_hosts
    by_address = resolve_settings(RmrConfig(bind_host="10.0.0.1"), {"RMR_BIND_IF": "[::1]"})
    assert (by_address.bind_host, by_address.own_hosts) == ("::1", ("[::1]",))
    every = resolve_settings(RmrConfig(), {})
    assert every.bind_host == "0.0.0.0" and "127.0.0.1" not in every.own_hosts


def test_the_seed_and_the_pace_of_requests() -> None:
    settings = resolve_settings(RmrConfig(), {"RMR_SEED_RT": "/some/file", "RMR_RTREQ_FREQ": "7"})
    assert (settings.seed, settings.request_period_s) == (Path("/some/file"), 7)
    for wrong in ("0", "301", "often"):
        assert resolve_settings(RmrConfig(), {"RMR_RTREQ_FREQ": wrong}).request_period_s == 5
