"""ALIGNED PER: the forms of X.691 that E2 uses, and what happens to bits that are none of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapp.e2.asn1.aper import FRAGMENT, BitString
from xapp.e2.asn1.aper_reader import BitReader
from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError

RANGES = [(0, 0), (1, 4), (0, 7), (1, 150), (0, 254), (0, 255), (1, 256), (0, 256), (0, 65535), (1, 65536)]
RANGES += [(0, 65536), (0, 2**32 - 1), (1, 2**32 - 1), (0, 2**40 - 1), (-5, 5)]


def written(write: str, *args: object, **options: object) -> bytes:
    writer = BitWriter()
    getattr(writer, write)(*args, **options)
    return writer.to_bytes()


@pytest.mark.parametrize(
    ("octets", "write", "args"),
    [
        ("fe", "constrained", (127, 0, 127)),
        ("ff", "constrained", (255, 0, 255)),
        ("0063", "constrained", (100, 1, 65536)),
        ("0063", "constrained", (100, 1, 2**32 - 1)),
        ("c0ffffffff", "constrained", (2**32 - 1, 0, 2**32 - 1)),
        ("80ffffffffff", "constrained", (2**40 - 1, 0, 2**40 - 1)),
        ("0100", "integer", (0,)),
        ("0180", "integer", (-128,)),
        ("020080", "integer", (128,)),
        ("00", "real", (0.0,)),
        ("03800001", "real", (1.0,)),
        ("03c0ff03", "real", (-1.5,)),
        ("0480ff09a5", "real", (1234.5,)),
        ("03800219", "real", (100.0,)),
        ("0481fc1801", "real", (2.0**-1000,)),
        ("0140", "real", (math.inf,)),
        ("0141", "real", (-math.inf,)),
        ("0142", "real", (math.nan,)),
        ("026869", "printable_string", ("hi", 0, None)),
        ("6869", "octet_string", (b"hi", 2, 2)),
        ("026869", "octet_string", (b"hi",)),
        ("8080", "length", (128,)),
        ("0100", "open_type", (b"\0",)),
        ("10", "enumerated", (1, 5)),
        ("80", "enumerated", (5, 5)),
    ],
)
def test_known_forms(octets, write, args):
    assert written(write, *args).hex() == octets


@given(st.sampled_from(RANGES).flatmap(lambda r: st.tuples(st.just(r), st.integers(*r))), st.integers(0, 7))
def test_constrained_integers_come_back_from_any_bit_position(case, shift):
    (lo, hi), value = case
    writer = BitWriter()
    writer.bits(0, shift)
    writer.constrained(value, lo, hi)
    reader = BitReader(writer.to_bytes())
    reader.bits(shift)
    assert reader.constrained(lo, hi) == value
    reader.finish()


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_beyond_its_root_range_comes_back(value):
    writer = BitWriter()
    writer.constrained(value, 1, 15, extensible=True)
    writer.integer(value)
    reader = BitReader(writer.to_bytes())
    assert (reader.constrained(1, 15, extensible=True), reader.integer()) == (value, value)


@given(st.floats(allow_nan=False))
def test_every_double_comes_back_as_it_was(value):
    result = BitReader(written("real", value)).real()
    assert result == value and math.copysign(1, result) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("octets", "value"),
    [("03900301", 8.0**3), ("03a0ff10", 1.0), ("03840001", 2.0), ("0143", -0.0), ("0483010201", 4.0)],
)
def test_reals_of_other_bases_and_scales_are_read(octets, value):
    assert BitReader(bytes.fromhex(octets)).real() == value


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("0203312e", "decimal"),
        ("0180", "malformed"),
        ("028000", "malformed"),
        ("03b00001", "malformed"),
        ("0481040001", "too large"),
        ("11" + "80" * 17, "17 octets"),
        ("038000", "3 octets wanted"),
    ],
)
def test_reals_that_are_none_say_why(octets, reason):
    with pytest.raises(E2DecodeError, match=reason):
        BitReader(bytes.fromhex(octets)).real()


@pytest.mark.parametrize(
    "size", [0, 1, 127, 128, 16383, 16384, 16385, 32768, 65535, 65536, 81920, 5 * 65536 + 3 * FRAGMENT + 1]
)
def test_open_types_and_octet_strings_of_any_length(size):
    data = bytes(i * 7 % 251 for i in range(size))
    writer = BitWriter()
    writer.flag(True)
    writer.octet_string(data)
    writer.open_type(data)
    reader = BitReader(writer.to_bytes())
    assert reader.flag()
    assert reader.octet_string() == data
    inner = reader.open_type()
    reader.finish()
    assert inner.octets(size) == data


def test_offsets_in_an_open_type_are_those_of_the_message():
    reader = BitReader(bytes.fromhex("ffff0201ff"), "message")
    reader.octets(2)
    inner = reader.open_type()
    inner.octets(1)
    with pytest.raises(E2DecodeError, match=r"message: x: 16 bits wanted, 8 left \(at byte 4, bit 0\)"):
        inner.bits(16, "x")


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=200), st.booleans())
def test_printable_strings(text, extensible):
    hi = 40 if extensible else None
    writer = BitWriter()
    writer.flag(False)
    writer.printable_string(text, 0, hi, extensible=extensible)
    reader = BitReader(writer.to_bytes())
    reader.flag()
    assert reader.printable_string(0, hi, extensible=extensible) == text
    reader.finish()


@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 2**n - 1))))
def test_bit_strings(case):
    bits = BitString(case[1], case[0])
    assert BitReader(written("bit_string", bits)).bit_string() == bits
    fixed = written("bit_string", bits, bits.size, bits.size)
    assert BitReader(fixed).bit_string(bits.size, bits.size) == bits


@given(st.integers(0, 2**32 - 1))
def test_normally_small_numbers(value):
    assert BitReader(written("small", value)).small() == value


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_unknown_extension_additions_are_skipped(present):
    writer = BitWriter()
    writer.additions(present)
    for bit in present:
        if bit:
            writer.open_type(b"unknown")
    writer.bits(5, 3)
    data = writer.to_bytes()
    assert BitReader(data).additions() == present
    reader = BitReader(data)
    reader.skip_additions(True)
    assert reader.bits(3) == 5
    reader.finish()


@pytest.mark.parametrize(
    ("octets", "read", "args", "reason"),
    [
        ("", "flag", (), "1 bit wanted"),
        ("", "bits", (1,), "1 bits wanted, 0 left"),
        ("00", "octets", (2,), "2 octets wanted, 1 left"),
        ("f8", "constrained", (0, 20), "31 is outside 0..20"),
        ("a000000000000000", "constrained", (0, 2**40 - 1), "6 octets"),
        ("0900000000000000000000", "integer", (), "9 octets"),
        ("00", "integer", (), "0 octets"),
        ("c500", "open_type", (), "5 blocks"),
        ("c000", "octet_string", (), "0 blocks"),
        ("c1", "octet_string", (), "16384 octets wanted"),
        ("c1", "length", (), "16384 units or more"),
        ("fffe0000", "count", (1, 65535), "65535 items announced, 16 bits left"),
        ("0109", "printable_string", (0,), "not a printable string"),
        ("80ff", "additions", (), "63 blocks"),
    ],
)
def test_wrong_bits_say_what_and_where(octets, read, args, reason):
    reader = BitReader(bytes.fromhex(octets), "message")
    with pytest.raises(E2DecodeError, match=reason) as caught:
        getattr(reader, read)(*args)
    assert caught.value.path == "message" and caught.value.offset_bits is not None


@pytest.mark.parametrize(
    ("write", "args", "reason"),
    [
        ("constrained", (5, 0, 4), "5 is outside 0..4"),
        ("constrained", (True, 0, 4), "an integer expected"),
        ("constrained", (1.0, 0, 4), "an integer expected"),
        ("integer", (2**63,), "more than 8 octets"),
        ("bits", (4, 2), "does not fit 2 bits"),
        ("printable_string", ("é", 0), "not a printable string"),
        ("printable_string", ("", 1, 8), "0 is outside 1..8"),
        ("octet_string", (b"ab", 3, 3), "2 is outside 3..3"),
        ("octet_string", (b"", 1), "at least 1 expected"),
        ("length", (FRAGMENT,), "fewer than 16384"),
    ],
)
def test_values_that_do_not_fit_are_refused(write, args, reason):
    with pytest.raises(E2EncodeError, match=reason):
        written(write, *args)


def test_octets_left_over_are_an_error():
    reader = BitReader(b"\x80\x00\x00")
    reader.flag()
    with pytest.raises(E2DecodeError, match="2 octets left over"):
        reader.finish()
