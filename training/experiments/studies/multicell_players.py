"""Who plays in several cells: nodes under tuned power control, a privileged coordinator, and a leader a cell.

The coordinator says, once a period, how loud each cell may be on each RBG. It is no leader that could be: it looks for
the levels by trying them, on the true state and with all that is to come. What it gains bounds what one could; with
another future than the one that comes true it knows everything but that. Suffixes: W networks, C cells, M RBGs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState, make_cell_state, update_served_average
from policy.cqi import (
    BUFFER_EDGES,
    BUFFER_MID_BITS,
    PREFERRED_RBG_GAIN,
    REPORTED_SNR,
    snr_to_cqi,
)
from policy.intent import Intent
from policy.leader import never_expires
from training.experiments.measurement import kept
from training.experiments.studies.multicell_world import (
    FULL_POWER,
    NOISE_MW,
    NUM_RBGS,
    UES,
    Draws,
    Floats,
    Networks,
    PowerControl,
    begin,
    draw,
    finish,
    make_networks,
    own_gain,
    play,
    proportional_fair,
)
from training.experiments.study import Results

LEVELS = (1.0, 0.25, 0.0)
"""Of an RBG's power in a cell: as power control says, 6 dB less, nothing."""
QUIET = 0.25
PERIOD_SLOTS = 20
TAIL_SLOTS = 10
"""What a period's levels leave behind is looked at for so long."""
PASSES = 2
"""Times that the search goes on from what it has found."""
REPORT_DELAY_SLOTS = 2
REFERENCE_BITS = 100.0


def draws_of(networks: Networks, future: int = 0) -> partial[Draws]:
    return partial(_drawn, networks.loss_WNC.shape, networks.seed, future)


def _drawn(shape: tuple[int, int, int], seed: int, future: int, slot: int) -> Draws:
    return draw(shape, seed, slot, future)


def run_static(
    networks: int, cells: int, seed: int, slots: int, alpha: float, at_110_db: float, reuse: bool
) -> Results:
    """The nodes alone under a power control. reuse: cells take turns in being loud on a third of the RBGs."""
    at, power_WN = _start(networks, cells, seed, PowerControl(alpha, at_110_db))
    level_WCM = np.ones((networks, cells, NUM_RBGS))
    if reuse:
        group_C = np.arange(cells) % 3 if cells == 3 else np.array([0, 1, 2, 1, 2, 1, 2])[:cells]
        level_WCM[:, (np.arange(NUM_RBGS)[None] % 3) != group_C[:, None]] = QUIET
    return results(play(at, slots, power_WN, level_WCM, draws_of(at)), slots)


def run_search(
    networks: int, cells: int, seed: int, slots: int, alpha: float, at_110_db: float, future: int
) -> Results:
    """The coordinator; `future` 0 = it knows the one that comes true."""
    at, power_WN = _start(networks, cells, seed, PowerControl(alpha, at_110_db))
    changed, count = 0.0, 0
    for _ in range(max(1, slots // PERIOD_SLOTS)):
        level_WCM = search(at, power_WN, draws_of(at, future))
        changed, count = changed + float((level_WCM < 1).mean()), count + 1
        at = play(at, PERIOD_SLOTS, power_WN, level_WCM, draws_of(at))
    return results(at, count * PERIOD_SLOTS) | {"lowered": [kept(changed / count)]}


def search(at: Networks, power_WN: Floats, draws: partial[Draws]) -> Floats:
    """Levels [W, C, M]: from all loud, twice every single change is tried, and all that gained are taken together, or
    the best alone where together they are worse."""
    networks, cells = at.seen_WCM.shape[:2]
    level_WCM = np.ones((networks, cells, NUM_RBGS))
    value_W = _value_of(at, power_WN, level_WCM[:, None], draws)[:, 0]
    for _ in range(PASSES):
        tried = np.repeat(level_WCM[:, None], cells * NUM_RBGS * len(LEVELS), axis=1)
        place = [(c, m, level) for c in range(cells) for m in range(NUM_RBGS) for level in LEVELS]
        for k, (c, m, level) in enumerate(place):
            tried[:, k, c, m] = level
        gain = _value_of(at, power_WN, tried, draws) - value_W[:, None]
        by_level = gain.reshape(networks, cells, NUM_RBGS, len(LEVELS))
        together = np.where(by_level.max(-1) > 0, np.array(LEVELS)[by_level.argmax(-1)], level_WCM)
        alone = tried[np.arange(networks), gain.argmax(axis=1)]
        options = np.stack([level_WCM, alone, together], axis=1)
        found = _value_of(at, power_WN, options, draws)
        best = found.argmax(axis=1)
        level_WCM, value_W = options[np.arange(networks), best], found[np.arange(networks), best]
    return level_WCM


def _value_of(at: Networks, power_WN: Floats, tried_WKCM: Floats, draws: partial[Draws]) -> Floats:
    """The first-order change of utility that each trial brings until the tail's end, [W, K]."""
    networks, trials = tried_WKCM.shape[:2]
    row = np.repeat(np.arange(networks), trials)
    branch, level = at.rows(row), tried_WKCM.reshape(-1, *tried_WKCM.shape[2:])

    def branched(slot: int) -> Draws:
        return Draws._make(values[row] for values in draws(slot))

    branch = play(branch, PERIOD_SLOTS, power_WN[row], level, branched)
    branch = play(branch, TAIL_SLOTS, power_WN[row], np.ones_like(level), branched)
    utility_change = (branch.total_WN - at.total_WN[row]) / (at.long_WN[row] + REFERENCE_BITS)
    return utility_change.mean(axis=1).reshape(networks, trials)


@dataclass
class Reports:
    """What base stations know of their UEs: reports some slots old, and what they have decoded themselves."""

    queues: deque[Floats] = field(default_factory=lambda: deque(maxlen=REPORT_DELAY_SLOTS + 2))
    cqis: deque[NDArray[np.int64]] = field(default_factory=lambda: deque(maxlen=REPORT_DELAY_SLOTS + 1))
    preferred: deque[NDArray[np.int64]] = field(default_factory=lambda: deque(maxlen=REPORT_DELAY_SLOTS + 1))
    served: deque[Floats] = field(default_factory=lambda: deque(maxlen=REPORT_DELAY_SLOTS))
    silent_WN: Floats = field(default_factory=lambda: np.zeros(0))
    cqi_mean_WN: Floats = field(default_factory=lambda: np.zeros(0))

    def add(self, at: Networks, gain_WNCM: Floats, power_WN: Floats) -> None:
        """What the UEs report at the start of a slot: buffer level, mean CQI, best RBG."""
        gain = own_gain(gain_WNCM)
        count = gain.shape[1]
        noise = NOISE_MW + at.seen_WCM[:, np.arange(count) // UES].mean(axis=2)
        level = BUFFER_MID_BITS[np.searchsorted(BUFFER_EDGES, at.queue_WN, side="right")]
        cqi = snr_to_cqi(power_WN * gain.mean(axis=2) / noise)
        if not self.queues:
            self.silent_WN, self.cqi_mean_WN = np.ones(level.shape), cqi.astype(float)
        self.cqi_mean_WN = 0.97 * self.cqi_mean_WN + 0.03 * cqi
        self.queues.append(level)
        self.cqis.append(cqi)
        self.preferred.append(gain.argmax(axis=2))

    def add_served(self, served_WN: Floats) -> None:
        self.served.append(served_WN)
        self.silent_WN = np.where(served_WN > 0, 1.0, self.silent_WN + 1)

    @property
    def inflight_WN(self) -> Floats:
        return np.sum(list(self.served), axis=0) if self.served else np.zeros(self.queues[0].shape)

    def believed(self, at: Networks, power_WN: Floats) -> tuple[Floats, Floats]:
        """Queues less what is in flight, and gains that explain the reported CQI."""
        queue = np.maximum(0.0, self.queues[-REPORT_DELAY_SLOTS - 1 if len(self.queues) > REPORT_DELAY_SLOTS else 0]
                           - self.inflight_WN)  # fmt: skip
        count = queue.shape[1]
        noise = NOISE_MW + at.seen_WCM[:, np.arange(count) // UES]
        snr = REPORTED_SNR[self.cqis[0]][..., None] * np.where(
            np.arange(NUM_RBGS) == self.preferred[0][..., None], PREFERRED_RBG_GAIN, 0.85
        )
        return queue, snr * noise / power_WN[..., None]


def run_reported(
    networks: int, cells: int, seed: int, slots: int, alpha: float, at_110_db: float, bundle: Path | None
) -> Results:
    """Reports are old. bundle: whose leader decides in every cell, as it is; None = the nodes' proportional fair."""
    from policy.registry import make_leader

    leader = None if bundle is None else make_leader(str(bundle))
    at, power_WN = _start(networks, cells, seed, PowerControl(alpha, at_110_db))
    draws, reports = draws_of(at), Reports()
    loud_WCM = np.ones((networks, cells, NUM_RBGS))
    granted = 0
    for _ in range(slots):
        at, gain = begin(at, draws(at.slot))
        reports.add(at, gain, power_WN)
        queue_WN, gain_WNM = reports.believed(at, power_WN)
        given = None
        if leader is not None:
            states = [_state(at, reports, queue_WN, w, c) for w in range(networks) for c in range(cells)]
            decisions = leader.decide(states, [Intent()] * len(states), never_expires)
            owner = np.array([d.allocation.owner_M for d in decisions], np.int64).reshape(networks, cells, NUM_RBGS)
            given = np.where(owner >= 0, owner + UES * np.arange(cells)[None, :, None], np.where(owner == -3, -2, -1))
            granted += int((owner >= 0).sum())
        owner_WCM = proportional_fair(at, queue_WN, gain_WNM, power_WN, loud_WCM, given)
        before_WN = at.total_WN
        at = finish(at, gain, owner_WCM, power_WN, loud_WCM).at
        reports.add_served(at.total_WN - before_WN)
    return results(at, slots) | {"granted": [kept(granted / (slots * loud_WCM.size))]}


def _state(at: Networks, reports: Reports, queue_WN: Floats, w: int, c: int) -> CellState:
    """A cell as its base station would describe it to a leader; what this world does not have is not reported."""
    mine = slice(c * UES, (c + 1) * UES)
    nothing_U = np.zeros(UES)
    return make_cell_state(
        f"{w}/{c}", num_rbgs=NUM_RBGS, slots_per_dcm=1, slot=at.slot, ue_ids=tuple(range(1, UES + 1)),
        traffic_class_U=nothing_U,
        buffer_bits_U=reports.queues[max(0, len(reports.queues) - 1 - REPORT_DELAY_SLOTS)][w, mine],
        buffer_bits_before_U=reports.queues[0][w, mine],
        inflight_bits_U=reports.inflight_WN[w, mine],
        cqi_U=reports.cqis[0][w, mine],
        cqi_mean_U=np.round(reports.cqi_mean_WN[w, mine]),
        preferred_rbg_U=reports.preferred[0][w, mine],
        served_bits_per_slot_U=update_served_average(at.served_WN[w, mine], nothing_U, 0),
        long_served_bits_per_slot_U=at.long_WN[w, mine],
        slots_since_served_U=reports.silent_WN[w, mine],
        age_slots_U=np.full(UES, float(REPORT_DELAY_SLOTS)),
    )  # fmt: skip


def _start(networks: int, cells: int, seed: int, control: PowerControl) -> tuple[Networks, Floats]:
    at = make_networks(networks, cells, seed)
    power_WN = control.milliwatts(at.own_WN) if control != FULL_POWER else np.full(at.queue_WN.shape, 10**2.3)
    return at, power_WN


def results(at: Networks, slots: int) -> Results:
    """Means over networks: utility, throughput a cell, and what the worst-served twentieth of the UEs gets."""
    per_ue = at.total_WN / slots
    return {
        "utility": [kept(float(at.utility(slots).mean()))],
        "throughput_bits_per_slot": [kept(float(per_ue.sum(axis=1).mean()) / at.cells)],
        "p5_bits_per_slot": [kept(float(np.percentile(per_ue, 5)))],
    }
