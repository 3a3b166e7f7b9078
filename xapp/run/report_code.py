"""Reports read by machine code, if that is there or as soon as it is; Python reads them meanwhile, or for good."""

from __future__ import annotations

import logging
import sys
import threading

from xapp.control.cold_start import compile_apart
from xapp.control.columns.compiled_code import read_all_compiled

log = logging.getLogger(__name__)


def read_reports_by_machine_code() -> threading.Thread | None:
    """Where the leader is compiled as well. The thread that waits for a compiler, if there is need of one.

    numba takes half a second to load and a hundred megabytes: no xApp pays that for its reports alone.
    """
    if "numba" not in sys.modules:
        return None
    from policy.engine.code_cache import NotCompiled

    try:
        read_all_compiled(may_compile=False)
        return None
    except NotCompiled:
        log.warning("the compiled report reader is in no cache (python -m xapp.control.columns puts it there)")
    except Exception as error:  # numba and LLVM have many ways to fail; perhaps not when it is compiled anew
        log.warning("the compiled report reader cannot be loaded: %s", error)
    thread = threading.Thread(target=_compile, name="compile-reader", daemon=True)
    thread.start()
    return thread


def _compile() -> None:
    try:
        compile_apart("xapp.control.columns")
        read_all_compiled(may_compile=True)
    except Exception as error:
        log.warning("reports are read by Python, which takes ten times as long: %s", error)
    else:
        log.info("reports are read by compiled code")
