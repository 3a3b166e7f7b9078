"""A leader in a process of its own: what it does to its memory, its threads, or Python's locks is its own business.

Its death costs one period: a second process stands by, started and ready, and takes its place; the next one is started
after a pause that grows while they go on dying. One that does not answer for too long is killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision, LeaderNotReady
from policy.registry import LeaderError
from policy.schedulers.fallback import fallback
from policy.shipped import EXPIRED
from xapp.config.leader_limits import LeaderLimits
from xapp.leader.answer_check import AnswerCheck, MalformedAnswer
from xapp.leader.process_messages import (
    HEADER_BYTES,
    MAX_ANSWER_BYTES,
    READY,
    FrameError,
    frame,
    frame_bytes,
    question,
    read_answer,
    read_decision,
)
from xapp.leader.reasons import RESTARTING

START_S = 120.0
"""How long a process may take until it can be asked."""
LOOK_EVERY_S = 0.005
"""How often it is seen whether anybody still waits."""
SEND_S = 0.5
"""How long a process that waits for a question may take to read it."""
PAUSE_S, MAX_PAUSE_S = 0.2, 30.0
"""Before the next process is started: doubled with each that dies early."""
LIVED_S = 30.0
"""One that lived as long did not die early."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class LeaderDied(Exception):
    """Its process ended, or had to be ended; one line."""


class LeaderFailed(Exception):
    """The leader raised something; its process goes on."""


class _Child:
    """One process. Its messages are read without waiting, so that nobody depends on it."""

    def __init__(self, name: str, memory_mb: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            environment = {**dict.fromkeys(ONE_THREAD, "1"), **os.environ}
            self.process = subprocess.Popen(  # nosec B603 # this Python, no shell
                [sys.executable, "-m", "xapp.leader.process_child", name, str(memory_mb), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment,
            )
        self.connection = ours
        self.started_s = time.monotonic()
        self.asked_s = self.started_s
        """When it got what it owes an answer to."""
        self.owes: int | None = READY
        """The number of the question that it has not answered."""
        self._received = bytearray()

    def ask(self, number: int, content: bytes) -> None:
        """Raises LeaderDied."""
        self.asked_s, self.owes = time.monotonic(), number
        try:
            self.connection.settimeout(SEND_S)
            self.connection.sendall(frame(content))
        except OSError as error:
            raise LeaderDied(f"it takes no question: {error}") from None

    def stop_waiting(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.settimeout(0.0)
            self.connection.send(frame(b""))

    def answered(self, wait_s: float) -> dict[str, Any] | None:
        """Its next answer, if there is one within that time. Raises LeaderDied."""
        try:
            if select.select([self.connection], [], [], wait_s)[0]:
                chunk = self.connection.recv(1 << 20)
                if not chunk:
                    raise LeaderDied(self._how_it_ended())
                self._received += chunk
            if len(self._received) < HEADER_BYTES:
                return None
            end = HEADER_BYTES + frame_bytes(bytes(self._received[:HEADER_BYTES]), MAX_ANSWER_BYTES)
            if len(self._received) < end:
                return None
            document = read_answer(bytes(self._received[HEADER_BYTES:end]))
        except (OSError, FrameError) as error:
            raise LeaderDied(str(error)) from None
        del self._received[:end]
        if document["number"] != self.owes:
            raise LeaderDied("it answers what it was not asked")
        self.owes = None
        return document

    def end(self) -> None:
        self.process.kill()
        self.connection.close()
        self.process.wait()

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        return f"it ended with status {self.process.returncode}"


class ProcessLeader:
    """Not thread safe: one thread asks it. Raises LeaderError where the first process cannot be asked."""

    def __init__(self, name: str, limits: LeaderLimits | None = None) -> None:
        self._name, self._limits = name, limits or LeaderLimits()
        self._number = READY
        self._early_deaths = 0
        self._next_start_s = 0.0
        self.deaths = 0
        self._standby: _Child | None = None
        child = self._start()
        self._child: _Child | None = child
        try:
            self.name = self._first_word(child)
        except BaseException:
            child.end()
            raise
        self._check = AnswerCheck(self.name)
        self._standby = self._start()

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        """Raises LeaderDied where its process did, LeaderNotReady while the next one is not ready."""
        self._keep_one_standing_by()
        child = self._in_service()
        try:
            return self._asked(child, states, intents, expired)
        except LeaderDied as error:
            self._bury(child)
            self._child, self._standby = self._standby, None
            self._keep_one_standing_by()
            raise LeaderDied(f"the leader's process is replaced: {error}") from None

    @property
    def stands_by(self) -> bool:
        """Whether the next process is ready."""
        child = self._standby
        return child is not None and (child.owes is None or child.answered(0.0) is not None)

    @property
    def pause_s(self) -> float:
        """Until the next process is started, where one is missing."""
        return max(0.0, self._next_start_s - time.monotonic())

    def close(self) -> None:
        """End its processes."""
        for child in (self._child, self._standby):
            if child is not None:
                child.end()
        self._child = self._standby = None

    def _asked(
        self, child: _Child, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        number, is_asked = self._number + 1, False
        while True:
            if child.owes is None and not is_asked:
                if expired():
                    return _dropped(states, intents)
                self._number, is_asked = number, True
                child.ask(number, question(number, states, intents))
            document = child.answered(LOOK_EVERY_S)
            if document is not None and document["number"] == number:
                return self._check.checked(_decisions(document, len(states)), states)
            if document is None and time.monotonic() - child.asked_s > self._limits.give_up_s:
                raise LeaderDied(f"it has not answered for {self._limits.give_up_s:g} s")
            if expired():
                if is_asked:
                    child.stop_waiting()
                return _dropped(states, intents)

    def _in_service(self) -> _Child:
        """The process to be asked. Raises LeaderNotReady."""
        child = self._child
        if child is None:
            raise LeaderNotReady(RESTARTING)
        if child.owes == READY:  # it took the place of one that died before it was ready itself
            try:
                document = child.answered(0.0)
            except LeaderDied:
                self._bury(child)
                self._child = None
                raise LeaderNotReady(RESTARTING) from None
            if document is None:
                raise LeaderNotReady(RESTARTING)
        return child

    def _keep_one_standing_by(self) -> None:
        if time.monotonic() < self._next_start_s:
            return
        if self._child is None:
            self._child, self._standby = self._standby or self._start(), None
        if self._standby is None:
            self._standby = self._start()

    def _bury(self, child: _Child) -> None:
        child.end()
        self.deaths += 1
        early = time.monotonic() - child.started_s < LIVED_S
        self._early_deaths = self._early_deaths + 1 if early else 0
        pause_s = min(MAX_PAUSE_S, PAUSE_S * 2 ** min(self._early_deaths, 16)) if self._early_deaths > 1 else 0.0
        self._next_start_s = time.monotonic() + pause_s

    def _start(self) -> _Child:
        return _Child(self._name, self._limits.memory_mb)

    def _first_word(self, child: _Child) -> str:
        """The leader's name. Raises LeaderError."""
        until_s = time.monotonic() + START_S
        try:
            while (document := child.answered(0.1)) is None:
                if time.monotonic() > until_s:
                    raise LeaderDied(f"it is not ready after {START_S:g} s")
        except LeaderDied as error:
            raise LeaderError(f"leader {self._name!r} in a process of its own: {error}") from None
        if "error" in document or not isinstance(document.get("name"), str):
            raise LeaderError(f"leader {self._name!r} in a process of its own: {document.get('error')}")
        return str(document["name"])


def _decisions(document: dict[str, Any], count: int) -> list[Decision]:
    """What was answered, yet to be checked: nobody believes a process. Raises what the leader raised."""
    if "excuse" in document:
        raise LeaderNotReady(document["excuse"])
    if "error" in document:
        line = str(document["error"])
        raise MalformedAnswer(line) if document.get("malformed") is True else LeaderFailed(line)
    decisions = document.get("decisions")
    if not isinstance(decisions, list) or len(decisions) != count:
        raise MalformedAnswer(f"no {count} decisions")
    try:
        return [read_decision(each) for each in decisions]
    except FrameError as error:
        raise MalformedAnswer(str(error)) from None


def _dropped(states: Sequence[CellState], intents: Sequence[Intent]) -> list[Decision]:
    """Nobody waits any more: anything legal."""
    decisions = [fallback(state, intent, EXPIRED) for state, intent in zip(states, intents, strict=True)]
    return [decision for decision in decisions if decision is not None]
