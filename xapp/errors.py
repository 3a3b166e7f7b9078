"""What can go wrong in the xApp that is not a programming error: xapp's branch of policy.errors.

StackmacError
  DecodeError        bytes or a document from outside that are not what they should be
  EncodeError        a value that cannot be written as it should be
  ServiceError       the platform, or another xApp, gives no answer that can be used
UserMistake          configuration, policies, recordings: each where it is read
RunFailed            the lab's processes

Each names the value and what was expected, in one line.
"""

from __future__ import annotations

from policy.errors import StackmacError


class DecodeError(StackmacError):
    """Bytes, or a document, that somebody else wrote and that are not what they should be."""


class EncodeError(StackmacError):
    """A value that cannot be written."""


class ServiceError(StackmacError):
    """A service that does not answer, or answers something else than it should."""
