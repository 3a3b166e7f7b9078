"""Machine code of the walk over an indication, to be found or made. numba is imported here alone, when asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from xapp.e2.dcm.indication import compiled_indications, use_compiled_indications


def indication_walk_code(*, may_compile: bool) -> Any:
    """xapp.e2.dcm.indication_walk.walk_indication in machine code.

    Raises NotCompiled (policy.engine.code_cache) if it is in no cache and is not to be compiled here, numba's errors
    where it cannot be compiled.
    """
    from xapp.e2.dcm.indication_walk import walk

    octets, table, values = np.frombuffer(bytes(1), np.uint8), np.empty((1, 1), np.int64), np.empty((1, 1))
    walk.prepare((octets, table, values, np.empty(1, np.int64), table, values), may_compile=may_compile)
    return walk.run


def read_indications_compiled(*, may_compile: bool) -> None:
    """From now on, in this process. Raises what `indication_walk_code` raises."""
    use_compiled_indications(compiled_indications(indication_walk_code(may_compile=may_compile)))
