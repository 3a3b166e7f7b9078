"""A cell that can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from asking import Ask, Asking


@pytest.fixture
def ask(make_cell: Any) -> Iterator[Ask]:
    with ExitStack() as stack:

        def make(leader: Any) -> Asking:
            asking = Asking(make_cell(leader))
            stack.callback(asking.close)
            return asking

        yield make
