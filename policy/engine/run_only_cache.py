"""numba's cache of compiled functions, for whoever runs what lies in it."""

from __future__ import annotations

from typing import Any

from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys


class RunOnlyCache(FunctionCache):
    """Loads code for what running it takes. numba makes ready to compile first: 75 modules, a tenth of a second."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)  # what compiled code calls of numba's runtime
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)
