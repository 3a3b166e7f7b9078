"""Machine code of the walk over a report's UEs, to be found or made. numba is imported here alone, when asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from xapp.e2.kpm.compiled_walk import CompiledWalk, UeForm
from xapp.e2.kpm.report_reader import use_compiled_walk


def compiled_walk_code(*, may_compile: bool) -> Any:
    """xapp.e2.kpm.ue_walk.walk_ues in machine code.

    Raises NotCompiled (policy.engine.code_cache) if it is in no cache and is not to be compiled here, numba's errors
    where it cannot be compiled.
    """
    from xapp.e2.kpm.ue_walk import walk

    walk.prepare(_example_arguments(), may_compile=may_compile)
    return walk.run


def read_reports_compiled(*, may_compile: bool) -> None:
    """From now on, in this process. Raises what `compiled_walk_code` raises."""
    use_compiled_walk(CompiledWalk(compiled_walk_code(may_compile=may_compile)))


def _example_arguments() -> tuple[Any, ...]:
    """Of the types that CompiledWalk calls the walk with."""
    octets = np.frombuffer(bytes(1), np.uint8)
    form = UeForm(0, 0, np.zeros((1, 1), np.uint8), np.zeros(1, np.int64), 0, octets)
    return (octets, 0, 0, 0, *form, np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 1)))
