"""Results as JSON, in a file or on standard output; and whether a file can be written, before a long run."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy.errors import UserMistake

NUMBERS = re.compile(r"\[\n\s+([^\[\]{}\"]*?)\n\s+\]")
"""A list of nothing but numbers: it goes on one line. No line is broken within a string."""


class ResultFileError(UserMistake):
    """Results cannot be written there: one line that says why."""


def as_plain(value: Any) -> Any:
    """A value as JSON can carry it: named tuples as objects, keys as text, numbers that are not finite as null."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return as_plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_json_path(path: str) -> None:
    """Before a long run: ResultFileError if `write_json` could not write there."""
    if not path or path == "-":
        return
    try:
        if Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _try_to_write(path)
    except OSError as error:
        raise ResultFileError(f"--json {path}: {error.strerror}") from None


def is_special(path: str) -> bool:
    """Whether it is a device or a pipe, such as /dev/null: it is written into, and nothing is kept beside it."""
    return Path(path).exists() and not Path(path).is_file()


def holds_something(path: Path) -> bool:
    """Whether a file is there, with something in it; devices and pipes hold nothing."""
    return path.is_file() and path.stat().st_size > 0


def write_json(path: str, value: object) -> None:
    """Write `value` to a file, or to standard output for `-`. Raises ResultFileError."""
    text = NUMBERS.sub(lambda found: "[" + " ".join(found[1].split()) + "]", json.dumps(value, indent=2))
    if path == "-":
        print(text)
        return
    temporary = _temporary(path)
    try:
        if is_special(path) or Path(path).is_symlink():  # no file takes the place of /dev/null or /dev/stdout
            Path(path).write_text(text + "\n", encoding="utf-8")
            return
        temporary.write_text(text + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ResultFileError(f"--json {path}: {error.strerror}") from None


def _try_to_write(path: str) -> None:
    if is_special(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    temporary = _temporary(path)
    temporary.touch()
    temporary.unlink()


def _temporary(path: str) -> Path:
    return Path(f"{path}.{os.getpid()}.tmp")
