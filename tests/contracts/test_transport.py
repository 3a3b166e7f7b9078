"""What every Transport must do, whatever speaks on its wire."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from rmr_endpoints import NO_LIBRMR, RmrEndpoints
from waiting import PATIENCE_S

from xapp.rmr.transport import HEALTH_REQUEST, HEALTH_RESPONSE, RIC_CONTROL_ACK, RIC_INDICATION, RmrMessage, Transport


@dataclass(frozen=True)
class Ends:
    """Two endpoints; every message type that the tests use goes from `near` to `far`."""

    near: Transport
    far: Transport


@pytest.fixture(params=["si95-si95", "librmr-si95", "si95-librmr", "librmr-librmr"])
def ends(request: pytest.FixtureRequest, rmr_endpoints: RmrEndpoints) -> Ends:
    """near-far."""
    if "librmr" in request.param and NO_LIBRMR:
        pytest.skip(NO_LIBRMR)
    makers: dict[str, Callable[..., Any]] = {
        "si95": rmr_endpoints.si95,
        "librmr": partial(rmr_endpoints.librmr, send_patience_s=PATIENCE_S),
    }
    near, far = (makers[name] for name in request.param.split("-"))
    there = far("rte|1|192.0.2.1:9")
    return Ends(near(*(f"rte|{mtype}|{there.source}" for mtype in (RIC_INDICATION, HEALTH_REQUEST))), there)


def test_it_is_a_transport(ends: Ends) -> None:
    assert isinstance(ends.near, Transport)
    assert ends.near.ready and ends.far.ready


def test_every_field_arrives(ends: Ends) -> None:
    before_ns = time.perf_counter_ns()
    sent = RmrMessage(RIC_INDICATION, bytes(range(256)) * 80, sub_id=7, meid="gnb_001_001_00000001", xid=b"abc")
    assert ends.near.send(sent)
    got = ends.far.receive(PATIENCE_S)
    assert got is not None
    assert (got.mtype, got.payload, got.sub_id, got.meid, got.xid) == (
        sent.mtype,
        sent.payload,
        sent.sub_id,
        sent.meid,
        sent.xid,
    )
    assert got.source
    assert before_ns < got.received_ns <= time.perf_counter_ns()


def test_an_empty_payload_is_a_message(ends: Ends) -> None:
    assert ends.near.send(RmrMessage(RIC_INDICATION, b""))
    got = ends.far.receive(PATIENCE_S)
    assert got is not None and got.payload == b"" and got.sub_id == -1


def test_order_is_kept(ends: Ends) -> None:
    for number in range(200):
        assert ends.near.send(RmrMessage(RIC_INDICATION, number.to_bytes(2, "big") * 600))
    got = [ends.far.receive(PATIENCE_S) for _ in range(200)]
    assert [int.from_bytes(message.payload[:2], "big") for message in got if message] == list(range(200))
    assert ends.near.counters["sent"] == 200
    assert ends.far.counters["received"] == 200


def test_a_reply_needs_no_route_and_keeps_the_ids(ends: Ends) -> None:
    ends.near.send(RmrMessage(RIC_INDICATION, b"question", sub_id=3, meid="gnb", xid=b"x1"))
    question = ends.far.receive(PATIENCE_S)
    assert question is not None
    assert ends.far.reply(question, RIC_CONTROL_ACK, b"answer")
    answer = ends.near.receive(PATIENCE_S)
    assert answer is not None
    assert (answer.mtype, answer.payload, answer.sub_id, answer.meid, answer.xid) == (
        RIC_CONTROL_ACK,
        b"answer",
        3,
        "gnb",
        b"x1",
    )


def test_health_is_answered_without_the_application(ends: Ends) -> None:
    assert ends.near.send(RmrMessage(HEALTH_REQUEST, b"", xid=b"probe"))
    answer = ends.near.receive(PATIENCE_S)
    assert answer is not None
    assert (answer.mtype, answer.payload, answer.xid) == (HEALTH_RESPONSE, b"OK\n", b"probe")
    assert ends.far.receive(0.0) is None


def test_a_message_without_a_route_is_refused_and_counted(ends: Ends) -> None:
    assert not ends.near.send(RmrMessage(30000, b"x"))
    assert ends.near.counters["no_route"] == 1


def test_a_message_that_does_not_fit_is_refused_and_counted(ends: Ends) -> None:
    assert not ends.near.send(RmrMessage(RIC_INDICATION, b"x", meid="m" * 32))
    assert not ends.near.send(RmrMessage(RIC_INDICATION, b"x", xid=b"x" * 33))
    assert ends.near.counters["unencodable"] == 2


def test_receive_gives_up_after_its_timeout(ends: Ends) -> None:
    start = time.monotonic()
    assert ends.near.receive(0.05) is None
    assert 0.04 < time.monotonic() - start < PATIENCE_S


def test_close_is_idempotent_ends_readiness_and_wakes_receivers(ends: Ends) -> None:
    start = time.monotonic()
    ends.near.close()
    ends.near.close()
    assert not ends.near.ready
    assert ends.near.receive(PATIENCE_S) is None
    assert time.monotonic() - start < PATIENCE_S
