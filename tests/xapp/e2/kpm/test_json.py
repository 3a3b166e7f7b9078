"""E2SM-KPM in full detail: every type's bytes and values, against vectors and against themselves."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xapp.e2.asn1 import schema
from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import schema as kpm_schema
from xapp.e2.kpm.json_types import KPM_TYPES

FLEXRIC = Dialect.FLEXRIC
KINDS = tuple(KPM_TYPES)
VECTOR_TYPES = {
    "E2SM-KPM-EventTriggerDefinition": "kpm-event-trigger",
    "E2SM-KPM-ActionDefinition": "kpm-action-definition",
    "E2SM-KPM-IndicationHeader": "kpm-indication-header",
    "E2SM-KPM-IndicationMessage": "kpm-indication-message",
    "E2SM-KPM-RANfunction-Description": "kpm-ran-function",
}


def test_vectors_decode_to_their_values_and_encode_to_the_same_bytes(vectors):
    spoken = 0
    for vector in vectors.values():
        kind = next((kind for prefix, kind in VECTOR_TYPES.items() if vector.name.startswith(prefix)), None)
        if kind is None:
            continue
        dialect = Dialect(vector.dialect)
        value = KPM_TYPES[kind].decode(vector.data, dialect)
        assert vector.value in (None, value), vector.name
        assert KPM_TYPES[kind].encode(json.loads(json.dumps(value)), dialect) == vector.data, vector.name
        spoken += 1
    assert spoken == 20


def test_the_same_values_in_the_other_dialect(vectors):
    for standard, flexric in {
        "E2SM-KPM-IndicationMessage F3 2 UEs gNB-DU-UEID (358 B)": (
            "E2SM-KPM-IndicationMessage F3, FlexRIC root-index form, same value as the standard 2-UE gNB-DU-UEID vector"
        ),
        "E2SM-KPM-ActionDefinition F5 style 5 (71 B)": "E2SM-KPM-ActionDefinition F5, FlexRIC root-index form",
    }.items():
        kind = next(kind for prefix, kind in VECTOR_TYPES.items() if standard.startswith(prefix))
        value = KPM_TYPES[kind].decode(vectors[standard].data)
        assert KPM_TYPES[kind].decode(vectors[flexric].data, FLEXRIC) == value
        assert KPM_TYPES[kind].encode(value, FLEXRIC) == vectors[flexric].data
        assert KPM_TYPES[kind].encode(value) == vectors[standard].data


def test_conditions_are_roots_in_flexric():
    condition = {"testType": {"ul-rSRP": "true"}, "testExpr": "lessthan", "testValue": {"valueReal": 0.5}}
    what = {"measInfoList": [{"measType": {"measID": 7}, "labelInfoList": [{"measLabel": {}}]}], "granulPeriod": 1}
    value = {
        "ric-Style-Type": 4,
        "actionDefinition-formats": {
            "actionDefinition-Format4": {
                "matchingUeCondList": [{"testCondInfo": condition}],
                "subscriptionInfo": what,
            }
        },
    }
    codec = KPM_TYPES["kpm-action-definition"]
    standard, flexric = codec.encode(value), codec.encode(value, FLEXRIC)
    # Format 4 of 5 roots (0 011), extension bit; conditions - 1; extension bits, 2 present, ul-rSRP of 11 (0 0110),
    # true (0), lessthan (0 010), real of 7 roots (0 110); the real 0.5.
    assert flexric[3:13] == bytes.fromhex("3000003309800380ff01")
    assert standard != flexric
    assert codec.decode(flexric, FLEXRIC) == codec.decode(standard) == value


def test_bins_in_the_root_are_refused_by_name():
    # Style 1; format 1 (0 000), extension bit, no cell, bins; a measurement, by number, without label; a period; bins.
    octets = "0001010200002000000100000000000000"
    with pytest.raises(E2DecodeError, match="a list of bin ranges is not supported"):
        KPM_TYPES["kpm-action-definition"].decode(bytes.fromhex(octets), FLEXRIC)


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("name", KINDS)
def test_any_value_survives_bytes_and_json(name, dialect, values_of):
    @given(values_of(KPM_TYPES[name].kinds[dialect]))
    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    def check(value):
        data = KPM_TYPES[name].encode(value, dialect)
        decoded = KPM_TYPES[name].decode(data, dialect)
        assert decoded == value
        assert KPM_TYPES[name].encode(json.loads(json.dumps(decoded, allow_nan=False)), dialect) == data

    check()


def test_an_integer_and_a_real_of_the_same_worth_stay_apart():
    record = [{"integer": 1}, {"real": 1.0}, {"noValue": None}, {"notSatisfied": None}, {"real": "nan"}]
    report = {"measData": [{"measRecord": record}]}
    message = {"indicationMessage-formats": {"indicationMessage-Format1": report}}
    codec = KPM_TYPES["kpm-indication-message"]
    assert codec.decode(codec.encode(message)) == message


EVENT_TRIGGER = {"eventDefinition-formats": {"eventDefinition-Format1": {"reportingPeriod": 1000}}}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], r"kpm-event-trigger: an object expected, not \[\]"),
        ({}, "kpm-event-trigger: the key 'eventDefinition-formats' is missing"),
        (EVENT_TRIGGER | {"period": 5}, "unknown key 'period', the keys are eventDefinition-formats"),
        ({"eventDefinition-formats": {"Format1": {}}}, "one key of eventDefinition-Format1 expected"),
        ({"eventDefinition-formats": 5}, "one key of eventDefinition-Format1 expected, not 5"),
        (
            {"eventDefinition-formats": {"eventDefinition-Format1": {"reportingPeriod": 0}}},
            r"kpm-event-trigger\.eventDefinition-formats\.eventDefinition-Format1\.reportingPeriod: 0 is outside 1\.\.",
        ),
        (
            {"eventDefinition-formats": {"eventDefinition-Format1": {"reportingPeriod": "1000"}}},
            "reportingPeriod: an integer expected, not '1000'",
        ),
    ],
)
def test_what_cannot_be_encoded_is_named(value, reason):
    with pytest.raises(E2EncodeError, match=reason):
        KPM_TYPES["kpm-event-trigger"].encode(value)


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (schema.Real(), "many", "a number expected"),
        (schema.Real(), 10**400, "range of a double"),
        (schema.Boolean(), 1, "true or false expected"),
        (schema.Null(), 0, "null expected"),
        (schema.Octets(), "xyz", "hexadecimal text expected"),
        (schema.Octets(), 7, "hexadecimal text expected"),
        (schema.Bits(), "012", "text of 0s and 1s expected"),
        (schema.Enumerated("start", "end"), "stop", "one of start, end expected"),
        (schema.ListOf(schema.Null(), 1, 4), {}, "a list expected"),
        (schema.ListOf(schema.Integer(), 1, 4), [1, "x"], r"x\[1\]: an integer expected"),
        (schema.Unsupported("format 7"), {}, "format 7 is not supported"),
        (kpm_schema.TimeStamp(8), "01 02 03 04 05  ", "8 octets as hexadecimal text expected"),
        (kpm_schema.TimeStamp(8), "0123456x", "8 octets as hexadecimal text expected"),
        (kpm_schema.TimeStamp(8), 5, "8 octets as hexadecimal text expected"),
    ],
)
def test_wrong_values_are_named(kind, value, reason):
    with pytest.raises(E2EncodeError, match=reason):
        kind.write(BitWriter(), value, "x")


@pytest.mark.parametrize(
    ("name", "octets", "reason"),
    [
        ("kpm-indication-header", "00e8a1b2", "colletStartTime: 8 octets wanted, 3 left"),
        ("kpm-event-trigger", "4000", "eventDefinition-formats: unknown extension 0 of a choice"),
        ("kpm-event-trigger", "0803e700", r"1 octets left over .* \(at byte 3, bit 0\)"),
        ("kpm-action-definition", "00010104", "measInfoList: 2 octets wanted, 0 left"),
        ("kpm-indication-message", "00000000000180010000", "measRecord: size 0, at least 1 expected"),
    ],
)
def test_wrong_messages_say_what(name, octets, reason):
    with pytest.raises(E2DecodeError, match=reason):
        KPM_TYPES[name].decode(bytes.fromhex(octets))


def test_damaged_messages_decode_or_fail_with_the_one_error(vectors):
    originals = [
        (kind, vector.data, Dialect(vector.dialect))
        for vector in vectors.values()
        for prefix, kind in VECTOR_TYPES.items()
        if vector.name.startswith(prefix)
    ]

    def attempt(kind, data, dialect):
        try:
            KPM_TYPES[kind].decode(data, dialect)
        except E2DecodeError as error:
            return str(error)
        return None

    for kind, data, dialect in originals:
        for end in range(len(data)):
            failed = attempt(kind, data[:end], dialect) is not None
            assert failed or kind == "kpm-indication-header", data[:end].hex()  # that may read as one of an old node
        for bit in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << (bit % 8)
            attempt(kind, bytes(flipped), dialect)

    @given(st.sampled_from(sorted(KPM_TYPES)), st.binary(max_size=200), st.sampled_from(Dialect))
    @settings(max_examples=500)
    def anything(name, data, dialect):
        attempt(name, data, dialect)

    anything()


FULL_RECORD = "0000000000bfff"
"""A format 1 message about to list 16383 values, three bits each: the densest that a message can be."""


@pytest.mark.parametrize("pattern", ["00", "01", "40", "492492", "ff", "000000ff", "0001", "6000000000080000", "a0"])
@pytest.mark.parametrize("head", ["", "00000000", "0000ffff", "00ffff", "40000000", FULL_RECORD])
@pytest.mark.parametrize("name", KINDS)
def test_work_grows_no_faster_than_the_message(name, head, pattern):
    """Counted in calls, so that a busy machine cannot fail it."""
    data = (bytes.fromhex(head) + bytes.fromhex(pattern) * 6_000)[:6_150]
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        KPM_TYPES[name].decode(data)
    except E2DecodeError:
        pass
    finally:
        sys.setprofile(None)
    assert calls < 20 * len(data)
