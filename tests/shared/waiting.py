"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 30.0
"""After this what did not happen is taken for a failure; a busy machine takes a part of it."""
LOOK_EVERY_S = 0.002


def wait_for(condition: Callable[[], bool], *, look_every_s: float = LOOK_EVERY_S) -> None:
    """Look until `condition` holds: for what has no event that could be awaited, as a counter of another thread."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        time.sleep(look_every_s)
