"""Machine code of all that reads reports, to be found or made: KPM reports, DCM indications, and the columns that these
come to. numba is imported only here and in what this calls, when it is asked for.
"""

from __future__ import annotations

from typing import Any

from xapp.control.columns.indication_columns import example_arguments, use_compiled_columns
from xapp.e2.dcm.compiled_code import indication_walk_code, read_indications_compiled
from xapp.e2.kpm.compiled_code import compiled_walk_code, read_reports_compiled


def columns_code(*, may_compile: bool) -> Any:
    """xapp.control.columns.kernel.take_columns in machine code.

    Raises NotCompiled (policy.engine.code_cache) if it is in no cache and is not to be compiled here, numba's errors
    where it cannot be compiled.
    """
    from xapp.control.columns.kernel import columns

    columns.prepare(example_arguments(), may_compile=may_compile)
    return columns.run


def prepare_all() -> list[str]:
    """Compile whatever is in no cache; the folders that it is kept in, "" = in none."""
    from xapp.control.columns.kernel import columns
    from xapp.e2.dcm.indication_walk import walk as indication_walk
    from xapp.e2.kpm.ue_walk import walk as report_walk

    for make in (compiled_walk_code, indication_walk_code, columns_code):
        make(may_compile=True)
    return [each.kept_in for each in (report_walk, indication_walk, columns)]


def read_all_compiled(*, may_compile: bool) -> None:
    """From now on, in this process. Raises what `columns_code` raises."""
    read_reports_compiled(may_compile=may_compile)
    read_indications_compiled(may_compile=may_compile)
    use_compiled_columns(columns_code(may_compile=may_compile))
