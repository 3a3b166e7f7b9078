"""RMR's SI95 wire format: one message = transport header, RMR header, call data, payload.

    0    50                 330            334
    | tp | RMR header (280) | d1 (4 bytes) | payload ...

A stream carries frames back to back with no handshake. Lengths and types are big-endian, except the first length field
(the one librmr trusts when the two disagree: little-endian on every machine RMR runs on) and `flags` (host order).
Trace and d2 data of other senders are skipped; we send none.
"""

from __future__ import annotations

import struct
from collections import Counter
from functools import lru_cache

from policy.errors import StackmacError
from xapp.rmr.transport import RmrMessage

TRANSPORT_HEADER_BYTES = 50
RMR_HEADER_BYTES = 280
D1_BYTES = 4
PAYLOAD_OFFSET = TRANSPORT_HEADER_BYTES + RMR_HEADER_BYTES + D1_BYTES
RMR_VERSION = 3
SIZE_MARKER = 0x24
"""`$`: the sender also wrote the length in network order."""

XID_BYTES = 32
SOURCE_BYTES = 64
MEID_BYTES = 32
FLAG_CALL = 4
"""The sender waits for the answer, which must carry the same call id."""

DEFAULT_MAX_FRAME_BYTES = 1 << 20
MAX_SKIPPED_FRAME_BYTES = 1 << 26
"""A longer frame is a lost stream rather than a long message: the connection is closed instead of skipping so much."""

_SIZES = struct.Struct("<I")
_NETWORK_SIZE = struct.Struct(">I")
_HEAD = struct.Struct(f">iii{XID_BYTES}s32s{SOURCE_BYTES}s{MEID_BYTES}s")
_LENGTHS = struct.Struct(">5i")
_FLAGS = struct.Struct("=I")
_FLAGS_OFFSET = TRANSPORT_HEADER_BYTES + 192
_LENGTHS_OFFSET = TRANSPORT_HEADER_BYTES + 196
_HEAD_OFFSET = TRANSPORT_HEADER_BYTES
_LENGTH = struct.Struct(">i")
_PAYLOAD_LENGTH_OFFSET = _HEAD_OFFSET + 4


class FrameError(StackmacError):
    """A message that cannot be framed: names the field, its value and the limit."""


@lru_cache(maxsize=1024)
def _text(raw: bytes) -> str:
    """A C string field. RMR does not say which encoding: what is not UTF-8 must not stop the message."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def encode_frame(message: RmrMessage, *, source: str) -> bytes:
    """`message` as bytes from `source` ("host:port"). FrameError if a field does not fit."""
    before, behind = _headers(message.mtype, message.sub_id, message.meid, message.xid, message.call_id, source)
    payload = message.payload
    size, total = len(payload), PAYLOAD_OFFSET + len(payload)
    return b"".join(
        (total.to_bytes(4, "little"), total.to_bytes(4, "big"), before, _LENGTH.pack(size), behind, payload)
    )


@lru_cache(maxsize=1024)
def _headers(mtype: int, sub_id: int, meid_text: str, xid: bytes, call_id: int, source: str) -> tuple[bytes, bytes]:
    """What stands between a frame's lengths and that of its payload, and between that and the payload: a conversation
    goes on about few nodes. FrameError.
    """
    meid, sender = meid_text.encode(), source.encode()
    if len(meid) >= MEID_BYTES:
        raise FrameError(f"meid {meid_text!r} is longer than {MEID_BYTES - 1} bytes")
    if len(sender) >= SOURCE_BYTES:
        raise FrameError(f"source {source!r} is longer than {SOURCE_BYTES - 1} bytes")
    if len(xid) > XID_BYTES:
        raise FrameError(f"xid {xid!r} is longer than {XID_BYTES} bytes")
    if not -(1 << 31) <= mtype < 1 << 31 or not -(1 << 31) <= sub_id < 1 << 31:
        raise FrameError(f"mtype {mtype} or sub_id {sub_id} is not a 32-bit number")
    frame = bytearray(PAYLOAD_OFFSET)
    frame[8] = SIZE_MARKER
    _HEAD.pack_into(frame, _HEAD_OFFSET, mtype, 0, RMR_VERSION, xid, b"", sender, meid)
    _LENGTHS.pack_into(frame, _LENGTHS_OFFSET, RMR_HEADER_BYTES, 0, D1_BYTES, 0, sub_id)
    struct.pack_into(f"{SOURCE_BYTES}s", frame, TRANSPORT_HEADER_BYTES + 216, sender)
    frame[PAYLOAD_OFFSET - D1_BYTES] = call_id & 0xFF
    return bytes(frame[8:_PAYLOAD_LENGTH_OFFSET]), bytes(frame[_PAYLOAD_LENGTH_OFFSET + _LENGTH.size :])


def decode_frame(frame: bytes | memoryview, *, received_ns: int = 0) -> RmrMessage:
    """One whole frame. FrameError with a one-word reason when its own lengths do not fit in it."""
    if len(frame) < TRANSPORT_HEADER_BYTES + RMR_HEADER_BYTES:
        raise FrameError("short")
    mtype, payload_len, version, xid, _, source, meid = _HEAD.unpack_from(frame, _HEAD_OFFSET)
    if version != RMR_VERSION:
        raise FrameError("version")
    len0, len1, len2, len3, sub_id = _LENGTHS.unpack_from(frame, _LENGTHS_OFFSET)
    if len0 < RMR_HEADER_BYTES or min(len1, len2, len3, payload_len) < 0:
        raise FrameError("lengths")
    d1 = TRANSPORT_HEADER_BYTES + len0 + len1
    start = d1 + len2 + len3
    if start + payload_len > len(frame):
        raise FrameError("lengths")
    (flags,) = _FLAGS.unpack_from(frame, _FLAGS_OFFSET)
    return RmrMessage(
        mtype=mtype,
        payload=bytes(frame[start : start + payload_len]),
        sub_id=sub_id,
        meid=_text(meid),
        xid=xid.split(b"\0", 1)[0],
        source=_text(source),
        received_ns=received_ns,
        call_id=frame[d1] if flags & FLAG_CALL and len2 else 0,
    )


class FrameReader:
    """Cuts a byte stream into messages: linear time, at most one frame (and one read) in memory.

    A frame that contradicts itself is dropped, one above `max_frame_bytes` is skipped; both are counted in `drops`.
    When the length field itself cannot be right there is no way to find the next frame: `lost` becomes true, everything
    after it is ignored, and the connection must be closed.
    """

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.drops: Counter[str] = Counter()
        self.lost = False
        self._buffer = bytearray()
        self._skip = 0
        """Bytes of an oversized frame still to come."""

    @property
    def held_bytes(self) -> int:
        """Of a frame that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes | memoryview, received_ns: int = 0) -> list[RmrMessage]:
        """The messages completed by `data`, each stamped with `received_ns`."""
        if self.lost:
            return []
        if not self._buffer and not self._skip and TRANSPORT_HEADER_BYTES <= len(data) <= self.max_frame_bytes:
            (size,) = _SIZES.unpack_from(data)
            if size == len(data):  # usually: one message, and all of it
                return self._decoded(data, received_ns)
        self._buffer += data
        messages: list[RmrMessage] = []
        position = self._skip_from(0)
        with memoryview(self._buffer) as view:
            while len(view) - position >= 9:
                size = self._frame_size(view, position)
                if size is None:
                    self.drops["lost"] += 1
                    self.lost = True
                    break
                if size > self.max_frame_bytes:
                    self.drops["oversized"] += 1
                    self._skip = size
                    position = self._skip_from(position)
                    continue
                if len(view) - position < size:
                    break
                messages += self._decoded(view[position : position + size], received_ns)
                position += size
        if self.lost:
            self._buffer.clear()
        elif position:
            del self._buffer[:position]
        return messages

    def _decoded(self, frame: bytes | memoryview, received_ns: int) -> list[RmrMessage]:
        """What is in one whole frame; nothing (counted) if it contradicts itself."""
        try:
            return [decode_frame(frame, received_ns=received_ns)]
        except FrameError as error:
            self.drops[str(error)] += 1
            return []

    def _skip_from(self, position: int) -> int:
        """The position after as much of the skipped frame as is here."""
        here = min(self._skip, len(self._buffer) - position)
        self._skip -= here
        return position + here

    def _frame_size(self, view: memoryview, position: int) -> int | None:
        """The frame's length, or None if it cannot be one."""
        (size,) = _SIZES.unpack_from(view, position)
        if size < TRANSPORT_HEADER_BYTES:
            return None
        if size > self.max_frame_bytes:
            # Only a length that is stated twice is believed enough to skip that much.
            (network_size,) = _NETWORK_SIZE.unpack_from(view, position + 4)
            if view[position + 8] != SIZE_MARKER or network_size != size or size > MAX_SKIPPED_FRAME_BYTES:
                return None
        return int(size)
