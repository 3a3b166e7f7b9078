"""A live model from the first period on: while its code is compiled, torch or the fallback decides.

An image brings the compiled code along. Where it is missing (another processor, another version of numba) a process
of its own compiles it, because compiling in this one would hold up every other thread for seconds.
"""

from __future__ import annotations

import atexit
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision, Leader, LeaderNotReady
from policy.leader_models.token_probabilities import TokenProbabilities
from policy.registry import (
    LeaderError,
    TorchMissing,
    WrongAnswers,
    check_answers,
    engine_or_reason,
    is_bundle,
    load_by_torch,
    make_leader,
)
from policy.shipped import BUNDLED
from xapp.config.leader_limits import LeaderLimits
from xapp.leader.process import ProcessLeader
from xapp.leader.reasons import COMPILING

log = logging.getLogger(__name__)

SHOWN_CHARACTERS = 400
"""Of what a process said that failed, its end."""
TRIAL_S = 30.0
"""The shipped bundles answer the states that they carry within milliseconds."""
COMPILE_TIMEOUT_S = 900.0
"""A process that compiles took 42 s of a core on a busy machine; one that takes this long hangs."""


class Engine(Leader, Protocol):
    """A compiled leader."""

    def prepare(self, *, may_compile: bool) -> None: ...

    def token_probabilities(self, state: CellState, intent: Intent, tokens: Sequence[int]) -> TokenProbabilities: ...


class FailedLeader:
    """In the place of a leader that cannot be had: the xApp runs by its fallback, and says so in an alarm."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.problem = name, reason

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        raise LeaderError(self.problem)


class ColdLeader:
    """A compiled leader whose code is yet to be compiled."""

    def __init__(
        self,
        engine: Engine,
        stand_in: Callable[[], Leader],
        compile_code: Callable[[], None],
        check: Callable[[Leader], None] = lambda leader: None,
    ) -> None:
        """stand_in: makes who decides meanwhile; raises LeaderError if there is nobody. compile_code: leaves it where
        `engine.prepare` finds it. check: raises LeaderError for an engine that is not to be trusted.
        """
        self.name = engine.name
        self._engine = engine
        self._make_stand_in, self._compile, self._check = stand_in, compile_code, check
        self._leader: Leader | None = None
        self._lock = threading.Lock()
        self._nobody = ""
        """Why there is no stand-in."""
        self.settled = threading.Event()
        """Who decides will not change any more."""
        threading.Thread(target=self._compile_engine, name="compile", daemon=True).start()

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        """Raises LeaderNotReady while there is nobody to decide."""
        leader = self._leader
        if leader is None:
            raise LeaderNotReady(COMPILING)
        return leader.decide(states, intents, expired)

    @property
    def problem(self) -> str:
        """Why there is nobody who could decide, and will not be; empty = there is, or will be."""
        return self._leader.problem if isinstance(self._leader, FailedLeader) else ""

    def token_probabilities(self, state: CellState, intent: Intent, tokens: Sequence[int]) -> TokenProbabilities:
        """See EngineLeader."""
        return self._engine.token_probabilities(state, intent, tokens)

    def _compile_engine(self) -> None:
        missing = threading.Thread(target=self._load_stand_in, name="stand-in", daemon=True)
        missing.start()
        try:
            self._compile()
            self._engine.prepare(may_compile=True)
            self._check(self._engine)
        except LeaderError as error:
            log.error("the fallback decides: %s", error)
            with self._lock:
                self._leader = FailedLeader(self.name, str(error))
        except Exception as error:  # numba and LLVM have many ways to fail
            log.exception("leader %s cannot be compiled", self.name)
            missing.join()
            with self._lock:
                self._leader = self._leader or FailedLeader(self.name, f"not compiled ({error}); {self._nobody}")
        else:
            with self._lock:
                self._leader = self._engine
            log.info("leader %s: compiled", self.name)
        finally:
            self.settled.set()

    def _load_stand_in(self) -> None:
        try:
            stand_in = self._make_stand_in()
        except Exception as error:  # torch can be there and not work
            self._nobody = str(error)
            log.warning("until it is compiled the fallback decides: %s", error)
            return
        with self._lock:
            self._leader = self._leader or stand_in


def compile_apart(module: str, *arguments: str) -> None:
    """Run a module that compiles, in another process, into a cache that this one finds the code in, if it can.

    policy.engine: a bundle's decision; xapp.e2.kpm: the reader of reports.
    """
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(  # nosec B603 # this Python, no shell
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        atexit.register(child.terminate)  # whoever stops now has no use for it
        try:
            _, message = child.communicate(timeout=COMPILE_TIMEOUT_S)
        finally:
            child.kill()
            atexit.unregister(child.terminate)
    if child.returncode:
        log.warning(
            "%s: exit status %d: %s", " ".join(command[1:]), child.returncode, message.strip()[-SHOWN_CHARACTERS:]
        )


def make_live_leader(name: str, *, threads: int = 1, own_process: LeaderLimits | None = None) -> Leader:
    """`make_leader` for a loop that must not wait: a leader whose code is in no cache is compiled on the side.

    own_process: for a plug-in, which then has a process of its own within these limits. A bundle that can be had
    neither compiled nor by torch is a FailedLeader. Raises LeaderError for all else.
    """
    if own_process is not None:
        if ":" not in name or is_bundle(name):
            raise LeaderError(f"leader {name!r}: only a plug-in, module:Class, has a process of its own")
        return ProcessLeader(name, own_process)
    if not is_bundle(name):
        return make_leader(name, threads=threads)
    engine = engine_or_reason(name)
    if not isinstance(engine, str):
        from policy.engine.code_cache import NotCompiled

        try:
            engine.prepare(may_compile=False)
            return _trusted(name, engine)
        except NotCompiled:
            log.warning("leader %s: its compiled code is in no cache (python -m policy.engine puts it there)", name)
        except Exception as error:  # numba and LLVM have many ways to fail; perhaps not when it is compiled anew
            log.warning("leader %s: its compiled code cannot be loaded: %s", name, error)
        reason = "it is not compiled yet"
        folder = [] if name == BUNDLED else [str(Path(name).resolve())]
        return ColdLeader(
            engine,
            lambda: load_by_torch(name, reason, threads=threads, check=check_in_time),
            lambda: compile_apart("policy.engine", *folder),
            lambda leader: check_in_time(name, leader),
        )
    try:
        return load_by_torch(name, engine, threads=threads, check=check_in_time)
    except (TorchMissing, WrongAnswers) as error:
        log.error("the fallback decides: %s", error)
        return FailedLeader(name, str(error))


def check_in_time(name: str, leader: Leader) -> None:
    """`check_answers`, within TRIAL_S. Raises LeaderError."""
    raised: list[BaseException] = []

    def check() -> None:
        try:
            check_answers(name, leader)
        except BaseException as error:  # handed to whoever waits
            raised.append(error)

    thread = threading.Thread(target=check, name="trial", daemon=True)
    thread.start()
    thread.join(TRIAL_S)
    if thread.is_alive():
        raise WrongAnswers(f"leader {name!r}: it has not answered the states in its bundle for {TRIAL_S:g} s")
    if raised:
        raise raised[0]


def _trusted(name: str, leader: Leader) -> Leader:
    """The leader, if it answers as it did when its bundle was written; else one that says why not."""
    try:
        check_in_time(name, leader)
    except WrongAnswers as error:
        log.error("the fallback decides: %s", error)
        return FailedLeader(name, str(error))
    return leader
