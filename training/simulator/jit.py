"""How the slot loop is compiled, and where the result is kept: numba, and what it does not see by itself.

Only entry points are cached: their machine code holds everything that is inlined into them. numba takes a cached
function for current as long as the file that it stands in is; but it also holds helpers and constants of other files,
and the layout of structs. So an entry point's name, and with it its cache file, changes with all of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core.options import DefaultOptions

from policy import allocation, cell_state
from policy.engine.code_cache import RunOnlyCache
from policy.engine.portable_target import set_portable_target

Function = TypeVar("Function", bound=Callable[..., Any])

SOURCES = (
    *(Path(__file__).with_name(f"{name}.py") for name in ("core", "jit", "mac_rule", "slot_step")),
    # Constants and structs.
    *(Path(__file__).with_name(f"{name}.py") for name in ("plan", "state", "world")),
    Path(allocation.__file__),
    Path(cell_state.__file__),
)
"""All that compiled code is made of."""
SOURCES_DIGEST = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()[:12]

# The compiled decision may be in the same process, and numba compiles for one target.
set_portable_target()

# Counting references to the arrays of a struct, and handing structs over, costs four times what these functions do: so
# they are inlined, and live without numba's runtime (_nrt): none allocates an array or assigns a slice. The option is
# not of numba's public interface: a version without it compiles the same functions, only slower ones.
_OPTIONS: dict[str, Any] = {"nogil": True, **({"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {})}


def inlined(function: Function) -> Function:
    """Compile a helper of the slot loop into every entry point that calls it."""
    compiled: Function = njit(forceinline=True, **_OPTIONS)(function)
    return compiled


def entry_point(function: Function) -> Function:
    """Compile what Python calls: once per machine, where there is a place to keep it, else once per process."""
    function.__qualname__ += f"_{SOURCES_DIGEST}"
    compiled: Any = njit(**_OPTIONS)(function)
    with suppress(RuntimeError):  # neither beside the source nor in the user's cache folder can anything be written
        compiled._cache = RunOnlyCache(compiled.py_func)
    return compiled
