"""Indications read by the compiled walk, where they are as encoders usually write them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xapp.e2.dcm import dcm_pb2
from xapp.e2.dcm.flat_message import FlatMessage

_ABSENT = -1
_FIELDS = 64
"""By their numbers: more than there are."""
MAX_SIZES = 1024
"""Of messages whose number of UEs is remembered."""


class CompiledIndications:
    """How indications are read. Any thread may use it."""

    def __init__(self, run: Callable[..., int], columns: tuple[str, ...], least_C: Any, most_C: Any) -> None:
        """run: xapp.e2.dcm.indication_walk.walk_indication, compiled. columns: the names of those of UEs.
        least_C, most_C: what they hold, NaN apart; the first holds whole numbers.
        """
        self._run = run
        self._bounds_C2 = np.stack((least_C, most_C), axis=1)
        self._fields_F3 = np.full((_FIELDS, 3), _ABSENT, np.int64)
        readable = FlatMessage(dcm_pb2.Indication).numbers_and_bits()
        self._numbers = tuple(name for name, (_, bits) in readable.items() if bits > 0)
        octets = (name for name, (_, bits) in readable.items() if bits <= 0 and name not in ("ue_ids", *columns))
        self._octets = ("ue_ids", *columns, *octets)
        self._others = tuple((place, name) for place, name in enumerate(self._octets) if name not in columns)
        for name, (number, bits) in readable.items():
            places = self._numbers if bits > 0 else self._octets
            self._fields_F3[number, 0 if bits > 0 else 1] = places.index(name)
            self._fields_F3[number, 2] = bits
        self._count_by_size: dict[int, int] = {}

    def read(self, data: bytes) -> tuple[SimpleNamespace, NDArray[np.float64]] | None:
        """All fields but the columns, and the columns [C, U]; None = for Python to read."""
        octets, size = np.frombuffer(data, np.uint8), len(data)
        numbers_N, places_P2 = np.empty(len(self._numbers), np.int64), np.empty((len(self._octets), 2), np.int64)
        count = self._count_by_size.get(size, 0)
        values_CU = np.empty((len(self._bounds_C2), count))
        arguments = octets, self._fields_F3, self._bounds_C2, numbers_N, places_P2
        found = self._run(*arguments, values_CU)
        if 0 < found != count:
            if len(self._count_by_size) >= MAX_SIZES:
                self._count_by_size.clear()
            self._count_by_size[size] = found
            values_CU = np.empty((len(self._bounds_C2), found))
            found = self._run(*arguments, values_CU)
        if found <= 0:
            return None
        places = places_P2.tolist()
        fields: dict[str, Any] = dict(zip(self._numbers, numbers_N.tolist()))
        for place, name in self._others:
            first, end = places[place]
            fields[name] = data[first:end]
        return SimpleNamespace(**fields), values_CU
