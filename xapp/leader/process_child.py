"""`python -m xapp.leader.process_child NAME MEMORY_MB DESCRIPTOR`: a leader in its own process, asked over a socket.

It takes no more memory than it may, ends with the xApp, and answers in values that were checked.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from policy.errors import counted
from policy.leader import Leader, LeaderNotReady
from policy.registry import make_leader
from xapp.leader.answer_check import AnswerCheck, MalformedAnswer, is_list_of_decisions
from xapp.leader.process_messages import READY, answer, decision_document, frame, read_question, receive_frame

PR_SET_PDEATHSIG = 1
SHOWN_CHARACTERS = 300
OUT_OF_MEMORY = 9
"""Exit status."""


def main(name: str, memory_mb: int, descriptor: int) -> int:
    """The exit status."""
    _stay_within(memory_mb)
    connection = socket.socket(fileno=descriptor)
    try:
        leader = make_leader(name)
    except MemoryError:
        return OUT_OF_MEMORY
    except BaseException as error:  # a plug-in may raise anything
        connection.sendall(frame(answer(READY, error=_described(error))))
        return 1
    connection.sendall(frame(answer(READY, name=AnswerCheck(leader.name).name)))
    return _serve(connection, leader)


def _serve(connection: socket.socket, leader: Leader) -> int:
    check = AnswerCheck(leader.name)

    def expired() -> bool:
        """Whatever the xApp sends while it is to wait for an answer says that it waits no more."""
        return bool(select.select([connection], [], [], 0.0)[0])

    while True:
        content = receive_frame(connection)
        if not content:
            continue
        number, states, intents = read_question(content)
        try:
            given: Any = leader.decide(states, intents, expired)
            if not is_list_of_decisions(given):
                raise TypeError(f"the leader returned {type(given).__name__}, expected a list of Decision")
            if list.__len__(given) != len(states):
                raise MalformedAnswer(f"{counted(list.__len__(given), 'decision')} for {counted(len(states), 'cell')}")
            fields: dict[str, Any] = {"decisions": [decision_document(each) for each in check.checked(given, states)]}
        except LeaderNotReady as error:
            fields = {"excuse": str(error)[:SHOWN_CHARACTERS]}
        except MemoryError:
            return OUT_OF_MEMORY  # what it holds goes with it
        except BaseException as error:
            fields = {"error": _described(error), "malformed": type(error) is MalformedAnswer}
        connection.sendall(frame(answer(number, **fields)))


def _stay_within(memory_mb: int) -> None:
    """Of memory; and end with the xApp, whatever the leader is doing then."""
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # it, not the xApp, where a container runs out


def _described(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {' '.join(str(error)[:SHOWN_CHARACTERS].split())}"
    except BaseException:  # its own __str__
        return type(error).__name__


if __name__ == "__main__":
    # os._exit: a plug-in's own threads, or what it registered for the end, must not keep the process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the xApp's
    try:
        status = main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    except BaseException:  # the xApp is gone
        status = 1
    os._exit(status)
