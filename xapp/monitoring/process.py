"""What this process takes, and how long ago it began; of Linux, elsewhere not known."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MB = 1e6
START_TIME = 19
"""Of /proc/self/stat, counted from behind the name: clock ticks from boot to the process's start."""

MADV_DONTNEED = 4


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


def let_go_of_code(library: str) -> None:
    """The code of a shared library that has done its work leaves this process's memory; called again, it comes back
    from its file. Only what nobody can have written to: executable pages.
    """
    try:
        mappings = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return  # not Linux
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for addresses, rights, *_, name in mappings:
        if rights == "r-xp" and Path(name).name.startswith(library):
            start, end = (int(address, 16) for address in addresses.split("-"))
            madvise(start, end - start, MADV_DONTNEED)


@contextmanager
def nothing_collected(*, all_stays: bool = False) -> Iterator[None]:
    """Collect no garbage while a process starts.

    What is imported stays, and looking through it again and again takes a sixth of the time. all_stays: never look
    there later either, which for a process that runs long is worth what little else is kept.
    """
    gc.disable()
    try:
        yield
    finally:
        if all_stays:
            gc.freeze()
        gc.enable()
