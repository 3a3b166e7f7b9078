"""Any 0 to 256 KiB of bytes into whatever reads from outside: a value or one typed error, and work in proportion.

The bytes are what real agents sent (tests/nodes/captures.json) and what platforms send, changed: bits, octets, pieces
repeated until they are many, pieces of others put in.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from counting import calls_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from replaying_node import CAPTURES

from policy.errors import StackmacError
from xapp.a1.mediator_client import A1Policies
from xapp.a1.mediator_messages import BadRequest, decode_request
from xapp.a1.policy_model import PolicyError, parse_policy
from xapp.config.model import Controls
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dcm import messages as dcm
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.e2.kpm import messages as kpm
from xapp.e2.kpm.report_reader import decode_report_of_any_form
from xapp.e2.rc import messages as rc
from xapp.monitoring.metrics import Metrics
from xapp.quotas.quota_store import QuotaKeeper
from xapp.ric.leader_election import LeaderElection
from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import ClientEndpoint, MalformedNotification, parse_notification
from xapp.ric.subscriptions import SubscriptionClient
from xapp.rmr.frame import FrameReader, encode_frame
from xapp.rmr.routes import RouteTable
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RIC_INDICATION, RmrMessage

NODE = "gnb_1"
MAX_BYTES = 256 << 10
CALLS_A_BYTE = 40
"""Functions called for each byte read, C's included, at the most; linear in what is read, whatever it is."""
CALLS = 20_000
"""Beside them, whatever is read."""
EXAMPLES = 40


def captured(*kinds: str) -> list[bytes]:
    pdus = json.loads(Path(CAPTURES).read_text(encoding="utf-8"))["pdus"]
    return [bytes.fromhex(entry["hex"]) for entry in pdus if not kinds or entry["kind"] in kinds]


def captured_reports() -> list[e2ap.Indication]:
    return [e2ap.decode_indication(pdu) for pdu in captured("indication")]


def captured_functions() -> list[bytes]:
    setups = [procedures.decode(pdu) for pdu in captured("setup-request")]
    return [f.definition for setup in setups for f in setup.functions]  # type: ignore[union-attr]


ROUTES = """newrt|start|id1
rte|12050|10.0.0.1:4560,10.0.0.2:4560
mse|12040,10.0.0.9:4560|-1|%meid
mse|20010|20100|service:4560;other:4560
meid_map | start
mme_ar|10.0.0.3:38000|gnb_1 gnb_2
mme_del|gnb_3
meid_map | end | 2
newrt|end|3
"""
POLICY = {
    "scope": {"cells": ["gnb_1/00f110000000011"], "slices": [{"sst": 1, "ue_ids": [1, 2]}], "ue_ids": [3]},
    "limits": {"per_ue": {"min_share_percent": 5, "max_share_percent": 50}},
}
REQUEST = {
    "operation": "CREATE",
    "policy_type_id": "20100",
    "policy_instance_id": "p",
    "payload": json.dumps(POLICY),
}
NOTIFICATION = {
    "SubscriptionId": "sub-1",
    "SubscriptionInstances": [
        {"XappEventInstanceId": 1, "E2EventInstanceId": 2, "ErrorCause": "", "ErrorSource": "", "TimeoutType": ""}
    ],
}


def feed(data: bytes) -> object:
    """A frame that cannot be one is counted in `drops`."""
    reader = FrameReader()
    return reader.feed(data), reader.drops


class Reader(NamedTuple):
    read: Callable[[bytes], object]
    error: type[StackmacError]
    """The one that it raises."""
    seeds: list[bytes]


READERS: dict[str, Callable[[], Reader]] = {
    "RMR": lambda: Reader(
        feed,
        StackmacError,
        [encode_frame(RmrMessage(RIC_INDICATION, pdu, meid="gnb"), source="a:1") for pdu in captured()],
    ),
    "E2AP indication": lambda: Reader(e2ap.decode_indication, E2DecodeError, captured("indication")),
    "E2AP acknowledgement": lambda: Reader(
        e2ap.decode_control_acknowledge, E2DecodeError, captured("control-acknowledge")
    ),
    "E2AP failure": lambda: Reader(e2ap.decode_control_failure, E2DecodeError, captured()),
    "KPM report": lambda: Reader(
        decode_report_of_any_form, E2DecodeError, [report.message for report in captured_reports()]
    ),
    "KPM header": lambda: Reader(
        kpm.decode_indication_header, E2DecodeError, [report.header for report in captured_reports()]
    ),
    "KPM function": lambda: Reader(kpm.decode_ran_function, E2DecodeError, captured_functions()),
    "RC function": lambda: Reader(rc.decode_ran_function, E2DecodeError, captured_functions()),
    "DCM function": lambda: Reader(
        dcm.decode_ran_function,
        E2DecodeError,
        [
            dcm.encode_ran_function(
                dcm.RanFunction((dcm.Carrier.of("00f110000000011", bwp_size_prb=24, rbg_size_prb=4),))
            )
        ],
    ),
    "DCM indication": lambda: Reader(
        dcm.decode_indication, E2DecodeError, [dcm.encode_indication(dcm.Indication((1, 2), 1, 0, 4))]
    ),
    "DCM header": lambda: Reader(
        dcm.decode_indication_header,
        E2DecodeError,
        [dcm.encode_indication_header(dcm.IndicationHeader("00f110000000011", 7, 9))],
    ),
    "A1 request": lambda: Reader(decode_request, BadRequest, [json.dumps(REQUEST).encode()]),
    "A1 policy": lambda: Reader(parse_policy, PolicyError, [json.dumps(POLICY).encode()]),
    "routes": lambda: Reader(
        lambda data: RouteTable(data.decode("utf-8", "replace"), own=("10.0.0.9:4560",)),
        StackmacError,
        [ROUTES.encode()],
    ),
    "HTTP notification": lambda: Reader(parse_notification, MalformedNotification, [json.dumps(NOTIFICATION).encode()]),
}


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        piece = slice(at, at + draw(st.integers(1, 200)))
        match draw(st.sampled_from(["flip", "set", "cut", "insert", "many", "other", "end"])):
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if data:
                data[at] = draw(st.sampled_from([0x00, 0x01, 0x40, 0x7F, 0x80, 0xC1, 0xFF, 0x5B, 0x7B, 0x22, 0x39]))
            case "cut":
                del data[piece]
            case "insert":
                data[at:at] = draw(st.binary(max_size=8))
            case "many":
                times = draw(st.sampled_from([2, 50, 2000]))
                data[at:at] = (data[piece] * times)[:MAX_BYTES]
            case "other":
                data[piece] = draw(st.sampled_from(seeds))[piece]
            case "end":
                del data[at:]
    return bytes(data[:MAX_BYTES])


@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_a_value_or_one_typed_error(name: str) -> None:
    reader = READERS[name]()
    assert reader.seeds

    def read(data: bytes) -> None:
        try:
            reader.read(data)
        except reader.error as error:
            assert "\n" not in str(error)

    read(b'{"no such field": 1}')  # what a mistake is explained by is worked out once

    @given(st.binary(max_size=200) | changed(reader.seeds))
    @settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    def check(data: bytes) -> None:
        assert calls_of(lambda: read(data)) <= CALLS + CALLS_A_BYTE * len(data)

    check()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("fill", [b"\x00", b"\xff", b"[", b'{"a":', b"9", b'"', b"|\n", b"\x40", b"rte|1|a:1\n"])
def test_256_kib_of_the_same_are_a_value_or_one_typed_error(name: str, fill: bytes) -> None:
    reader = READERS[name]()
    data = (reader.seeds[0][:8] + fill * (MAX_BYTES // len(fill)))[:MAX_BYTES]
    for octets in (data, data[8:]):
        try:
            reader.read(octets)
        except reader.error as error:
            assert "\n" not in str(error)


ENTRIES = ("epoch", "model", "instance/7", "policy/p", f"quota/{NODE}", "subscription/2/5", "subscription/x", "cell/a")
INSTANCE = {"epoch": 5, "role": "control", "beat": 3, "host": "", "pid": 1}
QUOTA = {"ues": [{"gNB-DU-UEID": {"gNB-CU-UE-F1AP-ID": 5}}]}
ODD = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5)
NAMES = st.text(max_size=5) | st.sampled_from(sorted(INSTANCE))
ODDER = st.recursive(
    ODD | st.sampled_from([POLICY, INSTANCE, QUOTA, 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
DEEP = b'{"version": 1, "value": ' + b"[" * (MAX_BYTES // 2 - 20)


@example({"policy/p": DEEP, "epoch": DEEP, f"quota/{NODE}": DEEP})
@example({"subscription/2/5": {"subscription_id": "a", "key": [[], {}, None]}, "subscription/2/" + "9" * 5000: {}})
@given(st.dictionaries(st.sampled_from(ENTRIES), st.binary(max_size=50) | st.just(DEEP) | ODDER))
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
def test_any_values_in_sdl_are_taken_or_passed_over(values: dict[str, object]) -> None:
    store = SharedStore(environ={})
    transport = Si95Transport("127.0.0.1", 0)
    try:
        for key, value in values.items():
            if isinstance(value, bytes):
                store._call(lambda sdl, key=key, value=value: sdl.set(store.namespace, key, value, usemsgpack=False))
            else:
                store.set(key, value)
        store.is_shared = True
        election = LeaderElection(store)
        for _ in range(3):
            election.run()
        assert election.epoch > 0
        metrics = Metrics()
        a1 = A1Policies(transport, store, metrics, handler_id="x", on_change=lambda new: None, query_period_s=0.0)
        a1.run_due()
        QuotaKeeper(Controls(), store).encoder(NODE)
        client = SubscriptionClient("http://127.0.0.1:9", ClientEndpoint("127.0.0.1", 1, 2), store=store, owner="1")
        client.run_due()
        client.close(0.0)
    finally:
        transport.close()
        store.close()
