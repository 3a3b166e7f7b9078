"""Decisions as E2SM-RC quotas of one node: the book of who was sent what, under a lock, and its bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from zlib import crc32

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.errors import counted
from xapp.control.encoder import AppliedCheck, ControlMessage, DecisionContext, SendContext
from xapp.e2.dcm.messages import AppliedControl
from xapp.e2.dialect import Dialect
from xapp.e2.kpm.report_reader import KpmReport
from xapp.e2.rc import messages as rc
from xapp.e2.ue_id.ue_id import UeId, ue_key
from xapp.quotas.allocation_to_quota import CellQuotas, QuotaRules
from xapp.quotas.book_encoder import BookEncoder
from xapp.quotas.quota_book import Order

MOST_IN_FLIGHT = 16
"""Quotas that a node which names what it answers has to work on at a time."""
SUSPECT_S = 10.0
"""From a node's first report on: whoever it reports meanwhile was there before this instance."""
SLACK_RBGS = 1.0
"""Shares are reported in whole percent, quotas hold in whole PRBs: less than one RBG above a quota is not a breach."""


@dataclass(frozen=True, slots=True)
class RcSettings:
    """What quotas say beside the UE and its shares."""

    plmn: bytes
    sst: int = 1
    sd: int | None = None
    dialect: Dialect | None = Dialect.STANDARD
    """None: the node's reports have not shown it yet, and nothing is sent before they have."""
    form: rc.QuotaForm = rc.QuotaForm()


class RcEncoder(BookEncoder[RcSettings, UeId]):
    """One node's. Thread safe. UEs are known by `ue_key`.

    A node that does not say which control it answers gets one at a time, and so does one that has not answered yet.
    """

    service_model = "rc"
    kept_as = "ues"

    def __init__(self, settings: RcSettings, rules: QuotaRules, **options: Any) -> None:
        """options: on_change and on_call, see BookEncoder."""
        super().__init__(settings, rules, **options)
        self._cells: dict[str, CellQuotas] = {}
        self._measurements: dict[str, int | None] = {}
        """By cell: that of the newest decision."""
        self._names: dict[int, UeId] = {}
        self._echoes = False
        self._reports_since_s: float | None = None
        self._suspected: set[int] = set()

    def use_dialect(self, dialect: Dialect | None) -> None:
        self.use_settings(replace(self._settings, dialect=dialect))

    def _settings_changed(self) -> None:
        self._echoes = self._echoes and self._settings.form.call_process_ids

    def _room(self) -> int:
        if self._settings.dialect is None:
            return 0
        return (MOST_IN_FLIGHT if self._echoes else 1) - self._in_flight

    def _given_back(self, cell: str) -> None:
        if cell in self._cells:
            self._cells[cell].forget()

    def _taken(self, subject: int, accepted: bool | None, *, echoed: bool) -> None:
        if accepted is not None:
            self._echoes = echoed and self._settings.form.call_process_ids

    def restore(self, left_behind: Iterable[UeId]) -> None:
        """UEs that an earlier instance may have left under quotas, and whose ids are kept: they are released first."""
        ue_ids = tuple(left_behind)
        with self._lock:
            self._on_call("restore", {"ues": ue_ids})
            known = {ue_key(ue_id): ue_id for ue_id in ue_ids}
            self._names |= known
            self._book.restore(known)
            self._kept |= known.keys()

    def reported(self, kpm: KpmReport, now_s: float) -> None:
        """Shared data may have been lost together with the instance that limited UEs: each of those that are there when
        this one comes is released once, before anything else is sent about it.
        """
        if self._reports_since_s is None:
            self._reports_since_s = now_s
        if now_s - self._reports_since_s > SUSPECT_S:
            self._suspected.clear()
            return
        new = {ue: row for row, ue in enumerate(kpm.ue_keys) if ue not in self._suspected}
        self._suspected |= new.keys()
        ue_ids = [kpm.ue_id(row) for row in new.values()]
        if known := [ue_id for ue_id in ue_ids if ue_id is not None]:
            self.suspect(known)

    def suspect(self, ue_ids: Sequence[UeId]) -> None:
        """UEs that an earlier instance may have left under quotas, and whose ids are kept nowhere."""
        with self._lock:
            known = {ue_key(ue_id): ue_id for ue_id in ue_ids}
            known = {ue: ue_id for ue, ue_id in known.items() if ue not in self._book}
            if not known:
                return
            self._on_call("suspect", {"ues": tuple(known.values())})
            self._names |= known
            self._book.suspect(known)
            changed = self._keeps_other
        if changed:
            self._on_change()

    def take(self, cell: str, allocation: Allocation, context: DecisionContext, now_s: float) -> None:
        with self._lock:
            self._on_call("control", {"cell": cell, "now_s": now_s})
            quotas = self._cells.setdefault(cell, CellQuotas(self._rules))
            repeats = context.measurement is not None and context.measurement == self._measurements.get(cell)
            self._measurements[cell] = context.measurement
            targets = quotas.update(allocation, context.state, context.intent, repeats=repeats)
            self._learn_names(targets, context.kpm)
            known = {ue: target for ue, target in targets.items() if ue in self._names}
            self._book.want(cell, known, now_s, repeats=repeats)
            changed = self._keeps_other
        if changed:
            self._on_change()

    def is_applied(self, state: CellState, applied: AppliedControl | None, epoch: int) -> AppliedCheck:
        """Quotas have no identity: what a UE used must be within what it may use."""
        quotas = self.explain(state.cell)["quotas"]
        shares = dict(zip(state.ue_ids, (state.prb_share_U * 100.0).tolist(), strict=True))
        known = {ue: shares[ue] for ue in quotas if ue in shares and math.isfinite(shares[ue])}
        slack = 100.0 * SLACK_RBGS / state.num_rbgs
        above = [
            f"UE {ue} used {share:.0f} % of {quotas[ue]} %" for ue, share in known.items() if share > quotas[ue] + slack
        ]
        if above:
            return AppliedCheck(False, ", ".join(above))
        if not known:
            return AppliedCheck(
                None, f"{counted(len(quotas), 'UE is', 'UEs are')} under a quota, none of which is in the newest report"
            )
        return AppliedCheck(True, counted(len(known), "UE is within its quota", "UEs are within their quotas"))

    def _message(self, order: Order, send_context: SendContext) -> ControlMessage:
        s, quota = self._settings, order.quota
        shares = rc.PrbQuota(s.plmn, s.sst, s.sd, quota.min_percent, quota.max_percent, quota.dedicated_percent)
        assert s.dialect is not None
        header, message = rc.encode_prb_quota_control(self._names[order.ue], shares, s.dialect, s.form.layout)
        what, number = "releases" if order.is_release else "controls", send_context.next_id()
        call = _call_process_id(send_context.instance_epoch, number) if s.form.call_process_ids else None
        return ControlMessage(
            what,
            number,
            header,
            message,
            self._book.cell_of(order.ue),
            order.ue,
            call,
            on_answer=partial(self.answered, order.ue),
            on_not_sent=partial(self.not_sent, order.ue),
        )

    def explain(self, cell: str) -> dict[str, Any]:
        """max % of every UE of the cell that is under a quota."""
        with self._lock:
            return {"quotas": {ue: quota.max_percent for ue, quota in self._book.in_force(cell).items()}}

    def kept_free_percent(self, cell: str, slice_name: str) -> float:
        """Nothing: a quota's min is the least size of a grant."""
        return 0.0

    # -- what outlives this process ------------------------------------------------------------------------------

    def to_keep(self) -> dict[int, UeId]:
        """UEs that must be found again after a crash."""
        with self._lock:
            return {ue: self._names[ue] for ue in self._book.to_keep()}

    def _learn_names(self, targets: Mapping[int, object], kpm: KpmReport | None) -> None:
        """The UEs' full identities, as the node reported them; those of UEs that have left are forgotten. Locked."""
        new = targets.keys() - self._names.keys()
        if new and kpm is not None:
            for row, key in enumerate(kpm.ue_keys):
                if key in new and (ue_id := kpm.ue_id(row)) is not None:
                    self._names[key] = ue_id
        if len(self._names) > 2 * (len(targets) + len(self._book)):
            self._names = {ue: name for ue, name in self._names.items() if ue in targets or ue in self._book}


def _call_process_id(instance_epoch: int, number: int) -> bytes:
    """Of an instance's control of that number. It has room for 32 bits, and answers to another instance's controls may
    come here: each instance counts from a place of its own.
    """
    start = crc32(instance_epoch.to_bytes(8, "big"))
    return rc.encode_call_process_id((start + number) % rc.MAX_CALL_PROCESS_ID + 1)
