"""Why a UE got what it got: findings in plain words, each derived from a decision's record, with its numbers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from policy.allocation import DYNAMIC, OPEN, Allocation
from policy.cell_state import CellState, TrafficClass
from policy.grammar import DYNAMIC_TOKEN, FIRST_UE, StepKind
from policy.leader_models.token_probabilities import MaskReason, StepProbabilities, TokenProbabilities
from policy.limits import compile_limits
from policy.prompt.text import action_text
from policy.schedulers.estimate import estimate
from policy.schedulers.schedulers import SCHEDULERS
from xapp.control.decision_record import ControlStatus, DecisionRecord
from xapp.monitoring.wording import MAX_NAMED, listed

FALLBACK_REASONS = {
    "late": "the leader's answer was not there by the deadline",
    "busy": "the leader was still busy with a decision whose deadline had passed",
    "error": "the leader failed",
    "wrong_count": "the leader answered for another number of cells than it was asked about",
    "malformed": "the leader's answer was not of the types and sizes that the contract says",
    "given_up": "too many leaders did not return: none is asked any more",
    "breaker_open": "the leader failed too often, and is not asked for a while",
    "compiling": "the leader's code was still being compiled",
    "restarting": "the leader's process had died, and the next one was not ready yet",
    "not_ready": "the leader said that it could not decide yet",
    "intent": "the policy in force says `fallback`: the leader is not asked",
    "hold_out": "for a moment the KPI guard looks at the cell without the leader (a hold-out): limits hold",
    "reverted": "the KPI guard found the cell worse off with the leader, and reverted it: limits hold",
    "expired": "time ran out while the leader was deciding",
}
NOTHING_SENT = {
    "shadow": "the policy in force says `shadow`: decisions are made and kept, none is sent, the node schedules alone",
    "no_function": "the node offers no function that it could be controlled with",
    "yielded": "a younger instance of the xApp controls the node, and this one has yielded",
    "closing": "the xApp was stopping, and had given the cell back",
    "stood_still": "the decision took so long that its cell had been given back meanwhile",
}
MASKED = {
    MaskReason.SLICE_CAP: "its slice held its cap",
    MaskReason.FLOORS: "every RBG that was left was owed to an operator's floor",
    MaskReason.LIMIT: "an operator's limit forbade it",
    MaskReason.LANGUAGE: "this leader names no UE as an owner",
}


class Finding(NamedTuple):
    """One reason. `code` is one of a fixed set of words, for programs."""

    code: str
    text: str


class Got(NamedTuple):
    """What an allocation says of one UE."""

    rbgs: list[int]
    """That it owns."""
    periodic_grants: list[tuple[int, int, int]]
    """RBG, period and phase in slots."""
    dynamic_rbgs: int
    """Left to the node's own scheduler, which may grant them to anybody."""
    may_contend_on: int
    """RBGs on which it may contend: OPEN ones, and DYNAMIC ones that the node leaves over."""
    contends_with: float
    """The probability with which it may then send."""

    @property
    def nothing(self) -> bool:
        """No RBG of its own, in no slot."""
        return not self.rbgs and not self.periodic_grants


def got(allocation: Allocation, state: CellState, ue: int) -> Got:
    """What `allocation` gives `ue`; all empty for one that it does not know. `state`: with the same UEs."""
    if ue not in allocation.ue_ids:
        return Got([], [], 0, 0, 0.0)
    row = allocation.ue_ids.index(ue)
    owners = allocation.owner_M
    shared = int(np.isin(owners, (OPEN, DYNAMIC)).sum())
    contenders_U = allocation.may_contend_U(state)
    number = int(contenders_U.sum())
    p = min(1.0, allocation.leftover.contenders / number) if number and contenders_U[row] else 0.0
    return Got(
        np.flatnonzero(owners == row).tolist(),
        [(g.rbg, g.period_slots, g.phase_slots) for g in allocation.periodic_grants if g.ue == row],
        int((owners == DYNAMIC).sum()),
        shared if p else 0,
        p,
    )


def findings_of(
    record: DecisionRecord,
    token_probabilities: TokenProbabilities | None,
    ue: int,
    last_seen: DecisionRecord | None = None,
) -> list[Finding]:
    """Reasons, those that matter most first.

    odds: of the record's tokens, if its leader can tell. last_seen: the newest earlier decision that `ue` was in.
    """
    state, newest = record.state, record.newest
    if ue not in newest.ue_ids:
        return [_absent(record, ue, last_seen), *_not_obeyed(record)]
    share = got(record.allocation, newest, ue)
    findings = [*_not_obeyed(record)]
    if record.decision.reason:
        chosen = FALLBACK_REASONS.get(record.decision.reason, record.decision.reason)
        findings.append(Finding("fallback", f"{chosen}; {record.decision.decided_by} decided in its place"))
    if ue not in state.ue_ids:
        text = "it came with a report that arrived while the decision was being made: the next one is its first"
        return [*findings, Finding("came_later", text)]
    findings += _guard_took(record, ue, share)
    findings += _limits(record, ue, share)
    findings += _buffer(record, ue)
    if token_probabilities is not None:
        findings += _by_probabilities(record, token_probabilities, ue, share)
    elif share.nothing:
        findings += _by_rule(record, ue)
    findings += _left_to_the_node(record, ue, share)
    quota = record.outcome.in_force.get("quotas", {}).get(ue)
    if quota is not None:
        findings.append(Finding("quota", f"the node had acknowledged a quota for it: at most {quota} % of the PRBs"))
    return findings


def _absent(record: DecisionRecord, ue: int, last_seen: DecisionRecord | None) -> Finding:
    newest = record.newest
    if ue in record.state.ue_ids:
        text = "it was in the report that the leader saw, and gone from the one that came before the control was sent"
        return Finding("left", text)
    text = f"it was not in the report, which had {listed('UE', newest.ue_ids)}"
    if last_seen is not None:
        text += f"; it was last there {record.time_s - last_seen.time_s:.1f} s before, in decision {last_seen.id}"
    return Finding("not_in_report", text)


def _not_obeyed(record: DecisionRecord) -> list[Finding]:
    """What kept the node from doing what was decided."""
    if record.outcome.nothing and record.outcome.nothing != "unchanged":
        text = NOTHING_SENT.get(record.outcome.nothing, record.outcome.nothing)
        return [Finding(record.outcome.nothing, text)]
    findings = []
    for control in record.outcome.controls:
        if control.status is ControlStatus.REFUSED:
            findings.append(Finding("refused", f"{control.node} refused the control: {control.detail}"))
        elif control.status is ControlStatus.NOT_SENT:
            findings.append(Finding("not_sent", f"the control could not be handed to RMR: no route to {control.node}"))
        elif control.status is ControlStatus.UNANSWERED:
            findings.append(Finding("unanswered", f"{control.node} never answered the control"))
    return findings


def _guard_took(record: DecisionRecord, ue: int, share: Got) -> list[Finding]:
    if not record.guard_changes:
        return []
    try:
        proposed = got(record.decision.allocation, record.state, ue)
    except Exception:  # what a plug-in proposed can be anything; the guard has said so already
        proposed = Got([], [], 0, 0, 0.0)
    taken = sorted(set(proposed.rbgs) - set(share.rbgs))
    given = sorted(set(share.rbgs) - set(proposed.rbgs))
    changes = "; ".join(record.guard_changes[:MAX_NAMED])
    if taken:
        text = f"{record.decision.decided_by} gave it {_rbgs(taken)}, the guard took that away: {changes}"
        return [Finding("guard_took", text)]
    if given:
        return [Finding("guard_gave", f"the guard gave it {_rbgs(given)}: {changes}")]
    return [Finding("guard_changed", f"the guard changed the proposal elsewhere: {changes}")]


def _limits(record: DecisionRecord, ue: int, share: Got) -> list[Finding]:
    limits = compile_limits(record.newest, record.intent)
    row, num_rbgs = record.newest.ue_ids.index(ue), record.newest.num_rbgs
    cap, floor = int(limits.cap_U[row]), int(limits.floor_U[row])
    findings = []
    if limits.capped_U[row]:
        held = len({*share.rbgs, *(grant[0] for grant in share.periodic_grants)})
        if cap == 0:
            findings.append(Finding("capped", f"the policy caps it at 0 of {num_rbgs} RBGs, and so it may not contend"))
        elif held >= cap:
            text = f"it holds {_counted(held, 'RBG')}, as many as its cap allows ({cap} of {num_rbgs})"
            text += "; a capped UE may not contend"
            findings.append(Finding("capped", text))
        else:
            findings.append(Finding("cap", f"its cap is {cap} of {num_rbgs} RBGs; a capped UE may not contend"))
    if floor:
        findings.append(Finding("floor", f"the policy promises it {floor} of {num_rbgs} RBGs"))
    return findings


def _buffer(record: DecisionRecord, ue: int) -> list[Finding]:
    state = record.state
    row = state.ue_ids.index(ue)
    buffer, inflight, age = (
        float(column[row]) for column in (state.buffer_bits_U, state.inflight_bits_U, state.age_slots_U)
    )
    when = "" if np.isnan(age) else f" ({age:g} slots before)"
    if np.isnan(buffer):
        known = f"{estimate(state).queue_bits_U[row]:.0f}"
        return [Finding("buffer_unknown", f"its buffer was not reported: a scheduler would have guessed {known} bits")]
    if buffer <= 0:
        return [Finding("buffer_empty", f"its buffer was empty when it was reported{when}")]
    if inflight >= buffer:
        text = f"of the {buffer:.0f} bits that it reported{when}, all were decoded since ({inflight:.0f})"
        return [Finding("buffer_served", text)]
    less = f", of which {inflight:.0f} were decoded since" if inflight > 0 else ""
    return [Finding("buffer", f"it had reported {buffer:.0f} bits waiting{when}{less}")]


def _by_probabilities(
    record: DecisionRecord, token_probabilities: TokenProbabilities, ue: int, share: Got
) -> list[Finding]:
    """What the model's own probabilities say."""
    token = FIRST_UE + record.state.ue_ids.index(ue)
    steps = [step for step in token_probabilities.steps if step.kind is StepKind.OWNER]
    findings = []
    for reason, text in MASKED.items():
        masked = [step.rbg for step in steps if step.masked.get(token) is reason]
        if masked:
            findings.append(Finding(f"masked_{reason.value}", f"on {_rbgs(masked)} it could not be named: {text}"))
    at_cap = [step.rbg for step in steps if step.masked.get(token) is MaskReason.CAP]
    if at_cap:
        findings.append(Finding("masked_cap", f"on {_rbgs(at_cap)} it could not be named: it held its cap"))
    open_to_it = [step for step in steps if token not in step.masked]
    if not open_to_it:
        return findings
    expected = sum(_p(step, token) for step in open_to_it)
    if not share.nothing:
        own = ", ".join(f"RBG {step.rbg} {_p(step, token):.2f}" for step in open_to_it if step.token == token)
        if own:
            findings.append(Finding("chosen", f"the model named it with probabilities: {own}"))
        owner_M, row = record.decision.allocation.owner_M, token - FIRST_UE
        paid = [step.rbg for step in steps if step.token == DYNAMIC_TOKEN and owner_M[step.rbg] == row]
        if paid:
            text = (
                f"the model left {_rbgs(paid)} to the node, and an operator's floor was still owed to it or its slice"
            )
            findings.append(Finding("floor_paid", text))
        return findings
    best = max(open_to_it, key=lambda step: _p(step, token))
    text = (
        f"the model preferred others: its best chance was RBG {best.rbg} with probability {_p(best, token):.2g}, where "
        f"{owner_name(best.token, record.state)} had {_p(best, best.token):.2g}; over the {len(steps)} RBGs it could "
        f"expect {expected:.2g}"
    )
    findings.append(Finding("outranked", text))
    return findings


def _by_rule(record: DecisionRecord, ue: int) -> list[Finding]:
    """A scheduler says no probabilities: what it took the UE to have, beside the UE that got most."""
    if record.decision.decided_by not in SCHEDULERS:
        return []  # somebody's own leader: what it took into account is not known
    state = record.state
    known = estimate(state)

    def described(row: int) -> str:
        cqi = state.cqi_U[row]
        quality = "no CQI reported" if np.isnan(cqi) else f"CQI {cqi:g}"
        return (
            f"{known.queue_bits_U[row]:.0f} bits waiting, {quality}, "
            f"{known.served_bits_per_slot_U[row]:.0f} bits/slot served on average"
        )

    owned_U = record.allocation.rbgs_per_ue()
    text = f"{record.decision.decided_by} took it to have {described(state.ue_ids.index(ue))}"
    if owned_U.any():
        winner, most = record.allocation.ue_ids[int(owned_U.argmax())], int(owned_U.max())
        if winner in state.ue_ids:
            text += f", and UE {winner}, with {_counted(most, 'RBG')} the one with most, "
            text += described(state.ue_ids.index(winner))
    return [Finding("outranked_by_rule", text)]


def _left_to_the_node(record: DecisionRecord, ue: int, share: Got) -> list[Finding]:
    """RBGs without a named owner are no refusal."""
    findings = []
    num_rbgs, leftover = record.newest.num_rbgs, record.allocation.leftover
    if share.dynamic_rbgs:
        text = (
            f"{share.dynamic_rbgs} of {num_rbgs} RBGs are left to the node's own scheduler, which may grant them to it"
            " in any slot"
        )
        findings.append(Finding("left_to_node", text))
    if share.may_contend_on:
        text = (
            f"it may contend for what is left over of {_counted(share.may_contend_on, 'RBG')}, with probability"
            f" {share.contends_with:.2g}"
        )
        findings.append(Finding("may_contend", text))
    elif leftover.contenders > 0 and np.isin(record.allocation.owner_M, (OPEN, DYNAMIC)).any():
        classes = "+".join(c.name.lower() for c in TrafficClass if leftover.class_mask >> c & 1) or "none"
        findings.append(Finding("may_not_contend", f"it may not contend for leftovers: they are for {classes}"))
    return findings


def _p(step: StepProbabilities, token: int) -> float:
    return float(np.exp(step.log_probs_A[token]))


def owner_name(token: int, state: CellState) -> str:
    """What a token is called, UEs by their ids."""
    if token >= FIRST_UE:
        return f"UE {state.ue_ids[token - FIRST_UE]}"
    if token == DYNAMIC_TOKEN:
        return "the node's own scheduler"
    return action_text(token).strip()


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _rbgs(rbgs: Sequence[int]) -> str:
    return listed("RBG", rbgs)
