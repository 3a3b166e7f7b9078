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

from typing import ClassVar


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
