"""What is written without protobuf's objects is what protobuf writes, and what is read is what protobuf reads."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st
from mutating import mutations

from xapp.e2.asn1.errors import E2EncodeError
from xapp.e2.dcm import dcm_pb2
from xapp.e2.dcm.flat_message import FlatMessage

MESSAGES = (dcm_pb2.Indication, dcm_pb2.IndicationHeader, dcm_pb2.ControlHeader, dcm_pb2.Control, dcm_pb2.Carrier)
VALUES: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_UINT32: st.sampled_from([0, 1, 127, 128, 16_384, 2**32 - 1]),
    FieldDescriptor.TYPE_UINT64: st.sampled_from([0, 1, 127, 128, 2**35, 2**63, 2**64 - 1]),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8) | st.just(bytes(200)),
    FieldDescriptor.TYPE_STRING: st.text(max_size=8),
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_MESSAGE: st.sampled_from([dcm_pb2.Carrier(), dcm_pb2.Carrier(cell="x", num_rbgs=300)]),
}


def values_of(message: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Some of its fields."""
    fields = {field.name: VALUES[field.type] for field in message.DESCRIPTOR.fields}
    return st.fixed_dictionaries({}, optional=fields)


def attributes(message: Any, read: Any) -> dict[str, Any]:
    return {field.name: getattr(read, field.name) for field in message.DESCRIPTOR.fields}


@pytest.mark.parametrize("message", MESSAGES)
@given(data=st.data())
def test_the_octets_are_protobufs(message: Any, data: st.DataObject) -> None:
    values = data.draw(values_of(message))
    octets = {name: each.SerializeToString() if name == "carrier" else each for name, each in values.items()}
    assert FlatMessage(message).write(**octets) == message(**values).SerializeToString()


@pytest.mark.parametrize("message", MESSAGES[:3])
@given(data=st.data())
@settings(max_examples=300)
def test_what_is_read_is_what_protobuf_reads(message: Any, data: st.DataObject) -> None:
    encoded = message(**data.draw(values_of(message))).SerializeToString()
    flat = FlatMessage(message)
    assert attributes(message, flat.read(encoded)) == attributes(message, message.FromString(encoded))
    damaged = data.draw(mutations(encoded) | st.binary(max_size=40))
    found = flat.read(damaged)
    if found is not None:
        assert attributes(message, found) == attributes(message, message.FromString(damaged))


@pytest.mark.parametrize(
    "unusual",
    [
        b"\x88\x00\x01",  # a tag in two octets that needs one
        b"\x08\x80\x80\x80\x80\x10",  # 2^32 in 32 bits
        b"\x0d\0\0\0\0",  # another wire type
        b"\x0b\x0c",  # a group
        b"\x22\x05abc",  # more than there is
        b"\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xc0\x3e\x01",  # a field of a later version
    ],
)
def test_what_is_unusual_is_left_to_protobuf(unusual: bytes) -> None:
    assert FlatMessage(dcm_pb2.Indication).read(unusual) is None


@pytest.mark.parametrize("value", [-1, 2**32, 0.5, None])
def test_a_number_that_its_field_does_not_hold_is_refused(value: Any) -> None:
    with pytest.raises(E2EncodeError, match="valid_for_slots"):
        FlatMessage(dcm_pb2.Control).write(valid_for_slots=value)
