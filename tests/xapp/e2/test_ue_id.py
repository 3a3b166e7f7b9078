"""UE ids of gNB, gNB-DU and gNB-CU-UP, and the integer that stands for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapp.e2.aper import BitReader, BitString, BitWriter
from xapp.e2.errors import E2DecodeError, E2EncodeError
from xapp.e2.ue_id import (
    GlobalGnbId,
    GnbCuUpUeId,
    GnbDuUeId,
    GnbUeId,
    Guami,
    read_ue_id,
    ue_key,
    write_ue_id,
)

GUAMI = Guami(b"\x00\xf1\x10", 128, 4, 1)
UINT32 = st.integers(0, 2**32 - 1)
RAN_UEID = st.none() | st.binary(min_size=8, max_size=8)
GLOBAL_GNB_ID = st.builds(
    GlobalGnbId, st.just(b"\x00\xf1\x10"), st.builds(BitString, st.integers(0, 2**22 - 1), st.integers(22, 32))
)
UE_IDS = st.one_of(
    st.builds(GnbDuUeId, UINT32, RAN_UEID),
    st.builds(GnbCuUpUeId, UINT32, RAN_UEID),
    st.builds(
        GnbUeId,
        st.integers(0, 2**40 - 1),
        st.builds(
            Guami, st.binary(min_size=3, max_size=3), st.integers(0, 255), st.integers(0, 1023), st.integers(0, 63)
        ),
        st.lists(UINT32, max_size=4).map(tuple),
        st.lists(UINT32, max_size=9).map(tuple),
        RAN_UEID,
        st.none() | UINT32,
        st.none() | GLOBAL_GNB_ID,
    ),
)


@given(UE_IDS, st.integers(0, 7))
def test_ue_ids_come_back_from_any_bit_position(ue_id, shift):
    writer = BitWriter()
    writer.bits(0, shift)
    write_ue_id(writer, ue_id)
    reader = BitReader(writer.to_bytes())
    reader.bits(shift)
    again = read_ue_id(reader)
    assert (type(again), again) == (type(ue_id), ue_id)
    reader.finish()


@pytest.mark.parametrize(
    ("ue_id", "key"),
    [
        (GnbDuUeId(7, b"\0\0\0\0\0\0\0\x09"), 7),
        (GnbCuUpUeId(8), 8),
        (GnbUeId(1, GUAMI, f1ap_ids=(5, 6), ran_ueid=b"\0\0\0\0\0\0\1\0"), 5),
        (GnbUeId(1, GUAMI, ran_ueid=b"\0\0\0\0\0\0\1\0"), 256),
        (GnbUeId(1, GUAMI, e1ap_ids=(3,)), 1),
    ],
)
def test_the_key_is_the_f1ap_id_where_there_is_one(ue_id, key):
    assert ue_key(ue_id) == key


@pytest.mark.parametrize(
    ("index", "kind"), [(3, "ng-eNB-UEID"), (4, "ng-eNB-DU-UEID"), (5, "en-gNB-UEID"), (6, "eNB-UEID")]
)
def test_other_kinds_are_refused_by_name(index, kind):
    with pytest.raises(E2DecodeError, match=f"a UE id of kind {kind} is not supported"):
        read_ue_id(BitReader(bytes([index << 4]) + bytes(20)))


def test_values_out_of_range_are_refused():
    with pytest.raises(E2EncodeError, match=r"gNB-CU-UE-F1AP-ID: 4294967296 is outside"):
        write_ue_id(BitWriter(), GnbDuUeId(2**32))
    with pytest.raises(E2EncodeError, match="a UE id of gNB, gNB-DU or gNB-CU-UP expected"):
        write_ue_id(BitWriter(), 7)
