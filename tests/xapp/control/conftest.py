"""A control loop that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from deciding import Deciding


@pytest.fixture
def make(node: Any) -> Iterator[Callable[..., Deciding]]:
    """`make(leader, **controls)` starts a loop; the test's end stops it."""
    with ExitStack() as stack:

        def start(leader: Any, **controls: Any) -> Deciding:
            deciding = Deciding(node, leader, **controls)
            deciding.loop.start()
            stack.callback(deciding.loop.close)
            return deciding

        yield start
