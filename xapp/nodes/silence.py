"""What it means that a subscription reports nothing: nobody is there, or something is wrong. Pure.

A KPM report of each UE cannot say that there is none: nodes send nothing before the first UE, after the last, and where
they do not measure UEs. So silence alone is no fault. It is one if something else says that there should be a report.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from policy.errors import counted

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
"""What is still silent after it was made anew is made anew again after a pause that doubles."""
ASK_MANAGER_S = 30.0
"""How often the subscription manager is asked whether it still holds what is silent."""
NO_UE_REPORTED = "no UE reported"
WHY_NO_UE = (
    "a node sends no report where no UE is attached, or where it does not measure single UEs"
    " (srsRAN and OCUDU: their RLC metrics must be on)"
)


class Silence(NamedTuple):
    """A cell has not reported for longer than it should take."""

    seconds: float
    evidence: str
    """Why there should have been a report; "" = nobody may be there."""

    def __str__(self) -> str:
        return self.evidence or f"{NO_UE_REPORTED}: {WHY_NO_UE}"


def evidence_of(kind: str, *, ues_by_dcm: int, control_unanswered: bool, unknown_to_manager: bool) -> str:
    """Why a silent subscription of this kind should have reported; "" = nothing says so.

    ues_by_dcm: UEs that the same cell reports by DCM now. control_unanswered: since the subscription's newest report.
    """
    if kind == "dcm":
        return "DCM indications come whether or not there are UEs"
    if unknown_to_manager:
        return "the subscription manager does not know the subscription any more"
    if ues_by_dcm:
        return f"the cell's DCM indications report {counted(ues_by_dcm, 'UE')}"
    return "the node did not answer a control" if control_unanswered else ""


Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Renewed:
    at_s: float
    pause_s: float


class Renewals(Generic[Key]):
    """When what is silent may be made anew: at once, then after FIRST_PAUSE_S, twice that, ... until it reports."""

    def __init__(self) -> None:
        self._renewed: dict[Key, _Renewed] = {}

    def reported(self, key: Key) -> None:
        """It is silent no longer."""
        self._renewed.pop(key, None)

    def is_due(self, key: Key, now_s: float) -> bool:
        """Whether to do it now; True counts as done."""
        last = self._renewed.get(key)
        if last is None:
            self._renewed[key] = _Renewed(now_s, FIRST_PAUSE_S)
            return True
        if now_s < last.at_s + last.pause_s:
            return False
        self._renewed[key] = _Renewed(now_s, min(2 * last.pause_s, LONGEST_PAUSE_S))
        return True


class UnknownToManager(Generic[Key]):
    """Which silent subscriptions the manager does not know any more: it drops them without a word."""

    def __init__(self, ask: Callable[[], set[Key]]) -> None:
        """ask: those of ours that the manager does not list; it may block."""
        self._ask = ask
        self._unknown: set[Key] = set()
        self._ask_at_s = 0.0

    def __contains__(self, key: Key) -> bool:
        return key in self._unknown

    def forget(self, key: Key) -> None:
        self._unknown.discard(key)

    def update(self, silent: set[Key], now_s: float) -> None:
        """Ask anew, every ASK_MANAGER_S while anything is silent."""
        self._unknown &= silent
        if silent and now_s >= self._ask_at_s:
            self._ask_at_s = now_s + ASK_MANAGER_S
            self._unknown = self._ask() & silent
