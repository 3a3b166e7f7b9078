"""What an examination says of one thing: in order, or which fault it has, how that shows and what to do."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, but not as it should; the exit status stays 0."""
    FAULT = "fault"
    UNKNOWN = "unknown"
    """It cannot be judged as long as something else is wrong."""


class Finding(NamedTuple):
    """One line of the examination."""

    check: str
    state: State
    found: str
    """What was seen, with the values."""
    fault: str = ""
    """A name of `faults.FAULTS`; "" = none."""
    advice: str = ""
    """What to do about it."""
