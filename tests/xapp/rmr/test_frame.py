"""SI95 framing, against bytes laid out by hand from the documented offsets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapp.rmr.frame import FrameError, FrameReader, decode_frame, encode_frame
from xapp.rmr.transport import RIC_INDICATION, RmrMessage

SOURCE = "service-ricxapp-stackmac-rmr.ricxapp:4560"


def by_hand(
    *,
    mtype: int = RIC_INDICATION,
    payload: bytes = b"payload",
    sub_id: int = 5,
    meid: bytes = b"gnb_001",
    xid: bytes = b"tx1",
    source: bytes = SOURCE.encode(),
    trace: bytes = b"",
    d1: bytes = bytes(4),
    d2: bytes = b"",
    flags: int = 0,
    version: int = 3,
    payload_length: int | None = None,
    total: int | None = None,
) -> bytes:
    """A frame written offset by offset."""
    frame = bytearray(330)
    size = 330 + len(trace) + len(d1) + len(d2) + len(payload) if total is None else total
    frame[0:4] = size.to_bytes(4, "little")
    frame[4:8] = size.to_bytes(4, "big")
    frame[8:9] = b"$"
    header = memoryview(frame)[50:]
    header[0:4] = struct.pack(">i", mtype)
    header[4:8] = struct.pack(">i", len(payload) if payload_length is None else payload_length)
    header[8:12] = struct.pack(">i", version)
    header[12 : 12 + len(xid)] = xid
    header[76 : 76 + len(source)] = source
    header[140 : 140 + len(meid)] = meid
    header[192:196] = struct.pack("=i", flags)
    header[196:200] = struct.pack(">i", 280)
    header[200:204] = struct.pack(">i", len(trace))
    header[204:208] = struct.pack(">i", len(d1))
    header[208:212] = struct.pack(">i", len(d2))
    header[212:216] = struct.pack(">i", sub_id)
    header[216 : 216 + len(source)] = source
    return bytes(frame) + trace + d1 + d2 + payload


def test_encoding_writes_the_documented_bytes() -> None:
    message = RmrMessage(RIC_INDICATION, b"payload", sub_id=5, meid="gnb_001", xid=b"tx1")
    assert encode_frame(message, source=SOURCE) == by_hand()


def test_decoding_reads_the_documented_bytes() -> None:
    assert decode_frame(by_hand(), received_ns=9) == RmrMessage(
        RIC_INDICATION, b"payload", sub_id=5, meid="gnb_001", xid=b"tx1", source=SOURCE, received_ns=9
    )


def test_trace_and_d2_data_of_others_are_skipped() -> None:
    got = decode_frame(by_hand(trace=b"trace data", d1=b"\x00\x01\x02\x03", d2=b"more"))
    assert (got.payload, got.call_id) == (b"payload", 0)


def test_a_blocking_call_shows_its_id_and_the_answer_carries_it_without_the_flag() -> None:
    call = decode_frame(by_hand(flags=4, d1=b"\x2a\0\0\0"))
    assert call.call_id == 42
    answer = encode_frame(RmrMessage(1, b"", call_id=42), source=SOURCE)
    assert answer[330:334] == b"\x2a\0\0\0" and answer[242:246] == bytes(4)


def test_only_the_first_nul_ends_a_text_field() -> None:
    got = decode_frame(by_hand(meid=b"gnb\0rest", xid=b"x\0y", source=b"host:1\0junk"))
    assert (got.meid, got.xid, got.source) == ("gnb", b"x", "host:1")


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (by_hand(version=2), "version"),
        (by_hand(payload_length=8), "lengths"),
        (by_hand(payload_length=-1), "lengths"),
        (by_hand()[:329], "short"),
    ],
)
def test_a_contradictory_frame_is_refused_by_reason(frame: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=f"^{reason}$"):
        decode_frame(frame)


@pytest.mark.parametrize(
    "message",
    [
        RmrMessage(1, b"", meid="m" * 32),
        RmrMessage(1, b"", xid=b"x" * 33),
        RmrMessage(1 << 31, b""),
        RmrMessage(1, b"", sub_id=-(1 << 31) - 1),
    ],
)
def test_a_message_that_cannot_be_framed_is_an_error(message: RmrMessage) -> None:
    with pytest.raises(FrameError):
        encode_frame(message, source=SOURCE)


messages = st.builds(
    RmrMessage,
    mtype=st.integers(-(1 << 31), (1 << 31) - 1),
    payload=st.binary(max_size=400),
    sub_id=st.integers(-(1 << 31), (1 << 31) - 1),
    meid=st.text(st.characters(codec="ascii", min_codepoint=1), max_size=31),
    xid=st.binary(max_size=32).map(lambda raw: raw.split(b"\0")[0]),
    source=st.just(SOURCE),
    call_id=st.just(0),
)


@given(messages)
def test_what_is_encoded_decodes_to_itself(message: RmrMessage) -> None:
    assert decode_frame(encode_frame(message, source=SOURCE)) == message


@given(st.lists(messages, max_size=4), st.lists(st.integers(1, 700), max_size=40))
def test_dribbled_bytes_give_the_same_messages_as_whole_ones(sent: list[RmrMessage], cuts: list[int]) -> None:
    stream = b"".join(encode_frame(message, source=SOURCE) for message in sent)
    reader, got, position = FrameReader(), [], 0
    for cut in [*cuts, len(stream)]:
        got += reader.feed(stream[position : position + cut])
        position += cut
    assert got == sent
    assert not reader.drops


@given(st.lists(st.binary(max_size=500), max_size=8))
def test_any_bytes_are_read_without_an_exception(pieces: list[bytes]) -> None:
    reader = FrameReader()
    for piece in pieces:
        reader.feed(piece)


@given(st.binary(min_size=330, max_size=600), st.integers(1, 100))
def test_any_header_within_a_right_length_is_survived_by_the_stream(raw: bytes, cut: int) -> None:
    size = len(raw).to_bytes(4, "little")
    stream = size + raw[4:] + by_hand()
    reader, got = FrameReader(), []
    for start in range(0, len(stream), cut):
        got += reader.feed(stream[start : start + cut])
    assert got[-1].payload == b"payload"
    assert len(got) + sum(reader.drops.values()) == 2


def test_a_byte_at_a_time_takes_linear_time() -> None:
    """A megabyte: a reader that copied what it holds at each byte would move 500 GB."""
    frame = by_hand(payload=bytes(1_000_000))
    reader, got = FrameReader(), []
    for start in range(len(frame)):
        got += reader.feed(frame[start : start + 1])
    assert [len(message.payload) for message in got] == [1_000_000]


def test_an_oversized_frame_is_skipped_and_the_next_is_read() -> None:
    reader = FrameReader(max_frame_bytes=1000)
    stream = by_hand(payload=bytes(5000)) + by_hand()
    got = [message for start in range(0, len(stream), 333) for message in reader.feed(stream[start : start + 333])]
    assert [message.payload for message in got] == [b"payload"]
    assert reader.drops == {"oversized": 1}
    assert not reader.lost


def test_the_first_length_field_is_believed_like_librmr_does() -> None:
    frame = bytearray(by_hand())
    frame[4:8] = (9999).to_bytes(4, "big")
    assert [message.payload for message in FrameReader().feed(bytes(frame))] == [b"payload"]


@pytest.mark.parametrize("size", [0, 49, (1 << 31) + 5, (1 << 26) + 1])
def test_a_hopeless_length_loses_the_stream_once(size: int) -> None:
    reader = FrameReader()
    assert [message.payload for message in reader.feed(by_hand() + by_hand(total=size))] == [b"payload"]
    assert reader.lost and reader.drops == {"lost": 1}
    assert reader.feed(by_hand()) == []


def test_a_huge_length_that_is_stated_once_only_is_not_skipped() -> None:
    frame = bytearray(by_hand(total=2_000_000))
    frame[8] = 0
    reader = FrameReader()
    reader.feed(bytes(frame))
    assert reader.lost
