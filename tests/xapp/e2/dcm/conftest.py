"""The two readers of DCM indications."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from xapp.e2.dcm.compiled_code import indication_walk_code
from xapp.e2.dcm.indication import compiled_indications, use_compiled_indications

WALK = indication_walk_code(may_compile=True)


@pytest.fixture(params=[False, True], ids=["python", "compiled"])
def reader(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test runs by either."""
    use_compiled_indications(compiled_indications(WALK) if request.param else None)
    yield
    use_compiled_indications(None)
