"""Measurement reports as tables, whatever their format: E2SM-KPM indication messages read by the composed types.

Format 1 is one row: a cell, or the UE of its subscription. Format 2 has measurements under conditions, and for each the
UEs that meet them; format 3 has a format 1 report per UE.

Legend: U UEs (rows), N measurements (columns).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xapp.e2.asn1 import schema
from xapp.e2.asn1.aper_reader import BitReader
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import schema as kpm_schema
from xapp.e2.ue_id.ue_id import UeId, read_ue_id, ue_id_from_value, ue_key

NO_UE = -1
"""The row of a message that names no UE: format 1, which measures a cell or the UE of its subscription, and format 2
with one value for all the UEs that meet a condition."""
MAX_FILL = 8
"""A table may have this many cells per octet of its message, no more: UEs with ever different measurements would
otherwise turn a small message into a huge table. A table of equal lists never has more than 3."""
MAX_NAME_CHARACTERS = 1 << 18
"""Of all column names of a list together: each label repeats its measurement's name, so few octets can make long ones.
The lists of deployed nodes have some hundred."""
PATH = "kpm-indication-message"
_NAN = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class KpmReport:
    """One indication message as a table."""

    ue_keys: tuple[int, ...]
    """Per row, see `ue_key`; (NO_UE,) where the message names no UE."""
    names: tuple[str, ...]
    """Per column, `measurement_names`."""
    values: NDArray[np.float64]
    """[U, N]; NaN = noValue, notSatisfied, incomplete, or not measured for this UE."""
    granularity_ms: int | None
    """Of the first UE that says it."""
    incomplete: int
    """How many measurement records were flagged incomplete; they are not in `values`."""
    _data: bytes = field(default=b"", repr=False)
    _ue_ids: tuple[UeId | int | None, ...] = field(default=(), repr=False)
    # Per row the id, or the bit of _data at which it starts.

    def ue_id(self, row: int) -> UeId | None:
        """The full identity of a row's UE, parsed when asked for; None for NO_UE."""
        ue_id = self._ue_ids[row]
        if not isinstance(ue_id, int):
            return ue_id
        reader = BitReader(self._data, PATH)
        reader.position = ue_id
        return read_ue_id(reader)


class Row(NamedTuple):
    """What a report says of one UE."""

    names: tuple[str, ...]
    values: list[float]
    granularity_ms: int | None
    incomplete: int


def measurement_names(info_list: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Column names of a measurement list: one for each label of each measurement.

    `DRB.UEThpUl`, with labels `DRB.UEThpUl{fiveQI=9}`; a measurement known by number is `#17`. Raises E2DecodeError.
    """
    characters = sum(len(item["measType"].get("measName", "")) * len(item["labelInfoList"]) for item in info_list)
    if characters > MAX_NAME_CHARACTERS:
        raise E2DecodeError(f"measInfoList: names of {characters} characters, at most {MAX_NAME_CHARACTERS} are kept")
    return tuple(
        measurement_name(item["measType"], [label["measLabel"]])
        for item in info_list
        for label in item["labelInfoList"]
    )


def measurement_name(kind: Mapping[str, Any], labels: Sequence[Mapping[str, Any]]) -> str:
    """One measurement under one set of labels."""
    base = kind["measName"] if "measName" in kind else f"#{kind['measID']}"
    what = ",".join(f"{key}={value}" for label in labels for key, value in label.items() if key != "noLabel")
    return f"{base}{{{what}}}" if what else base


def conditional_name(item: Mapping[str, Any]) -> str:
    """Of a measurement under conditions: those that are labels are part of its name, tests of a UE are not."""
    choices = [each["matchingCondChoice"] for each in item["matchingCond"]]
    return measurement_name(item["measType"], [each["measLabel"] for each in choices if "measLabel" in each])


def decode_report_generic(
    message: bytes, known_names: Sequence[str] = (), dialect: Dialect = Dialect.STANDARD
) -> KpmReport:
    """The same as `decode_report` for every message, and many times slower."""
    kind = kpm_schema.INDICATION_MESSAGE[dialect]
    ((name, report),) = schema.decode(kind, message, PATH)["indicationMessage-formats"].items()
    known = tuple(known_names)
    if name == "indicationMessage-Format1":
        return make_table(message, (NO_UE,), (None,), [read_row(report, known)])
    if name == "indicationMessage-Format2":
        return _conditional_table(message, report)
    ue_reports = report["ueMeasReportList"]
    ue_ids = tuple(ue_id_from_value(each["ueID"]) for each in ue_reports)
    rows = [read_row(each["measReport"], known) for each in ue_reports]
    return make_table(message, tuple(ue_key(ue_id) for ue_id in ue_ids), ue_ids, rows)


def _conditional_table(message: bytes, report: dict[str, Any]) -> KpmReport:
    """Format 2: its last complete record has a value for each UE of each measurement, or one for each measurement.

    A UE that is listed twice under one name (for different tests) has the value that comes last.
    """
    items, records = report["measCondUEidList"], report["measData"]
    names = [conditional_name(item) for item in items]
    complete = [index for index, record in enumerate(records) if "incompleteFlag" not in record]
    last = complete[-1] if complete else 0
    places: list[tuple[UeId | None, str]] = [
        (ue_id, name) for name, item in zip(names, items, strict=True) for ue_id in _matching_ues(item, last)
    ]
    values = [_number(each) for each in records[last]["measRecord"]] if complete else [_NAN] * len(places or names)
    if len(values) != len(places):
        if len(values) != len(names):
            raise E2DecodeError(
                f"{len(values)} values for {len(names)} measurements of together {len(places)} UEs", path=PATH
            )
        places = [(None, name) for name in names]
    cells: dict[tuple[type, UeId | None], dict[str, float]] = {}  # ids of two kinds may be equal as tuples
    for (ue_id, name), value in zip(places, values, strict=True):
        cells.setdefault((type(ue_id), ue_id), {})[name] = value
    ue_ids = tuple(ue_id for _, ue_id in cells)
    rows = [Row(tuple(row), list(row.values()), report.get("granulPeriod"), 0) for row in cells.values()]
    rows[0] = rows[0]._replace(incomplete=len(records) - len(complete))
    return make_table(message, tuple(NO_UE if each is None else ue_key(each) for each in ue_ids), ue_ids, rows)


def _matching_ues(item: Mapping[str, Any], record: int) -> list[UeId]:
    """The UEs that a measurement counts; of several granularity periods, in that of `record`."""
    listed = item.get("matchingUEidList", ())
    if "matchingUEidPerGP" in item:
        periods = item["matchingUEidPerGP"]
        listed = periods[record]["matchedPerGP"].get("oneOrMoreUEmatched", ()) if record < len(periods) else ()
    return [ue_id_from_value(each["ueID"]) for each in listed]


def read_row(report: dict[str, Any], known_names: tuple[str, ...]) -> Row:
    """A decoded measurement report: the last complete record, all NaN where none is complete."""
    names = measurement_names(report["measInfoList"]) if "measInfoList" in report else known_names
    if not names:
        raise E2DecodeError("no measurement list in the report, and none known from the subscription", path=PATH)
    complete = [item["measRecord"] for item in report["measData"] if "incompleteFlag" not in item]
    values = [_number(item) for item in complete[-1]] if complete else [_NAN] * len(names)
    if len(values) != len(names):
        raise E2DecodeError(f"{len(values)} values for {len(names)} measurements", path=PATH)
    return Row(names, values, report.get("granulPeriod"), len(report["measData"]) - len(complete))


def _number(item: dict[str, Any]) -> float:
    value = item.get("integer", item.get("real"))
    return _NAN if value is None else float(value)


def make_table(
    message: bytes, keys: tuple[int, ...], ue_ids: tuple[UeId | int | None, ...], rows: list[Row]
) -> KpmReport:
    """Rows side by side; where their measurements differ, the union of them in order of first appearance."""
    names = rows[0].names
    if any(row.names is not names and row.names != names for row in rows):
        column = {name: index for index, name in enumerate(dict.fromkeys(name for row in rows for name in row.names))}
        names = tuple(column)
        if len(rows) * len(names) > MAX_FILL * len(message):
            raise E2DecodeError(f"{len(names)} different measurements in a report of {len(rows)} UEs", path=PATH)
        values = np.full((len(rows), len(names)), np.nan)
        for row, line in zip(rows, values, strict=True):
            line[[column[name] for name in row.names]] = row.values
    else:
        values = np.array([row.values for row in rows], dtype=np.float64)
    granularity_ms = next((row.granularity_ms for row in rows if row.granularity_ms is not None), None)
    return KpmReport(keys, names, values, granularity_ms, sum(row.incomplete for row in rows), message, ue_ids)
