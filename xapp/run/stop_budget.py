"""How long a stop may take: one budget, from SIGTERM to the end of the process, whatever does not answer.

The chart's terminationGracePeriodSeconds is longer. First the cells are given back, which waits for nobody but their
nodes; then who else is to know is told, in what is left of OTHERS_S; then what is this process's own is closed.
"""

from __future__ import annotations

import faulthandler
import math
import signal
import sys
import time

STOP_S = 10.0
"""From the signal to the end of the process."""
OTHERS_S = 6.0
"""Of it, for what others must answer: nodes, appmgr, the subscription manager, shared data. The rest is for this
process's own threads, its recording, and Python's end."""
OWN_S = 1.5
"""For this process's own threads: RMR, HTTP."""
RECORDING_S = 1.5
"""For what its recording has yet to write."""
LAST_S = 1.0
"""After the budget a process that cannot even say where it hangs is killed."""


class Deadline:
    """What is left of a time that several waits share."""

    def __init__(self, within_s: float) -> None:
        self._at_s = time.monotonic() + within_s

    def left_s(self, most_s: float = math.inf) -> float:
        """At most `most_s`; 0 once it has passed."""
        return max(0.0, min(most_s, self._at_s - time.monotonic()))


def end_process_in_time() -> None:
    """From now on this process ends within STOP_S: if it has not by itself, it writes where each thread hangs to
    stderr and exits with status 1. No thread is needed for it, and no lock: neither a library that keeps Python waiting
    nor one that hangs in its own end holds it up.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, STOP_S + LAST_S)
    if sys.stderr is not None:
        faulthandler.dump_traceback_later(STOP_S, exit=True)
