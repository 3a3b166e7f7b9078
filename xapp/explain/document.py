"""One decision as a document: what was seen, said, changed, sent and answered, and why. Worked out when asked for.

The model's distribution is computed anew on the recorded state; the document says by how much the log-probabilities of
what was said differ from those recorded with the decision.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from policy.allocation import DYNAMIC, IDLE, OPEN
from policy.cell_state import COLUMNS, CellState, TrafficClass
from policy.grammar import FIRST_UE, StepKind
from policy.intent import Intent
from policy.leader_models.token_probabilities import (
    HasTokenProbabilities,
    MaskReason,
    StepProbabilities,
    TokenProbabilities,
)
from policy.limits import NO_SLICE_CAP, compile_limits
from policy.prompt.readable import ReadablePrompt, readable_prompt
from policy.prompt.text import action_text
from xapp.a1.target_lines import target_rows
from xapp.control.decision_record import DecisionRecord
from xapp.explain.findings import findings_of, got, owner_name
from xapp.explain.without_leader import Question, question_of, without_leader

DECISIONS = "/ric/v1/decisions"
"""Where a running xApp is asked for such documents."""
LOG_PROB_TOLERANCE = 1e-3
"""Log-probabilities that differ by less are the same: reading a DCM at once and word by word round differently."""
ALTERNATIVES = 5
"""Likeliest tokens named of each step."""
INTENT: TypeAdapter[Intent] = TypeAdapter(Intent)


def summary(record: DecisionRecord) -> dict[str, Any]:
    """A line of a list: nothing is computed."""
    return {
        "id": record.id,
        "time": datetime.fromtimestamp(record.time_s, UTC).isoformat(timespec="milliseconds"),
        "decided_by": record.decided_by,
        "mode": record.intent.mode.value,
        "ues": record.newest.num_ues,
        "strip": record.allocation.strip(),
        "guard_changes": len(record.guard_changes),
        "decision_ms": round(record.decision_ms, 3),
        "loop_ms": round(record.loop_ms, 3),
        "sent": _control_word(record),
    }


def explain(
    record: DecisionRecord, earlier: Iterable[DecisionRecord] = (), ues: Sequence[int] | None = None
) -> dict[str, Any]:
    """The whole document.

    earlier: decisions of the cell before it, the newest first: where a UE was last seen. ues: only these UEs are
    explained, also if they are not there (None = all that are).
    """
    token_probabilities, no_token_probabilities = _token_probabilities(record)
    question = question_of(record)
    wanted = tuple(record.newest.ue_ids) if ues is None else tuple(ues)
    return {
        **summary(record),
        "cell": record.cell,
        "reason": record.decision.reason,
        "without_leader": without_leader(record, question),
        "leader": record.leader.name,
        "intent": INTENT.dump_python(record.intent, mode="json"),
        "state": _state(record.state, None if ues is None else wanted),
        "limits": _limits(record),
        "targets": [row for row in target_rows(record.intent) if ues is None or set(wanted) & set(row["ue_ids"])],
        "allocation": _allocation(record),
        "guard": list(record.guard_changes),
        "control": _control(record),
        "odds": _probabilities_document(record, token_probabilities, no_token_probabilities),
        "prompt": _prompt(record, token_probabilities, question, wanted),
        "ues": [_ue(record, token_probabilities, ue, earlier) for ue in wanted],
    }


def _token_probabilities(record: DecisionRecord) -> tuple[TokenProbabilities | None, str]:
    """The odds, or why there are none."""
    decision, leader = record.decision, record.leader
    if not decision.tokens:
        return None, f"{decision.decided_by or 'the leader'} is no language model: it says no probabilities"
    if not isinstance(leader, HasTokenProbabilities):
        return None, f"leader {leader.name} does not tell its odds"
    try:
        return leader.token_probabilities(record.state, record.intent_then, decision.tokens), ""
    except Exception as error:  # a leader may be anybody's, and a recording may be of another model
        return None, f"{type(error).__name__}: {error}"


def _probabilities_document(
    record: DecisionRecord, token_probabilities: TokenProbabilities | None, no_token_probabilities: str
) -> dict[str, Any]:
    if token_probabilities is None:
        return {"computed": False, "reason": no_token_probabilities, "steps": []}
    recorded = record.decision.log_probs
    error = None
    if recorded is not None and len(recorded) == len(token_probabilities.log_probs_L):
        error = float(np.abs(token_probabilities.log_probs_L - recorded).max())
    return {
        "computed": True,
        "reason": "",
        "log_probs_equal": error is not None and error <= LOG_PROB_TOLERANCE,
        "log_probs_differ_by": _number(error),
        "steps": [_step(step, record.state) for step in token_probabilities.steps],
    }


def _step(step: StepProbabilities, state: CellState) -> dict[str, Any]:
    order = np.argsort(-step.log_probs_A, kind="stable")[:ALTERNATIVES].tolist()
    masked: dict[MaskReason, list[str]] = {}
    for token, reason in step.masked.items():
        masked.setdefault(reason, []).append(_token_name(token, state))
    return {
        "ask": f"RBG {step.rbg}" if step.kind is StepKind.OWNER else step.kind.name.lower(),
        "said": _token_name(step.token, state),
        "probability": _number(math.exp(step.log_probs_A[step.token])),
        "alternatives": [
            {"token": _token_name(token, state), "probability": _number(math.exp(step.log_probs_A[token]))}
            for token in order
            if np.isfinite(step.log_probs_A[token])
        ],
        "masked": [{"why": reason.value, "tokens": tokens} for reason, tokens in masked.items()],
    }


def _token_name(token: int, state: CellState) -> str:
    return owner_name(token, state) if token >= FIRST_UE else action_text(token).strip()


def _prompt(
    record: DecisionRecord,
    token_probabilities: TokenProbabilities | None,
    question: Question | None,
    ues: Sequence[int],
) -> dict[str, Any]:
    """What the model was shown, or would have been."""
    prompt: ReadablePrompt | None = None
    if token_probabilities is not None:
        prompt = readable_prompt(token_probabilities.layout, record.state, record.intent_then)
    elif question is not None:
        prompt = question.prompt
    if prompt is None:
        return {}
    if prompt.text:
        return {"text": prompt.text}
    return {
        "cell": {shown.field: str(shown) for shown in prompt.cell},
        "ues": {str(ue): {s.field: str(s) for s in prompt.ues[ue]} for ue in ues if ue in prompt.ues},
    }


def _state(state: CellState, ues: Sequence[int] | None) -> dict[str, Any]:
    """Columns by name without their suffix; null = not reported."""
    rows = [row for row, ue in enumerate(state.ue_ids) if ues is None or ue in ues]
    columns = {name.removesuffix("_U"): getattr(state, name).tolist() for name in COLUMNS}
    return {
        "slot": state.slot,
        "slots_per_dcm": state.slots_per_dcm,
        "num_rbgs": state.num_rbgs,
        "ue_ids": list(state.ue_ids),
        "last_outcome": _numbers(state.last_outcome_M.tolist()),
        "ues": [
            {
                "ue": state.ue_ids[row],
                **{name: _number(values[row]) for name, values in columns.items()},
                "heard_cqi": _numbers(state.last_cqi_UM[row].tolist()),
                "heard_age_slots": _numbers(state.last_cqi_age_slots_UM[row].tolist()),
            }
            for row in rows
        ],
    }


def _limits(record: DecisionRecord) -> dict[str, Any]:
    """Those in force for the UEs of the decision, in RBGs."""
    limits = compile_limits(record.newest, record.intent)
    return {
        "caps": {str(ue): int(c) for ue, c, on in zip(record.newest.ue_ids, limits.cap_U, limits.capped_U) if on},
        "floors": {str(ue): int(f) for ue, f in zip(record.newest.ue_ids, limits.floor_U) if f},
        "slices": [
            {
                "name": name,
                "ues": [record.newest.ue_ids[member] for member in limits.members(row)],
                "cap": int(cap) if cap < NO_SLICE_CAP else None,
                "floor": int(floor),
            }
            for row, (name, cap, floor) in enumerate(zip(limits.slice_names, limits.slice_cap_S, limits.slice_floor_S))
        ],
        "not_enforced": [unmet.reason for unmet in limits.not_enforced],
    }


def _allocation(record: DecisionRecord) -> dict[str, Any]:
    allocation = record.allocation
    names = {OPEN: "OPEN", DYNAMIC: "DYNAMIC", IDLE: "IDLE"}
    ue_ids = allocation.ue_ids
    mask, contenders = allocation.leftover
    return {
        "owners": [names[o] if o in names else ue_ids[o] for o in allocation.owner_M.tolist()],
        "leftover": {
            "classes": [c.name.lower() for c in TrafficClass if mask >> c & 1],
            "contenders": contenders,
        },
        "periodic_grants": [
            {"ue": ue_ids[g.ue], "rbg": g.rbg, "period_slots": g.period_slots, "phase_slots": g.phase_slots}
            for g in allocation.periodic_grants
        ],
    }


def _control_word(record: DecisionRecord) -> str:
    """One word for a list: what was sent or, if nothing, why."""
    controls = [control.status.value for control in record.outcome.controls if control.what == "controls"]
    return record.outcome.nothing or (controls[-1] if controls else "nothing")


def _control(record: DecisionRecord) -> dict[str, Any]:
    return {
        "nothing_sent": record.outcome.nothing,
        "in_force": dict(record.outcome.in_force),
        "messages": [
            {
                "node": control.node,
                "what": control.what.removesuffix("s"),
                "decision_id": control.decision_id,
                "status": control.status.value,
                "detail": control.detail,
                "answered_ms": _number(control.answered_ms),
                "pdu": control.pdu.hex(),
            }
            for control in record.outcome.controls
        ],
    }


def _ue(
    record: DecisionRecord, token_probabilities: TokenProbabilities | None, ue: int, earlier: Iterable[DecisionRecord]
) -> dict[str, Any]:
    last_seen = None
    if ue not in record.newest.ue_ids:
        last_seen = next((other for other in earlier if ue in other.newest.ue_ids), None)
    share = got(record.allocation, record.newest, ue)
    return {
        "ue": ue,
        "got_nothing": share.nothing,
        "rbgs": share.rbgs,
        "periodic_grants": [list(grant) for grant in share.periodic_grants],
        "dynamic_rbgs": share.dynamic_rbgs,
        "may_contend_on": share.may_contend_on,
        "contends_with": _number(share.contends_with),
        "probabilities": _probabilities(record, token_probabilities, ue),
        "why": [finding._asdict() for finding in findings_of(record, token_probabilities, ue, last_seen)],
    }


def _probabilities(
    record: DecisionRecord, token_probabilities: TokenProbabilities | None, ue: int
) -> list[float | None]:
    """That the model would name it, by RBG; null where it was masked."""
    if token_probabilities is None or ue not in record.state.ue_ids:
        return []
    token = FIRST_UE + record.state.ue_ids.index(ue)
    owners = [step for step in token_probabilities.steps if step.kind is StepKind.OWNER]
    return [None if token in step.masked else _number(math.exp(step.log_probs_A[token])) for step in owners]


def _numbers(values: Sequence[float]) -> list[float | None]:
    return [_number(value) for value in values] if any(math.isfinite(value) for value in values) else []


def _number(value: float | None) -> float | None:
    """Six digits; what is not finite, which JSON does not know, is null."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
