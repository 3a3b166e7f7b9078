"""Many uplink cells at once: observe, play, measure. The one radio of the lab's gNB, of training and of evaluation.

Everything random comes from world.py, so a CellBatch is a deterministic function of its arguments and of what was
played. Suffixes: B cells, U seats (a seat holds one UE after another), M RBGs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import Allocation
from policy.cell_state import (
    LONG_DECAY_PER_SLOT,
    SERVED_START_BITS_PER_SLOT,
    CellState,
    update_cqi_mean,
    update_served_average,
)
from policy.cqi import snr_to_cqi
from training.simulator import core
from training.simulator.metrics import CellMetrics, UeTable, cell_metrics, ue_table
from training.simulator.plan import Plan, make_plan, node_plan
from training.simulator.scenario import SLOW_LEADER_SLOTS, Scenario
from training.simulator.slot_view import EARLIER_SLOTS, RULES, Followers, ReportingFollowers, SlotView
from training.simulator.state import (
    LAST_CQI_AGE,
    NEVER,
    NO_WORD,
    NUM_COUNTERS,
    PRESENT,
    SERVED,
    USED,
    Rules,
    State,
    make_constants,
    make_scratch,
    make_state,
    make_tables,
)
from training.simulator.world import CHUNK_SLOTS, Draws, draw_chunk, draw_start, make_profiles

OBSERVED = (
    "_observed_BUC", "_observed_id_BU", "_average_BU", "_long_average_BU", "_cqi_mean_BU", "_share_BU",
    "_seen_since_BU",
)  # fmt: skip
"""Arrays of a CellBatch, a row a cell: what its observer has seen so far."""


class Snapshot(NamedTuple):
    """All of a CellBatch that time changes."""

    slot: int
    observed_slot: int
    state: tuple[NDArray[Any], ...]
    """As the fields of State."""
    observed: tuple[NDArray[Any], ...]
    """As OBSERVED."""


class CellBatch:
    """`cells` cells with `ues` seats each, from slot 0 on."""

    def __init__(self, scenario: Scenario, cells: int, ues: int, seed: int) -> None:
        """Raises ValueError for counts below 1 or a seed out of range."""
        if cells < 1 or ues < 1:
            raise ValueError(f"{cells} cells of {ues} UEs: expected at least one of each")
        self.scenario, self.cells, self.ues, self.seed = scenario, cells, ues, seed
        self.slot = 0
        """The next slot to be played."""
        self.rules = Rules(make_profiles(scenario, ues), make_tables(scenario.num_rbgs), make_constants(scenario))
        self.state: State = make_state(scenario, draw_start(scenario, seed, cells, ues))
        self._scratch = make_scratch(ues, scenario.num_rbgs)
        self.world_cells = cells
        """Futures there are; a batch made by `select` shares those of the batch it came from."""
        self._chunk_index = -1
        self._chunk: Draws | None = None
        self._observed_slot = 0
        self._observed_BUC = np.zeros((cells, ues, NUM_COUNTERS))
        self._observed_id_BU = self.state.ue_id_BU.copy()
        self._average_BU = np.full((cells, ues), SERVED_START_BITS_PER_SLOT)
        self._long_average_BU = self._average_BU.copy()
        self._cqi_mean_BU = self._reported_cqi_BU()
        self._share_BU = np.zeros((cells, ues))
        self._seen_since_BU = np.zeros((cells, ues), np.int64)
        self._pending: _Pending | None = None

    # ---- observing ----

    def observe(self) -> list[CellState]:
        """What a leader sees now, one state per cell; call it at period boundaries.

        Exactly what a live xApp knows: averages and shares cover the time since the previous call in an earlier slot,
        and a UE that came within it may have been there for all of it; shares are whole percents, as KPM reports them.
        Buffer, CQI, preferred RBG and head delay are as reported D slots ago. What came of single RBGs in single slots
        is known to a fast leader only. Calling twice in a slot gives the same.
        """
        self._end_period()
        state, scenario = self.state, self.scenario
        columns = self._columns()
        # Rows in the order of UE ids, the empty seats (id 0) last.
        count_B = state.present_BU.sum(axis=1)
        ids_BU = np.where(state.present_BU, state.ue_id_BU, np.iinfo(np.int64).max)
        if (np.diff(ids_BU, axis=1) <= 0).any():
            order_BU = np.argsort(ids_BU, axis=1, kind="stable")
            rows_B1 = np.arange(self.cells)[:, None]
            ids_BU = ids_BU[rows_B1, order_BU]
            columns = {k: v if k.endswith("_M") else v[rows_B1, order_BU] for k, v in columns.items()}
        names, arrays = list(columns), list(columns.values())
        per_ue = [not name.endswith("_M") for name in names]
        states = []
        for b, (count, ids) in enumerate(zip(count_B.tolist(), ids_BU.tolist())):
            own = {n: a[b, :count] if of_ue else a[b] for n, a, of_ue in zip(names, arrays, per_ue)}
            states.append(
                CellState(f"sim/{b}", scenario.num_rbgs, scenario.slots_per_dcm, self.slot, tuple(ids[:count]), **own)
            )
        return states

    def _end_period(self) -> None:
        state, slots = self.state, self.slot - self._observed_slot
        if slots == 0:
            return
        new_BU = state.ue_id_BU != self._observed_id_BU
        before_BUC = np.where(new_BU[:, :, None], state.arrival_BUC, self._observed_BUC)
        since_BUC = state.counters_BUC - before_BUC
        served_BU = since_BUC[:, :, SERVED]
        average_BU = np.where(new_BU, SERVED_START_BITS_PER_SLOT, self._average_BU)
        self._average_BU = update_served_average(average_BU, served_BU, slots)
        long_average_BU = np.where(new_BU, SERVED_START_BITS_PER_SLOT, self._long_average_BU)
        self._long_average_BU = update_served_average(long_average_BU, served_BU, slots, LONG_DECAY_PER_SLOT)
        cqi_mean_BU = np.where(new_BU, np.nan, self._cqi_mean_BU)
        self._cqi_mean_BU = update_cqi_mean(cqi_mean_BU, self._reported_cqi_BU(), slots)
        self._share_BU = np.rint(100.0 * (since_BUC[:, :, USED] / (slots * self.scenario.num_rbgs))) / 100.0
        self._seen_since_BU = np.where(new_BU, self._observed_slot + 1, self._seen_since_BU)
        self._observed_slot = self.slot
        self._observed_BUC = state.counters_BUC.copy()
        self._observed_id_BU = state.ue_id_BU.copy()

    def _reported_cqi_BU(self) -> NDArray[np.float64]:
        depth = self.scenario.report_delay_slots + 1
        return self.state.cqi_BUD1[:, :, (self.slot + 1) % depth].astype(np.float64)

    def _reported_traffic(self) -> tuple[NDArray[np.int64], ...]:
        """Profile, period and phase of every seat as they were D slots ago, [B, U] each."""
        state = self.state
        now_BU3 = np.stack([state.profile_BU, state.period_BU, state.phase_BU], axis=-1)
        if not self.scenario.regime_slots:
            return tuple(np.moveaxis(now_BU3, -1, 0))
        unknown_BU = state.shifted_BU > self.slot - self.scenario.report_delay_slots
        return tuple(np.moveaxis(np.where(unknown_BU[:, :, None], state.before_BU3, now_BU3), -1, 0))

    def _columns(self) -> dict[str, NDArray[np.float64]]:
        """Every column of a CellState, of all cells, by seat; nothing of it is the state's own memory."""
        state, profiles, delay = self.state, self.rules.profiles, self.scenario.report_delay_slots
        at = (self.slot + 1) % (delay + 1)
        shape = state.present_BU.shape
        profile_BU, period_BU, phase_BU = self._reported_traffic()
        fast = self.scenario.slots_per_dcm < SLOW_LEADER_SLOTS
        level_mid_bits = self.rules.tables.buffer_mid_bits
        last_cqi_BUM = state.last_cqi_BUM if fast else np.zeros_like(state.last_cqi_BUM)
        outcome_BM = state.outcome_BM if fast else np.full_like(state.outcome_BM, -1)
        return {
            "traffic_class_U": profiles.traffic_class[profile_BU].astype(np.float64),
            "buffer_bits_U": level_mid_bits[state.level_BUD1[:, :, at]],
            "inflight_bits_U": state.served_BUD.sum(axis=-1) if delay else np.zeros(shape),
            "cqi_U": state.cqi_BUD1[:, :, at].astype(np.float64),
            "preferred_rbg_U": state.preferred_BUD1[:, :, at].astype(np.float64),
            "head_delay_slots_U": state.head_BUD1[:, :, at].astype(np.float64),
            "served_bits_per_slot_U": self._average_BU,
            "prb_share_U": self._share_BU,
            "buffer_bits_before_U": level_mid_bits[state.level_before_BU] if fast else np.full(shape, np.nan),
            "slots_since_served_U": _known(state.served_slot_BU != NEVER, self.slot - state.served_slot_BU),
            "cqi_mean_U": self._cqi_mean_BU,
            "long_served_bits_per_slot_U": self._long_average_BU,
            "deadline_slots_U": profiles.deadline_slots[profile_BU].astype(np.float64),
            "arrival_period_slots_U": _known(period_BU > 0, period_BU),
            "arrival_phase_slots_U": _known(period_BU > 0, phase_BU),
            "packet_bits_U": profiles.packet_bits[profile_BU],
            "ucm_U": _known(state.ucm_BUD1[:, :, at] != NO_WORD, state.ucm_BUD1[:, :, at]),
            "age_slots_U": np.minimum(delay, self.slot - self._seen_since_BU).astype(np.float64),
            "last_cqi_UM": _known(last_cqi_BUM > 0, last_cqi_BUM % LAST_CQI_AGE),
            "last_cqi_age_slots_UM": _known(last_cqi_BUM > 0, last_cqi_BUM // LAST_CQI_AGE),
            "last_outcome_M": _known(outcome_BM >= 0, outcome_BM),
        }

    def ue_table(self, cell: int) -> UeTable:
        """The UEs of one cell, with their totals since they came."""
        return ue_table(self.state, self.rules.profiles, self.rules.tables.snr_steps, cell)

    # ---- playing ----

    def plan(self, allocations: Sequence[Allocation | None] | Plan | None) -> Plan:
        """The allocations by seat; None, or None for a cell, is the node's own scheduler with its own leftover rule."""
        if allocations is None:
            return node_plan(self.cells, self.ues, self.scenario.num_rbgs, self.scenario.node_contenders)
        if isinstance(allocations, Plan):
            return allocations.copy() if self.rules.constants.p_leave > 0 else allocations
        return make_plan(allocations, self.state.ue_id_BU, self.scenario.num_rbgs, self.scenario.node_contenders)

    def play(
        self,
        allocations: Sequence[Allocation | None] | Plan | None,
        slots: int,
        followers: Followers = "best_response",
    ) -> None:
        """Play `slots` slots under one allocation per cell. Any number of calls may share a period."""
        if not callable(followers) and followers not in RULES:
            raise ValueError(f"followers are {followers!r}, expected {', '.join(RULES)} or a function")
        plan = self.plan(allocations)
        while slots > 0:
            if callable(followers):
                self._begin(plan)
                self.finish_slot(followers(self.view()))
                if isinstance(followers, ReportingFollowers) and followers.speaks:
                    self.choose_words(followers.words(self.report_view()))
                slots -= 1
                continue
            t = self.slot % CHUNK_SLOTS
            count = min(slots, CHUNK_SLOTS - t)
            core.play(
                self.state, self.rules, plan, self.draws(), self.slot, t, count,
                followers == "obey", self._scratch,
            )  # fmt: skip
            self.slot += count
            slots -= count

    def begin_slot(self, allocations: Sequence[Allocation | None] | Plan | None) -> SlotView:
        """Apply the MAC's rule to the next slot; then `finish_slot` with what the UEs send."""
        self._begin(self.plan(allocations))
        return self.view()

    def _begin(self, plan: Plan) -> None:
        """`plan` may be that of the slot before: what a UE that left gave back is written in it."""
        if self._pending is not None:
            raise RuntimeError(f"slot {self.slot} has begun already: finish_slot is due")
        cells, ues, num_rbgs = self.state.gain_BUM.shape
        pending = _Pending(
            plan,
            holder_BM=np.empty((cells, num_rbgs), np.int64),
            eligible_BU=np.empty((cells, ues), np.bool_),
            probability_B=np.empty(cells),
            entitlement_BUM=np.empty((cells, ues, num_rbgs), np.int8),
            cqi_BUM=np.empty((cells, ues, num_rbgs), np.int8),
        )
        core.begin_slot(self.state, self.rules, plan, self.slot, *pending[1:], self._scratch)
        self._pending = pending

    def view(self) -> SlotView:
        """What the UEs see in the slot that has begun."""
        if self._pending is None:
            raise RuntimeError(f"slot {self.slot} has not begun: begin_slot is due")
        state, t, pending = self.state, self.slot % CHUNK_SLOTS, self._pending
        answer_BUM = np.empty(state.gain_BUM.shape, np.int8)
        core.answers(
            state, self.rules, pending.plan, self.draws(), t, pending.holder_BM, pending.eligible_BU,
            pending.probability_B, answer_BUM, self._scratch,
        )  # fmt: skip
        return self._slot_view(
            pending.entitlement_BUM, pending.probability_B, pending.eligible_BU, answer_BUM, pending.cqi_BUM
        )

    def _slot_view(
        self,
        entitlement_BUM: NDArray[np.int8],
        probability_B: NDArray[np.float64],
        eligible_BU: NDArray[np.bool_],
        answer_BUM: NDArray[np.int8],
        cqi_BUM: NDArray[np.int8],
    ) -> SlotView:
        state = self.state
        since_BUC = state.counters_BUC - state.arrival_BUC
        earlier_bits = EARLIER_SLOTS * SERVED_START_BITS_PER_SLOT
        return SlotView(
            slot=self.slot,
            entitlement_BUM=entitlement_BUM,
            probability_B=probability_B,
            coin_BUM=self.draws().coin_BTUM[state.world_B, self.slot % CHUNK_SLOTS],
            cqi_BUM=cqi_BUM,
            queue_bits_BU=state.queue_BU,
            head_delay_slots_BU=state.head_BUD1[:, :, self.slot % state.head_BUD1.shape[2]],
            present_BU=state.present_BU,
            traffic_class_BU=self.rules.profiles.traffic_class[state.profile_BU],
            deadline_slots_BU=self.rules.profiles.deadline_slots[state.profile_BU],
            served_bits_per_slot_BU=(since_BUC[:, :, SERVED] + earlier_bits)
            / (since_BUC[:, :, PRESENT] + EARLIER_SLOTS),
            attempts_BU=state.attempts_BU,
            eligible_BU=eligible_BU,
            answer_BUM=answer_BUM,
        )

    def report_view(self) -> SlotView:
        """What the UEs see when they report, before the next slot's DCM: their own fresh state."""
        state = self.state
        nothing_BUM = np.zeros(state.gain_BUM.shape, np.int8)
        return self._slot_view(
            nothing_BUM, np.full(self.cells, np.nan), np.zeros(state.present_BU.shape, bool), nothing_BUM,
            snr_to_cqi(state.gain_BUM).astype(np.int8),
        )  # fmt: skip

    def choose_words(self, words_BU: NDArray[np.int8]) -> None:
        """Add a word [B, U] to the report that each UE has just made of its state at the start of the next slot."""
        ucm_BUD1 = self.state.ucm_BUD1
        ucm_BUD1[:, :, self.slot % ucm_BUD1.shape[2]] = np.where(self.state.present_BU, words_BU, NO_WORD)

    def finish_slot(self, sends_BUM: NDArray[np.bool_]) -> Plan:
        """Play what the UEs send; what the rule did not allow is played too, and counted. Returns the slot's plan, with
        what UEs gave back that left."""
        if self._pending is None:
            raise RuntimeError(f"slot {self.slot} has not begun: begin_slot is due")
        if sends_BUM.shape != self.state.gain_BUM.shape:
            raise ValueError(f"sends_BUM has shape {sends_BUM.shape}, expected {self.state.gain_BUM.shape}")
        pending, self._pending = self._pending, None
        core.finish_slot(
            self.state, self.rules, pending.plan, self.draws(), self.slot,
            self.slot % CHUNK_SLOTS, pending.holder_BM, pending.eligible_BU, np.ascontiguousarray(sends_BUM, np.bool_),
            self._scratch,
        )  # fmt: skip
        self.slot += 1
        return pending.plan

    def draws(self) -> Draws:
        """The chunk of the world that the next slot is in."""
        index = self.slot // CHUNK_SLOTS
        if self._chunk is None or self._chunk_index != index:
            self._chunk = draw_chunk(self.scenario, self.seed, self.world_cells, self.ues, index)
            self._chunk_index = index
        return self._chunk

    # ---- branching ----

    def select(self, rows: Sequence[int] | NDArray[np.int64], future: int = 0) -> CellBatch:
        """Cells `rows` as they are now, repeats allowed, as a batch of their own.

        Copies of a cell meet the same future and differ only by what is played: a branch is exact. It is the cell's
        own, or that of the cell `future` places on: from here on one is as likely as the other. Within a slot,
        `finish_slot` is due in the branch too.
        """
        chosen = np.asarray(rows, np.int64)
        branch = copy.copy(self)
        if self._pending is not None:
            plan: list[Any] = [array[chosen] for array in self._pending.plan]
            rest: list[Any] = [array[chosen] for array in self._pending[1:]]
            branch._pending = _Pending(Plan(*plan), *rest)
        branch.cells = len(chosen)
        branch._scratch = make_scratch(self.ues, self.scenario.num_rbgs)
        branch.state = self.state.select(chosen)
        branch.state.world_B[:] = (branch.state.world_B + future) % self.world_cells
        for name in OBSERVED:
            setattr(branch, name, getattr(self, name)[chosen])
        return branch

    # ---- keeping ----

    def snapshot(self) -> Snapshot:
        """How things stand between two slots, nothing copied. Raises RuntimeError within one."""
        if self._pending is not None:
            raise RuntimeError(f"slot {self.slot} has begun: finish_slot is due")
        observed = tuple(getattr(self, name) for name in OBSERVED)
        return Snapshot(self.slot, self._observed_slot, tuple(self.state), observed)

    def put_back(self, snapshot: Snapshot) -> None:
        """Stand as the batch of the same arguments did that the snapshot is of."""
        self.slot, self._observed_slot = snapshot.slot, snapshot.observed_slot
        arrays: list[Any] = list(snapshot.state)
        self.state = State(*arrays)
        for name, array in zip(OBSERVED, snapshot.observed, strict=True):
            setattr(self, name, array)

    # ---- measuring ----

    def metrics(self) -> list[CellMetrics]:
        """One row per cell, over the slots since slot 0."""
        return [cell_metrics(self.state, self.slot, b) for b in range(self.cells)]


def _known(where: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.float64]:
    """`values` there, NaN elsewhere."""
    return np.where(where, values, np.nan)


class _Pending(NamedTuple):
    """A slot between its two halves."""

    plan: Plan
    holder_BM: NDArray[np.int64]
    eligible_BU: NDArray[np.bool_]
    probability_B: NDArray[np.float64]
    entitlement_BUM: NDArray[np.int8]
    cqi_BUM: NDArray[np.int8]
