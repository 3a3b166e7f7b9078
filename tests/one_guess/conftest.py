"""A copy of the tree with one file changed, and sometimes a new one: what docs/contributing.md promises is tried in it.

The copy is made of links, but for these files and the folders above them, so that compiled code is found where it
lies: its cache is named by the sources that it is made of, and none of the changed files is one of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 240.0


class Tree(NamedTuple):
    """The changed tree."""

    root: Path

    def _run(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.root), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )

    def python(self, code: str) -> str:
        """Run a program that succeeds; what it prints."""
        done = self._run(["-c", code])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stackmac(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(["-m", "xapp.cli", *arguments])


def link_files(folder: Path, here: Path) -> None:
    """A folder of its own with links to another's files: what is written into it, bytecode of what was changed, stays
    out of the real one."""
    here.mkdir()
    for path in folder.iterdir():
        if path.suffix != ".pyc":
            (here / path.name).symlink_to(path)


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Tree]:
    """`changed(file, (old, new), ..., added={file: text})`: the tree with these pieces of one file replaced, each of
    which stands there once, and with new files.
    """

    def change(name: str, *edits: tuple[str, str], added: Mapping[str, str] = MappingProxyType({})) -> Tree:
        root = tmp_path / "tree"
        text = (ROOT / name).read_text(encoding="utf-8")
        for old, new in edits:
            assert text.count(old) == 1, f"{name}: {old!r} stands there {text.count(old)} times"
            text = text.replace(old, new)
        for file, content in {name: text, **added}.items():
            for folder in (*reversed(Path(file).parents), Path(file)):
                here = root / folder
                if here.is_symlink():
                    here.unlink()
                if folder != Path(file) and not here.exists():
                    here.mkdir()
                    for path in (ROOT / folder).iterdir():
                        if path.name == "__pycache__":
                            link_files(path, here / path.name)
                        elif path.name != ".git":
                            (here / path.name).symlink_to(path)
            here.write_text(content, encoding="utf-8")
        return Tree(root)

    return change
