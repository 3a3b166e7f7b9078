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
from hypothesis import given
from hypothesis import strategies as st

from xapp.monitoring.log_limits import MAX_KINDS, MOST_LINES, WINDOW_S, LogLimit
from xapp.monitoring.logs import MdclogFormatter, RecentLines, set_up


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


def record(name: str, message: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, "", 1, message, values, None)


def test_the_newest_lines_are_kept() -> None:
    recent = RecentLines()
    for number in range(3000):
        recent.handle(record("x", "line %d", number))
    kept = recent.lines()
    assert len(kept) == 2000
    assert kept[-1].endswith("line 2999")


def test_bad_frames_cannot_push_the_rest_out() -> None:
    recent = RecentLines()
    recent.handle(record("xapp.run", "stackmac runs"))
    for number in range(5000):
        recent.handle(record("xapp.control.receiver", "undecodable %d", number))
        if number % 100 == 0:
            recent.handle(record("xapp.ric", "event %d", number))
    kept = recent.lines()
    assert len(kept) == 2000
    assert kept[0] == "stackmac runs"
    assert sum(line.startswith("event") for line in kept) == 50
    assert kept[-1] == "undecodable 4999"


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def limited(clock: Clock) -> tuple[LogLimit, list[str]]:
    """A limit in front of a handler, and what it writes."""
    written: list[str] = []

    class Written(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(record.getMessage())

    limit, handlers = LogLimit(clock), (Written(), Written())
    for handler in handlers:
        handler.addFilter(limit)
    limit.handlers = handlers[:1]  # what the second is told is not looked at
    return limit, written


def test_each_kind_of_message_has_a_rate_and_what_was_left_out_is_counted() -> None:
    clock = Clock()
    limit, written = limited(clock)
    (handler,) = limit.handlers
    for number in range(100):
        handler.handle(record("x", "bad frame %d", number))
    handler.handle(record("x", "another %d", 1))
    assert written == [f"bad frame {number}" for number in range(MOST_LINES)] + ["another 1"]
    written.clear()
    clock.now_s = WINDOW_S
    handler.handle(record("x", "another %d", 2))
    assert sorted(written) == ["80 more lines like this were left out: bad frame %d", "another 2"]
    written.clear()
    handler.handle(record("x", "bad frame %d", 100))
    assert written == ["bad frame 100"]


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0, 4)), max_size=300))
def test_every_line_is_written_or_counted(steps: list[tuple[int, float]]) -> None:
    clock = Clock()
    limit, written = limited(clock)
    (handler,) = limit.handlers
    for kind, seconds in steps:
        clock.now_s += seconds
        handler.handle(record("x", f"kind {kind}"))
    limit.write_counts()
    left_out = sum(int(line.split()[0]) for line in written if "left out" in line)
    assert sum("left out" not in line for line in written) + left_out == len(steps)


def test_who_puts_values_into_messages_makes_no_end_of_kinds() -> None:
    limit, written = limited(Clock())
    (handler,) = limit.handlers
    for number in range(10_000):
        handler.handle(record("third.party", f"request {number}"))
    limit.write_counts()
    assert len(written) <= MAX_KINDS + MOST_LINES + 1


def test_text_mode_escapes_control_characters_and_no_line_looks_like_two() -> None:
    out = io.StringIO()
    set_up("info", "text", stream=out)
    forged = "gnb\n2026-01-01 00:00:00,000 ERROR xapp: forged \x1b[2J\x9b\u2028\ud800"
    logging.getLogger("x").warning("node %s", forged)
    try:
        raise ValueError(forged)
    except ValueError:
        logging.getLogger("x").exception("it failed")
    text = out.getvalue()
    assert all(line.isprintable() for line in text.split("\n"))
    of_log = [line for line in text.splitlines() if not line.startswith("    ")]
    assert len(of_log) == 2
    assert of_log[0].endswith(r"node gnb\n2026-01-01 00:00:00,000 ERROR xapp: forged \x1b[2J\x9b\u2028\ud800")
    text.encode()


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_message_without_end_is_cut(style: str) -> None:
    out = io.StringIO()
    set_up("info", style, stream=out)
    logging.getLogger("x").warning("%s", "y" * 1_000_000)
    assert len(out.getvalue()) < 5000
    assert "(996000 more characters)" in out.getvalue()
