"""The house: no import runs in a circle, no folder and no module grows without bound, and every folder says what it
may import.

Which folder may import which is written down as import contracts in pyproject.toml; here is what these do not say.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("policy", "training", "xapp")
MAX_MODULES = 20
"""Of a folder, its __init__ not counted: what one can take in at a glance."""
MAX_LINES = 400
"""Of a module."""
MAX_DOCSTRING_LINES = 3
"""Of a folder's __init__, blank ones not counted."""
FOR_EVERYBODY = ("policy.errors", "training.command_line")
"""What any folder may import without saying so."""


def circle_in(*packages: str) -> list[str]:
    """The modules of one circle of imports, the first once more at its end; [] = there is none.

    Every import counts: those for type checkers only, and those inside functions.
    """
    graph = grimp.build_graph(*packages, cache_dir=None)
    imported = {module: sorted(graph.find_modules_directly_imported_by(module)) for module in sorted(graph.modules)}
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle[::-1]  # so that each imports the next
    return []


def folders() -> Iterator[Path]:
    """Every folder of the packages that has modules."""
    for package in PACKAGES:
        yield from sorted({path.parent for path in (ROOT / package).rglob("*.py")})


def modules_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_no_import_runs_in_a_circle() -> None:
    assert " -> ".join(circle_in(*PACKAGES)) == ""


@pytest.mark.parametrize(
    "back",
    [
        "from planted.deep import first",
        "import planted.deep.first",
        "from .deep.first import BOTTOM",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from planted.deep import first",
        "def late():\n    from planted.deep.first import BOTTOM",
        "",
    ],
)
def test_a_planted_circle_is_found(back: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in {
        "__init__": "",
        "deep/__init__": "",
        "deep/first": "from planted import second\nBOTTOM = 1\n",
        "second": "import planted.third\n",
        "third": f"{back}\n",
        "aside": "from planted.deep import first\n",
    }.items():
        path = tmp_path / "planted" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    circle = circle_in("planted")
    if not back:
        assert circle == []
        return
    assert circle[0] == circle[-1]
    once = circle[:-1]
    start = once.index("planted.deep.first")
    assert [*once[start:], *once[:start]] == ["planted.deep.first", "planted.second", "planted.third"]


def test_xapp_has_nothing_at_its_top_but_the_command_line() -> None:
    assert names(modules_of(ROOT / "xapp")) == ["xapp/cli.py"]


def test_no_folder_has_more_modules_than_one_takes_in_at_a_glance() -> None:
    crowded = {
        str(folder.relative_to(ROOT)): count for folder in folders() if (count := len(modules_of(folder))) > MAX_MODULES
    }
    assert crowded == {}


def test_no_module_is_longer_than_one_reads_in_one_go() -> None:
    paths = [path for folder in folders() for path in folder.glob("*.py")]
    assert len(paths) > 100
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


@functools.cache
def imports_of() -> dict[str, set[str]]:
    """By folder, dotted: the modules outside of it that its own modules import, those of folders within it left out."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    found: dict[str, set[str]] = {".".join(folder.relative_to(ROOT).parts): set() for folder in folders()}
    for module in graph.modules:
        folder = module if module in found else module.rpartition(".")[0]
        found[folder] |= {
            imported
            for imported in graph.find_modules_directly_imported_by(module)
            if not f"{imported}.".startswith((f"{folder}.", *(f"{name}." for name in FOR_EVERYBODY)))
        }
    return found


def word_for(imported: str, folder: str) -> str:
    """What a folder's text has to name for this import: another package, or the folder in which their ways part."""
    theirs = imported.split(".")
    pairs = zip(theirs, folder.split("."), strict=False)
    shared = len([*itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)])
    within = ".".join(theirs[: shared + 1])
    return (within if within in imports_of() else ".".join(theirs[:shared])).rpartition(".")[2]


@pytest.mark.parametrize("folder", sorted(imports_of()))
def test_a_folder_says_in_few_lines_what_lives_there_and_what_it_may_import(folder: str) -> None:
    path = ROOT.joinpath(*folder.split("."), "__init__.py")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert len([line for line in docstring.splitlines() if line]) <= MAX_DOCSTRING_LINES, docstring
    _, has_it, after = docstring.lower().partition("import")
    assert has_it, docstring
    if f"all of {folder.partition('.')[0]}" not in after:
        wanted = {word_for(imported, folder) for imported in imports_of()[folder]}
        assert wanted - set(re.findall(r"\w+", after)) == set(), docstring
