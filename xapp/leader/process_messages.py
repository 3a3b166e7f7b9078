"""What passes between the xApp and a leader in a process of its own: frames with a length, questions and answers.

A question is a pickle: the child believes the xApp. An answer is JSON of a bounded length: nobody believes the child. A
frame without content says that nobody waits any more.
"""

from __future__ import annotations

import json
import math
import pickle  # nosec B403 # only what this xApp itself has written is read
import socket
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from policy.allocation import Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision

MAX_ANSWER_BYTES = 4 << 20
"""Of one batch: a decision of 60 UEs takes some thousand bytes."""
READY = 0
"""The number of the answer that says that it can be asked."""
_LENGTH = struct.Struct("!I")
HEADER_BYTES = _LENGTH.size


class FrameError(Exception):
    """The other side is gone, or says what it must not; one line."""


def question(number: int, states: Sequence[CellState], intents: Sequence[Intent]) -> bytes:
    return pickle.dumps((number, list(states), list(intents)), pickle.HIGHEST_PROTOCOL)


def read_question(content: bytes) -> tuple[int, list[CellState], list[Intent]]:
    number, states, intents = pickle.loads(content)  # nosec B301 # the xApp's own
    return number, states, intents


def answer(number: int, **fields: Any) -> bytes:
    """`decisions`, or `error` (a line), or `excuse` (LeaderNotReady's)."""
    return json.dumps({"number": number, **fields}, separators=(",", ":")).encode()


def read_answer(content: bytes) -> dict[str, Any]:
    """Raises FrameError for what is none; what is in it is checked by whoever takes it."""
    try:
        document = json.loads(content)
        if not isinstance(document, dict) or type(document.get("number")) is not int:
            raise ValueError("no answer")
    except (ValueError, RecursionError) as error:
        raise FrameError(f"its answer cannot be read: {error}") from None
    return document


def decision_document(decision: Decision) -> dict[str, Any]:
    """Of a decision that was checked (xapp.leader.answer_check)."""
    allocation, log_probs = decision.allocation, decision.log_probs
    return {
        "ue_ids": list(allocation.ue_ids),
        "owners": allocation.owner_M.tolist(),
        "leftover": list(allocation.leftover),
        "grants": [list(grant) for grant in allocation.periodic_grants],
        "open_allowed": allocation.open_allowed_U.tolist(),
        "max_rbgs": allocation.max_rbgs_U.tolist(),
        "tokens": list(decision.tokens),
        "log_probs": None if log_probs is None else log_probs.tolist(),
        "decided_by": decision.decided_by,
        "reason": decision.reason,
    }


def read_decision(document: Any) -> Decision:
    """What a document says, right or wrong: it is checked again. Raises FrameError for one of another shape."""
    try:
        log_probs = document["log_probs"]
        return Decision(
            Allocation(
                tuple(document["ue_ids"]),
                np.array(document["owners"], np.float64),
                LeftoverRule(*document["leftover"]),
                tuple(PeriodicGrant(*grant) for grant in document["grants"]),
                np.array(document["open_allowed"], bool),
                np.array(document["max_rbgs"], np.float64),
            ),
            tuple(document["tokens"]),
            None if log_probs is None else np.array([math.nan if x is None else x for x in log_probs], np.float64),
            document["decided_by"],
            document["reason"],
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"its decision cannot be read: {type(error).__name__}") from None


def frame(content: bytes) -> bytes:
    return _LENGTH.pack(len(content)) + content


def frame_bytes(header: bytes, most: int) -> int:
    """The length that a frame's header names. Raises FrameError for more than `most`."""
    (length,) = _LENGTH.unpack(header)
    if length > most:
        raise FrameError(f"its answer has {length} bytes, expected at most {most}")
    return int(length)


def receive_frame(connection: socket.socket) -> bytes:
    """The child's side: the next frame, however long it takes. Raises FrameError once the xApp is gone."""
    return _exactly(connection, frame_bytes(_exactly(connection, HEADER_BYTES), 1 << 31))


def _exactly(connection: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        chunk = connection.recv(min(1 << 20, count - len(received)))
        if not chunk:
            raise FrameError("the xApp is gone")
        received += chunk
    return bytes(received)
