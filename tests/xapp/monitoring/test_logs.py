"""Log lines: the platform's shape for machines, plain text for people."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import mdclogpy
import pytest

from xapp.monitoring.logs import MdclogFormatter, set_up


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """As it was, after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_the_fields_of_the_platforms_own_library(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = mdclogpy.Logger("stackmac", mdclogpy.Level.DEBUG)
    theirs.mdclog_format_init()
    capsys.readouterr()
    theirs.warning("hello")
    expected = json.loads(capsys.readouterr().out)
    out = io.StringIO()
    set_up("debug", "json", stream=out)
    logging.getLogger("xapp.somewhere").warning("hello")
    (line,) = lines(out)
    assert list(line) == list(expected)
    assert {**line, "ts": 0, "mdc": 0} == {**expected, "ts": 0, "mdc": 0}
    assert abs(line["ts"] - time.time() * 1000) < 60_000
    assert line["mdc"]["PID"] == expected["mdc"]["PID"]
    assert line["mdc"]["module"] == "xapp.somewhere"


@pytest.mark.parametrize(
    ("level", "crit"),
    [("debug", "DEBUG"), ("info", "INFO"), ("warning", "WARNING"), ("error", "ERROR"), ("critical", "ERROR")],
)
def test_levels_are_the_platforms(level: str, crit: str) -> None:
    out = io.StringIO()
    set_up("debug", "json", stream=out)
    getattr(logging.getLogger("x"), level)("what %s", level)
    assert [(line["crit"], line["msg"]) for line in lines(out)] == [(crit, f"what {level}")]


def test_an_exception_stays_on_its_line() -> None:
    out = io.StringIO()
    set_up("info", "json", stream=out)
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        logging.getLogger("x").exception("it failed")
    (line,) = lines(out)
    assert line["msg"].startswith("it failed\nTraceback")
    assert "broken" in line["msg"]


def test_where_the_process_runs_is_in_the_mdc() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 1, "m", None, None)
    mdc = json.loads(MdclogFormatter({"POD_NAME": "pod-7", "SERVICE_NAME": ""}).format(record))["mdc"]
    assert mdc["POD_NAME"] == "pod-7"
    assert "SERVICE_NAME" not in mdc


@pytest.mark.parametrize(
    ("style", "stream", "is_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("text", io.StringIO(), False),
        ("json", Terminal(), True),
    ],
)
def test_people_at_a_terminal_get_text(style: str, stream: io.StringIO, is_json: bool) -> None:
    set_up("info", style, stream=stream)
    logging.getLogger("x").info("hello")
    assert stream.getvalue().startswith("{") is is_json
    assert "hello" in stream.getvalue()


def test_the_newest_lines_are_kept() -> None:
    recent = set_up("info", "text", stream=io.StringIO())
    recent._lines.clear()
    for number in range(3000):
        logging.getLogger("x").info("line %d", number)
    kept = recent.lines()
    assert len(kept) == 2000
    assert kept[-1].endswith("line 2999")
