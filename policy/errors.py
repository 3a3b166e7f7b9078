"""What can go wrong that is not a programming error: each is one line, which the command line prints.

StackmacError
  UserMistake        what was asked for cannot be done as asked: exit status 2
  RunFailed          a run that was rightly asked for must not go on: exit status 1
  DecodeError        bytes or a document from outside that are not what they should be
  EncodeError        a value that cannot be written as it should be
  ServiceError       the platform, or another xApp, gives no answer that can be used

A programming error is none of them and keeps its trace-back. Packages derive their own from these.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar

TORCH = "torch transformers"
OPTIONAL_PACKAGES = {
    "torch": TORCH,
    "transformers": TORCH,
    "peft": "peft",
    "gymnasium": "gymnasium pettingzoo",
    "pettingzoo": "gymnasium pettingzoo",
    "matplotlib": "matplotlib",
}
"""What running the shipped bundles does without: by package, what to install to have it and what goes with it."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, and of whatever else was stopped before it had what was asked for."""


class StackmacError(Exception):
    """Anything that a command ends with in one line."""

    exit_status: ClassVar[int] = 1


class UserMistake(StackmacError):
    """What was asked for cannot be done as asked; the line names the value and what was expected."""

    exit_status = 2


class RunFailed(StackmacError):
    """A run that was rightly asked for must not go on."""


class DecodeError(StackmacError):
    """Bytes, or a document, that somebody else wrote and that are not what they should be."""


class EncodeError(StackmacError):
    """A value that cannot be written."""


class ServiceError(StackmacError):
    """A service that does not answer, or answers something else than it should."""


def is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:  # whoever is asked to find it refuses
        return False


def how_to_add(package: str) -> str:
    """That a package is not there, and what to do about it. package: one of OPTIONAL_PACKAGES."""
    packages = OPTIONAL_PACKAGES[package]
    return f"{package} is not installed; to add it: pip install {packages} (in a checkout: ./dev setup)"


def missing_package(error: ImportError) -> str:
    """The one of OPTIONAL_PACKAGES for whose absence an import failed; empty = it failed for another reason."""
    package = (error.name or "").partition(".")[0]
    return package if package in OPTIONAL_PACKAGES and not is_installed(package) else ""


def counted(count: int, one: str, many: str = "") -> str:
    """`1 cell`, `2 cells`. many: where that is not `one` and an s; words may come after the noun: `cell is`."""
    return f"{count} {one if count == 1 else many or one + 's'}"
