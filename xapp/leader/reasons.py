"""Why a fallback took a leader's place: all the words there are, as they are labels of metrics."""

from __future__ import annotations

LATE = "late"
"""No answer by the deadline."""
BUSY = "busy"
"""Still at an earlier batch, whose deadline has passed."""
ERROR = "error"
"""It raised something, or returned no list of Decision."""
WRONG_COUNT = "wrong_count"
"""It answered for another number of cells than it was asked about."""
MALFORMED = "malformed"
"""Its answer is of other types, shapes or sizes than the contract says (xapp.leader.answer_check)."""
GIVEN_UP = "given_up"
"""Too many leaders did not return: nobody is asked any more."""
BREAKER_OPEN = "breaker_open"
"""It failed too often, and is not asked for a while (xapp.leader.circuit_breaker)."""
COMPILING = "compiling"
"""Its code is compiled on the side."""
RESTARTING = "restarting"
"""Its process died, or was ended, and the next one is not ready yet."""
NOT_READY = "not_ready"
"""A plug-in says that it cannot decide yet."""
HOLD_OUT = "hold_out"
"""The KPI guard looks at the cell without the leader for a moment: nobody's fault."""
REVERTED = "reverted"
"""The KPI guard has found that the cell is worse off with the leader."""
CLOSED = "closed"
"""The xApp stops: nothing is to be sent any more."""

WITHHELD = (HOLD_OUT, REVERTED)
"""The KPI guard's: the node decides, under the same limits."""
ERRORS = (ERROR, WRONG_COUNT, MALFORMED, RESTARTING)
OVERDUE = (LATE, BUSY)
FAILURES = (*ERRORS, *OVERDUE, GIVEN_UP, BREAKER_OPEN)
"""The leader's fault."""
EXCUSES = (COMPILING, RESTARTING, NOT_READY)
"""What a leader that cannot decide yet may give as a reason."""
