"""E2AP's Cause: why something failed."""

from __future__ import annotations

from typing import NamedTuple

from xapp.e2.asn1.aper_reader import BitReader
from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.asn1.errors import E2EncodeError


class Cause(NamedTuple):
    """Why something failed, in ASN.1's names: ("ricRequest", "control-message-invalid")."""

    group: str
    value: str
    """A value of a later version reads `extension-K`."""


_CAUSE_GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ricRequest": (
        (
            "ran-function-id-invalid",
            "action-not-supported",
            "excessive-actions",
            "duplicate-action",
            "duplicate-event-trigger",
            "function-resource-limit",
            "request-id-unknown",
            "inconsistent-action-subsequent-action-sequence",
            "control-message-invalid",
            "ric-call-process-id-invalid",
            "control-timer-expired",
            "control-failed-to-execute",
            "system-not-ready",
            "unspecified",
        ),
        (
            "ric-subscription-end-time-expired",
            "ric-subscription-end-time-invalid",
            "duplicate-ric-request-id",
            "eventTriggerNotSupported",
            "requested-information-unavailable",
            "invalid-information-request",
        ),
    ),
    "ricService": (("ran-function-not-supported", "excessive-functions", "ric-resource-limit"), ()),
    "e2Node": (("e2node-component-unknown",), ()),
    "transport": (("unspecified", "transport-resource-unavailable"), ()),
    "protocol": (
        (
            "transfer-syntax-error",
            "abstract-syntax-error-reject",
            "abstract-syntax-error-ignore-and-notify",
            "message-not-compatible-with-receiver-state",
            "semantic-error",
            "abstract-syntax-error-falsely-constructed-message",
            "unspecified",
        ),
        (),
    ),
    "misc": (("control-processing-overload", "hardware-failure", "om-intervention", "unspecified"), ()),
}
"""Per alternative of Cause its root values and its extension values, in the order of their indices."""
CAUSES: dict[str, tuple[str, ...]] = {group: roots + added for group, (roots, added) in _CAUSE_GROUPS.items()}
"""Values by group, for messages and tests."""
_GROUP_NAMES = tuple(_CAUSE_GROUPS)


def decode_cause(value: bytes, path: str) -> Cause:
    """The Cause in an open type. Raises E2DecodeError."""
    reader = BitReader(value, path)
    index = reader.enumerated(len(_GROUP_NAMES))
    if index >= len(_GROUP_NAMES):
        reader.fail("a group of a later version")
    group = _GROUP_NAMES[index]
    roots, known = len(_CAUSE_GROUPS[group][0]), CAUSES[group]
    number = reader.enumerated(roots)
    reader.finish()
    return Cause(group, known[number] if number < len(known) else f"extension-{number - roots}")


def encode_cause(cause: Cause) -> bytes:
    """Encode a cause. Raises E2EncodeError for a cause that E2AP does not have."""
    if cause.group not in _CAUSE_GROUPS:
        raise E2EncodeError(f"cause group is {cause.group!r}, expected one of {', '.join(_GROUP_NAMES)}")
    roots, added = _CAUSE_GROUPS[cause.group]
    known = CAUSES[cause.group]
    prefix, _, number = cause.value.partition("-")
    if cause.value in known:
        index = known.index(cause.value)
    elif prefix == "extension" and number.isdecimal() and len(added) <= int(number) < 1 << 32:
        index = len(roots) + int(number)
    else:
        raise E2EncodeError(f"cause {cause.value!r} is not one of {cause.group}: {', '.join(known)}")
    writer = BitWriter()
    writer.enumerated(_GROUP_NAMES.index(cause.group), len(_GROUP_NAMES))
    writer.enumerated(index, len(roots))
    return writer.to_bytes()
