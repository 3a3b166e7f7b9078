"""For which processor numba compiles: one target for all machines of a kind, so that compiled code can be shipped.

Left alone, numba compiles for the very processor it runs on, and takes nothing from a cache that another one filled.
It reads its settings once a process: whoever compiles anything calls this first.
"""

from __future__ import annotations

import os

X86_TARGET = "x86-64-v3"
"""AVX2 and FMA: servers since 2013 (Intel) and 2017 (AMD). Wider vectors gained the engine less than a tenth."""
X86_NEEDS = ("avx2", "bmi2", "f16c", "fma", "lzcnt", "movbe")
"""Features by which a processor is known to run that target."""
CPU_NAME, CPU_FEATURES = "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"


def set_portable_target() -> None:
    """Let numba compile for X86_TARGET where the processor is one; whoever set NUMBA_CPU_NAME is left alone."""
    from llvmlite import binding
    from numba.core import config

    if os.environ.get(CPU_NAME) or os.environ.get(CPU_FEATURES):
        return
    features = binding.get_host_cpu_features()
    if not all(features.get(name) for name in X86_NEEDS):
        return  # not such a processor: numba's own choice
    # In the environment, so that numba keeps it when it reads its settings again, and child processes have it too.
    os.environ[CPU_NAME], os.environ[CPU_FEATURES] = X86_TARGET, ""
    config.reload_config()
