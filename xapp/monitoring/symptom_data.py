"""Symptom data: everything that somebody needs who was not there, in one zip. No secrets, whatever went in."""

from __future__ import annotations

import io
import json
import platform
import re
import sys
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("stackmac", "torch", "transformers", "numpy", "ricxappframe", "ricsdl", "redis", "protobuf", "pycrate")
CREDENTIALS = re.compile(r"(://)[^/@\s\"']+@")
"""user:password@ in a URL."""
SECRET_FIELDS = re.compile(
    r'("[^"]*(?:password|passwd|secret|token|apikey|api_key)[^"]*"\s*:\s*)"[^"]*"', re.IGNORECASE
)


def symptom_data(parts: Mapping[str, Callable[[], Any]]) -> bytes:
    """A zip with one file for each part. A part is bytes, text, or whatever JSON can hold (anything else as text); one
    that fails becomes a file that says so: symptoms are asked for when things fail.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            try:
                text = _text(part())
            except Exception as error:  # whatever it is, the other parts are wanted all the more
                name, text = f"{name}.failed.txt", repr(error)
            archive.writestr(name, without_secrets(text))
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


def _text(part: Any) -> str:
    if isinstance(part, bytes):
        return part.decode("utf-8", "replace")
    if isinstance(part, str):
        return part
    return json.dumps(part, indent=1, default=str)
