"""What a base station reads out of a CQI and a buffer level: the tables shared by the simulator and every scheduler.

Rates: TS 38.214 table 5.2.2.1-2 (4-bit CQI, up to 64QAM), error-free at the reported level. An RBG is 4 PRB, one slot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESOURCE_ELEMENTS_PER_RBG = 576
"""4 PRB x 12 subcarriers x 12 data symbols."""

THRESHOLDS_DB = np.array([-6.7, -4.7, -2.3, 0.2, 2.4, 4.3, 5.9, 8.1, 10.3, 11.7, 14.1, 16.3, 18.7, 21.0, 22.7])
"""[15] SNR from which CQI 1..15 can be decoded, dB."""

EFFICIENCY = np.array(
    [0.0, 0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758, 1.4766, 1.9141, 2.4063]
    + [2.7305, 3.3223, 3.9023, 4.5234, 5.1152, 5.5547]
)
"""[16] Bits per resource element at CQI 0..15."""

BITS_PER_RBG = EFFICIENCY * RESOURCE_ELEMENTS_PER_RBG
"""[16] Bits that one RBG carries in one slot at CQI 0..15."""

SNR_STEPS = 10.0 ** (np.ceil(THRESHOLDS_DB * 4.0) / 40.0)
"""[15] The thresholds as receivers apply them: linear, rounded up to the quarter dB in which SNR is measured."""

BUFFER_EDGES = np.array([1.0, 500.0, 1500.0, 3000.0, 6000.0, 12000.0, 24000.0])
"""[7] Buffer status is reported as one of 8 levels; level k starts at BUFFER_EDGES[k - 1] bits."""

BUFFER_MID_BITS = np.array([0.0, 250.0, 1000.0, 2250.0, 4500.0, 9000.0, 18000.0, 32000.0])
"""[8] What a level is taken to mean, bits."""

REPORTED_SNR = 0.8 * 10.0 ** ((np.concatenate([[-9.0], THRESHOLDS_DB]) + 1.0) / 10.0)
"""[16] Linear SNR that a scheduler assumes behind a reported wideband CQI 0..15 (CQI 0 counts as -9 dB)."""

PREFERRED_RBG_GAIN = 2.0
"""The SNR of a UE's preferred RBG relative to its REPORTED_SNR."""
OTHER_RBG_GAIN = 0.85
"""The SNR of a UE's other RBGs relative to its REPORTED_SNR."""


def snr_to_cqi(snr: ArrayLike) -> NDArray[np.int64]:
    """CQI 0..15 of a linear SNR, same shape."""
    return np.searchsorted(SNR_STEPS, np.asarray(snr), side="right")


def bits_per_rbg(snr: ArrayLike) -> NDArray[np.float64]:
    """Bits that one RBG carries in one slot at a linear SNR, same shape."""
    return BITS_PER_RBG[snr_to_cqi(snr)]
