"""A decision that the leader did not make: why, who decided instead, and what the leader was, or would be, asked."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from policy.grammar import END_GRANTS, LAB, PAPER, Cursor, Grammar, StepKind, compile_grammar
from policy.leader_models.token_probabilities import HasTokenProbabilities
from policy.prompt.readable import ReadablePrompt, readable_prompt
from xapp.control.decision_record import DecisionRecord
from xapp.explain.findings import FALLBACK_REASONS, owner_name
from xapp.leader.reasons import ERROR, LATE, MALFORMED, WITHHELD, WRONG_COUNT

WAS_ASKED = (LATE, ERROR, WRONG_COUNT, MALFORMED, "expired")
"""Reasons of which the leader knows: it was asked, and gave no answer that could be used."""
NOBODYS_FAULT = (*WITHHELD, "intent")
"""Of these alone the leader is asked how it would have been asked: one that hangs or is being compiled would be waited
for."""
THE_NODE = "the node's own scheduler, under the limits in force"


class Question(NamedTuple):
    """What a leader that is a model is asked about a cell."""

    owners: list[str]
    """Whom it may name as the owner of the first RBG, under the limits."""
    prompt: ReadablePrompt
    """How it is shown the cell."""


def without_leader(record: DecisionRecord, question: Question | None) -> dict[str, Any] | None:
    """None = the leader decided."""
    reason = record.decision.reason
    if not reason:
        return None
    return {
        "leader": record.leader.name,
        "why": FALLBACK_REASONS.get(reason, reason),
        "decided_instead": THE_NODE if reason in WITHHELD else record.decision.decided_by,
        "was_asked": reason in WAS_ASKED,
        "owners": question.owners if question else [],
    }


def question_of(record: DecisionRecord) -> Question | None:
    """None = the leader decided, or cannot be asked for it. Costs a forward of the model."""
    if record.decision.reason not in NOBODYS_FAULT or not isinstance(record.leader, HasTokenProbabilities):
        return None
    state, intent = record.state, record.intent_then
    for options in (PAPER, LAB):  # in which of the two it speaks is its own: some DCM is tried, of no meaning
        tokens = _walked(compile_grammar(state, intent, options), StepKind.DONE).tokens
        # A leader may be anybody's, and why it did not decide may be why it cannot be asked.
        with suppress(Exception):
            asked = record.leader.token_probabilities(state, intent, tokens)
            may_A = _walked(asked.grammar, StepKind.OWNER).mask()
            owners = [owner_name(token, state) for token in np.flatnonzero(may_A).tolist()]
            return Question(owners, readable_prompt(asked.layout, state, intent))
    return None


def _walked(grammar: Grammar, until: StepKind) -> Cursor:
    """A DCM of the first legal tokens, without periodic grants, up to the first step of a kind."""
    cursor = grammar.start()
    while cursor.step_kind is not until:
        legal_A = cursor.mask()
        ends = cursor.step_kind is StepKind.GRANT_UE and bool(legal_A[END_GRANTS])
        cursor.advance(END_GRANTS if ends else int(legal_A.argmax()))
    return cursor
