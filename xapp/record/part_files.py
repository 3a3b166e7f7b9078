"""The files of a recording: FILE is its newest part, FILE.1 the one before, FILE.2 the one before that.

A recording of an earlier run is moved out of the way in the same manner. Nothing but regular files is ever renamed.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from policy.errors import UserMistake


class NoPlaceForRecording(UserMistake):
    """A recording cannot be written there: one line that says why."""


def check_place(flag: str, path: Path | None) -> None:
    """Before anything begins. Raises NoPlaceForRecording."""
    if path is None:
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _check_regular(path)
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise NoPlaceForRecording(f"{flag} {path}: {error.strerror or error}") from None


def older(path: Path) -> Path:
    """The name of the part before: `rec` -> `rec.1` -> `rec.2`."""
    number = path.suffix[1:]
    if number.isdecimal() and number.isascii():
        return path.with_name(f"{path.stem}.{int(number) + 1}")
    return path.with_name(f"{path.name}.1")


def make_way(path: Path, keep: int) -> None:
    """Have FILE free: what is there becomes FILE.1 and so on, of which `keep`, one at least, are kept. Raises OSError,
    also for what is no regular file.
    """
    names = [path]
    while len(names) <= keep and os.path.lexists(names[-1]):
        _check_regular(names[-1])
        names.append(older(names[-1]))
    if os.path.lexists(names[-1]):
        _check_regular(names[-1])
    for newer, to in reversed(list(zip(names, names[1:]))):
        os.replace(newer, to)


def _check_regular(path: Path) -> None:
    """A device, a pipe, a socket, a link or a folder is nothing that a recording may take the place of."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "there is something else than a regular file", str(path))
