"""`belief_pf`: a scheduler at K = 1 that learns nothing and reasons instead (training.baselines.belief_sampling).

It samples queues and channels from what was reported D slots ago and decoded since, and chooses owners and contention
so that this one slot is of most value on average: bits weighed by 1 / (R + 100) and by how soon they expire, less what
collisions cost. It knows more than a leader is told: the scenario's traffic law (each class's p_on, p_off, packet size
and mean packets while on) and rho of the fading. Where K is no longer its own, it decides as proportional fair does.

Suffixes: U UEs of a cell, M RBGs, S samples, D slots since the report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import OPEN, LeftoverRule
from policy.cell_state import ALL_CLASSES, NUM_OUTCOMES, CellState
from policy.cqi import BITS_PER_RBG, BUFFER_EDGES, SNR_STEPS, THRESHOLDS_DB
from policy.grammar import CONTENDERS
from policy.intent import Intent
from policy.leader import Decision
from policy.limits import compile_limits
from policy.schedulers.schedulers import SCHEDULERS
from training.baselines.belief_sampling import ascend, sample_gains, sample_queues
from training.simulator.metrics import COLLISION_COST, UTILITY_UNIT_BITS
from training.simulator.scenario import SLOW_LEADER_SLOTS, Scenario
from training.simulator.world import make_profiles

BELIEF_PF = "belief_pf"
SAMPLES = 48
"""Of a cell of up to MANY_UES UEs, half of it above. In `mix` at 4 UEs more than 48 gain nothing (docs/results.md)."""
MANY_UES = 12
SWEEPS = 3
URGENCY = 0.95
"""A bit with so many slots left counts this to their power."""
STARTS = ((None, 1.2), (OPEN, 9.6))
"""Where the ascent begins: from proportional fair, and from everything OPEN; with this c."""
FAST_DECAY = 0.9
"""Of the served average that is reported, a slot: what a slot served follows from two of them."""
BUSY_SHARE = 0.04
_LEVELS = np.array(CONTENDERS[:-1])
_EDGES = np.concatenate([[0.0], BUFFER_EDGES, [40_000.0]])
_STEP_DB = np.concatenate([[-12.0], np.ceil(THRESHOLDS_DB * 4) / 4, [26.0]])
_LEVEL_DB = (_STEP_DB[:-1] + _STEP_DB[1:]) / 2
"""Middle of each CQI's SNRs."""


class _Law(NamedTuple):
    """The traffic of each UE of a cell."""

    packets_U: NDArray[np.float64]
    p_on_U: NDArray[np.float64]
    p_off_U: NDArray[np.float64]
    packet_bits_U: NDArray[np.float64]


@dataclass(slots=True)
class _Memory:
    """What it remembers of a cell: the slots since the report."""

    slot: int
    ue_ids: tuple[int, ...]
    average_U: NDArray[np.float64]
    owner_M: NDArray[np.int64]
    served_DU: NDArray[np.float64]
    idle_DU: NDArray[np.bool_]


class BeliefPf:
    """Of one scenario, and of cells that it leads alone: what it remembers of a cell goes by the cell's name."""

    def __init__(self, scenario: Scenario, *, samples: int = SAMPLES, is_played: bool = True) -> None:
        """is_played: False = others may lead the cells, as they do while it teaches: silence then says nothing."""
        self.name = BELIEF_PF
        self._scenario, self._samples, self._is_played = scenario, samples, is_played
        self._memories: dict[str, _Memory] = {}

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        return [self._decide(state, intent) for state, intent in zip(states, intents)]

    def _decide(self, state: CellState, intent: Intent) -> Decision:
        usual = SCHEDULERS["proportional_fair"].schedule(state, intent)
        ues, num_rbgs = state.num_ues, state.num_rbgs
        if not ues or state.slots_per_dcm >= SLOW_LEADER_SLOTS:
            return Decision(usual, decided_by=self.name)
        delay = max(1, self._scenario.report_delay_slots)
        average_U = np.nan_to_num(state.served_bits_per_slot_U, nan=300.0)
        served_DU, idle_DU = self._seen(state, average_U, delay)
        samples = self._samples if ues <= MANY_UES else max(1, self._samples // 2)
        queue_SU, urgent_SU = np.empty((samples, ues)), np.empty((samples, ues))
        gain_SUM = np.empty((samples, ues, num_rbgs))
        seed = (state.slot * 7919 + sum(map(ord, state.cell)) * 104_729) % 2**31
        law = self._law(state)
        sample_queues(
            seed, _level(state.buffer_bits_U), _level(state.buffer_bits_before_U),
            np.nan_to_num(state.head_delay_slots_U), np.nan_to_num(state.deadline_slots_U, nan=8.0), served_DU, idle_DU,
            _EDGES, *law, URGENCY, queue_SU, urgent_SU,
        )  # fmt: skip
        cqi_U = np.clip(np.nan_to_num(state.cqi_U, nan=5.0), 0, 15)
        mean_cqi_U = np.clip(np.nan_to_num(state.cqi_mean_U, nan=5.0), 0, 15)
        mean_U = 1.1 * 10.0 ** (np.interp(mean_cqi_U, np.arange(16), _LEVEL_DB) / 10.0)
        sample_gains(
            seed + 1, delay, self._scenario.rho, cqi_U, mean_U, np.nan_to_num(state.preferred_rbg_U, nan=-1.0),
            np.nan_to_num(state.last_cqi_UM), np.nan_to_num(state.last_cqi_age_slots_UM), _LEVEL_DB, gain_SUM,
        )  # fmt: skip
        coin_SUM = np.random.default_rng(seed).random((samples, ues, num_rbgs))
        weight_U = 1.0 / (np.nan_to_num(state.long_served_bits_per_slot_U, nan=300.0) + UTILITY_UNIT_BITS)
        busy_U = (queue_SU > 0).mean(axis=0) > BUSY_SHARE
        best: tuple[float, float, NDArray[np.int64]] | None = None
        for owner, contenders in STARTS:
            owner_M = usual.owner_M.astype(np.int64) if owner is None else np.full(num_rbgs, owner, np.int64)
            value, contenders = ascend(
                owner_M, contenders, queue_SU, urgent_SU, gain_SUM, coin_SUM, weight_U, SNR_STEPS, BITS_PER_RBG,
                COLLISION_COST * ues / num_rbgs, _LEVELS, SWEEPS, busy_U,
            )  # fmt: skip
            if best is None or value > best[0]:
                best = value, contenders, owner_M
        assert best is not None
        _, contenders, owner_M = best
        self._memories[state.cell] = _Memory(state.slot, state.ue_ids, average_U, owner_M, served_DU, idle_DU)
        leftover = LeftoverRule(ALL_CLASSES, float(contenders))
        allocation = compile_limits(state, intent).allocation(state.ue_ids, owner_M.astype(np.int16), leftover)
        return Decision(allocation, decided_by=self.name)

    def _seen(
        self, state: CellState, average_U: NDArray[np.float64], delay: int
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Bits served, and owners that stayed silent, in the slots since the report, [D, U]."""
        memory = self._memories.get(state.cell)
        if memory is None or memory.slot != state.slot - 1 or memory.ue_ids != state.ue_ids:
            return np.zeros((delay, state.num_ues)), np.zeros((delay, state.num_ues), bool)
        served_U = np.maximum((average_U - FAST_DECAY * memory.average_U) / (1.0 - FAST_DECAY), 0.0)
        served_U[served_U < 1.0] = 0.0
        idle_U = np.zeros(state.num_ues, bool)
        if self._is_played and not np.isnan(state.last_outcome_M).any():
            outcome_M = state.last_outcome_M % (NUM_OUTCOMES // 2)
            for ue in range(state.num_ues):
                own_M = memory.owner_M == ue
                idle_U[ue] = own_M.any() and bool((outcome_M[own_M] == 0).all())
        return np.vstack([memory.served_DU, served_U])[1:], np.vstack([memory.idle_DU, idle_U])[1:]

    def _law(self, state: CellState) -> _Law:
        """A UE that sends a packet a period is taken for one whose bursts are one packet long."""
        profiles = make_profiles(self._scenario, state.num_ues)
        row_U = np.zeros(state.num_ues, np.int64)
        for row, traffic_class in enumerate(profiles.traffic_class.tolist()):
            row_U[state.traffic_class_U == traffic_class] = row
        period_U = np.nan_to_num(state.arrival_period_slots_U)
        periodic_U = period_U > 0
        return _Law(
            np.where(periodic_U, 1.0, profiles.mean_packets[row_U]),
            np.where(periodic_U, 1.0 / np.maximum(period_U, 1.0), profiles.p_on[row_U]),
            np.where(periodic_U, 1.0, profiles.p_off[row_U]),
            profiles.packet_bits[row_U],
        )


def _level(bits_U: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.searchsorted(BUFFER_EDGES, np.nan_to_num(bits_U), side="right").astype(np.int64)
