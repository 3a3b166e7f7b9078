"""E2AP's hot messages by hand, with pycrate's compiled ASN.1 as an oracle that shares no line with them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from counting import calls_of
from hypothesis import given
from hypothesis import strategies as st

from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import pycrate_codec as e2ap_asn1

VECTORS = [
    {"name": v["name"].removeprefix("E2AP-PDU ").split(" (")[0], "hex": v["hex"]}
    for v in json.loads(Path(__file__).parents[1].joinpath("vectors.json").read_text())["vectors"]
    if v["name"].startswith("E2AP-PDU")
]


class Codec(NamedTuple):
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


CODECS = {
    "RICindication": Codec(e2ap.decode_indication, e2ap.encode_indication),
    "RICcontrolRequest": Codec(e2ap.decode_control_request, e2ap.encode_control_request),
    "RICcontrolAcknowledge": Codec(e2ap.decode_control_acknowledge, e2ap.encode_control_acknowledge),
    "RICcontrolFailure": Codec(e2ap.decode_control_failure, e2ap.encode_control_failure),
}
HOT = {v["name"]: bytes.fromhex(v["hex"]) for v in VECTORS if v["name"] in CODECS}

request_ids = st.builds(e2ap.RicRequestId, st.integers(0, 65535), st.integers(0, 65535))
function_ids = st.integers(0, 4095)
# Around every boundary of a length: one octet, two octets, fragments, several of them.
lengths = st.sampled_from((0, 1, 127, 128, 16383, 16384, 16385, 32768, 65535, 65536, 81920, 130_000))
payloads = st.binary(max_size=40) | st.builds(lambda n, octet: bytes((octet,)) * n, lengths, st.integers(0, 255))
small = st.none() | st.binary(max_size=20)
causes = st.sampled_from([e2ap.Cause(group, value) for group, values in e2ap.CAUSES.items() for value in values])

MESSAGES = {
    "RICindication": st.builds(
        e2ap.Indication,
        request_ids,
        function_ids,
        st.integers(0, 255),
        st.sampled_from(e2ap.IndicationType),
        payloads,
        payloads,
        st.none() | st.integers(0, 65535),
        small,
    ),
    "RICcontrolRequest": st.builds(
        e2ap.ControlRequest,
        request_ids,
        function_ids,
        payloads,
        payloads,
        small,
        st.none() | st.sampled_from(e2ap.AckRequest),
    ),
    "RICcontrolAcknowledge": st.builds(e2ap.ControlAcknowledge, request_ids, function_ids, small, st.none() | payloads),
    "RICcontrolFailure": st.builds(
        e2ap.ControlFailure,
        request_ids,
        function_ids,
        causes,
        small,
        st.none() | payloads,
        st.sampled_from(e2ap.Criticality),
    ),
}


def oracle_value(name: str, message: Any) -> Any:
    """The message as pycrate writes it down, from the specification's tables."""
    element = {
        "call_process_id": (20, "RICcallProcessID", lambda v: v),
        "header": (25, "RICindicationHeader", lambda v: v),
        "message": (26, "RICindicationMessage", lambda v: v),
        "action_id": (15, "RICactionID", lambda v: v),
        "sn": (27, "RICindicationSN", lambda v: v),
        "indication_type": (28, "RICindicationType", lambda v: v.name.lower()),
        "outcome": (32, "RICcontrolOutcome", lambda v: v),
        "cause": (1, "Cause", tuple),
        "ack_request": (21, "RICcontrolAckRequest", lambda v: "ack" if v else "noAck"),
    }
    if name == "RICcontrolRequest":
        element |= {
            "header": (22, "RICcontrolHeader", lambda v: v),
            "message": (23, "RICcontrolMessage", lambda v: v),
        }
    kind, procedure, criticality, order = {
        "RICindication": (
            "initiatingMessage",
            5,
            "ignore",
            ("action_id", "sn", "indication_type", "header", "message", "call_process_id"),
        ),
        "RICcontrolRequest": (
            "initiatingMessage",
            4,
            "reject",
            ("call_process_id", "header", "message", "ack_request"),
        ),
        "RICcontrolAcknowledge": ("successfulOutcome", 4, "reject", ("call_process_id", "outcome")),
        "RICcontrolFailure": ("unsuccessfulOutcome", 4, "reject", ("call_process_id", "cause", "outcome")),
    }[name]
    requestor, instance = message.request_id
    elements: list[tuple[int, str, Any]] = [
        (29, "RICrequestID", {"ricRequestorID": requestor, "ricInstanceID": instance}),
        (5, "RANfunctionID", message.function_id),
    ]
    for field in order:
        value = getattr(message, field)
        if value is not None:
            number, type_name, convert = element[field]
            elements.append((number, type_name, convert(value)))
    listed = [{"id": i, "criticality": "reject", "value": (type_name, value)} for i, type_name, value in elements]
    if name == "RICcontrolFailure":
        cause = next(e for e in listed if e["id"] == 1)
        cause["criticality"] = message.cause_criticality.name.lower()
    return kind, {"procedureCode": procedure, "criticality": criticality, "value": (name, {"protocolIEs": listed})}


# -- vectors and oracle -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CODECS)
def test_the_vectors_decode_and_encode_again_bit_for_bit(name: str):
    decode, encode = CODECS[name]
    message = decode(HOT[name])
    assert message.request_id == (123, 4)
    assert message.function_id == 2
    assert encode(message) == HOT[name]
    assert e2ap_asn1.encode_value(oracle_value(name, message)) == HOT[name]


def test_the_vectors_hold_what_their_makers_put_in():
    indication = e2ap.decode_indication(HOT["RICindication"])
    assert indication[2:4] == (1, e2ap.IndicationType.REPORT)
    assert (indication.sn, len(indication.header), len(indication.message)) == (77, 9, 300)
    request = e2ap.decode_control_request(HOT["RICcontrolRequest"])
    assert (request.header, request.message, request.ack_request) == (b"\x01\x02", b"\x03" * 69, e2ap.AckRequest.ACK)
    assert e2ap.decode_control_acknowledge(HOT["RICcontrolAcknowledge"]).outcome == b"\x00\x01"
    failure = e2ap.decode_control_failure(HOT["RICcontrolFailure"])
    assert failure.cause == ("ricRequest", "control-message-invalid")
    assert failure.cause_criticality is e2ap.Criticality.REJECT


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
def test_hand_and_oracle_write_the_same_octets_and_read_the_same_values(name: str, data):
    message = data.draw(MESSAGES[name])
    decode, encode = CODECS[name]
    value = oracle_value(name, message)
    pdu = encode(message)
    assert pdu == e2ap_asn1.encode_value(value)
    assert decode(pdu) == message
    assert e2ap_asn1.decode_value(pdu) == value


@pytest.mark.parametrize("size", [16383, 16384, 65536, 130_000])
def test_payloads_of_several_fragments_agree_with_the_oracle(size: int):
    message = e2ap.Indication(e2ap.RicRequestId(1, 2), 3, 4, e2ap.IndicationType.REPORT, b"h", bytes(range(250)) * 520)
    message = message._replace(message=message.message[:size])
    pdu = e2ap.encode_indication(message)
    assert pdu == e2ap_asn1.encode_value(oracle_value("RICindication", message))
    assert e2ap.decode_indication(pdu) == message


def test_causes_of_later_versions_pass_through():
    for index in (6, 63, 64, 99):
        cause = e2ap.Cause("ricRequest", f"extension-{index}")
        failure = e2ap.ControlFailure(e2ap.RicRequestId(1, 2), 3, cause)
        pdu = e2ap.encode_control_failure(failure)
        assert e2ap.decode_control_failure(pdu) == failure
        elements = e2ap_asn1.decode_value(pdu)[1]["value"][1]["protocolIEs"]
        assert elements[2]["value"] == ("Cause", ("ricRequest", f"_ext_{index}"))


@given(st.binary(max_size=4).filter(lambda b: len(b) < 4) | st.binary(min_size=4, max_size=60))
def test_peek_says_what_a_pdu_is_or_that_it_is_none(data: bytes):
    try:
        kind, procedure = e2ap.peek(data)
    except E2DecodeError:
        assert len(data) < 4 or data[0] > 0x5F or data[2] > 0xBF
    else:
        assert (kind, procedure) == (data[0] >> 5, data[1])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_peek_agrees_with_the_oracle(vector: dict[str, str]):
    pdu = bytes.fromhex(vector["hex"])
    alternative, outcome = e2ap_asn1.decode_value(pdu)
    kind, procedure = e2ap.peek(pdu)
    assert alternative.lower().startswith(kind.name.lower())
    assert procedure == outcome["procedureCode"]


# -- what others add, and what is wrong -------------------------------------------------------------------------------


def element(number: int, criticality: int, value: bytes) -> bytes:
    return number.to_bytes(2, "big") + bytes((criticality << 6, len(value))) + value


def acknowledge_of(*elements: bytes) -> bytes:
    body = b"\x00" + len(elements).to_bytes(2, "big") + b"".join(elements)
    return bytes((0x20, 4, 0, len(body))) + body


REQUEST_ID = element(29, 0, bytes.fromhex("00007b0004"))
FUNCTION_ID = element(5, 0, b"\x00\x02")
ACKNOWLEDGE = e2ap.ControlAcknowledge(e2ap.RicRequestId(123, 4), 2)


def test_unknown_elements_are_skipped_unless_their_sender_says_reject():
    for criticality in (e2ap.Criticality.IGNORE, e2ap.Criticality.NOTIFY):
        pdu = acknowledge_of(element(999, criticality, b"new"), REQUEST_ID, FUNCTION_ID)
        assert e2ap.decode_control_acknowledge(pdu) == ACKNOWLEDGE
    pdu = acknowledge_of(REQUEST_ID, FUNCTION_ID, element(999, e2ap.Criticality.REJECT, b"new"))
    with pytest.raises(E2DecodeError, match="element 999 is not known and must not be ignored") as caught:
        e2ap.decode_control_acknowledge(pdu)
    assert caught.value.offset_bits == 8 * pdu.index(b"\x03\xe7")


def test_additions_of_later_versions_are_skipped():
    one_addition = b"\x01\x05later"
    request_id = element(29, 0, bytes.fromhex("80007b0004") + one_addition)
    extended = bytearray(acknowledge_of(request_id, FUNCTION_ID) + one_addition)
    extended[3] += len(one_addition)
    extended[4] = 0x80
    assert e2ap.decode_control_acknowledge(bytes(extended)) == ACKNOWLEDGE
    assert e2ap_asn1.decode_value(bytes(extended))[0] == "successfulOutcome"
    for size in range(4, len(extended)):
        shorter = extended[:3] + bytes((size - 4,)) + extended[4:size]
        with pytest.raises(E2DecodeError):
            e2ap.decode_control_acknowledge(bytes(shorter))


@pytest.mark.parametrize(
    ("pdu", "reason"),
    [
        (acknowledge_of(REQUEST_ID), "RANfunctionID: is missing"),
        (acknowledge_of(REQUEST_ID, FUNCTION_ID, FUNCTION_ID), "RANfunctionID: given twice"),
        (acknowledge_of(REQUEST_ID, element(5, 0, b"\x10\x00")), "4096 is outside 0..4095"),
        (acknowledge_of(REQUEST_ID, element(5, 0, b"\x01")), "1 octets, expected 2"),
        (acknowledge_of(REQUEST_ID, element(5, 3, b"\x00\x02")), "criticality 3"),
        (acknowledge_of(element(29, 0, b"\x00\x00\x01"), FUNCTION_ID), "RICrequestID: 3 octets, expected 5"),
        (acknowledge_of(REQUEST_ID, FUNCTION_ID, element(32, 0, b"\x05ab")), "5 octets announced, 2 left"),
        (acknowledge_of(REQUEST_ID, FUNCTION_ID, element(32, 0, b"\x01ab")), "1 octets left over"),
        (acknowledge_of(REQUEST_ID, FUNCTION_ID, element(32, 0, b"")), "ends within its length"),
        (acknowledge_of(REQUEST_ID, FUNCTION_ID) + b"x", "1 octets left over"),
        (acknowledge_of(REQUEST_ID, FUNCTION_ID)[:-1], "octets announced"),
        (b"\x20\x04\x00\x02\x00\x00", "ends within its elements"),
        (b"\x20\x04\x00\x80", "ends within its length"),
        (b"\x00\x05\x40\x00", "procedure 5; expected SUCCESSFUL, procedure 4"),
        (b"\x80\x05\x40\x00", "alternative 4 is not known"),
        (b"\x20\x04\xc0\x00", "criticality 3 does not exist"),
        (b"", "0 octets are no PDU"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_by_name(pdu: bytes, reason: str):
    with pytest.raises(E2DecodeError) as caught:
        e2ap.decode_control_acknowledge(pdu)
    assert reason in str(caught.value)


def test_types_of_later_versions_are_refused():
    pdu = bytearray(HOT["RICindication"])
    pdu[pdu.index(bytes.fromhex("001c000100")) + 4] = 0x80
    with pytest.raises(E2DecodeError, match="RICindicationType: a type of a later version"):
        e2ap.decode_indication(bytes(pdu))
    pdu = bytearray(HOT["RICcontrolRequest"])
    pdu[-1] = 0x80
    with pytest.raises(E2DecodeError, match="RICcontrolAckRequest"):
        e2ap.decode_control_request(bytes(pdu))


def test_what_does_not_fit_is_not_encoded():
    request_id = e2ap.RicRequestId(1, 2)
    wrong = [
        (lambda: e2ap.encode_control_acknowledge(e2ap.ControlAcknowledge(request_id, 4096)), "RANfunctionID is 4096"),
        (lambda: e2ap.encode_control_acknowledge(ACKNOWLEDGE._replace(request_id=(1, 65536))), "RICrequestID"),
        (lambda: e2ap.encode_indication(e2ap.Indication(request_id, 1, 256, 0, b"", b"")), "RICactionID is 256"),
        (lambda: e2ap.encode_indication(e2ap.Indication(request_id, 1, 1, 0, b"", b"", -1)), "RICindicationSN is -1"),
    ]
    for group, value in (("ricRequest", "no-such"), ("none", "unspecified"), ("misc", "extension-x")):
        failure = e2ap.ControlFailure(request_id, 1, e2ap.Cause(group, value))
        wrong.append((lambda failure=failure: e2ap.encode_control_failure(failure), "cause"))
    for make, names in wrong:
        with pytest.raises(E2EncodeError, match=names):
            make()


# -- any bytes --------------------------------------------------------------------------------------------------------


def value_or_decode_error(decode: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return decode(data)
    except E2DecodeError as error:
        assert "\n" not in str(error)
        return None


@pytest.mark.parametrize("name", CODECS)
@given(data=st.binary(max_size=80), with_head=st.booleans())
def test_any_bytes_are_a_value_or_one_error(name: str, data: bytes, with_head: bool):
    value_or_decode_error(CODECS[name].decode, HOT[name][:3] + data if with_head else data)


@pytest.mark.parametrize("name", CODECS)
def test_every_truncation_is_one_error(name: str):
    for size in range(len(HOT[name])):
        with pytest.raises(E2DecodeError):
            CODECS[name].decode(HOT[name][:size])


@pytest.mark.parametrize("name", CODECS)
def test_every_flipped_bit_is_an_error_or_what_the_oracle_reads(name: str):
    decode = CODECS[name].decode
    for position in range(min(len(HOT[name]), 90)):
        for bit in range(8):
            damaged = bytearray(HOT[name])
            damaged[position] ^= 1 << bit
            message = value_or_decode_error(decode, bytes(damaged))
            if message is None:
                continue
            *_, outcome = e2ap_asn1.decode_value(bytes(damaged))
            known = {e["id"]: e["value"] for e in outcome["value"][1]["protocolIEs"]}
            assert known[29][1] == {
                "ricRequestorID": message.request_id.requestor,
                "ricInstanceID": message.request_id.instance,
            }
            assert known[5][1] == message.function_id
            if name == "RICindication":
                assert (known[25][1], known[26][1]) == (message.header, message.message)


def test_the_usual_indication_is_read_without_a_look_at_each_element() -> None:
    """Any other costs several times the calls, and says the same."""
    usual = e2ap.Indication(e2ap.RicRequestId(123, 7), 5, 1, e2ap.IndicationType.INSERT, b"h" * 20, b"m" * 300, sn=9)
    for indication in (usual, usual._replace(header=b"h" * 200), usual._replace(message=b"")):
        pdu = e2ap.encode_indication(indication)
        assert e2ap.decode_indication(pdu) == indication
        assert calls_of(partial(e2ap.decode_indication, pdu)) < 24
    for other in (usual._replace(sn=None), usual._replace(call_process_id=b"1"), usual._replace(message=bytes(20_000))):
        assert e2ap.decode_indication(e2ap.encode_indication(other)) == other


def test_a_count_that_promises_more_than_there_is_costs_nothing():
    body = b"\x00\xff\xff" + element(999, 1, b"") * 4000
    pdu = b"\x20\x04\x00" + (0x8000 | len(body)).to_bytes(2, "big")[:2] + body
    with pytest.raises(E2DecodeError):
        e2ap.decode_control_acknowledge(pdu)


def test_the_oracle_serves_several_threads_at_once():
    pdus = [bytes.fromhex(v["hex"]) for v in VECTORS]
    failures: list[object] = []

    def work(start: int) -> None:
        for turn in range(40):
            pdu = pdus[(start + turn) % len(pdus)]
            if e2ap_asn1.encode_value(e2ap_asn1.decode_value(pdu)) != pdu:
                failures.append(pdu)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
