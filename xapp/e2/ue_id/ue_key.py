"""The integer that a UE goes by in the xApp: its node's own number, and above it what else tells UEs apart.

A number alone is not an identity. It says who the UE is within one kind of id only (an F1AP id of 3 and an E1AP id of 3
are two UEs), and where several AMFs are about, within one AMF, which the GUAMI names. A gNB-DU's F1AP id stands for
itself: that is how nodes that take quotas name UEs. Of every other kind the key has the number in its low NUMBER_BITS
and a checksum of kind and GUAMI above. Two UEs that share a checksum as well have one key, as UEs with the same id
have: twins, which nobody limits.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from zlib import crc32

NUMBER_BITS = 40
"""As many as the AMF's ids have, the longest but the ran-UEID."""
CHECKSUM_BITS = 22
"""With the bit above them that is always set, a key has 63 bits: every consumer's integers hold it."""
_NUMBER_MASK = (1 << NUMBER_BITS) - 1


class UeIdKind(IntEnum):
    """Whose number it is."""

    GNB_DU_F1AP = 0
    GNB_F1AP = 1
    GNB_RAN = 2
    GNB_AMF = 3
    CU_UP_E1AP = 4
    NG_ENB_W1AP = 5
    NG_ENB_AMF = 6
    NG_ENB_DU_W1AP = 7
    EN_GNB_F1AP = 8
    EN_GNB_RAN = 9
    EN_GNB_X2AP = 10
    ENB_MME = 11

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS = (
    "gNB-DU F1AP id",
    "gNB F1AP id",
    "gNB RAN-UEID",
    "gNB AMF id",
    "gNB-CU-UP E1AP id",
    "ng-eNB W1AP id",
    "ng-eNB AMF id",
    "ng-eNB-DU W1AP id",
    "en-gNB F1AP id",
    "en-gNB RAN-UEID",
    "en-gNB X2AP id",
    "eNB MME id",
)


def key_of(kind: UeIdKind, number: int, within: bytes = b"") -> int:
    """within: what the number is unique in, where that is more than the node: the octets of GUAMI, GUMMEI or eNB."""
    if kind == UeIdKind.GNB_DU_F1AP:
        return number
    return _above(kind, within, number >> NUMBER_BITS) | number & _NUMBER_MASK


def own_number(key: int) -> int:
    """The node's own number of a UE; of a ran-UEID its low bits."""
    return key & _NUMBER_MASK


@lru_cache(maxsize=4096)
def _above(kind: UeIdKind, within: bytes, rest: int) -> int:
    checksum = crc32(bytes((kind,)) + within + rest.to_bytes(8, "big")) & (1 << CHECKSUM_BITS) - 1
    return (1 << CHECKSUM_BITS | checksum) << NUMBER_BITS
