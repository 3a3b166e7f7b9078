"""The compiled walk over a report's UEs, for Python: it reads the UEs that look like one that Python has read.

Suffixes: U = UEs, N = measurements, P = places in which numbers of UEs are unique: AMFs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.kpm import schema as kpm_schema
from xapp.e2.kpm.report_table import Row
from xapp.e2.ue_id.ue_key import NUMBER_BITS

PADDING = 64
"""Octets of anything behind a report, at which the walk may look: more than an id or a value takes."""
MAX_FORMS = 256
"""Kept at once. A node's reports have one, or a few."""
MAX_PLACES = 16
"""Of one form: AMFs of a pool whose UEs are in one report."""
LIST = 0x40
"""Bit of UeForm.head: a measurement list follows."""
_PAD = bytes(PADDING)
_PLACE_OCTETS = 9


class IdForm(NamedTuple):
    """What UE ids of one kind have in common."""

    kind: int
    """First octet of a gNB-DU's or a gNB-CU-UP's id without its low bits; 0 = a gNB's."""
    presence: int
    """A gNB's first two octets without the low five bits: which optional parts there are."""


class UeForm(NamedTuple):
    """What UEs of a report have in common: all but their numbers and values."""

    kind: int
    presence: int
    places_P: NDArray[np.uint8]
    """[P, _PLACE_OCTETS]: a gNB's GUAMI, and the high octets of a ran-UEID that is the UE's key."""
    key_above_P: NDArray[np.int64]
    """The bits of their keys above NUMBER_BITS (xapp.e2.ue_id.ue_key)."""
    head: int
    """The octet that tells whether a measurement list and a granularity period follow the values."""
    tail: NDArray[np.uint8]
    """Those two, octet for octet."""


class ReadUes(NamedTuple):
    """UEs of one form."""

    keys: list[int]
    positions: list[int]
    """The bits at which their ids begin."""
    values_UN: NDArray[np.float64]
    names: tuple[str, ...]
    granularity_ms: int | None
    end: int
    """The bit after them."""

    def rows(self) -> list[Row]:
        return [Row(self.names, values, self.granularity_ms, 0) for values in self.values_UN.tolist()]


class CompiledWalk:
    """Knows the forms of the reports that it was shown. Any thread may use it."""

    def __init__(self, run: Callable[..., tuple[int, int]]) -> None:
        """run: xapp.e2.kpm.ue_walk.walk_ues, compiled."""
        self._run = run
        self._forms: dict[tuple[tuple[str, ...], IdForm], tuple[UeForm, tuple[str, ...], int | None]] = {}

    @staticmethod
    def padded(data: bytes) -> NDArray[np.uint8]:
        """A report as `read` takes it."""
        return np.frombuffer(data + _PAD, np.uint8)

    def read(
        self, padded: NDArray[np.uint8], data: bytes, at: int, end: int, count: int, known_names: tuple[str, ...]
    ) -> ReadUes | None:
        """As many of the next `count` UEs from octet `at` as have a form that is known; None = not one."""
        id_form = id_form_at(data, at)
        if id_form is None or (known := self._forms.get((known_names, id_form))) is None:
            return None
        form, names, granularity_ms = known
        # No more rows than the octets can hold: a count is only what a message tells of itself.
        rows = min(count, (end - at) * 8 // (64 + 3 * len(names)) + 1)
        keys_U, positions_U = np.empty(rows, np.int64), np.empty(rows, np.int64)
        values_UN = np.empty((rows, len(names)))
        read, after = self._run(padded, end, at, rows, *form, keys_U, positions_U, values_UN)
        if not read:
            return None
        keys, positions = keys_U[:read].tolist(), positions_U[:read].tolist()
        return ReadUes(keys, positions, values_UN[:read], names, granularity_ms, after)

    def learn(
        self, data: bytes, at: int, key: int, row: Row, head: int, tail: bytes, known_names: tuple[str, ...]
    ) -> None:
        """The UE that begins at octet `at`, as Python read it. head, tail: see UeForm."""
        id_form = id_form_at(data, at)
        if id_form is None:
            return
        if not head & LIST:
            tail = _period_octets(row.granularity_ms) if row.granularity_ms is not None else b""
        places, above = place_at(data, at, id_form), np.array([key >> NUMBER_BITS << NUMBER_BITS], np.int64)
        known = self._forms.get((known_names, id_form))
        if known is not None and known[1:] == (row.names, row.granularity_ms):
            old = known[0]
            if (old.head, old.tail.tobytes()) == (head, tail):
                if (old.places_P == places).all(axis=1).any():
                    return  # it was read by Python for another reason
                if len(old.places_P) < MAX_PLACES:
                    places = np.concatenate((places, old.places_P))
                    above = np.concatenate((above, old.key_above_P))
        elif known is None and len(self._forms) >= MAX_FORMS:
            self._forms.clear()
        form = UeForm(*id_form, places, above, head, np.frombuffer(tail, np.uint8))
        self._forms[known_names, id_form] = form, row.names, row.granularity_ms


def id_form_at(data: bytes, at: int) -> IdForm | None:
    """Of the id that begins at octet `at`; None for kinds that the walk does not know, and for what is no id at all."""
    bits = int.from_bytes(data[at : at + 2], "big")
    if bits & 0xFC00 in (0x0800, 0x1000):
        return IdForm(bits >> 8 & 0xFC, 0)
    # Extensions, another kind, E1AP list, XnAP id or global gNB id.
    return None if bits & 0xFD60 else IdForm(0, bits & 0xFFE0)


def place_at(data: bytes, at: int, id_form: IdForm) -> NDArray[np.uint8]:
    """Where the number is unique of a whole id that begins at octet `at`, [1, _PLACE_OCTETS]."""
    octets = b""
    if not id_form.kind:
        start = at + (data[at + 1] >> 2 & 7) + 4  # two octets, the AMF id, one with GUAMI's extension bit
        has_rest = id_form.presence & 0x280 == 0x80
        octets = data[start : start + _PLACE_OCTETS] if has_rest else data[start : start + 6]
    return np.array([[*octets.ljust(_PLACE_OCTETS, b"\0")]], np.uint8)


def _period_octets(granularity_ms: int) -> bytes:
    writer = BitWriter()
    kpm_schema.PERIOD.write(writer, granularity_ms, "granulPeriod")
    return writer.to_bytes()
