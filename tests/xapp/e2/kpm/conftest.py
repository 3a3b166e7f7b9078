"""The octet walk by which reports are read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kpm_readers import COMPILED_WALK

from xapp.e2.kpm.report_reader import use_compiled_walk


@pytest.fixture(params=[None, COMPILED_WALK], ids=["python", "compiled"])
def walk(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test runs by either."""
    use_compiled_walk(request.param)
    yield
    use_compiled_walk(None)
