"""Throughput targets act: a floor becomes a share of the cell, by the bits that its UEs' RBGs have been measured to
carry, a ceiling a cap. Every target is judged in windows of a second; what is out of reach is said, and starves nobody.

A written rule, revised with every decision:
- bits per RBG of the target's UEs = what they were served in the last seconds over the RBGs they were on meanwhile;
- share = target / (bits per RBG x RBGs of the cell), a tenth more, plus what the running window still lacks;
- floors of one cell together claim at most `largest_percent`, in proportion where they would claim more. What needs
  more than that alone is out of reach;
- a target whose UEs use less than half of what is held for them has nothing more to send: the share shrinks to twice
  what they use, and the window counts as idle.
Floors hold for the shares' rounding as all floors do. Delay and loss are tracked and not acted on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from policy.cell_state import CellState
from policy.intent import Intent, Mode, SliceLimit, Target
from policy.time_scales import SLOT_MS

WINDOW_MS = 1000.0
MEMORY_MS = 3000.0
"""How far back the measured bits per RBG reach, as a decaying average."""
MARGIN = 1.1
"""A floor asks for so much more than it needs on average: rates fluctuate within a window."""
ENOUGH = 0.97
"""Of a floor: what rounding of reports hides is no miss. A ceiling has as much room above."""
OUT_OF_REACH_WINDOWS = 1
"""Windows in a row whose floor needs more than the largest share, until that is said."""
KEPT_TARGETS = 5000
"""Of one cell that are judged; more are compiled and not judged."""


@dataclass(slots=True)
class _Kept:
    """One target in one cell."""

    target: Target
    served_kbit: float = 0.0
    """Decaying, with `rbg_ms` alike."""
    rbg_ms: float = 0.0
    window_ms: float = 0.0
    window_kbit: float = 0.0
    window_share_ms: float = 0.0
    window_held_ms: float = 0.0
    total_ms: float = 0.0
    total_kbit: float = 0.0
    """Shares of the cell, used and held, times ms."""
    share_percent: float = 0.0
    cap_percent: float = 100.0
    needed_percent: float = 0.0
    verdicts: dict[str, int] = field(default_factory=dict)
    state: str = "unknown"
    kbps: float | None = None
    delay_ms: float | None = None
    short_windows: int = 0
    """In a row, that needed more than may be claimed."""

    @property
    def kbit_per_rbg_ms(self) -> float:
        return self.served_kbit / self.rbg_ms if self.rbg_ms > 0.0 else 0.0


class TargetKeeper:
    """`with_limits` and `on_decided` belong to the thread that decides; `rows` may be called by any."""

    def __init__(self, largest_percent: float) -> None:
        self._largest_percent = float(largest_percent)
        self._lock = threading.Lock()
        self._cells: dict[str, dict[tuple[str, str, str], _Kept]] = {}
        self._slots: dict[str, int] = {}

    def with_limits(self, intent: Intent, state: CellState) -> Intent:
        """The intent with what follows from its targets, as far as measured. The same until the next `on_decided`."""
        kept = self._cells.get(state.cell)
        if not intent.targets or not kept:
            return intent
        slices = {limit.name: limit for limit in intent.slice_limits}
        caps, floors = dict(intent.max_share_percent), dict(intent.min_share_percent)
        for target in intent.targets:
            one = kept.get(_key(target))
            if one is None:
                continue
            if target.slice_name in slices:
                slices[target.slice_name] = _limited(slices[target.slice_name], one)
                continue
            for ue in target.ue_ids:
                caps[ue] = min(caps.get(ue, 100.0), one.cap_percent)
                floors[ue] = max(floors.get(ue, 0.0), min(one.share_percent, caps[ue]))
        return replace(
            intent,
            max_share_percent={ue: cap for ue, cap in caps.items() if cap < 100.0},
            min_share_percent={ue: least for ue, least in floors.items() if least > 0.0},
            slice_limits=tuple(slices.values()),
        )

    def on_decided(self, state: CellState, intent: Intent) -> None:
        """A decision was made on a cell's newest state: measure, judge the windows that end, revise the shares."""
        if not intent.targets:
            if self._cells.pop(state.cell, None) is not None:
                self._slots.pop(state.cell, None)
            return
        slots = state.slot - self._slots.get(state.cell, state.slot - state.slots_per_dcm)
        self._slots[state.cell] = state.slot
        before = self._cells.get(state.cell, {})
        kept = {_key(target): before.get(_key(target)) or _Kept(target) for target in intent.targets[:KEPT_TARGETS]}
        if 0 < slots * SLOT_MS <= WINDOW_MS:  # a jump is no time in which anything was measured
            for target in intent.targets[:KEPT_TARGETS]:
                one = kept[_key(target)]
                one.target = target
                self._measure(one, state, slots * SLOT_MS)
            if intent.mode is Mode.SHADOW:
                for one in kept.values():
                    one.share_percent, one.cap_percent = 0.0, 100.0
            else:
                self._revise(list(kept.values()), state.num_rbgs)
        with self._lock:
            self._cells[state.cell] = kept

    def _measure(self, one: _Kept, state: CellState, ms: float) -> None:
        rows = [row for row, ue in enumerate(state.ue_ids) if ue in one.target.ue_ids]
        served_U, share_U = state.served_bits_per_slot_U[rows], state.prb_share_U[rows]
        known_U = np.isfinite(served_U) & np.isfinite(share_U)
        if not known_U.any():
            return
        # bits a slot over ms a slot are kbit/s: times ms they are bits.
        kbit = float(served_U[known_U].sum()) / SLOT_MS * ms / 1000.0
        share = float(share_U[known_U].sum())
        keep = max(0.0, 1.0 - ms / MEMORY_MS)
        one.served_kbit = keep * one.served_kbit + kbit
        one.rbg_ms = keep * one.rbg_ms + share * state.num_rbgs * ms
        one.window_ms += ms
        one.window_kbit += kbit
        one.window_share_ms += share * ms
        one.window_held_ms += one.share_percent / 100.0 * ms
        delay_U = state.head_delay_slots_U[rows]
        one.delay_ms = float(np.nanmax(delay_U)) * SLOT_MS if np.isfinite(delay_U).any() else None
        if one.window_ms >= WINDOW_MS - 1e-6:
            self._judge(one)

    def _judge(self, one: _Kept) -> None:
        """The window has ended."""
        target, one.kbps = one.target, one.window_kbit / one.window_ms * 1000.0
        used_percent, held_percent = (100.0 * x / one.window_ms for x in (one.window_share_ms, one.window_held_ms))
        one.short_windows = one.short_windows + 1 if one.needed_percent > self._largest_percent else 0
        one.state = _state(target, one, used_percent < 0.5 * held_percent)
        if one.state == "missed" and one.short_windows >= OUT_OF_REACH_WINDOWS:
            one.state = "out of reach"
        one.verdicts[one.state] = one.verdicts.get(one.state, 0) + 1
        one.total_ms, one.total_kbit = one.total_ms + one.window_ms, one.total_kbit + one.window_kbit
        one.window_ms = one.window_kbit = one.window_share_ms = one.window_held_ms = 0.0

    def _revise(self, kept: list[_Kept], num_rbgs: int) -> None:
        for one in kept:
            target, rate = one.target, one.kbit_per_rbg_ms * 1000.0 * num_rbgs  # kbit/s of the whole cell
            if target.max_kbps is not None and rate > 0.0:
                # One RBG at least: a cap below is an outage, not a ceiling.
                one.cap_percent = min(100.0, max(100.0 / num_rbgs, 100.0 * target.max_kbps / rate))
            if target.min_kbps is None or rate <= 0.0:
                continue
            left_ms = max(WINDOW_MS / 4, WINDOW_MS - one.window_ms)
            lacking_kbps = max(0.0, target.min_kbps * one.window_ms / 1000.0 - one.window_kbit) / left_ms * 1000.0
            one.needed_percent = 100.0 * target.min_kbps / rate
            wanted = 100.0 * (target.min_kbps * MARGIN + lacking_kbps) / rate
            used_percent = 100.0 * one.window_share_ms / one.window_ms if one.window_ms else 100.0
            if one.window_ms >= WINDOW_MS / 2 and used_percent < 0.5 * one.share_percent:
                wanted = min(wanted, max(2.0 * used_percent, 100.0 / num_rbgs))
            one.share_percent = min(wanted, self._largest_percent)
        total = sum(one.share_percent for one in kept)
        if total > self._largest_percent:
            for one in kept:
                one.share_percent *= self._largest_percent / total

    def rows(self) -> list[dict[str, Any]]:
        """One for each target in each cell: what it is, what was measured, what became of its windows."""
        with self._lock:
            cells = {cell: list(kept.values()) for cell, kept in self._cells.items()}
        return [_row(cell, one, self._largest_percent) for cell, kept in sorted(cells.items()) for one in kept]


def _key(target: Target) -> tuple[str, str, str]:
    return target.policy, target.of, target.slice_name or str(min(target.ue_ids, default=0))


def _limited(limit: SliceLimit, one: _Kept) -> SliceLimit:
    most = min(limit.max_share_percent, one.cap_percent)
    return replace(
        limit, max_share_percent=most, min_share_percent=max(limit.min_share_percent, min(one.share_percent, most))
    )


def _state(target: Target, one: _Kept, is_idle: bool) -> str:
    """What became of a window: met, missed, idle (less was offered), unknown (nothing says it)."""
    found = []
    assert one.kbps is not None
    if target.min_kbps is not None:
        is_met = one.kbps >= ENOUGH * target.min_kbps
        found.append("met" if is_met else "idle" if is_idle else "missed")
    if target.max_kbps is not None:
        found.append("met" if one.kbps <= target.max_kbps / ENOUGH else "missed")
    if target.max_delay_ms is not None:
        found.append("unknown" if one.delay_ms is None else "met" if one.delay_ms <= target.max_delay_ms else "missed")
    if target.max_loss_rate is not None:
        found.append("unknown")  # no report of an uplink says what was lost
    return next((state for state in ("missed", "unknown", "idle") if state in found), "met")


def _row(cell: str, one: _Kept, largest_percent: float) -> dict[str, Any]:
    target, windows = one.target, sum(one.verdicts.values())
    return {
        "policy": target.policy,
        "cell": cell,
        "of": target.of,
        "min_kbps": target.min_kbps,
        "max_kbps": target.max_kbps,
        "max_delay_ms": target.max_delay_ms,
        "max_loss_rate": target.max_loss_rate,
        "kbps": None if one.kbps is None else round(one.kbps, 1),
        "bits_per_rbg": round(one.kbit_per_rbg_ms * 1000.0 * SLOT_MS, 1),
        "share_percent": round(one.share_percent, 1),
        "cap_percent": round(one.cap_percent, 1),
        "state": one.state,
        "text": "".join(_words(one, largest_percent)),
        "windows": windows,
        "windows_by_state": dict(one.verdicts),
        "met_share": round(one.verdicts.get("met", 0) / windows, 3) if windows else None,
        "idle_share": round(one.verdicts.get("idle", 0) / windows, 3) if windows else None,
        "mean_kbps": round(one.total_kbit / one.total_ms * 1000.0, 1) if windows else None,
    }


def _words(one: _Kept, largest_percent: float) -> Iterator[str]:
    target = one.target
    if one.kbps is None:
        yield "no window has ended"
        return
    yield f"{one.kbps:.0f} kbit/s in the newest second"
    if target.min_kbps is not None:
        yield f", {target.min_kbps:g} wanted"
    if target.max_kbps is not None:
        yield f", {target.max_kbps:g} at most"
    if one.state == "out of reach":
        yield f": out of reach, it needs {one.needed_percent:.0f} % of the cell and targets get {largest_percent:g} %"
