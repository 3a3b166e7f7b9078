"""The DCM service model: what goes in comes out, and nothing wrong comes through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.allocation import DYNAMIC, IDLE, NO_CAP, OPEN, Allocation, LeftoverRule, PeriodicGrant, all_dynamic
from policy.cell_state import COLUMNS, make_cell_state
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.dcm import dcm_pb2
from xapp.e2.dcm import messages as dcm

CELL = "00f110000000001"
CARRIER = dcm.Carrier.of(CELL, bwp_size_prb=32, rbg_size_prb=4)
U16, U32, U64 = 2**16 - 1, 2**32 - 1, 2**64 - 1

rbg_sizes = st.sampled_from((2, 4, 8, 16))
cells = st.text("0123456789abcdef", min_size=15, max_size=15)
ue_id_rows = st.lists(st.integers(0, U32), max_size=12, unique=True).map(lambda ids: tuple(sorted(ids)))


@st.composite
def carriers(draw: st.DrawFn) -> dcm.Carrier:
    rbg_size = draw(rbg_sizes)
    size = draw(st.integers(1, min(275, 60 * rbg_size)))
    return dcm.Carrier.of(
        draw(cells),
        bwp_size_prb=size,
        rbg_size_prb=rbg_size,
        bwp_start_prb=draw(st.integers(0, 274)),
        numerology=draw(st.integers(0, 6)),
    )


@st.composite
def allocations(draw: st.DrawFn, num_rbgs: int) -> Allocation:
    ue_ids = draw(ue_id_rows)
    count = len(ue_ids)
    grants = []
    for _ in range(draw(st.integers(0, 3 if count else 0))):
        period = draw(st.integers(1, U16))
        rbg, phase = draw(st.integers(0, num_rbgs - 1)), draw(st.integers(0, period - 1))
        grants.append(PeriodicGrant(draw(st.integers(0, count - 1)), rbg, period, phase))
    owners = st.integers(IDLE, count - 1)
    return Allocation(
        ue_ids,
        np.array(draw(st.lists(owners, min_size=num_rbgs, max_size=num_rbgs)), np.int16),
        LeftoverRule(draw(st.integers(0, 7)), draw(st.floats(0, 1e300))),
        tuple(grants),
        np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), np.bool_),
        np.array(draw(st.lists(st.integers(0, 255), min_size=count, max_size=count)), np.uint8),
    )


def fields_of(allocation: Allocation) -> tuple[Any, ...]:
    """Everything an Allocation says, comparable."""
    return (
        allocation.ue_ids,
        allocation.owner_M.tolist(),
        allocation.leftover,
        allocation.periodic_grants,
        allocation.open_allowed_U.tolist(),
        allocation.max_rbgs_U.tolist(),
    )


def encode(allocation: Allocation, carrier: dcm.Carrier = CARRIER, **overrides: int) -> bytes:
    numbers = {"instance_epoch": 7, "decision_id": 99, "based_on_indication_sn": 5, "valid_for_slots": 200} | overrides
    return dcm.encode_control(allocation, carrier=carrier, **numbers)


def some_allocation() -> Allocation:
    owner_M = np.array([0, 1, OPEN, DYNAMIC, IDLE, 2, DYNAMIC, 0], np.int16)
    caps_U = np.array([NO_CAP, 4, NO_CAP], np.uint8)
    grants = (PeriodicGrant(1, 1, 20, 3),)
    return Allocation((3, 9, 11), owner_M, LeftoverRule(5, 0.6), grants, np.array([True, False, True]), caps_U)


# -- carriers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "size", "rbg_size", "expected"),
    [(0, 273, 16, 18), (0, 106, 8, 14), (0, 51, 4, 13), (1, 36, 2, 19), (10, 1, 16, 1), (15, 2, 16, 2)],
)
def test_the_number_of_rbgs_follows_38_214(start: int, size: int, rbg_size: int, expected: int):
    assert dcm.carrier_num_rbgs(start, size, rbg_size) == expected
    # Counted one by one: the first RBG is shortened by start mod P, the others begin at multiples of P.
    assert len({(start + prb) // rbg_size for prb in range(size)}) == expected


# -- round trips ------------------------------------------------------------------------------------------------------


@given(st.data(), carriers(), st.integers(0, U64), st.integers(0, U64), st.integers(0, U32), st.integers(1, U32))
def test_a_control_says_exactly_what_was_decided(data, carrier, epoch, decision, sn, lease):
    allocation = data.draw(allocations(carrier.num_rbgs))
    start = data.draw(st.integers(0, U64))
    encoded = dcm.encode_control(
        allocation,
        instance_epoch=epoch,
        decision_id=decision,
        based_on_indication_sn=sn,
        carrier=carrier,
        apply_from_slot=start,
        valid_for_slots=lease,
    )
    control = dcm.decode_control(encoded)
    assert fields_of(control.allocation) == fields_of(allocation)
    told = (control.instance_epoch, control.decision_id, control.based_on_indication_sn, control.apply_from_slot)
    assert told == (epoch, decision, sn, start)
    assert (control.carrier, control.valid_for_slots, control.release) == (carrier, lease, False)


def test_a_release_needs_no_allocation_and_says_so():
    encoded = dcm.encode_release(instance_epoch=7, decision_id=100, carrier=CARRIER)
    control = dcm.decode_control(encoded)
    assert control.release
    assert (control.instance_epoch, control.decision_id, control.carrier) == (7, 100, CARRIER)
    assert fields_of(control.allocation) == fields_of(all_dynamic((), 8))


def test_the_bitmaps_of_a_control_are_those_that_the_proto_describes():
    message = dcm_pb2.Control.FromString(encode(some_allocation()))
    assert message.ue_ids == bytes.fromhex("03000000 09000000 0b000000")
    assert message.rbg_bitmaps == bytes([0b10000001, 0b01000000, 0b00000100])
    assert (message.open_bitmap, message.dynamic_bitmap) == (bytes([0b00100000]), bytes([0b00010010]))
    assert message.open_allowed == bytes([0b10100000])
    assert message.max_rbgs == bytes([255, 4, 255])
    assert (message.leftover_class_mask, message.leftover_contenders) == (5, 0.6)
    grants = (message.grant_ue_ids, message.grant_rbgs, message.grant_period_slots, message.grant_phase_slots)
    assert grants == (b"\x09\0\0\0", b"\x01", b"\x14\0", b"\x03\0")


float32 = st.floats(0, 2.0**100, width=32) | st.just(float("nan"))


@pytest.mark.usefixtures("reader")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), ue_id_rows, st.integers(1, U32), st.integers(0, U64), st.integers(0, U32))
def test_an_indication_says_exactly_what_was_reported(data, ue_ids, k, boundary, delay):
    columns = {}
    for name in data.draw(st.sets(st.sampled_from(dcm.INDICATION_COLUMNS))):
        values = st.sampled_from([0.0, 1.0, 2.0, float("nan")]) if name == "traffic_class" else float32
        if name.endswith("_db"):
            values |= st.floats(-200, 0, width=32)
        columns[name] = np.array(data.draw(st.lists(values, min_size=len(ue_ids), max_size=len(ue_ids))))
    octets = data.draw(st.integers(0, 8))
    bitmaps = [data.draw(st.binary(min_size=n, max_size=n)) for n in (3 * octets, octets, octets)]
    applied = data.draw(st.none() | st.builds(dcm.AppliedControl, st.integers(1, U64), st.integers(0, U64)))
    if applied:
        applied = dcm.AppliedControl(applied.instance_epoch, applied.decision_id, *bitmaps)
    num_rbgs = data.draw(st.integers(1, 18))
    known = np.array(data.draw(st.lists(st.booleans(), min_size=num_rbgs, max_size=num_rbgs)))
    rbgs = {
        "heard_cqi": np.where(known, 1.0 + np.arange(len(ue_ids) * num_rbgs).reshape(-1, num_rbgs) % 15, np.nan),
        "heard_age_slots": np.where(known, 1.0 + np.arange(len(ue_ids) * num_rbgs).reshape(-1, num_rbgs) % 12, np.nan),
        "last_outcome": np.where(known, np.arange(num_rbgs) % 6.0, np.nan),
    }
    sent = dcm.Indication(ue_ids, k, boundary, delay, applied, **columns, **rbgs)
    got = dcm.decode_indication(dcm.encode_indication(sent))
    assert (got.ue_ids, got.slots_per_report, got.next_boundary_slot) == (ue_ids, k, boundary)
    assert (got.report_delay_slots, got.applied) == (delay, applied)
    for name in dcm.INDICATION_COLUMNS:
        column = getattr(got, name)
        assert column.dtype == np.float64
        np.testing.assert_array_equal(column, columns.get(name, np.full(len(ue_ids), np.nan)))
    for name, expected in rbgs.items():
        if np.isfinite(expected).any():
            np.testing.assert_array_equal(getattr(got, name), expected)
        else:
            assert getattr(got, name).shape[-1] == 0


@pytest.mark.usefixtures("reader")
def test_a_column_of_nothing_but_nan_is_left_out_and_an_empty_one_reads_as_nan():
    silent = dcm.Indication((1, 2), 100, 0, 4, cqi=np.array([np.nan, np.nan]))
    assert dcm_pb2.Indication.FromString(dcm.encode_indication(silent)).cqi == b""
    assert np.isnan(dcm.decode_indication(dcm.encode_indication(silent)).cqi).all()


def test_the_columns_of_an_indication_that_a_cell_state_knows_have_its_names():
    shared = {name.removesuffix("_U") for name in COLUMNS} & set(dcm.INDICATION_COLUMNS)
    assert shared >= {"traffic_class", "buffer_bits", "cqi", "preferred_rbg", "deadline_slots", "packet_bits"}
    got = dcm.decode_indication(dcm.encode_indication(dcm.Indication((1, 2), 1, 0, 4, cqi=np.array([3.0, 9.0]))))
    state = make_cell_state(
        "n/c", num_rbgs=8, slots_per_dcm=1, slot=0, ue_ids=got.ue_ids, **{f"{n}_U": getattr(got, n) for n in shared}
    )
    assert state.cqi_U.tolist() == [3.0, 9.0]


@given(cells, st.integers(0, U64), st.integers(1, U32), st.lists(carriers(), max_size=4, unique_by=lambda c: c.cell))
def test_the_small_messages_round_trip(cell, number, period, listed):
    header = dcm.IndicationHeader(cell, number, number)
    assert dcm.decode_indication_header(dcm.encode_indication_header(header)) == header
    definition = dcm.ActionDefinition(cell)
    assert dcm.decode_action_definition(dcm.encode_action_definition(definition)) == definition
    assert dcm.decode_control_header(dcm.encode_control_header(dcm.ControlHeader(cell))) == dcm.ControlHeader(cell)
    trigger = dcm.EventTrigger(period)
    assert dcm.decode_event_trigger(dcm.encode_event_trigger(trigger)) == trigger
    function = dcm.RanFunction(tuple(listed))
    assert dcm.decode_ran_function(dcm.encode_ran_function(function)) == function


@pytest.mark.parametrize("code", dcm.OutcomeCode)
def test_every_outcome_round_trips(code: dcm.OutcomeCode):
    outcome = dcm.Outcome(code, "UE 7 is not here", 99, 1200)
    assert dcm.decode_outcome(dcm.encode_outcome(outcome)) == outcome


# -- what must not come through ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "names", "as_column"),
    [
        ({"rbg_bitmaps": b"\xff\x00\x00"}, "RBG 2 is given twice", True),
        ({"rbg_bitmaps": b"\x00\x00"}, "rbg_bitmaps", True),
        ({"open_bitmap": b""}, "open_bitmap", True),
        ({"dynamic_bitmap": b"\x00\x00"}, "dynamic_bitmap", True),
        ({"ue_ids": b"\x01\x00\x00\x00"}, "rbg_bitmaps", True),
        ({"ue_ids": b"\x01\x00\x00"}, "ue_ids", True),
        ({"ue_ids": bytes.fromhex("090000000300000011000000")}, "not unique and ascending", False),
        ({"ue_ids": bytes.fromhex("030000000300000011000000")}, "not unique and ascending", False),
        ({"open_allowed": b"\xff"}, "beyond the 3", True),
        ({"open_allowed": b""}, "open_allowed", True),
        ({"max_rbgs": b"\x01"}, "max_rbgs", True),
        ({"leftover_class_mask": 8}, "class mask is 8", False),
        ({"leftover_contenders": float("nan")}, "contenders is nan", False),
        ({"leftover_contenders": float("inf")}, "contenders is inf", False),
        ({"leftover_contenders": -1.0}, "contenders is -1", False),
        ({"valid_for_slots": 0}, "valid_for_slots", False),
        ({"grant_ue_ids": b"\x04\x00\x00\x00"}, "UE 4", False),
        ({"grant_ue_ids": b""}, "grant_ue_ids", True),
        ({"grant_rbgs": b"\x08"}, "RBG 0 to 7", False),
        ({"grant_period_slots": b"\x00\x00"}, "a period 1 to", False),
        ({"grant_phase_slots": b"\x14\x00"}, "a phase below it", False),
        ({"carrier": {"num_rbgs": 9}}, "rbg_bitmaps", True),
        ({"carrier": {"num_rbgs": 0}}, "num_rbgs is 0", False),
        ({"carrier": {"num_rbgs": 65}}, "num_rbgs is 65", False),
        ({"carrier": {"rbg_size_prb": 3}}, "rbg_size_prb is 3", False),
        ({"carrier": {"bwp_size_prb": 276}}, "bwp_size_prb is 276", False),
        ({"carrier": {"numerology": 7}}, "numerology is 7", False),
        ({"carrier": {"cell": "00F110000000001"}}, "15 lower case hex digits", False),
    ],
    ids=str,
)
def test_a_control_that_contradicts_itself_is_refused_by_name(changes: dict[str, Any], names: str, as_column: bool):
    message = dcm_pb2.Control.FromString(encode(some_allocation()))
    for field, value in changes.items():
        if isinstance(value, dict):
            for inner, number in value.items():
                setattr(getattr(message, field), inner, number)
        else:
            setattr(message, field, value)
    with pytest.raises(E2DecodeError) as caught:
        dcm.decode_control(message.SerializeToString())
    assert names in str(caught.value)
    # A node answers BAD_BITMAP to the first kind, MALFORMED to the second.
    assert isinstance(caught.value, dcm.DcmColumnError) is as_column


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"cqi": b"\x00\x00\x80\x7f\x00\x00\x80\x7f"}, "cqi[0] is inf"),
        ({"cqi": b"\x00\x00\x80\xbf\x00\x00\x80\x3f"}, "cqi[0] is -1"),
        ({"cqi": b"\x00\x00\x80\x3f"}, "cqi"),
        ({"traffic_class": b"\x00\x00\x00\x00\x00\x00\x40\x40"}, "traffic_class[1] is 3"),
        ({"traffic_class": b"\x00\x00\x00\x00\x00\x00\x00\x3f"}, "traffic_class[1] is 0.5"),
        ({"slots_per_report": 0}, "slots_per_report"),
        ({"ue_ids": b"\x02\x00\x00\x00\x01\x00\x00\x00"}, "ue_ids"),
        ({"applied_epoch": 1, "applied_open_bitmap": b"\x00"}, "applied_open_bitmap"),
        ({"applied_epoch": 1, "applied_rbg_bitmaps": b"\x00"}, "applied_rbg_bitmaps"),
        ({"heard": b"\x11\x11\x11"}, "heard: 3 octets for 2 UEs"),
        ({"heard": b"\x11\x10"}, "CQI that is not 1 to 15"),
        ({"heard": b"\x11\xd1"}, "age that is not 1 to 12"),
        ({"heard": b"\x11\x0f"}, "age that is not 1 to 12"),
        ({"heard": bytes(2 * 65)}, "heard: 130 octets"),
        ({"last_outcome": b"\x07"}, "an outcome above 6"),
        ({"last_outcome": bytes(65)}, "last_outcome: 65 octets"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("reader")
def test_an_indication_that_contradicts_itself_is_refused_by_name(changes: dict[str, Any], names: str):
    message = dcm_pb2.Indication.FromString(dcm.encode_indication(dcm.Indication((1, 2), 100, 0, 4)))
    for field, value in changes.items():
        setattr(message, field, value)
    with pytest.raises(E2DecodeError, match=names.replace("[", r"\[").replace("]", r"\]")):
        dcm.decode_indication(message.SerializeToString())


def test_an_outcome_nobody_knows_another_models_function_and_a_silent_trigger_are_refused():
    with pytest.raises(E2DecodeError, match="99 is no OutcomeCode"):
        dcm.decode_outcome(dcm_pb2.Outcome(code=99).SerializeToString())
    with pytest.raises(E2DecodeError, match="oid"):
        dcm.decode_ran_function(dcm_pb2.RanFunction(oid="1.2.3").SerializeToString())
    twice = dcm_pb2.RanFunction(oid=dcm.DCM_OID, cells=[CARRIER.to_message(), CARRIER.to_message()])
    with pytest.raises(E2DecodeError, match="named twice"):
        dcm.decode_ran_function(twice.SerializeToString())
    with pytest.raises(E2DecodeError, match="report_period_ms"):
        dcm.decode_event_trigger(b"")


def heard(cqi: float, age: float, outcome: float = 0.0) -> dcm.Indication:
    matrices = {"heard_cqi": np.array([[cqi]]), "heard_age_slots": np.array([[age]])}
    return dcm.Indication((1,), 1, 0, 0, last_outcome=np.array([outcome]), **matrices)


def test_what_could_not_be_decoded_is_not_encoded():
    allocation = some_allocation()
    wrong = [
        (lambda: encode(all_dynamic((1,), 7)), "7 RBGs, expected the carrier's 8"),
        (lambda: encode(all_dynamic((2, 1), 8)), "unique and ascending"),
        (lambda: encode(all_dynamic((-1,), 8)), "ue_ids"),
        (lambda: encode(Allocation((1,), np.full(8, 1, np.int16))), "owner_M"),
        (lambda: encode(Allocation((1,), np.full(8, -4, np.int16))), "owner_M"),
        (lambda: encode(all_dynamic((1,), 8, LeftoverRule(7, float("nan")))), "contenders"),
        (
            lambda: encode(Allocation((1,), np.zeros(8, np.int16), periodic_grants=(PeriodicGrant(1, 0, 5, 0),))),
            "row 1",
        ),
        (
            lambda: encode(Allocation((1,), np.zeros(8, np.int16), periodic_grants=(PeriodicGrant(0, 0, 5, 5),))),
            "phase",
        ),
        (lambda: encode(allocation, decision_id=-1), "-1"),
        (lambda: encode(allocation, valid_for_slots=0), "valid_for_slots"),
        (lambda: dcm.encode_indication(dcm.Indication((1,), 1, 0, 0, cqi=np.array([np.inf]))), "cqi"),
        (lambda: dcm.encode_indication(dcm.Indication((1,), 0, 0, 0)), "slots_per_report"),
        (lambda: dcm.encode_indication(heard(16.0, 1.0)), "heard_cqi"),
        (lambda: dcm.encode_indication(heard(9.0, 13.0)), "heard_age_slots"),
        (lambda: dcm.encode_indication(heard(9.0, np.nan)), "heard_age_slots"),
        (lambda: dcm.encode_indication(heard(9.0, 1.0, outcome=6.0)), "last_outcome"),
        (lambda: dcm.encode_action_definition(dcm.ActionDefinition("cell 1")), "hex digits"),
        (lambda: dcm.encode_event_trigger(dcm.EventTrigger(0)), "report_period_ms"),
    ]
    for make, names in wrong:
        with pytest.raises(E2EncodeError, match=names):
            make()


DECODERS: list[Callable[[bytes], Any]] = [
    dcm.decode_action_definition,
    dcm.decode_control,
    dcm.decode_control_header,
    dcm.decode_event_trigger,
    dcm.decode_indication,
    dcm.decode_indication_header,
    dcm.decode_outcome,
    dcm.decode_ran_function,
]


def value_or_decode_error(decode: Callable[[bytes], Any], data: bytes) -> None:
    try:
        decode(data)
    except E2DecodeError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("decode", DECODERS, ids=lambda d: d.__name__)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_value_or_one_error(decode, data):
    value_or_decode_error(decode, data)


@pytest.mark.parametrize("decode", DECODERS, ids=lambda d: d.__name__)
def test_hostile_protobuf_is_one_error(decode):
    for data in (b"\x0b" * 5000, b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * 100, b"\x0a\x01"):
        with pytest.raises(E2DecodeError, match="not a protobuf message"):
            decode(data)


def test_text_that_is_not_utf8_is_one_error():
    with pytest.raises(E2DecodeError, match="not a protobuf message"):
        dcm.decode_control_header(b"\x0a\x02\xff\xfe")


@pytest.mark.usefixtures("reader")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.integers(0, 10_000), st.integers(0, 7))
def test_a_damaged_message_is_a_value_or_one_error(data, position, bit):
    indication = dcm.Indication((1, 2), 100, 0, 4, dcm.AppliedControl(1, 2, b"\0\0", b"\0", b"\0"), cqi=np.ones(2))
    intact = {dcm.decode_control: encode(some_allocation()), dcm.decode_indication: dcm.encode_indication(indication)}
    for decode, encoded in intact.items():
        damaged = bytearray(encoded)
        damaged[position % len(encoded)] ^= 1 << bit
        value_or_decode_error(decode, bytes(damaged))
        value_or_decode_error(decode, encoded[: position % len(encoded)])
