"""Measurement reports read and written beside named alternatives, all of them in turn in one run, by processor time.

Case A: gNB-UEIDs (as a monolithic gNB sends), a measurement list in every UE's report, two reals. Case B: gNB-DU-UEIDs,
integers, no list. A generic library is timed up to its own value, our readers up to the table that the loop works with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xapp.bench.asn1_rivals import Rival, rivals, table_of
from xapp.bench.in_turn import Case, Measured, in_turn
from xapp.e2.kpm.compiled_code import compiled_walk_code
from xapp.e2.kpm.compiled_walk import CompiledWalk
from xapp.e2.kpm.json_types import KPM_TYPES
from xapp.e2.kpm.report_reader import decode_report, decode_report_generic, use_compiled_walk
from xapp.e2.kpm.report_writer import encode_report
from xapp.e2.ue_id.ue_id import GnbDuUeId, GnbUeId, Guami, UeId

UES = (20, 100)
NAMES = (
    "DRB.UEThpUl",
    "DRB.AirIfDelayUl",
    "RRU.PrbTotUl",
    "RRU.PrbUsedUl",
    "RRU.PrbAvailUl",
    "CQI",
    "DRB.RlcSduTransmittedVolumeUL",
    "DRB.RlcDelayUl",
)
REALS = NAMES[:2]
GUAMI = Guami(b"\x00\xf1\x10", 128, 4, 1)
NO_VALUES = 0.3
"""The share of noValue in the case that has them."""
GENERIC = "composed types"
OFTEN = 10
"""Of what is fast a round has so many runs, that there be enough for a p99."""


class ReportCase(NamedTuple):
    name: str
    make_id: Callable[[int], UeId]
    has_names: bool
    reals: tuple[str, ...] = ()
    no_values: float = 0.0


CASES = (
    ReportCase("A", lambda ue: GnbUeId(ue, GUAMI, (ue,), ran_ueid=ue.to_bytes(8, "big")), True, REALS),
    ReportCase("B", GnbDuUeId, False),
    ReportCase("B, noValue", GnbDuUeId, False, no_values=NO_VALUES),
)


@dataclass(frozen=True, slots=True, eq=False)
class Writing:
    """What `encode_report` makes a report of."""

    ue_ids: list[UeId]
    values_UN: NDArray[np.float64]
    case: ReportCase

    def __call__(self) -> bytes:
        case = self.case
        return encode_report(self.ue_ids, NAMES, self.values_UN, 100, reals=case.reals, with_names=case.has_names)


def writing(case: ReportCase, ues: int, rng: np.random.Generator) -> Writing:
    """Of so many UEs, with values as large as nodes send them."""
    values_UN = rng.integers(0, 200_000, (ues, len(NAMES))).astype(np.float64)
    for name in case.reals:
        values_UN[:, NAMES.index(name)] += rng.random(ues)
    values_UN[rng.random(values_UN.shape) < case.no_values] = np.nan
    return Writing([case.make_id(ue) for ue in range(ues)], values_UN, case)


def kpm_cases(rng: np.random.Generator, seconds: float, at_least: int, at_most: int) -> Iterator[Case]:
    """Every report read by all; the longest one of A and of B written."""
    others, walk = rivals(), CompiledWalk(compiled_walk_code(may_compile=True))
    for case in CASES:
        for ues in UES:
            write = writing(case, ues, rng)
            message = write()
            check_same_table(message, walk, others)
            params = {"case": case.name, "ues": ues, "measurements": len(NAMES), "bytes": len(message)}
            runs: dict[str, Callable[[], object]] = {
                "ours": partial(_read, walk, message),
                "the walk in Python": partial(_read, None, message),
                GENERIC: partial(decode_report_generic, message, NAMES),
                **{other.name: partial(other.read, other.prepared(message)) for other in others},
            }
            found = in_turn(runs, seconds, at_least, at_most, {"ours": OFTEN})
            yield from _cases(f"read {case.name}, {ues} UEs x {len(NAMES)}", params, found)
            if ues == UES[-1] and not case.no_values:
                found = in_turn(_writers(write, others), seconds, at_least, at_most, {"ours": OFTEN})
                yield from _cases(f"write {case.name}, {ues} UEs x {len(NAMES)}", params, found)
    use_compiled_walk(walk)


def _cases(what: str, params: dict[str, Any], found: dict[str, Measured]) -> Iterator[Case]:
    ours = found.pop("ours")
    for name, theirs in found.items():
        yield Case(what, params, ours, name, theirs.median_us)


def _read(walk: CompiledWalk | None, message: bytes) -> object:
    use_compiled_walk(walk)
    return decode_report(message, NAMES)


def _writers(write: Writing, others: list[Rival]) -> dict[str, Callable[[], object]]:
    message, codec = write(), KPM_TYPES["kpm-indication-message"]
    runs: dict[str, Callable[[], object]] = {"ours": write, GENERIC: partial(codec.encode, codec.decode(message))}
    for other in others:
        prepared = other.prepared(message)
        value = other.read(prepared)
        again = other.ue_reports(other.read(other.write(value)))
        if not np.array_equal(table_of(again), table_of(other.ue_reports(value)), equal_nan=True):
            raise RuntimeError(f"{other.name} does not read what it writes")
        runs[other.name] = partial(other.write, value)
    return runs


def check_same_table(message: bytes, walk: CompiledWalk, others: list[Rival]) -> None:
    """All read the same numbers, or RuntimeError."""
    expected_UN = decode_report_generic(message, NAMES).values
    tables: dict[str, NDArray[np.float64]] = {}
    for name, each in (("the compiled walk, first", walk), ("the compiled walk", walk), ("the walk in Python", None)):
        use_compiled_walk(each)
        tables[name] = decode_report(message, NAMES).values
    for other in others:
        tables[other.name] = table_of(other.ue_reports(other.read(other.prepared(message))))
    for name, values_UN in tables.items():
        if not np.array_equal(values_UN, expected_UN, equal_nan=True):
            raise RuntimeError(f"{name} reads other numbers than the composed types")
