"""What this process takes, and how long ago it began; of Linux, elsewhere not known."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MB = 1e6
START_TIME = 19
"""Of /proc/self/stat, counted from behind the name: clock ticks from boot to the process's start."""


def rss_mb() -> float | None:
    """Resident memory, files mapped into it included."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / MB, 1)


def started_at_s() -> float | None:
    """The moment of time.monotonic() at which the process was started, before its interpreter was."""
    try:
        behind_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started_s = int(behind_name[START_TIME]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Collect no garbage while a process starts.

    What is imported stays, and looking through it again and again takes a sixth of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
