"""How compiled code is kept: never staler than its sources, and never in the way."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numba.core.options
import pytest
from numba.core.registry import cpu_target

from training.simulator import core, jit, mac_rule, slot_step

ROOT = Path(__file__).parents[3]
COMPILING = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("policy", "training", "xapp")
    for path in (ROOT / package).rglob("*.py")
    if "import njit" in path.read_text(encoding="utf-8")
)
"""Modules that have numba compile something."""
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU")}
"""What this process has told its children already, left out."""
ANSWER = "from elsewhere import VALUE\n\ndef answer():\n    return VALUE\n"


def test_a_constant_that_changed_in_another_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = ModuleType("elsewhere")
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    (tmp_path / "answers.py").write_text(ANSWER)
    monkeypatch.syspath_prepend(tmp_path)
    answers = []
    for value, digest in ((1, "one"), (1, "one"), (2, "two")):
        elsewhere.VALUE = value  # type: ignore[attr-defined]
        sys.modules.pop("answers", None)
        monkeypatch.setattr(jit, "SOURCES_DIGEST", digest)
        answer = jit.entry_point(importlib.import_module("answers").answer)
        answers.append((answer(), sum(answer.stats.cache_hits.values())))
    # From the cache where nothing changed; numba alone would have found 1 there the third time, too.
    assert answers == [(1, 0), (1, 1), (2, 0)]


def test_the_digest_covers_what_compiled_code_is_made_of() -> None:
    assert core.play.__qualname__ == f"play_{jit.SOURCES_DIGEST}"
    for module in (core, mac_rule, slot_step):
        source = Path(module.__file__ or "")
        imported = [
            node.module or "" for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ImportFrom)
        ]
        ours = {name for name in imported if name.startswith(("policy.", "training."))}
        assert {source, *(Path(sys.modules[name].__file__ or "") for name in ours)} <= set(jit.SOURCES)


def test_where_nothing_can_be_written_code_is_compiled_all_the_same() -> None:
    made_up: dict[str, object] = {}
    exec(compile("def three():\n    return 3\n", "<no such file>", "exec"), made_up)
    assert jit.entry_point(made_up["three"])() == 3  # type: ignore[type-var, operator]


def test_a_numba_without_the_private_option_is_used_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(numba.core.options.DefaultOptions, "_nrt")
    try:
        older = importlib.reload(jit)
        assert older.inlined(lambda x: x + 1)(2) == 3
    finally:
        monkeypatch.undo()
        importlib.reload(jit)


COMPILED_AHEAD = """
import runpy
runpy.run_module("training.simulator", run_name="__main__")
from training.simulator import core, jit
entry_points = [each for each in vars(core).values() if getattr(each, "__qualname__", "").endswith(jit.SOURCES_DIGEST)]
print([bool(each.overloads) for each in entry_points])
"""


def test_whoever_sets_a_machine_up_has_every_entry_point_compiled() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILED_AHEAD], capture_output=True, text=True, timeout=280)
    assert done.stdout.strip() == "[True, True, True, True]", done.stderr


@pytest.mark.parametrize("module", COMPILING)
def test_whatever_is_imported_first_code_is_compiled_for_one_target(module: str) -> None:
    """numba looks at its settings once: of another target nothing that was compiled before would be found."""
    code = (
        f"import {module}; from numba.core.registry import cpu_target;"
        "print(cpu_target.target_context.codegen().magic_tuple())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=PLAIN)
    assert done.stdout.strip() == str(cpu_target.target_context.codegen().magic_tuple()), done.stderr
