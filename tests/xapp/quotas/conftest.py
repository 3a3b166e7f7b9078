"""What the quotas' tests over real sockets begin with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from controlling import Controlling

from xapp.ric.sdl import SharedStore


@pytest.fixture
def store() -> Iterator[SharedStore]:
    opened = SharedStore(environ={})
    yield opened
    opened.close()


@pytest.fixture
def rig(node: Any, store: SharedStore) -> Controlling:
    return Controlling(node, store)
