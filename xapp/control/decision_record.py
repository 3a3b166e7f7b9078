"""What is kept of a decision, so that "why did UE 7 get nothing" can be answered later: references, no copies.

Nothing is computed here: what a record explains is worked out when somebody asks (xapp.explain.document).
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

from policy.allocation import Allocation
from policy.cell_state import COLUMNS, CellState
from policy.intent import Intent
from policy.leader import Decision, Leader

MAX_KEPT = 3000
"""Decisions kept of a cell: five minutes at ten a second."""
MAX_KEPT_BYTES = 40 << 20
"""Of all cells together, about; a cell's share is this by the number of cells."""
MAX_CELLS = 256
"""Cells whose decisions are kept; of more, those decided longest ago are forgotten."""
RECORD_BYTES = 6000
"""Of a record besides its state's columns, about: objects, tokens, the control."""


class ControlStatus(StrEnum):
    """What became of a control."""

    NOT_SENT = "not_sent"
    """No route to the node, or RMR's queue was full."""
    SENT = "sent"
    """Handed to RMR, not answered yet."""
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    """Nobody answered in time."""


@dataclass(slots=True, eq=False)
class SentControl:
    """One control or release on its way. The sender brings `status` and `detail` up to date."""

    node: str
    cell: str
    what: str
    """`controls` or `releases`."""
    decision_id: int
    """The sender's own number of it."""
    pdu: bytes
    """The RICcontrolRequest."""
    sent_s: float
    """time.monotonic()."""
    subject: int | None = None
    """The UE that it is about; None = the whole cell."""
    instance_epoch: int = 0
    lease_periods: int = 0
    """Under which it was made."""
    status: ControlStatus = ControlStatus.SENT
    detail: str = ""
    """Of a refusal: the node's reason."""
    answered_ms: float | None = None
    """From sending to the answer."""

    def answered(self, status: ControlStatus, now_s: float, detail: str = "") -> None:
        self.answered_ms = (now_s - self.sent_s) * 1e3
        self.status, self.detail = status, detail


@dataclass(slots=True, eq=False)
class ControlOutcome:
    """What the sender did about one decision."""

    controls: list[SentControl] = field(default_factory=list)
    nothing: str = ""
    """Why nothing was sent: `shadow`, `no_function`, `yielded`, `closing`, `unchanged`; empty when something was."""
    in_force: Mapping[str, Any] = field(default_factory=dict)
    """What the node was sent before and holds to, where that is more than the newest control (RC quotas)."""


@dataclass(frozen=True, slots=True, eq=False)
class DecisionRecord:
    """One decision about one cell. Its objects are shared with whoever made them; nobody changes them any more."""

    id: int
    """Counts this instance's decisions, over all cells."""
    time_s: float
    """When it was made, seconds since 1970."""
    state: CellState
    """What the leader saw."""
    newest: CellState
    """What the guard saw: the cell's newest state by then, mostly the same object."""
    report_number: int
    """Of the report that `state` came with (xapp.control.cell_link), and ..."""
    newest_number: int
    """... of the one that `newest` came with."""
    intent_then: Intent
    """The intent that the leader was given."""
    intent: Intent
    """What held when the decision was sent, for the UEs of `newest`: what the guard saw, mostly `intent_then`."""
    leader: Leader
    """Who was, or would have been, asked."""
    decision: Decision
    allocation: Allocation
    """After the guard."""
    guard_changes: tuple[str, ...]
    outcome: ControlOutcome
    decision_ms: float
    loop_ms: float
    """From the report's first frame to the control handed to RMR."""

    @property
    def cell(self) -> str:
        return self.state.cell

    @property
    def decided_by(self) -> str:
        """`model`, a scheduler's name, or `fallback:` and the reason."""
        reason = self.decision.reason
        return f"fallback:{reason}" if reason else self.decision.decided_by

    @property
    def kept_bytes(self) -> int:
        """About what it holds in memory."""
        return RECORD_BYTES + 8 * self.state.num_ues * (len(COLUMNS) + 2 * self.state.num_rbgs)


class _Ring:
    """One cell's newest records."""

    def __init__(self) -> None:
        self.records: deque[DecisionRecord] = deque()
        self.kept_bytes = 0

    def add(self, record: DecisionRecord) -> None:
        self.records.append(record)
        self.kept_bytes += record.kept_bytes

    def shrink(self, most: int, most_bytes: int) -> None:
        while len(self.records) > 1 and (len(self.records) > most or self.kept_bytes > most_bytes):
            self.kept_bytes -= self.records.popleft().kept_bytes


class Kept(NamedTuple):
    """How many decisions of a cell can be asked for."""

    cell: str
    decisions: int
    oldest_id: int
    newest_id: int


class DecisionLog:
    """A ring of records per cell. Thread safe; adding one costs microseconds."""

    def __init__(
        self, *, max_kept: int = MAX_KEPT, max_bytes: int = MAX_KEPT_BYTES, max_cells: int = MAX_CELLS
    ) -> None:
        self._max_kept, self._max_bytes, self._max_cells = max_kept, max_bytes, max_cells
        self._lock = threading.Lock()
        self._rings: OrderedDict[str, _Ring] = OrderedDict()
        """The cell decided longest ago first."""

    def add(self, record: DecisionRecord) -> None:
        """Keep a record, in place of the oldest ones where there is no room."""
        with self._lock:
            ring = self._rings.get(record.cell)
            if ring is None:
                ring = self._rings[record.cell] = _Ring()
                if len(self._rings) > self._max_cells:
                    self._rings.popitem(last=False)
                for other in self._rings.values():  # their shares have become smaller
                    other.shrink(self._max_kept, self._max_bytes // len(self._rings))
            self._rings.move_to_end(record.cell)
            ring.add(record)
            ring.shrink(self._max_kept, self._max_bytes // len(self._rings))

    def cells(self) -> list[Kept]:
        """The cells that have records, by name."""
        with self._lock:
            return [
                Kept(cell, len(ring.records), ring.records[0].id, ring.records[-1].id)
                for cell, ring in sorted(self._rings.items())
            ]

    def newest(self, cell: str, limit: int = 1) -> list[DecisionRecord]:
        """At most `limit` records of a cell, the newest first; [] for a cell without any."""
        with self._lock:
            ring = self._rings.get(cell)
            return list(islice(reversed(ring.records), limit)) if ring is not None else []

    def get(self, cell: str, record_id: int) -> DecisionRecord | None:
        """The record with this id; None if there is none, or none any more."""
        with self._lock:
            ring = self._rings.get(cell)
            return next((r for r in ring.records if r.id == record_id), None) if ring is not None else None
