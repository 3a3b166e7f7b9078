"""How a window of a target is judged: each thing that it asks is met, missed, idle (less was offered) or unknown. And
in which words that is said. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from policy.intent import Target

ENOUGH = 0.97
"""Of a floor: what rounding of reports hides is no miss. A ceiling has as much room above."""
WORST_FIRST = ("out of reach", "missed", "unknown", "idle", "met")
NO_WINDOW = "no window has ended"


class Window(NamedTuple):
    """What was measured of a target's UEs in one window. None = not reported."""

    kbps: float | None = None
    is_idle: bool = False
    """They had less to send, as far as that can be known: see `is_idle`."""
    delay_ms: float | None = None
    """Of what waits longest."""
    lost_packets: float | None = None
    delivered_packets: float = 0.0

    @property
    def loss_rate(self) -> float | None:
        """None also where nothing was sent."""
        if self.lost_packets is None:
            return None
        sent = self.lost_packets + self.delivered_packets
        return self.lost_packets / sent if sent > 0.0 else None


def is_idle(used_percent: float, kept_free_percent: float, kbit: float, *, may_send: bool) -> bool:
    """Whether UEs had less to send than they were promised. Reports say what they used, not what they had, so that two
    things tell: less than half of what is kept free for them is used; or nothing at all was sent, by UEs that may hold
    an RBG. Where nothing is kept free (quotas of UEs), one that sends little may be one that gets little.
    """
    return used_percent < 0.5 * kept_free_percent or (kbit <= 0.0 and may_send)


def judged(target: Target, window: Window) -> dict[str, str]:
    """What became of each thing that the target asks, by its name."""
    found: dict[str, str] = {}
    if target.min_kbps is not None:
        found["min_kbps"] = _floor(window, target.min_kbps)
    if target.max_kbps is not None:
        found["max_kbps"] = _at_most(window.kbps, target.max_kbps / ENOUGH)
    if target.max_delay_ms is not None:
        found["max_delay_ms"] = _at_most(window.delay_ms, target.max_delay_ms)
    if target.max_loss_rate is not None:
        nothing_sent = window.lost_packets is not None and window.loss_rate is None
        found["max_loss_rate"] = "idle" if nothing_sent else _at_most(window.loss_rate, target.max_loss_rate)
    return found


def worst(verdicts: dict[str, str]) -> str:
    """Of all that a target asks."""
    return next((state for state in WORST_FIRST if state in verdicts.values()), "met")


def in_words(target: Target, window: Window) -> str:
    """What was measured, beside what is asked, and why something is not known."""
    return ", ".join(_words(target, window))


def _floor(window: Window, least_kbps: float) -> str:
    if window.kbps is None:
        return "unknown"
    return "met" if window.kbps >= ENOUGH * least_kbps else "idle" if window.is_idle else "missed"


def _at_most(measured: float | None, most: float) -> str:
    return "unknown" if measured is None else "met" if measured <= most else "missed"


def _words(target: Target, window: Window) -> Iterator[str]:
    if target.min_kbps is not None or target.max_kbps is not None or window.kbps is not None:
        if window.kbps is None:
            yield "throughput unknown: the node does not report it with the PRBs of these UEs"
        else:
            yield f"{window.kbps:.0f} kbit/s in the newest second"
    if target.min_kbps is not None:
        yield f"{target.min_kbps:g} wanted"
    if target.max_kbps is not None:
        yield f"{target.max_kbps:g} at most"
    if target.max_delay_ms is not None:
        if window.delay_ms is None:
            yield f"delay (at most {target.max_delay_ms:g} ms) unknown: the node does not report how long data wait"
        else:
            yield f"{window.delay_ms:.0f} ms waited, {target.max_delay_ms:g} ms at most"
    if target.max_loss_rate is not None:
        most = f"{100.0 * target.max_loss_rate:.2g} %"
        if window.lost_packets is None:
            yield f"loss (at most {most}) unknown: the node does not report packets lost and delivered"
        elif window.loss_rate is None:
            yield f"no packet was sent, {most} lost at most"
        else:
            yield f"{100.0 * window.loss_rate:.2g} % lost, {most} at most"
