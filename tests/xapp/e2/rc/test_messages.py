"""E2SM-RC: control headers and RAN functions come back, and nothing wrong comes through."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xapp.e2.asn1 import schema
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.dialect import Dialect
from xapp.e2.rc import messages as rc
from xapp.e2.rc import schema as rc_schema
from xapp.e2.ue_id.ue_id import GnbCuUpUeId, GnbDuUeId, GnbUeId, Guami

STANDARD, FLEXRIC = Dialect.STANDARD, Dialect.FLEXRIC
DIALECTS = st.sampled_from(Dialect)
UINT32 = st.integers(1, 2**32 - 1)
UE_IDS = st.one_of(
    UINT32.map(GnbDuUeId),
    UINT32.map(GnbCuUpUeId),
    UINT32.map(lambda n: GnbUeId(n, Guami(b"\x00\xf1\x10", 128, 4, 1), (n,), ran_ueid=n.to_bytes(8, "big"))),
)
NAME = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=155)
STYLE = st.integers(-1, 300)
ID_16 = st.integers(1, 70000)
KINDS = {
    "E2SM-RC-ControlHeader": rc_schema.CONTROL_HEADER,
    "E2SM-RC-ControlMessage": rc_schema.CONTROL_MESSAGE,
    "E2SM-RC-ControlOutcome": rc_schema.CONTROL_OUTCOME,
    "E2SM-RC-RANFunctionDefinition": {STANDARD: rc_schema.RAN_FUNCTION},
}


def decode_outcome(data: bytes, dialect: Dialect) -> Any:
    return schema.decode(rc_schema.CONTROL_OUTCOME[dialect], data, "rc-control-outcome")


DECODERS: dict[str, Callable[[bytes, Dialect], Any]] = {
    "E2SM-RC-ControlHeader": rc.decode_control_header,
    "E2SM-RC-ControlMessage": rc.decode_prb_quotas,
    "E2SM-RC-ControlOutcome": decode_outcome,
    "E2SM-RC-RANFunctionDefinition": lambda data, _: rc.decode_ran_function(data),
}


def kind_of(name: str) -> str:
    return name.split()[0].rstrip(",")


# -- vectors ----------------------------------------------------------------------------------------------------------


def test_vectors_in_full_detail(vectors):
    spoken = [vector for vector in vectors.values() if kind_of(vector.name) in KINDS]
    assert len(spoken) == 7
    for vector in spoken:
        kind = KINDS[kind_of(vector.name)][Dialect(vector.dialect)]
        value = schema.decode(kind, vector.data, "rc")
        assert vector.value in (None, value), vector.name
        assert schema.encode(kind, json.loads(json.dumps(value)), "rc") == vector.data, vector.name


def test_header_vectors(vectors):
    def header(start: str) -> bytes:
        return next(v.data for v in vectors.values() if v.name.startswith(f"E2SM-RC-ControlHeader {start}"))

    for start, expected, dialect in (
        ("F1 gNB-DU-UEID F1AP id 7", rc.ControlHeader(GnbDuUeId(7), 2, 6), STANDARD),
        ("F1 gNB-DU-UEID id 1, decision=accept", rc.ControlHeader(GnbDuUeId(1), 2, 6, accept=True), STANDARD),
        ("F1, gNB-DU-UEID F1AP id 0, style 2", rc.ControlHeader(GnbDuUeId(0), 2, 6), FLEXRIC),
    ):
        assert rc.decode_control_header(header(start), dialect) == expected
        assert rc.encode_control_header(expected, dialect) == header(start)
    gnb = rc.decode_control_header(header("F1 gNB-UEID with F1AP list"))
    assert rc.encode_control_header(gnb) == header("F1 gNB-UEID with F1AP list")


def test_the_ran_function_vector(vectors):
    data = vectors["E2SM-RC-RANFunctionDefinition, control style 2 action 6"].data
    function = rc.decode_ran_function(data)
    assert (function.short_name, function.oid in rc.RC_OIDS) == ("ORAN-E2SM-RC", True)
    assert function.offers(rc.SLICE_PRB_QUOTA)
    assert not function.offers(rc.Action(2, 5))
    assert [parameter.id for parameter in function.control_styles[0].actions[0].parameters] == [1, 2, 11, 12, 13]
    assert rc.encode_ran_function(function) == data


def test_a_control_is_offered_only_in_formats_that_are_written():
    style = rc.ControlStyle(2, "allocation", (rc.ControlAction(6, "quota"),))
    function = rc.RanFunction("RC", "1.2", "control", control_styles=(style,))
    assert function.offers(rc.SLICE_PRB_QUOTA)
    for other in (style._replace(header_format=2), style._replace(message_format=2), style._replace(actions=())):
        assert not function._replace(control_styles=(other,)).offers(rc.SLICE_PRB_QUOTA)


# -- what goes in comes out -------------------------------------------------------------------------------------------


@given(st.builds(rc.ControlHeader, UE_IDS, STYLE, ID_16, st.none() | st.booleans()), DIALECTS)
def test_headers(header, dialect):
    again = rc.decode_control_header(rc.encode_control_header(header, dialect), dialect)
    assert (type(again.ue_id), again) == (type(header.ue_id), header)


PARAMETERS = st.lists(st.builds(rc.Parameter, UINT32, NAME), max_size=2).map(tuple)
ACTION = st.builds(rc.ControlAction, ID_16, NAME, PARAMETERS)
CONTROL_STYLE = st.builds(
    rc.ControlStyle,
    STYLE,
    NAME,
    st.lists(ACTION, max_size=2).map(tuple),
    STYLE,
    STYLE,
    STYLE,
    st.none() | STYLE,
    PARAMETERS,
)


@given(
    st.builds(
        rc.RanFunction, NAME, NAME, NAME, st.none() | st.integers(-5, 5), st.lists(CONTROL_STYLE, max_size=2).map(tuple)
    )
)
def test_ran_functions(function):
    assert rc.decode_ran_function(rc.encode_ran_function(function)) == function


@pytest.mark.parametrize(
    ("kind", "dialect"),
    [(kind, dialect) for kind, by_dialect in KINDS.items() for dialect in by_dialect],
)
def test_any_value_survives_bytes_and_json(kind, dialect, values_of):
    composed = KINDS[kind][dialect]

    @given(values_of(composed))
    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    def check(value):
        data = schema.encode(composed, value, "rc")
        decoded = schema.decode(composed, data, "rc")
        assert decoded == value
        assert schema.encode(composed, json.loads(json.dumps(decoded, allow_nan=False)), "rc") == data

    check()


def test_the_control_part_is_found_behind_the_parts_of_other_purposes(values_of):
    @given(values_of(rc_schema.RAN_FUNCTION))
    @settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
    def check(value):
        function = rc.decode_ran_function(schema.encode(rc_schema.RAN_FUNCTION, value, "rc"))
        listed = value.get("ranFunctionDefinition-Control", {}).get("ric-ControlStyle-List", ())
        assert [style.style for style in function.control_styles] == [each["ric-ControlStyle-Type"] for each in listed]

    check()


# -- what is wrong is said --------------------------------------------------------------------------------------------


def test_other_formats_are_refused_by_name():
    with pytest.raises(E2DecodeError, match="control header format 2 is not supported"):
        rc.decode_control_header(bytes.fromhex("4000020000"))
    with pytest.raises(E2DecodeError, match="control header format 2 is not supported"):
        rc.decode_control_header(b"\x20\0", FLEXRIC)
    with pytest.raises(E2DecodeError, match="control message format 3 is not supported"):
        rc.decode_prb_quotas(bytes.fromhex("4080020000"))
    with pytest.raises(E2DecodeError, match="control outcome format 3 is not supported"):
        decode_outcome(b"\x20\0", FLEXRIC)


@pytest.mark.parametrize(
    ("encode", "reason"),
    [
        (lambda: rc.encode_control_header(rc.ControlHeader(GnbDuUeId(2**32), 2, 6)), "F1AP-ID: 4294967296 is outside"),
        (lambda: rc.encode_control_header(rc.ControlHeader(7, 2, 6)), "a UE id expected, not 7"),
        (lambda: rc.encode_control_header(rc.ControlHeader(GnbDuUeId(1), "2", 6)), "Style-Type: an integer expected"),
        (lambda: rc.encode_ran_function(rc.RanFunction("RC", "1", "RC", "1")), "Instance: an integer expected"),
    ],
)
def test_what_cannot_be_encoded_is_named(encode, reason):
    with pytest.raises(E2EncodeError, match=reason):
        encode()


def nested(depth: int) -> dict[str, Any]:
    """A control message with `depth` levels of RAN parameters."""
    value: dict[str, Any] = {"ranP-Choice-ElementTrue": {"ranParameter-value": {"valueInt": 1}}}
    for _ in range(depth - 1):
        inner = [{"ranParameter-ID": 1, "ranParameter-valueType": value}]
        value = {"ranP-Choice-Structure": {"ranParameter-Structure": {"sequence-of-ranParameters": inner}}}
    return {
        "ric-controlMessage-formats": {
            "controlMessage-Format1": {"ranP-List": [{"ranParameter-ID": 1, "ranParameter-valueType": value}]}
        }
    }


def test_ran_parameters_nest_only_so_deep():
    kind = rc_schema.CONTROL_MESSAGE[STANDARD]
    deepest = nested(rc_schema.MAX_DEPTH)
    assert schema.decode(kind, schema.encode(kind, deepest, "rc"), "rc") == deepest
    with pytest.raises(E2EncodeError, match="deeper than 12 is not supported"):
        schema.encode(kind, nested(5000), "rc")
    with pytest.raises(E2DecodeError, match="a RAN parameter nested deeper than 12 is not supported"):
        schema.decode(kind, b"\0\0\1\0\0" + b"\x44\0\0\0\0" * 5000, "rc")


def attempt(decode: Callable[[bytes, Dialect], Any], data: bytes, dialect: Dialect) -> bool:
    try:
        decode(data, dialect)
    except E2DecodeError:
        return False
    return True


def test_damaged_messages_decode_or_fail_with_the_one_error(vectors):
    for vector in vectors.values():
        if kind_of(vector.name) not in DECODERS:
            continue
        decode = DECODERS[kind_of(vector.name)]
        for dialect in Dialect:
            for end in range(len(vector.data)):
                assert not attempt(decode, vector.data[:end], dialect) or dialect != vector.dialect
            for bit in range(len(vector.data) * 8):
                flipped = bytearray(vector.data)
                flipped[bit // 8] ^= 1 << (bit % 8)
                attempt(decode, bytes(flipped), dialect)


@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=200), DIALECTS)
@settings(max_examples=500)
def test_anything_decodes_or_fails_with_the_one_error(kind, data, dialect):
    attempt(DECODERS[kind], data, dialect)


def test_headers_of_ue_ids_with_the_same_number_differ():
    quota = rc.PrbQuota(b"\x00\xf1\x10", 1, None, 0, 50)
    by_du, by_cu_up = (rc.encode_prb_quota_control(ue_id, quota) for ue_id in (GnbDuUeId(7), GnbCuUpUeId(7)))
    assert rc.decode_control_header(by_du.header).ue_id == GnbDuUeId(7)
    assert type(rc.decode_control_header(by_cu_up.header).ue_id) is GnbCuUpUeId
    assert by_du.header == bytes.fromhex("0100070102000005")
    flexric = rc.encode_prb_quota_control(GnbDuUeId(0), quota, FLEXRIC)
    assert flexric.header == bytes.fromhex("0080000102000005")
    assert flexric.message == by_du.message
