"""Counts what shares that were sent to slices break of an operator's limits. Shares no code with what is to keep them.

A limit is (slice, least, most), percent of the cell. What a slice is sent as its most must not be above its most, nor
its least below its least: floors of a cell together need no more than it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class SliceLimits(NamedTuple):
    name: str
    least_percent: float
    most_percent: float


def shares_of(message: bytes) -> dict[str, tuple[int, int, int]]:
    """Name of the slice -> min, max and dedicated ratio, of one control's bytes."""
    found = {}
    for cell in json.loads(message)["controlMessageFormat"]["listOfCellsControlled"]:
        for structure in cell["listOfConfigurationStructures"]:
            values = structure["newValuesOfAttributes"]["ranConfigurationStructure"]
            ratios = tuple(values[f"rRMPolicy{name}Ratio"] for name in ("Min", "Max", "Dedicated"))
            for member in values["rRMPolicyMemberList"]:
                slice_: Mapping[str, Any] = member["snssai"]
                name = f"{slice_['sst']}-{slice_['sd']}" if "sd" in slice_ else str(slice_["sst"])
                found[name] = (int(ratios[0]), int(ratios[1]), int(ratios[2]))
    return found


def violations(limits: Iterable[SliceLimits], shares: Mapping[str, tuple[int, int, int]]) -> list[str]:
    """One line for each limit that does not hold; of a slice that was sent nothing its shares at the node."""
    found = []
    for limit in limits:
        least, most, _ = shares[limit.name]
        if most > limit.most_percent + 1e-9:
            found.append(f"slice {limit.name} may have {most} %, at most {limit.most_percent} are allowed")
        if least > most:
            found.append(f"slice {limit.name} is promised {least} % and may have {most} %")
        if least + 1e-9 < min(limit.least_percent, most) and limit.least_percent <= limit.most_percent:
            found.append(f"slice {limit.name} is promised {least} %, {limit.least_percent} were")
    if sum(least for least, _, _ in shares.values()) > 100:
        found.append(f"{shares}: more than the cell is promised")
    return found
