"""Indications are read by a walk in Python and by a compiled one, which leaves to Python what is not as usual. What a
message says is the same by both, and so is why it says nothing.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from xapp.bench.decision_path import indication as busy_indication
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dcm import dcm_pb2
from xapp.e2.dcm import messages as dcm
from xapp.e2.dcm.compiled_code import indication_walk_code
from xapp.e2.dcm.compiled_indication import CompiledIndications
from xapp.e2.dcm.indication import compiled_indications, use_compiled_indications

U32, U64 = 2**32 - 1, 2**64 - 1


class Counting:
    """The compiled walk; counts what it read."""

    def __init__(self) -> None:
        self.read = 0
        self._run = indication_walk_code(may_compile=True)

    def __call__(self, *arguments: Any) -> int:
        found: int = self._run(*arguments)
        self.read += found == arguments[-1].shape[1]  # else it was told for how many UEs there is to be room
        return found


@pytest.fixture
def walk() -> Iterator[Counting]:
    yield Counting()
    use_compiled_indications(None)


def said(data: bytes, reader: CompiledIndications | None) -> Any:
    """What an indication says to this reader, or why nothing."""
    use_compiled_indications(reader)
    try:
        indication = dcm.decode_indication(data)
    except E2DecodeError as error:
        return type(error), str(error)
    values = {each.name: getattr(indication, each.name) for each in fields(indication)}
    return {
        name: (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def busy(ues: int, seed: int = 1, **changes: Any) -> bytes:
    made = busy_indication(np.random.default_rng(seed), ues=ues, k=100, num_rbgs=6, slot=1000)
    return dcm.encode_indication(replace(made, **changes))


@given(
    st.integers(0, 12),
    st.integers(0, 99),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3),
    st.booleans(),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_read_is_the_same_by_both(
    walk: Counting, ues: int, seed: int, damage: list[tuple[int, int]], cut: bool
) -> None:
    data = bytearray(busy(ues, seed))
    for position, octet in damage:
        data[position % len(data)] = octet
    octets = bytes(data[: damage[0][0] % len(data)] if cut and damage else data)
    assert said(octets, compiled_indications(walk)) == said(octets, None)


@given(st.binary(max_size=60))
@example(b"\xa2\x00\x01\x00")
@example(b"\x08" + b"\xff" * 9 + b"\x01")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_octets_mean_the_same_to_both(walk: Counting, octets: bytes) -> None:
    for data in (octets, busy(2) + octets, octets + busy(2)):
        assert said(data, compiled_indications(walk)) == said(data, None)


def heard(ues: int) -> dict[str, Any]:
    cqi_UM = np.arange(ues * 6).reshape(ues, 6) % 15 + 1.0
    return {"heard_cqi": cqi_UM, "heard_age_slots": np.full((ues, 6), 3.0), "last_outcome": np.arange(6.0)}


@pytest.mark.parametrize(
    "data",
    [
        busy(1),
        busy(100),
        busy(8, **heard(8)),
        busy(8, applied=dcm.AppliedControl(U64 // 4, 7, bytes(8), b"\1", b"\2")),
        busy(3, next_boundary_slot=2**62, report_delay_slots=U32, slots_per_report=U32),
        busy(8, ul_sinr_db=np.linspace(-30.0, 30.0, 8), lost_packets=np.full(8, 0.1)),
        dcm.encode_indication(dcm.Indication((1, 2), 1, 0, 4)),
    ],
    ids=["one UE", "100 UEs", "heard", "applied", "large numbers", "signed", "no columns"],
)
def test_the_usual_indication_is_read_by_compiled_code(walk: Counting, data: bytes) -> None:
    assert said(data, compiled_indications(walk)) == said(data, None)
    assert walk.read == 1


def without(changes: Callable[[Any], None]) -> bytes:
    message = dcm_pb2.Indication.FromString(busy(2))
    changes(message)
    encoded: bytes = message.SerializeToString()
    return encoded


@pytest.mark.parametrize(
    "data",
    [
        busy(0),
        without(lambda message: setattr(message, "next_boundary_slot", 2**63)),
        without(lambda message: setattr(message, "cqi", message.cqi[:4])),
        without(lambda message: setattr(message, "cqi", b"\0\0\x80\x7f" * 2)),
        without(lambda message: setattr(message, "traffic_class", b"\0\0\0\x3f" * 2)),
        busy(2) + b"\x98\x06\x01",
        busy(2) + b"\x08\xff\xff\xff\xff\x7f",
        busy(2)[:-1],
    ],
    ids=["nobody", "beyond a signed number", "short column", "infinity", "half a class", "unknown", "33 bits", "cut"],
)
def test_what_is_unusual_is_left_to_python(walk: Counting, data: bytes) -> None:
    assert said(data, compiled_indications(walk)) == said(data, None)
    assert walk.read == 0


def test_the_number_of_ues_may_change_at_the_same_size(walk: Counting) -> None:
    """It is remembered by the size of a message, as a guess."""
    reader = compiled_indications(walk)
    few, many = busy(2), dcm.encode_indication(dcm.Indication((1, 2, 3), 1, 0, 4, cqi=np.ones(3)))
    for data in (
        few,
        many,
        few,
        many + b"\xb2\x01" + bytes((len(few) - len(many) - 3,)) + bytes(len(few) - len(many) - 3),
    ):
        assert said(data, reader) == said(data, None)


def test_what_was_read_can_be_changed_into_another_and_sent_elsewhere() -> None:
    """It is an Indication like one that was made by hand."""
    read = dcm.decode_indication(busy(3))
    other = replace(read, cqi=np.full(3, 7.0))
    assert other.cqi.tolist() == [7.0] * 3
    assert dcm.columns_of(other)[dcm.INDICATION_COLUMNS.index("cqi")].tolist() == [7.0] * 3
    assert dcm.encode_indication(read) == busy(3)
    assert dcm.encode_indication(pickle.loads(pickle.dumps(read))) == busy(3)
    with pytest.raises(AttributeError):
        read.nothing  # noqa: B018
