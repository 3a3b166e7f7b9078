"""What every DCM message shares: the carrier it speaks of, and how a column of UEs lies in `bytes`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import DecodeError as ProtobufDecodeError
from numpy.typing import NDArray

from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.dcm import dcm_pb2

DCM_OID = "1.3.6.1.4.1.32473.5.1"
"""RAN function OID, under the arc reserved for examples (RFC 5612). Functions are selected by it, never by id."""
DCM_FUNCTION_ID = 5
"""RAN function id under which our own node offers it."""

MAX_CARRIER_RBGS = 64
"""More than any carrier of TS 38.214 has (19), small enough to keep a bitmap of any message cheap."""
MAX_PRBS = 275
"""TS 38.211 4.4.4.1."""
RBG_SIZES = (2, 4, 8, 16)
"""Nominal RBG sizes P, TS 38.214 table 5.1.2.2.1-1."""
MAX_NUMEROLOGY = 6

_CELL = re.compile(r"[0-9a-f]{15}\Z")

M = TypeVar("M")


class DcmColumnError(E2DecodeError):
    """A bitmap or column that contradicts the rest of its message (a node answers BAD_BITMAP instead of MALFORMED)."""


def carrier_num_rbgs(bwp_start: int, bwp_size: int, rbg_size: int) -> int:
    """N_RBG = ceil((N_BWP + start mod P) / P), TS 38.214 5.1.2.2.1."""
    return -(-(bwp_size + bwp_start % rbg_size) // rbg_size)


@dataclass(frozen=True, slots=True)
class Carrier:
    """One cell's uplink bandwidth part."""

    cell: str
    """NR-CGI: PLMN (3 octets) and NCI (36 bits) as 15 hex digits, lower case."""
    bwp_start_prb: int
    bwp_size_prb: int
    rbg_size_prb: int
    """Nominal RBG size P."""
    numerology: int
    """mu: a slot lasts 1 ms / 2^mu."""
    num_rbgs: int

    @classmethod
    def of(
        cls, cell: str, *, bwp_size_prb: int, rbg_size_prb: int, bwp_start_prb: int = 0, numerology: int = 0
    ) -> Carrier:
        """A carrier whose RBG count follows from its bandwidth part."""
        num_rbgs = carrier_num_rbgs(bwp_start_prb, bwp_size_prb, rbg_size_prb)
        return cls(cell, bwp_start_prb, bwp_size_prb, rbg_size_prb, numerology, num_rbgs)

    def problem(self) -> str:
        """What is wrong with it, "" = nothing. A count that does not follow from the BWP is the node's to refuse."""
        if not _CELL.match(self.cell):
            return f"cell is {self.cell!r}, expected 15 lower case hex digits"
        for name, value, low, high in (
            ("bwp_start_prb", self.bwp_start_prb, 0, MAX_PRBS - 1),
            ("bwp_size_prb", self.bwp_size_prb, 1, MAX_PRBS),
            ("numerology", self.numerology, 0, MAX_NUMEROLOGY),
            ("num_rbgs", self.num_rbgs, 1, MAX_CARRIER_RBGS),
        ):
            if not low <= value <= high:
                return f"{name} is {value}, expected {low} to {high}"
        if self.rbg_size_prb not in RBG_SIZES:
            return f"rbg_size_prb is {self.rbg_size_prb}, expected one of {RBG_SIZES}"
        return ""

    def to_message(self) -> Any:
        """The protobuf message, one per carrier for ever: do not change it. Raises E2EncodeError."""
        return _carrier_message(self)

    def to_octets(self) -> bytes:
        """The protobuf message as octets. Raises E2EncodeError."""
        return _carrier_octets(self)

    @classmethod
    def from_message(cls, message: Any, path: str) -> Carrier:
        """Raises E2DecodeError when any field is out of its range."""
        carrier = cls(
            message.cell,
            message.bwp_start_prb,
            message.bwp_size_prb,
            message.rbg_size_prb,
            message.numerology,
            message.num_rbgs,
        )
        check_decoded(carrier, path)
        return carrier


@lru_cache(maxsize=256)
def _problem(carrier: Carrier) -> str:
    return carrier.problem()


def check_decoded(carrier: Carrier, path: str) -> None:
    if problem := _problem(carrier):
        raise E2DecodeError(problem, path=path)


@lru_cache(maxsize=256)
def _carrier_message(carrier: Carrier) -> Any:
    if problem := carrier.problem():
        raise E2EncodeError(problem)
    return dcm_pb2.Carrier(
        cell=carrier.cell,
        bwp_start_prb=carrier.bwp_start_prb,
        bwp_size_prb=carrier.bwp_size_prb,
        rbg_size_prb=carrier.rbg_size_prb,
        numerology=carrier.numerology,
        num_rbgs=carrier.num_rbgs,
    )


@lru_cache(maxsize=256)
def _carrier_octets(carrier: Carrier) -> bytes:
    octets: bytes = carrier.to_message().SerializeToString()
    return octets


# -- protobuf ---------------------------------------------------------------------------------------------------------


def parse(from_string: Callable[[bytes], M], data: bytes, path: str) -> M:
    """A protobuf message out of any bytes, or E2DecodeError."""
    try:
        return from_string(data)
    # Beside its own error pure Python protobuf lets through: bad UTF-8 (a ValueError), and a RecursionError for unknown
    # groups nested a thousand deep.
    except (ProtobufDecodeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise E2DecodeError(f"not a protobuf message: {reason}", path=path) from None


def serialise(make: Callable[..., Any], **fields: Any) -> bytes:
    """Bytes of a protobuf message; a value that a field cannot hold is an E2EncodeError."""
    try:
        message = make(**fields)
    except (ValueError, TypeError) as error:
        raise E2EncodeError(str(error)) from None
    encoded: bytes = message.SerializeToString()
    return encoded


def check_cell(cell: str, path: str) -> str:
    """A decoded cell identity, or E2DecodeError."""
    if not _CELL.match(cell):
        raise E2DecodeError(f"cell is {cell!r}, expected 15 lower case hex digits", path=path)
    return cell


def encodable_cell(cell: str) -> str:
    if not _CELL.match(cell):
        raise E2EncodeError(f"cell is {cell!r}, expected 15 lower case hex digits")
    return cell


# -- columns ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)  # a cell's UEs are the same for many a period
def encode_ue_ids(ue_ids: tuple[int, ...]) -> bytes:
    """uint32 little endian; E2EncodeError unless unique, ascending and in range."""
    if not ue_ids:
        return b""
    try:
        ids_U = np.array(ue_ids, dtype="<u4")
    except (OverflowError, ValueError, TypeError):
        raise E2EncodeError(f"ue_ids are {ue_ids[:8]}..., expected integers 0 to 4294967295") from None
    if (ids_U[1:] <= ids_U[:-1]).any():
        raise E2EncodeError(f"ue_ids are {ue_ids[:8]}..., expected unique and ascending")
    return ids_U.tobytes()


def decode_ue_ids(column: bytes, path: str) -> tuple[int, ...]:
    """The identities of the rows; E2DecodeError unless unique and ascending."""
    if len(column) % 4:
        raise DcmColumnError(f"{len(column)} octets, expected a multiple of 4", path=f"{path}.ue_ids")
    ue_ids = (_remembered_ids if len(column) <= REMEMBERED_OCTETS else _ascending_ids)(column)
    if ue_ids is None:
        raise E2DecodeError("not unique and ascending", path=f"{path}.ue_ids")
    return ue_ids


def _ascending_ids(column: bytes) -> tuple[int, ...] | None:
    ids_U = np.frombuffer(column, dtype="<u4")
    return None if (ids_U[1:] <= ids_U[:-1]).any() else tuple(ids_U.tolist())


REMEMBERED_OCTETS = 4 * 512
"""How many UEs there are is the node's word, and what is remembered stays."""
_remembered_ids = lru_cache(maxsize=256)(_ascending_ids)


def decode_column(column: bytes, dtype: str, count: int, path: str) -> NDArray[Any]:
    """`count` entries of a little-endian `dtype`."""
    wanted = count * np.dtype(dtype).itemsize
    if len(column) != wanted:
        raise DcmColumnError(f"{len(column)} octets, expected {wanted} for {count} entries", path=path)
    return np.frombuffer(column, dtype=dtype)


def pack_bits(bits: NDArray[np.bool_]) -> bytes:
    """Bitmap, entry 0 = most significant bit of the first octet; rows of a matrix are padded to octets each."""
    return np.packbits(bits, axis=-1).tobytes()


def unpack_bits(bitmap: bytes, rows: int, columns: int, path: str) -> NDArray[np.bool_]:
    """The bits [rows, columns]; DcmColumnError for a wrong length or a bit set in the padding."""
    octets = -(-columns // 8)
    if len(bitmap) != rows * octets:
        raise DcmColumnError(f"{len(bitmap)} octets, expected {rows * octets}", path=path)
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8).reshape(rows, octets), axis=1)
    if bits[:, columns:].any():
        raise DcmColumnError(f"a bit beyond the {columns} that exist is set", path=path)
    return bits[:, :columns].view(np.bool_)
