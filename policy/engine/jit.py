"""How the engine is compiled: numba's options, and the name of what all its sources together come to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core.options import DefaultOptions

from policy import cell_state, cqi, grammar, model_config
from policy.engine.portable_target import set_portable_target
from policy.leader_models import action_features as features
from policy.schedulers import estimate, periodic_grants

Function = TypeVar("Function", bound=Callable[..., Any])

set_portable_target()

OPTIONS: dict[str, Any] = {
    "fastmath": {"contract"},  # fused multiply-add; to reassociate sums would break `simd.exp`
    "error_model": "numpy",
    "nogil": True,
}
# Nobody calls them from Python, and the code that would unpack their arguments takes longer to compile than they do.
# The options are not of numba's public interface: a version without them compiles the same, only longer.
_NO_WRAPPERS: dict[str, Any] = {
    name: True for name in ("no_cpython_wrapper", "no_cfunc_wrapper") if hasattr(DefaultOptions, name)
}
FOLDER = Path(__file__).parent
KERNELS = (
    "decide", "dcm", "encode", "jit", "memory", "prefill", "remaining", "simd", "sizes", "steps", "tables", "tiles",
    "weights",
)  # fmt: skip
SOURCES = (
    *(FOLDER / f"{name}.py" for name in KERNELS),
    # Their constants.
    *(
        Path(module.__file__ or "")
        for module in (cell_state, cqi, estimate, grammar, model_config, periodic_grants, features)
    ),
)
"""All that compiled code is made of."""
SOURCES_DIGEST = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()[:12]


def kernel(function: Function) -> Function:
    """For the engine's functions: part of every entry point that calls them."""
    compiled: Function = njit(**OPTIONS, **_NO_WRAPPERS)(function)
    return compiled
