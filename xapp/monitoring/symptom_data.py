"""Symptom data: everything that somebody needs who was not there, in one zip. No secrets, whatever went in.

Whoever asks gets what was made in the last seconds, or waits for the one that is being made: in small pieces, each of
which lets go of the interpreter, so that a decision waits for one piece at most. Every file is bounded.
"""

from __future__ import annotations

import io
import json
import platform
import re
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("stackmac", "torch", "transformers", "numpy", "ricxappframe", "ricsdl", "redis", "protobuf", "pycrate")
CREDENTIALS = re.compile(r"(://)[^/@\s\"']+@")
"""user:password@ in a URL."""
SECRET_FIELDS = re.compile(
    r'("[^"]*(?:password|passwd|secret|token|apikey|api_key)[^"]*"\s*:\s*)"[^"]*"', re.IGNORECASE
)
MAX_FILE_CHARACTERS = 4 << 20
MAX_LINE_CHARACTERS = 1 << 16
PIECE_CHARACTERS = 1 << 14
PAUSE_S = 0.001
"""Between two pieces: others run."""
KEPT_S = 10.0
"""For so long what was made is good enough for the next who asks."""


class SymptomData:
    """Thread safe: one zip is made at a time, and those who ask meanwhile get the same."""

    def __init__(self, parts: Mapping[str, Callable[[], Any]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._clock = clock
        self._lock = threading.Lock()
        self._made: bytes = b""
        self._made_s = 0.0

    def newest(self) -> bytes:
        """The zip. Blocks while it is made."""
        with self._lock:
            if not self._made or self._clock() - self._made_s >= KEPT_S:
                self._made = symptom_data(self._parts)
                self._made_s = self._clock()
            return self._made


def symptom_data(
    parts: Mapping[str, Callable[[], Any]], *, pause: Callable[[], None] = lambda: time.sleep(PAUSE_S)
) -> bytes:
    """A zip with one file for each part. A part is bytes, text, an iterator of lines, or whatever JSON can hold
    (anything else as text); one that fails becomes a file that says so: symptoms are asked for when things fail.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            try:
                pieces = _pieces(part(), pause)
            except Exception as error:  # whatever it is, the other parts are wanted all the more
                name, pieces = f"{name}.failed.txt", [without_secrets(repr(error)).encode("utf-8", "replace")]
            with archive.open(name, "w") as file:
                for piece in pieces:
                    file.write(piece)
                    pause()
    return packed.getvalue()


def without_secrets(text: str) -> str:
    """`text` without passwords in URLs and in JSON fields named like one."""
    return SECRET_FIELDS.sub(r'\1"***"', CREDENTIALS.sub(r"\1***@", text))


def versions() -> dict[str, str]:
    """Of this release and what it is built on."""
    found = {"python": sys.version.split()[0], "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _pieces(part: Any, pause: Callable[[], None]) -> list[bytes]:
    """A file's content without secrets. A secret does not cross lines, so each few lines are looked through alone."""
    pieces: list[bytes] = []
    written = 0
    for text in _grouped(_lines(part)):
        if written + len(text) > MAX_FILE_CHARACTERS:
            pieces.append(f"\n(cut: more than {MAX_FILE_CHARACTERS} characters)".encode())
            break
        written += len(text)
        pieces.append(without_secrets(text).encode("utf-8", "replace"))
        pause()
    return pieces


def _grouped(lines: Iterable[str]) -> Iterator[str]:
    """Some lines at a time; joined, they are the text again."""
    held: list[str] = []
    size = 0
    for number, line in enumerate(lines):
        if len(line) > MAX_LINE_CHARACTERS:
            line = line[:MAX_LINE_CHARACTERS] + " (cut)"
        held.append(f"\n{line}" if number else line)
        size += len(line)
        if size >= PIECE_CHARACTERS:
            yield "".join(held)
            held, size = [], 0
    yield "".join(held)


def _lines(part: Any) -> Iterator[str]:
    if isinstance(part, bytes):
        part = part.decode("utf-8", "replace")
    if isinstance(part, str):
        yield from part.split("\n")
    elif isinstance(part, Iterator):
        yield from part
    else:
        yield from _json_lines(part)


def _json_lines(value: Any) -> Iterator[str]:
    """With one field a line; made bit by bit."""
    held = ""
    for chunk in json.JSONEncoder(indent=1, default=str).iterencode(value):
        held += chunk
        if "\n" in chunk:
            *lines, held = held.split("\n")
            yield from lines
    yield held
