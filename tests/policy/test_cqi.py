"""The tables that simulator and schedulers share."""

import numpy as np

from policy.cqi import BITS_PER_RBG, BUFFER_EDGES, BUFFER_MID_BITS, bits_per_rbg, snr_to_cqi


def test_a_cqi_starts_at_its_threshold_rounded_up_to_the_quarter_db() -> None:
    snr_db = np.array([-30.0, -6.6, -6.45, 0.2, 0.3, 22.6, 22.8, 60.0])
    assert snr_to_cqi(10 ** (snr_db / 10)).tolist() == [0, 0, 1, 3, 4, 14, 15, 15]


def test_the_best_rbg_carries_64qam_at_its_full_rate() -> None:
    assert np.isclose(bits_per_rbg(1e4), 5.5547 * 576)
    assert BITS_PER_RBG.shape == (16,) and BITS_PER_RBG[0] == 0
    assert np.all(np.diff(BITS_PER_RBG) > 0)


def test_each_levels_meaning_lies_inside_the_level() -> None:
    assert np.searchsorted(BUFFER_EDGES, BUFFER_MID_BITS, side="right").tolist() == list(range(8))
