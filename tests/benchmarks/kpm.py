"""How fast measurement reports are read and written: `python -m tests.benchmarks.kpm`.

Case A: gNB UE ids, a measurement list in every UE's report, two REALs. Case B: gNB-DU UE ids, integers, no list. 8
measurements a UE. Ratios are between readers of the same run, so that they compare across machines.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from xapp.e2.kpm.messages import decode_report, decode_report_generic, encode_report
from xapp.e2.ue_id.ue_id import GnbDuUeId, GnbUeId, Guami, UeId

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
"""The share of noValue in the cases that have them."""


def median_us(run: Callable[[], object], repeats: int) -> float:
    def once() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return statistics.median(once() for _ in range(repeats)) * 1e6


def measure(case: str, num_ues: int, rng: np.random.Generator) -> str:
    """One line of the table."""
    values_UN = rng.integers(0, 200_000, (num_ues, len(NAMES))).astype(np.float64)
    if "noValue" in case:
        values_UN[rng.random(values_UN.shape) < NO_VALUES] = np.nan
    ue_ids: list[UeId] = [GnbDuUeId(ue) for ue in range(num_ues)]
    with_names = case[0] == "A"
    if with_names:
        values_UN[:, :2] += rng.random((num_ues, 2))
        ue_ids = [GnbUeId(ue, GUAMI, (ue,), ran_ueid=ue.to_bytes(8, "big")) for ue in range(num_ues)]

    def write() -> bytes:
        return encode_report(ue_ids, NAMES, values_UN, 100, reals=REALS if with_names else (), with_names=with_names)

    message = write()
    read_us = median_us(lambda: decode_report(message, NAMES), 31)
    generic_us = median_us(lambda: decode_report_generic(message, NAMES), 3)
    columns = f"{read_us:>10.0f}{generic_us:>12.0f}{generic_us / read_us:>7.1f}{median_us(write, 15):>10.0f}"
    return f"{case:<16}{num_ues:>5}{len(message):>8}{columns}"


def main() -> None:
    rng = np.random.default_rng(1)
    print(f"{'case':<16}{'UEs':>5}{'bytes':>8}{'read us':>10}{'generic us':>12}{'ratio':>7}{'write us':>10}")
    for case in ("A", "B", "A + noValue", "B + noValue"):
        for num_ues in (10, 100, 400):
            print(measure(case, num_ues, rng))


if __name__ == "__main__":
    main()
