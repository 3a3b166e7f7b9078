"""Whether the machine had time for what ran on it, told by a process that has no part in it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from types import TracebackType

INTERVAL_S = 0.02
WORK_S = 0.001
"""How long each interval's piece of work keeps a processor: a twentieth of one in all."""


class MachineProbe:
    """`with MachineProbe() as probe: ...`: afterwards it knows by how much each of its small pieces of work ended too
    late, that is, what the scheduler made a process wait that wakes up and wants a millisecond.
    """

    def __init__(self) -> None:
        self._late_s: list[tuple[float, float]] = []
        """When each piece ended, by time.monotonic(), and how late."""

    def worst_s(self, since_s: float, until_s: float) -> float:
        """The greatest delay between two moments of time.monotonic()."""
        delays_s = [late_s for ended_s, late_s in self._late_s if since_s <= ended_s <= until_s + INTERVAL_S]
        assert delays_s, "the probe saw nothing of this time"
        return max(delays_s)

    def __enter__(self) -> MachineProbe:
        self._child = subprocess.Popen(
            [sys.executable, "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._child.stdout is not None
        self._child.stdout.readline()  # it has begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        said, _ = self._child.communicate("end\n", timeout=60)
        self._late_s = json.loads(said)


def watch() -> None:
    """The child: print what it saw when stdin has something to say."""
    end = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.readline()
        end.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    print("begun", flush=True)
    late_s = []
    while not end.is_set():
        due_s = time.monotonic() + INTERVAL_S + WORK_S
        time.sleep(INTERVAL_S)
        worked_until_s = time.thread_time() + WORK_S
        while time.thread_time() < worked_until_s:
            pass
        now_s = time.monotonic()
        late_s.append((now_s, now_s - due_s))
    print(json.dumps(late_s))


if __name__ == "__main__":
    watch()
