"""The cells of `stackmac bench capacity`: their names, what they report, and how a control is read that answers them.

Each cell is a node's of its own and has two subscriptions, for DCM indications and KPM reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xapp.bench.decision_path import NCI, dcm_report, kpm_report
from xapp.rmr.transport import RmrMessage

K, NUM_RBGS = 100, 17
"""A RIC's pace, as the shipped bundle is trained for."""
_BASED_ON_TAG = 3 << 3
"""based_on_indication_sn of dcm.proto's Control; what stands before it are numbers, too."""


@dataclass(frozen=True, slots=True)
class BenchCell:
    """One of many, by its number."""

    number: int

    @property
    def node(self) -> str:
        return f"gnb_001_001_{self.number:08x}"

    @property
    def key(self) -> str:
        return f"{self.node}/{NCI}"

    @property
    def dcm_instance(self) -> int:
        return 2 * self.number + 1

    @property
    def kpm_instance(self) -> int:
        return 2 * self.number + 2

    @property
    def instances(self) -> tuple[int, int]:
        return self.dcm_instance, self.kpm_instance

    def reports(self, periods: int, ues: int) -> Iterator[tuple[RmrMessage, RmrMessage]]:
        """The two of each period, numbered from 1."""
        rng = np.random.default_rng(self.number)
        for sn in range(1, periods + 1):
            indication = dcm_report(
                rng, ues=ues, k=K, num_rbgs=NUM_RBGS, sn=sn, instance=self.dcm_instance, node=self.node
            )
            yield indication, kpm_report(rng, ues=ues, sn=sn, instance=self.kpm_instance, node=self.node)


def based_on(control: bytes) -> int:
    """The number of the indication that a DCM control is based on; 0 = none is named."""
    at = 0
    while at < len(control):
        tag, at = control[at], at + 1
        number = shift = 0
        while True:
            octet, at = control[at], at + 1
            number |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                break
        if tag == _BASED_ON_TAG:
            return number
        if tag & 7:
            break
    return 0
