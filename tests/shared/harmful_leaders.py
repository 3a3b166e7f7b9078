"""Plug-ins that do harm once they are told to: what a process of their own is for. `FOLDER/now` tells them what."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from policy.allocation import IDLE, Allocation, PeriodicGrant
from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision

FOLDER = "HARMFUL_LEADER_FOLDER"
"""The variable of the environment that names it."""


def harm_now() -> str:
    """Taken once: a file that says what to do is gone before it is done."""
    file = Path(os.environ[FOLDER]) / "now"
    try:
        what = file.read_text()
        file.unlink()
    except OSError:
        return ""
    return what


class Harmful:
    """Everything IDLE, until it is told otherwise."""

    name = "harmful"

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        harm = harm_now()
        owners = [np.full(state.num_rbgs, IDLE, np.int16) for state in states]
        grants: tuple[PeriodicGrant, ...] = ()
        if harm == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif harm == "exits":
            os._exit(0)
        elif harm == "crashes":
            ctypes.string_at(0)
        elif harm == "memory":
            hoard = [bytearray(1 << 20)]
            while True:
                hoard.append(bytearray(1 << 24))
        elif harm == "python_locked":
            sum(itertools.repeat(0))  # in C: no other thread of its process runs any more
        elif harm == "sleeps":
            time.sleep(600)
        elif harm == "raises":
            raise RuntimeError("told to")
        elif harm == "quits":
            sys.exit(3)
        elif harm == "endless":
            grants = (PeriodicGrant(0, 0, 5, n) for n in itertools.count())  # type: ignore[assignment]
        elif harm == "prints":
            print("x" * (1 << 22), flush=True)
        return [Decision(Allocation(s.ue_ids, mine, periodic_grants=grants)) for s, mine in zip(states, owners)]


class Greedy(Harmful):
    """More memory than it may have, before it is asked anything."""

    def __init__(self) -> None:
        self.hoard = [bytearray(1 << 24) for _ in range(1000)]
