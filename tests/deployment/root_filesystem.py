"""A Dockerfile's stages carried out without a container engine: each a root file system in a folder.

A stage that stands on Python's Debian image begins with that release of Debian instead, made of Debian's own packages
(mmdebstrap). What the file says from there on is done as it stands: its commands run in the root (bubblewrap), with
its variables, and take from the repository what .dockerignore lets through.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import dockerfile

PYTHON_IMAGE = re.compile(r".*/python:(?P<python>3\.\d+)-slim-(?P<release>[a-z]+)")
PACKAGES = ("ca-certificates", "netbase", "python-is-python3", "python3-venv", "tzdata")
"""What that image has beyond Debian's smallest: these in Debian's form."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Failed(Exception):
    """One line that says which step failed, and how."""


class Image(NamedTuple):
    """What a build hands over."""

    root: Path
    environment: dict[str, str]
    user: int
    group: int
    working_folder: str
    start: list[str]
    """The entry point, and behind it the words that it is started with."""
    lacking: dict[str, str]
    """By stage: why what is taken from it is not in the image."""


class Lent(NamedTuple):
    """What of this machine a build's commands see: its way to PyPI. Nothing of it stays."""

    variables: dict[str, str]
    paths: list[Path]


def pip_settings() -> Lent:
    """pip's, by its own account: its files, and those that they name; of a folder of packages pip does without."""
    pip = [sys.executable, "-m", "pip", "config"]
    files = re.findall(r"^\s*(/.*), exists: True$", _output([*pip, "debug"]), re.MULTILINE)
    words = re.split(r"[\s='\"]+", _output([*pip, "list"]))
    named = [Path(word.removeprefix("file://")) for word in words]
    paths = [path for path in (*map(Path, files), *named) if path.is_absolute() and path.is_file()]
    return Lent({name: value for name, value in os.environ.items() if name.startswith("PIP_")}, [*dict.fromkeys(paths)])


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Build:
    """Of one Dockerfile, in a folder of its own; `say` hears what is done."""

    def __init__(
        self,
        repository: Path,
        folder: Path,
        *,
        base: Path,
        may_lack: tuple[str, ...] = (),
        arguments: dict[str, str] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """base: where the archive of Debian's release is kept from one build to the next. may_lack: stages that may
        fail to fetch what they are made of. arguments: as `--build-arg`.
        """
        self._repository, self._folder, self._base, self._say = repository, folder, base, say
        self._file = dockerfile.parse((repository / "Dockerfile").read_text(encoding="utf-8"))
        self._ignored = dockerfile.ignore_patterns(repository / ".dockerignore")
        self._may_lack, self._arguments = may_lack, arguments or {}
        self._lent = pip_settings()
        self._lacking: dict[str, str] = {}
        self._known: dict[str, dict[str, str]] = {}

    def image(self, name: str) -> Image:
        """The root file system of a stage, with all that it needs before it."""
        self._make(name)
        whole = self._file.whole(name)
        user, _, group = whole.last("USER").words[0].partition(":")
        return Image(
            root=self._root(name),
            environment={key: self._known[name][key] for each in whole.all("ENV") for key in _pairs(each.text)},
            user=int(user),
            group=int(group or user),
            working_folder=whole.last("WORKDIR").text,
            start=[*whole.last("ENTRYPOINT").words, *whole.last("CMD").words],
            lacking=self._lacking,
        )

    def _root(self, name: str) -> Path:
        return self._folder / name

    def _make(self, name: str) -> None:
        if self._root(name).exists():
            return
        stage, folder = self._file.stage(name), "/"
        if stage.image in {each.name for each in self._file.stages}:
            self._make(stage.image)
            self._timed(f"{name}: from {stage.image}", lambda: _copy_tree(self._root(stage.image), self._root(name)))
            self._known[name] = dict(self._known[stage.image])
            folder = next((each.text for each in reversed(self._file.whole(stage.image).all("WORKDIR"))), folder)
        else:
            self._unpack_base(stage)
            self._known[name] = {"PATH": PATH}
        self._carry_out(stage, folder)

    def _unpack_base(self, stage: dockerfile.Stage) -> None:
        found = PYTHON_IMAGE.fullmatch(stage.image)
        if found is None:
            raise Failed(f"FROM {stage.image}: expected a slim image of Python on Debian")
        if not self._base.exists():
            self._base.parent.mkdir(parents=True, exist_ok=True)
            made = self._base.with_suffix(".part")
            command = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", f"--include={','.join(PACKAGES)}"]
            self._timed(
                f"Debian {found['release']} of its packages", lambda: _run([*command, found["release"], str(made)])
            )
            made.rename(self._base)
        root = self._root(stage.name)
        root.mkdir(parents=True)
        owner = [] if os.geteuid() == 0 else ["--no-same-owner"]
        _run(["tar", "--extract", f"--file={self._base}", f"--directory={root}", "--exclude=./dev/*", *owner])
        version = self._inside(root, ["python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], {}, "/")
        if version.strip() != found["python"]:
            raise Failed(f"Debian {found['release']} has Python {version.strip()}, expected {found['python']}")

    def _carry_out(self, stage: dockerfile.Stage, folder: str) -> None:
        root, known = self._root(stage.name), self._known[stage.name]
        for each in stage.instructions:
            if each.name == "ARG":
                name, _, default = each.text.partition("=")
                known[name] = self._arguments.get(name, default)
            elif each.name == "ENV":
                known |= {key: dockerfile.substitute(value, known) for key, value in _pairs(each.text).items()}
            elif each.name == "WORKDIR":
                folder = each.text
                _at(root, folder).mkdir(parents=True, exist_ok=True)
            elif each.name == "ADD":
                if not self._add(stage.name, dockerfile.substitute(each.words[0], known), _at(root, each.words[1])):
                    return
            elif each.name == "COPY":
                self._copy(each, root, folder)
            elif each.name == "RUN":
                self._say(f"          {stage.name}: {' '.join(each.text.split())[:100]} ...")
                step = partial(self._inside, root, ["sh", "-c", each.text], known, folder)
                self._timed(f"{stage.name}: done", step)

    def _add(self, stage: str, url: str, place: Path) -> bool:
        """False where it cannot be had and need not be."""
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                place.write_bytes(answer.read())
        except OSError as error:
            if stage not in self._may_lack:
                raise Failed(f"{stage}: {url}: {error}") from error
            self._lacking[stage] = f"{url}: {error}"
            return False
        return True

    def _copy(self, copy: dockerfile.Instruction, root: Path, folder: str) -> None:
        *sources, target = copy.words
        place = _at(root, os.path.join(folder, target))
        made_by = copy.options.get("from")
        if made_by:
            self._make(made_by)
            if made_by in self._lacking:
                return
        for name in sources:
            source = _at(self._root(made_by), name) if made_by else self._repository / name
            if source.is_dir():
                ignore = None if made_by else self._left_out
                shutil.copytree(source, place, symlinks=True, ignore=ignore, dirs_exist_ok=True)
            else:
                goal = place / source.name if target.endswith("/") else place
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, goal)

    def _left_out(self, folder: str, names: list[str]) -> list[str]:
        below = Path(folder).relative_to(self._repository)
        return [name for name in names if dockerfile.is_ignored((below / name).as_posix(), self._ignored)]

    def _inside(self, root: Path, words: list[str], variables: dict[str, str], folder: str) -> str:
        """A command as the root's own root user, with this machine's network; its output."""
        lent = [Path("/etc/resolv.conf"), *self._lent.paths]
        new = [path for path in lent if not _at(root, str(path)).exists()]
        command = ["bwrap", "--die-with-parent", "--bind", str(root), "/", "--proc", "/proc", "--dev", "/dev"]
        command += [word for path in lent for word in ("--ro-bind", str(path), str(path))]
        if os.geteuid() != 0:
            command += ["--unshare-user", "--uid", "0", "--gid", "0"]
        environment = {"PATH": PATH, "HOME": "/root", **self._lent.variables, **variables}
        command += ["--clearenv", *(word for pair in environment.items() for word in ("--setenv", *pair))]
        try:
            return _run([*command, "--chdir", folder, *words])
        finally:
            for path in new:
                _remove_empty(root, path)

    def _timed(self, what: str, step: Callable[[], object]) -> None:
        began_s = time.monotonic()
        step()
        self._say(f"{time.monotonic() - began_s:6.1f} s  {what}")


def _pairs(text: str) -> dict[str, str]:
    """Of an ENV instruction."""
    return {key: value for key, _, value in (word.partition("=") for word in shlex.split(text))}


def _at(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _copy_tree(source: Path, target: Path) -> None:
    _run(["cp", "--archive", "--reflink=auto", str(source), str(target)])


def _remove_empty(root: Path, path: Path) -> None:
    """A place that was made to mount something on, with its folders."""
    place = _at(root, str(path))
    if place.is_file() and place.stat().st_size == 0:
        place.unlink()
        place = place.parent
    while place != root and place.is_dir() and not any(place.iterdir()):
        place.rmdir()
        place = place.parent


def _run(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(f"{' '.join(command)[-300:]} ended with {done.returncode}: {' / '.join(words[-5:])}")
    return done.stdout
