"""Anyone's own code by name, `module:attribute`; the current folder is on the path, after everything installed."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from policy.errors import UserMistake


class PlugInError(UserMistake):
    """A plug-in that cannot be had: its name, and what went wrong."""


def is_plug_in(name: str) -> bool:
    """Whether `name` is written as one."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


def load_plug_in(name: str, what: str) -> Any:
    """The attribute called `module:attribute`. what: as a message names it. Raises PlugInError."""
    module, colon, attribute = name.partition(":")
    if not colon:
        raise PlugInError(f"{what} is {name!r}, expected module:name")
    try:
        return getattr(import_plug_in(module), attribute)
    except Exception as error:  # somebody else's code: importing it can fail in any way
        raise PlugInError(f"{what} {name!r}: {type(error).__name__}: {error}") from error


def import_plug_in(module: str) -> Any:
    """A module of the path or of the current folder. Whatever importing raises is raised."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return import_module(module)
