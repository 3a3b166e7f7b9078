"""xApps as processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from xapp_process import Running


@pytest.fixture
def start() -> Iterator[Any]:
    with ExitStack() as stack:

        def start_one(config: Path, **options: Any) -> Running:
            running = Running(config, **options)
            stack.callback(running.close)
            return running

        yield start_one
