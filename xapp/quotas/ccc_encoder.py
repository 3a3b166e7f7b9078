"""Decisions as O-RRMPolicyRatios of one node's slices: the book of what each was sent, under a lock, and its bytes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.errors import counted
from xapp.control.encoder import AppliedCheck, ControlMessage, DecisionContext, SendContext
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.ccc import messages as ccc
from xapp.e2.dcm.messages import AppliedControl
from xapp.quotas.allocation_to_quota import Quota, QuotaRules
from xapp.quotas.book_encoder import BookEncoder
from xapp.quotas.quota_book import Order
from xapp.quotas.slice_ratios import slice_targets

log = logging.getLogger(__name__)

SLACK_RBGS = 1.0
"""Per UE: shares are reported in whole percent, ratios hold in whole PRBs."""
UNKNOWN = Quota(0, 100, 0)
"""Stands for what a slice had before, as long as the node has not said it."""


class SliceShare(NamedTuple):
    """A slice of the node as it is configured."""

    name: str
    sst: int
    sd: str
    before: Quota | None
    """What it has without a limit; None = nobody has said it."""


class KeptSlice(NamedTuple):
    """A slice of one cell that is limited, as the next instance must find it."""

    cell: str
    """NR-CGI."""
    sst: int
    sd: str
    before: Quota


@dataclass(frozen=True, slots=True)
class CccSettings:
    """What controls say beside the shares."""

    plmn: str
    slices: tuple[SliceShare, ...]
    cells: tuple[str, ...]
    """NR-CGIs whose O-RRMPolicyRatio the node lists."""
    learns: bool = False
    """A slice whose `before` is not known is limited all the same, and the first answer says what it had."""


class CccEncoder(BookEncoder[CccSettings, KeptSlice]):
    """One node's. Thread safe. An answer does not say which control it is about: one is under way at a time."""

    service_model = "ccc"
    subject = "slice"
    leader_acts = False
    kept_as = "numbers"

    def __init__(self, settings: CccSettings, rules: QuotaRules, **options: Any) -> None:
        """options: on_change and on_call, see BookEncoder."""
        super().__init__(settings, rules, **options)
        self._places: list[tuple[str, int, str]] = []
        """NR-CGI, SST, SD of each slice of a cell, by its number in the book."""
        self._before: dict[int, Quota] = {}
        self._unknown: set[int] = set()
        """Whose `before` the next answer must say."""
        self._mute: set[int] = set()
        """Whose `before` no answer has said: they are left alone."""
        self._members: dict[str, dict[str, frozenset[int]]] = {}
        """By cell and name of the slice: its UEs, as of the newest decision."""
        self._answered_once: set[int] = set()
        """Slices that a control was taken for, by whichever instance: what they have is not what they had."""

    def _released(self, subject: int) -> Quota:
        return self._before.get(subject, UNKNOWN)

    def _given_back(self, cell: str) -> None:
        self._members.pop(cell, None)

    def _taken(self, subject: int, accepted: bool | None, *, echoed: bool) -> None:
        if accepted:
            self._answered_once.add(subject)
        if accepted and subject in self._unknown:
            # Nobody knows what to give back: it is left as it is now, and alone.
            self._unknown.discard(subject)
            self._mute.add(subject)
            self._book.forget(subject)

    def restore(self, left_behind: Iterable[KeptSlice]) -> None:
        """Slices that an earlier instance left limited: they get back what they had before it, before anything else."""
        slices = tuple(left_behind)
        with self._lock:
            self._on_call("restore", {"slices": slices})
            for kept in slices:
                number = self._number(kept.cell, kept.sst, kept.sd)
                self._before[number] = kept.before
                self._answered_once.add(number)
                self._book.restore([number])
                self._kept |= {number}

    def take(self, cell: str, allocation: Allocation, context: DecisionContext, now_s: float) -> None:
        """The allocation has no say: it is of UEs."""
        with self._lock:
            self._on_call("control", {"cell": cell, "now_s": now_s})
            numbers: dict[str, int] = {}
            before: dict[str, Quota] = {}
            for share in self._settings.slices:
                number = self._number(_nr_cgi(cell), share.sst, share.sd)
                is_known = number in self._before or share.before is not None
                if number in self._mute or not (is_known or self._settings.learns):
                    continue
                if number not in self._before:
                    if share.before is None:
                        self._unknown.add(number)
                    self._before[number] = share.before or UNKNOWN
                numbers[share.name], before[share.name] = number, self._before[number]
            targets = slice_targets(before, context.state, context.intent, self._rules)
            self._members[cell] = {limit.name: limit.ue_ids for limit in context.intent.slice_limits}
            self._book.want(cell, {numbers[name]: target for name, target in targets.items()}, now_s)
            changed = self._keeps_other
        if changed:
            self._on_change()

    def _message(self, order: Order, send_context: SendContext) -> ControlMessage:
        cell, sst, sd = self._places[order.ue]
        members = (ccc.SliceOfPlmn(self._settings.plmn, sst, sd),)
        new = ccc.PolicyRatio(members, ccc.Ratios(*order.quota))
        in_force = self._book.in_force().get(order.ue, order.released)
        old = None if order.ue in self._unknown else new._replace(ratios=ccc.Ratios(*in_force))
        return ControlMessage(
            "releases" if order.is_release else "controls",
            send_context.next_id(),
            ccc.encode_control_header(),
            ccc.encode_control((ccc.Change(cell, new, old),)),
            self._book.cell_of(order.ue),
            order.ue,
            on_answer=partial(self.answered, order.ue),
            on_not_sent=partial(self.not_sent, order.ue),
            on_outcome=partial(self.outcome, order.ue),
        )

    def outcome(self, number: int, data: bytes) -> None:
        """What an answer says beside that it is one, called before `answered`: the slice's old values are those that it
        had before this instance limited it, in the first of them.
        """
        try:
            outcomes = ccc.decode_outcome(data)
        except E2DecodeError as error:
            log.warning("an outcome cannot be read: %s", error)
            return
        with self._lock:
            cell, sst, sd = self._places[number]
            self._on_call("outcome", {"subject": number, "data": data})
            for each in outcomes:
                mine = each.old and any((m.sst, m.sd) == (sst, sd.lower()) for m in each.old.members)
                if each.cell == cell and mine and each.old and self._is_first(number):
                    before = Quota(*each.old.ratios)
                    self._unknown.discard(number)
                    self._before[number] = before
                    self._book.was(number, before)

    def _is_first(self, number: int) -> bool:
        """Nobody has limited the slice yet, as far as is known. Locked."""
        return number not in self._book.in_force() and number not in self._answered_once

    # -- what it shows ---------------------------------------------------------------------------------------------

    def explain(self, cell: str) -> dict[str, Any]:
        """min and max % of every slice of the cell that is limited, by name."""
        with self._lock:
            return {"slice_ratios": {name: list(quota[:2]) for name, quota in self._limited_in(cell).items()}}

    def kept_free_percent(self, cell: str, slice_name: str) -> float:
        """Of a slice what the node has taken, or had before; it knows of no single UE's floor."""
        with self._lock:
            for share in self._settings.slices:
                place = _nr_cgi(cell), share.sst, share.sd
                if share.name == slice_name and place in self._places:
                    number = self._places.index(place)
                    before = self._before.get(number, UNKNOWN)
                    return float(self._book.in_force(cell).get(number, before).min_percent)
            return 0.0

    def _limited_in(self, cell: str) -> dict[str, Quota]:
        found = {}
        for number, quota in self._book.in_force(cell).items():
            _, sst, sd = self._places[number]
            found[f"{sst}-{sd}" if sd else f"{sst}"] = quota
        return found

    def is_applied(self, state: CellState, applied: AppliedControl | None, epoch: int) -> AppliedCheck:
        """Ratios have no identity: what a slice's UEs used must be within what it may use."""
        with self._lock:
            limited, members = self._limited_in(state.cell), self._members.get(state.cell, {})
        above, known = [], 0
        for name, quota in limited.items():
            rows = [row for row, ue in enumerate(state.ue_ids) if ue in members.get(name, ())]
            share = float(100.0 * state.prb_share_U[rows].sum())
            known += bool(rows) and bool(np.isfinite(share))
            if share > quota.max_percent + 100.0 * SLACK_RBGS / state.num_rbgs + 0.5 * len(rows):
                above.append(f"slice {name} used {share:.0f} % of {quota.max_percent} %")
        if above:
            return AppliedCheck(False, ", ".join(above))
        if not known:
            return AppliedCheck(
                None,
                f"{counted(len(limited), 'slice is', 'slices are')} limited, none of which is in the newest report",
            )
        return AppliedCheck(True, counted(known, "slice is within its ratio", "slices are within their ratios"))

    @property
    def mute(self) -> tuple[str, ...]:
        """Slices that are left alone because nobody has said what they had before."""
        with self._lock:
            return tuple(f"{sst}-{sd}" if sd else f"{sst}" for _, sst, sd in (self._places[n] for n in self._mute))

    # -- what outlives this process ------------------------------------------------------------------------------

    def to_keep(self) -> dict[int, KeptSlice]:
        """Slices that must be found again after a crash, with what they had before."""
        with self._lock:
            return {n: KeptSlice(*self._places[n], self._before.get(n, UNKNOWN)) for n in self._book.to_keep()}

    def _number(self, cell: str, sst: int, sd: str) -> int:
        """Of a slice in a cell, in the book. Locked."""
        place = cell, sst, sd.lower()
        if place not in self._places:
            self._places.append(place)
        return self._places.index(place)


def _nr_cgi(cell: str) -> str:
    return cell.rpartition("/")[2]
