"""Throughput targets act: a floor becomes a share of the cell, by the bits that its UEs' RBGs have been measured to
carry, a ceiling a cap. Every target is judged in windows of a second; what is out of reach is said, and starves nobody.

A written rule, revised with every decision:
- bits per RBG of the target's UEs = what they were served in the last seconds over the RBGs they were on meanwhile;
- share = target / (bits per RBG x RBGs of the cell), a tenth more, plus what the running window still lacks, or less
  what it has too much, as long as the share is for that window: the next one begins with nothing;
- floors of one cell together claim at most `largest_percent`, in proportion where they would claim more. What needs
  more than that alone is out of reach;
- a target whose UEs have nothing more to send (xapp.a1.target_verdict.is_idle) is idle: the share shrinks to twice what
  they use, and the window counts as such.
Floors hold for the shares' rounding as all floors do. Delay and loss are tracked, as far as nodes report them, and not
acted on. How a window is judged: xapp.a1.target_verdict.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from policy.cell_state import CellState
from policy.intent import Intent, Mode, SliceLimit, Target, TargetResult
from policy.limits import ROUNDING
from policy.time_scales import SLOT_MS
from xapp.a1.target_lines import held_shares
from xapp.a1.target_verdict import NO_WINDOW, Window, in_words, is_idle, judged, worst
from xapp.control.cell_tracker import Service

WINDOW_MS = 1000.0
MEMORY_MS = 3000.0
"""How far back the measured bits per RBG reach, as a decaying average."""
MARGIN = 1.1
"""A floor asks for so much more than it needs on average: rates fluctuate within a window."""
LEAST = 0.5
"""A floor asks for so much of what it needs even where its UEs have had more than that: it can end."""
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
    window_known_ms: float = 0.0
    """Of them those whose throughput is known."""
    window_kbit: float = 0.0
    window_share_ms: float = 0.0
    """Share of the cell that was used, times ms."""
    window_kept_free_ms: float = 0.0
    """Percent of the cell that the node kept free, times ms."""
    may_send: bool = True
    """In every period of the window no cap was below an RBG."""
    window_delay_ms: float | None = None
    window_lost: float | None = None
    window_delivered: float = 0.0
    """Packets; None = not reported."""
    total_ms: float = 0.0
    total_kbit: float = 0.0
    share_percent: float = 0.0
    cap_percent: float = 100.0
    needed_percent: float = 0.0
    verdicts: dict[str, int] = field(default_factory=dict)
    window: Window = Window()
    """The newest that has ended."""
    result: TargetResult | None = None
    short_windows: int = 0
    """In a row, that needed more than may be claimed."""

    @property
    def kbit_per_rbg_ms(self) -> float:
        return self.served_kbit / self.rbg_ms if self.rbg_ms > 0.0 else 0.0

    @property
    def used_percent(self) -> float:
        """Of the cell, in the running window as far as it is known."""
        return 100.0 * self.window_share_ms / self.window_known_ms if self.window_known_ms else 0.0

    @property
    def is_idle(self) -> bool:
        """In the running window, so far."""
        kept_free_percent = self.window_kept_free_ms / self.window_ms if self.window_ms else 0.0
        return is_idle(self.used_percent, kept_free_percent, self.window_kbit, may_send=self.may_send)

    @property
    def bits_per_rbg(self) -> float:
        """In one slot."""
        return self.kbit_per_rbg_ms * 1000.0 * SLOT_MS


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
        targets: list[Target] = []
        for target in intent.targets:
            one = kept.get(_key(target))
            targets.append(target if one is None or one.result is None else replace(target, result=one.result))
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
            targets=tuple(targets),
        )

    def on_decided(
        self,
        state: CellState,
        intent: Intent,
        service: Service | None = None,
        kept_free_percent: Callable[[str], float] = lambda slice_name: 100.0,
    ) -> None:
        """A decision was made on a cell's newest state: measure, judge the windows that end, revise the shares.

        service: what came with that state, where packets are counted. kept_free_percent: how much of a floor of a
        slice ("" = of a single UE) the node keeps free.
        """
        if not intent.targets:
            if self._cells.pop(state.cell, None) is not None:
                self._slots.pop(state.cell, None)
            return
        slots = state.slot - self._slots.get(state.cell, state.slot - state.slots_per_dcm)
        self._slots[state.cell] = state.slot
        before = self._cells.get(state.cell, {}) if slots >= 0 else {}  # else the cell has started over
        kept = {_key(target): before.get(_key(target)) or _Kept(target) for target in intent.targets[:KEPT_TARGETS]}
        if 0 < slots * SLOT_MS <= WINDOW_MS:  # a jump is no time in which anything was measured
            slices = {limit.name: limit for limit in intent.slice_limits}
            for target in intent.targets[:KEPT_TARGETS]:
                one = kept[_key(target)]
                one.target = target
                least, most = held_shares(target, intent, slices)
                if intent.mode is not Mode.SHADOW:
                    one.window_kept_free_ms += min(least, kept_free_percent(target.slice_name)) * slots * SLOT_MS
                one.may_send = one.may_send and most * state.num_rbgs >= 100.0 - ROUNDING
                self._measure(one, state, slots * SLOT_MS, service)
            if intent.mode is Mode.SHADOW:
                for one in kept.values():
                    one.share_percent, one.cap_percent = 0.0, 100.0
            else:
                self._revise(list(kept.values()), state.num_rbgs, slots * SLOT_MS)
        with self._lock:
            self._cells[state.cell] = kept

    def _measure(self, one: _Kept, state: CellState, ms: float, service: Service | None) -> None:
        rows = [row for row, ue in enumerate(state.ue_ids) if ue in one.target.ue_ids]
        one.window_ms += ms
        self._measure_throughput(one, state, rows, ms)
        delay_U = state.head_delay_slots_U[rows]
        if np.isfinite(delay_U).any():
            one.window_delay_ms = max(one.window_delay_ms or 0.0, float(np.nanmax(delay_U)) * SLOT_MS)
        if service is not None and service.lost_packets_U is not None and service.delivered_packets_U is not None:
            rows = [row for row, ue in enumerate(service.ue_ids) if ue in one.target.ue_ids]
            lost_U, delivered_U = service.lost_packets_U[rows], service.delivered_packets_U[rows]
            known_U = np.isfinite(lost_U) & np.isfinite(delivered_U)
            if known_U.any():
                one.window_lost = (one.window_lost or 0.0) + float(lost_U[known_U].sum())
                one.window_delivered += float(delivered_U[known_U].sum())
        if one.window_ms >= WINDOW_MS - 1e-6:
            self._judge(one)

    def _measure_throughput(self, one: _Kept, state: CellState, rows: list[int], ms: float) -> None:
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
        one.window_known_ms += ms
        one.window_kbit += kbit
        one.window_share_ms += share * ms

    def _judge(self, one: _Kept) -> None:
        """The window has ended."""
        known_ms = one.window_known_ms
        kbps = one.window_kbit / known_ms * 1000.0 if known_ms else None
        has_less = kbps is not None and one.is_idle
        one.window = Window(kbps, has_less, one.window_delay_ms, one.window_lost, one.window_delivered)
        one.short_windows = one.short_windows + 1 if one.needed_percent > self._largest_percent else 0
        verdicts = judged(one.target, one.window)
        text = in_words(one.target, one.window)
        if verdicts.get("min_kbps") == "missed" and one.short_windows >= OUT_OF_REACH_WINDOWS:
            verdicts["min_kbps"] = "out of reach"
            text += f": out of reach, it needs {one.needed_percent:.0f} % of the cell and targets get"
            text += f" {self._largest_percent:g} %"
        state = worst(verdicts)
        one.result = TargetResult(state, text, verdicts, one.bits_per_rbg)
        one.verdicts[state] = one.verdicts.get(state, 0) + 1
        one.total_ms, one.total_kbit = one.total_ms + known_ms, one.total_kbit + one.window_kbit
        one.window_ms = one.window_known_ms = one.window_kbit = one.window_share_ms = one.window_kept_free_ms = 0.0
        one.may_send = True
        one.window_delay_ms, one.window_lost, one.window_delivered = None, None, 0.0

    def _revise(self, kept: list[_Kept], num_rbgs: int, period_ms: float) -> None:
        for one in kept:
            target, rate = one.target, one.kbit_per_rbg_ms * 1000.0 * num_rbgs  # kbit/s of the whole cell
            if target.max_kbps is not None and rate > 0.0:
                # One RBG at least: a cap below is an outage, not a ceiling.
                one.cap_percent = min(100.0, max(100.0 / num_rbgs, 100.0 * target.max_kbps / rate))
            if target.min_kbps is None or rate <= 0.0:
                continue
            left_ms = max(WINDOW_MS / 4, WINDOW_MS - one.window_ms)
            lacking_kbps = (target.min_kbps * one.window_known_ms / 1000.0 - one.window_kbit) / left_ms * 1000.0
            if one.window_ms + period_ms > WINDOW_MS - 1e-6:
                # The next decision takes these shares, for the period after it: that one is of the next window.
                lacking_kbps = max(0.0, lacking_kbps)
            one.needed_percent = 100.0 * target.min_kbps / rate
            wanted = one.needed_percent * max(LEAST, MARGIN + lacking_kbps / target.min_kbps)
            if one.window_known_ms >= WINDOW_MS / 2 and one.is_idle:
                wanted = min(wanted, max(2.0 * one.used_percent, 100.0 / num_rbgs))
            one.share_percent = min(wanted, self._largest_percent)
        total = sum(one.share_percent for one in kept)
        if total > self._largest_percent:
            for one in kept:
                one.share_percent *= self._largest_percent / total

    def keep_only(self, cells: Collection[str]) -> None:
        """Cells that are not among these have left: nothing of them counts any more, and they begin anew."""
        with self._lock:
            for cell in self._cells.keys() - set(cells):
                del self._cells[cell]
                self._slots.pop(cell, None)

    def rows(self) -> list[dict[str, Any]]:
        """One for each target in each cell: what it is, what was measured, what became of its windows."""
        with self._lock:
            cells = {cell: list(kept.values()) for cell, kept in self._cells.items()}
        return [_row(cell, one) for cell, kept in sorted(cells.items()) for one in kept]


def _key(target: Target) -> tuple[str, str, str]:
    return target.policy, target.of, target.slice_name or str(min(target.ue_ids, default=0))


def _limited(limit: SliceLimit, one: _Kept) -> SliceLimit:
    most = min(limit.max_share_percent, one.cap_percent)
    return replace(
        limit, max_share_percent=most, min_share_percent=max(limit.min_share_percent, min(one.share_percent, most))
    )


def _row(cell: str, one: _Kept) -> dict[str, Any]:
    target, window, windows = one.target, one.window, sum(one.verdicts.values())
    result = one.result or TargetResult(text=NO_WINDOW)
    return {
        "policy": target.policy,
        "cell": cell,
        "of": target.of,
        "min_kbps": target.min_kbps,
        "max_kbps": target.max_kbps,
        "max_delay_ms": target.max_delay_ms,
        "max_loss_rate": target.max_loss_rate,
        "kbps": _rounded(window.kbps, 1),
        "delay_ms": _rounded(window.delay_ms, 1),
        "loss_rate": _rounded(window.loss_rate, 6),
        "bits_per_rbg": round(one.bits_per_rbg, 1),
        "share_percent": round(one.share_percent, 1),
        "cap_percent": round(one.cap_percent, 1),
        "state": result.state,
        "verdicts": dict(result.verdicts),
        "text": result.text,
        "windows": windows,
        "windows_by_state": dict(one.verdicts),
        "met_share": round(one.verdicts.get("met", 0) / windows, 3) if windows else None,
        "idle_share": round(one.verdicts.get("idle", 0) / windows, 3) if windows else None,
        "mean_kbps": round(one.total_kbit / one.total_ms * 1000.0, 1) if one.total_ms else None,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
