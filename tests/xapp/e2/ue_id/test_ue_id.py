"""UE ids of every kind of node, and the integer that stands for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapp.e2.asn1.aper import BitString
from xapp.e2.asn1.aper_reader import BitReader
from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.asn1.errors import E2EncodeError
from xapp.e2.ue_id.ue_id import (
    EnbUeId,
    EnGnbUeId,
    GlobalEnbId,
    GlobalGnbId,
    GnbCuUpUeId,
    GnbDuUeId,
    GnbUeId,
    Guami,
    Gummei,
    NgEnbDuUeId,
    NgEnbUeId,
    read_ue_id,
    ue_key,
    ue_name,
    write_ue_id,
)
from xapp.e2.ue_id.ue_key import own_number

GUAMI = Guami(b"\x00\xf1\x10", 128, 4, 1)
UINT32 = st.integers(0, 2**32 - 1)
RAN_UEID = st.none() | st.binary(min_size=8, max_size=8)
GLOBAL_GNB_ID = st.builds(
    GlobalGnbId, st.just(b"\x00\xf1\x10"), st.builds(BitString, st.integers(0, 2**22 - 1), st.integers(22, 32))
)
ENB = GlobalEnbId(b"\x00\xf1\x10", BitString(1, 20))
X2AP_ID = st.integers(0, 4095)
E1AP_IDS = st.lists(UINT32, max_size=3).map(tuple)


def enb_ids(*sizes: int) -> st.SearchStrategy[GlobalEnbId]:
    ids = st.sampled_from(sizes).flatmap(lambda size: st.builds(BitString, st.integers(0, 2**size - 1), st.just(size)))
    return st.builds(GlobalEnbId, st.just(b"\x00\xf1\x10"), ids)


UE_IDS = st.one_of(
    st.builds(
        NgEnbUeId,
        st.integers(0, 2**40 - 1),
        st.just(GUAMI),
        st.none() | UINT32,
        st.none() | UINT32,
        st.none() | enb_ids(18, 20, 21),
    ),
    st.builds(NgEnbDuUeId, UINT32),
    st.builds(
        EnGnbUeId,
        X2AP_ID,
        enb_ids(18, 20, 21, 28),
        st.none() | st.integers(0, 5000),
        st.none() | UINT32,
        E1AP_IDS,
        RAN_UEID,
    ),
    st.builds(
        EnbUeId,
        UINT32,
        st.builds(Gummei, st.binary(min_size=3, max_size=3), st.binary(min_size=2, max_size=2), st.integers(0, 255)),
        st.none() | X2AP_ID,
        st.none() | st.integers(0, 5000),
        st.none() | enb_ids(18, 20, 21, 28),
    ),
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
        (NgEnbUeId(1, GUAMI, w1ap_id=0, xnap_id=4), 0),
        (NgEnbUeId(1, GUAMI, xnap_id=4), 1),
        (NgEnbDuUeId(6), 6),
        (EnGnbUeId(1, ENB, 2, f1ap_id=0, ran_ueid=b"\0\0\0\0\0\0\1\0"), 0),
        (EnGnbUeId(1, ENB, 2, ran_ueid=b"\0\0\0\0\0\0\1\0"), 256),
        (EnGnbUeId(1, ENB, 2), 0x2001),
        (EnGnbUeId(1, ENB), 1),
        (EnbUeId(9, Gummei(b"\x00\xf1\x10", b"\0\1", 2), 4), 9),
    ],
)
def test_the_number_in_the_key_is_the_f1ap_id_where_there_is_one(ue_id, key):
    assert own_number(ue_key(ue_id)) == key
    assert str(key) in ue_name(ue_id)


def test_a_dus_f1ap_id_is_the_key_itself():
    assert ue_key(GnbDuUeId(7, b"\0\0\0\0\0\0\0\x09")) == 7


ONE_NUMBER = (
    GnbDuUeId(5),
    GnbCuUpUeId(5),
    GnbUeId(5, GUAMI),
    GnbUeId(5, GUAMI._replace(region=GUAMI.region ^ 1)),
    GnbUeId(5, GUAMI._replace(set_id=GUAMI.set_id ^ 1)),
    GnbUeId(5, GUAMI._replace(pointer=GUAMI.pointer ^ 1)),
    GnbUeId(5, GUAMI._replace(plmn=b"\x05\xf5\x10")),
    GnbUeId(1, GUAMI, f1ap_ids=(5,)),
    GnbUeId(1, GUAMI, ran_ueid=b"\0\0\0\0\0\0\0\5"),
    GnbUeId(1, GUAMI, ran_ueid=b"\1\0\0\0\0\0\0\5"),
    NgEnbUeId(5, GUAMI),
    NgEnbUeId(1, GUAMI, w1ap_id=5),
    NgEnbDuUeId(5),
    EnGnbUeId(5, ENB),
    EnGnbUeId(1, ENB, f1ap_id=5),
    EnbUeId(5, Gummei(b"\x00\xf1\x10", b"\0\1", 2)),
    EnbUeId(5, Gummei(b"\x00\xf1\x10", b"\0\2", 2)),
)


def test_ues_with_one_number_are_told_apart_by_kind_and_guami():
    keys = [ue_key(ue_id) for ue_id in ONE_NUMBER]
    assert len({*keys}) == len(ONE_NUMBER)
    assert {own_number(key) for key in keys} == {5}
    assert all(0 <= key < 2**63 for key in keys)


@given(UE_IDS)
def test_keys_are_the_same_wherever_a_ue_is_reported_and_fit_everybodys_integers(ue_id):
    writer = BitWriter()
    write_ue_id(writer, ue_id)
    assert ue_key(read_ue_id(BitReader(writer.to_bytes()))) == ue_key(ue_id) < 2**63


def test_values_out_of_range_are_refused():
    with pytest.raises(E2EncodeError, match=r"gNB-CU-UE-F1AP-ID: 4294967296 is outside"):
        write_ue_id(BitWriter(), GnbDuUeId(2**32))
    with pytest.raises(E2EncodeError, match="a UE id expected, not 7"):
        write_ue_id(BitWriter(), 7)
    with pytest.raises(E2EncodeError, match="4194304 in 22 bits, expected 0 to 4194303"):
        gnb = GlobalGnbId(b"\x00\xf1\x10", BitString(2**22, 22))
        write_ue_id(BitWriter(), GnbUeId(1, GUAMI, global_gnb_id=gnb))
    with pytest.raises(E2EncodeError, match="eNB-ID: 22 bits, one of 18, 20, 21, 28 expected"):
        write_ue_id(BitWriter(), EnGnbUeId(1, GlobalEnbId(b"\x00\xf1\x10", BitString(0, 22))))
    with pytest.raises(E2EncodeError, match="ngENB-ID: 28 bits, one of 18, 20, 21 expected"):
        write_ue_id(BitWriter(), NgEnbUeId(1, GUAMI, global_ng_enb_id=GlobalEnbId(b"\x00\xf1\x10", BitString(0, 28))))


def test_octets_of_ids_of_lte():
    """Put together by hand from the types: no public codec was at hand to compare with."""
    for octets, ue_id in {
        # Kind 4 and extension bits, 2 bits of size; the id.
        "4007": NgEnbDuUeId(7),
        # Kind 6, extension bit, 3 presence bits, size bits; the id; extension bit, PLMN; group and code, unaligned.
        "6000090000f110000102": EnbUeId(9, Gummei(b"\x00\xf1\x10", b"\0\1", 2)),
    }.items():
        writer = BitWriter()
        write_ue_id(writer, ue_id)
        assert writer.to_bytes().hex() == octets
        assert read_ue_id(BitReader(bytes.fromhex(octets))) == ue_id
