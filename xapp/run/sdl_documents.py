"""What others may read of this xApp in shared data: per cell a summary and the newest allocation, and the model in use.

Written by a task, from what is kept in memory anyway; nothing in the decision path waits for it. Redis may have
started over, empty: then everything that is kept there is written again, by whoever owns it. All keys: docs/sdl.md.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from policy.allocation import DYNAMIC, IDLE, NO_CAP, OPEN
from xapp.control.decision_record import DecisionLog, DecisionRecord
from xapp.ric.sdl import SharedStore

log = logging.getLogger(__name__)

CELL_KEY = "cell/"
ALLOCATION_KEY = "allocation/"
MODEL_KEY = "model"
OWNERS = {OPEN: "open", DYNAMIC: "dynamic", IDLE: "idle"}


class SdlDocuments:
    """`run` is a task, `withdraw` for another thread that stops it; each may block for SDL's time-out."""

    def __init__(
        self, store: SharedStore, decisions: DecisionLog, *, model: dict[str, Any], cells: Callable[[], Sequence[str]]
    ) -> None:
        """model: what is in use. cells: those that report now."""
        self._store = store
        self._decisions = decisions
        self._model = model
        self._cells = cells
        self._lock = threading.Lock()
        """Around `_written`: a stop does not wait for a `run` that hangs, which may come back after it."""
        self._written: dict[str, Any] = {}
        self._begun = self._withdrawn = False
        self.on_lost: list[Callable[[], None]] = []
        """Called when shared data turn out to have been lost: write again what you keep there."""

    def run(self) -> None:
        """Write what has changed. Never raises for a store that does not answer."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        """Locked."""
        if not self._begun and not self._begin():
            return
        if self._written and self._store.get(MODEL_KEY) is None and self._store.answered:
            log.warning("shared data are gone: everything that is kept there is written again")
            self._written.clear()
            for again in self.on_lost:
                again()
        wanted = self._wanted()
        for key, value in wanted.items():
            if self._written.get(key) != value:
                if self._withdrawn or not self._store.set(key, value):
                    return
                self._written[key] = value
        for key in [key for key in self._written if key not in wanted]:
            if not self._store.delete(key):
                return
            del self._written[key]

    def claimed(self, epoch: int) -> None:
        """This instance controls under that epoch."""
        self._model = {**self._model, "epoch": epoch}

    def withdraw(self) -> None:
        """Nobody decides any more, and nothing is written any more."""
        self._withdrawn = True
        with self._lock:
            for key in list(self._written):
                if not self._store.delete(key):
                    return
                del self._written[key]

    def _begin(self) -> bool:
        """What an earlier run left about cells that are not there any more goes; False = no answer."""
        left: dict[str, Any] = {}
        for prefix in (CELL_KEY, ALLOCATION_KEY):
            left |= self._store.find(prefix)
            if not self._store.answered:
                return False
        self._written = left
        self._begun = True
        return True

    def _wanted(self) -> dict[str, Any]:
        wanted: dict[str, Any] = {MODEL_KEY: self._model}
        for cell in self._cells():
            for record in self._decisions.newest(cell):
                wanted[CELL_KEY + cell] = cell_document(record)
                wanted[ALLOCATION_KEY + cell] = allocation_document(record)
        return wanted


def cell_document(record: DecisionRecord) -> dict[str, Any]:
    """What became of the newest period."""
    return {
        **_head(record),
        "ues": record.newest.num_ues,
        "mode": record.intent.mode.value,
        "decision_ms": round(record.decision_ms, 3),
        "loop_ms": round(record.loop_ms, 3),
        "control": [control.status.value for control in record.outcome.controls],
        "nothing_sent": record.outcome.nothing,
        "guard_changes": len(record.guard_changes),
    }


def allocation_document(record: DecisionRecord) -> dict[str, Any]:
    """Who may use what: per RBG a UE's id, or open, dynamic, idle."""
    allocation = record.allocation
    ues = allocation.ue_ids
    capped = zip(ues, allocation.max_rbgs_U.tolist(), strict=True)
    return {
        **_head(record),
        "slots_per_dcm": record.newest.slots_per_dcm,
        "rbgs": [OWNERS.get(owner) or ues[owner] for owner in allocation.owner_M.tolist()],
        "leftover": {
            "class_mask": int(allocation.leftover.class_mask),
            "contenders": float(allocation.leftover.contenders),
        },
        "periodic_grants": [
            {
                "ue": ues[grant.ue],
                "rbg": grant.rbg,
                "period_slots": grant.period_slots,
                "phase_slots": grant.phase_slots,
            }
            for grant in allocation.periodic_grants
        ],
        "max_rbgs": {str(ue): most for ue, most in capped if most != NO_CAP},
    }


def model_document(configured: str, leader: str, release: str, epoch: int) -> dict[str, Any]:
    """Describe the model in force. configured: controls.leader. leader: what it calls itself."""
    since_ms = time.time_ns() // 1_000_000
    return {"configured": configured, "leader": leader, "release": release, "epoch": epoch, "since_ms": since_ms}


def _head(record: DecisionRecord) -> dict[str, Any]:
    return {"id": record.id, "time_ms": round(record.time_s * 1e3), "decided_by": record.decided_by}
