"""The layouts in which PRB quotas (E2SM-RC style 2, action 6) are written: which one a node lists, or a message has.

Three are about. With group 2 and member 6 around what the lists hold, or without, the parameters have the ids of the
specification, and both are written, each to nodes that list it. Forks that shifted the ids (4 to 12 instead of 5 to
13), or that write PLMN, SST and SD as text, mean other things by them (a whole slice, the downlink): their messages are
told by name, and never written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from xapp.e2.rc.prb_quota import (
    DEDICATED,
    MAX,
    MEMBER,
    MEMBER_LIST,
    MIN,
    PARAMETER_NAMES,
    PLMN,
    POLICY,
    QUOTA,
    QUOTA_LIST,
    S_NSSAI,
    SD,
    SST,
)


class Layout(StrEnum):
    """How a control nests the parameters."""

    WRAPPED = "wrapped"
    """With 2 and 6: srsRAN, OCUDU."""
    UNWRAPPED = "unwrapped"
    """Without them: FlexRIC's slice branch."""


_LEAVES_AND_LISTS = {QUOTA_LIST, POLICY, MEMBER_LIST, PLMN, S_NSSAI, SST, SD, MIN, MAX, DEDICATED}
_LISTED = {
    frozenset(_LEAVES_AND_LISTS | {QUOTA, MEMBER}): Layout.WRAPPED,
    frozenset(_LEAVES_AND_LISTS): Layout.UNWRAPPED,
}
EXPECTED = "1-3, 5-13 (wrapped) or 1, 3, 5, 7-13 (unwrapped)"
"""What a node must list, for a person."""


class ListedLayout(NamedTuple):
    """What a node's list of the action's parameters comes to."""

    layout: Layout | None
    """None: one that is never written."""
    what: str
    """The list in a few words, for a person."""


def listed_layout(parameters: Sequence[tuple[int, str]]) -> ListedLayout:
    """Recognise the layout by the parameters (id, name) that a node lists for the action.

    Ids alone are not enough: a name that the specification gives to another id says that the ids are shifted.
    """
    if not parameters:
        return ListedLayout(None, "no parameters")
    what = f"parameters {ranges(number for number, _ in parameters)}"
    proper = {_plain(name): number for number, name in PARAMETER_NAMES.items()}
    for number, name in sorted(parameters):
        meant = proper.get(_plain(name), number)
        if meant != number:
            return ListedLayout(None, f"{what} with {name} as {number} instead of {meant}")
    layout = _LISTED.get(frozenset(number for number, _ in parameters))
    if layout is None:
        return ListedLayout(None, f"{what} ({parameters[0][1]}, ...)")
    return ListedLayout(layout, what)


def message_layout(message: Mapping[str, Any]) -> str:
    """What form a decoded control message has, in a line for a person; "" for one that holds no quotas."""
    formats = message.get("ric-controlMessage-formats", {})
    parameters = [*_nested(formats.get("controlMessage-Format1", {}).get("ranP-List", ()))]
    ids = {number for number, _ in parameters}
    if not parameters or parameters[0][0] != QUOTA_LIST or not ids & {DEDICATED, DEDICATED - 1}:
        return ""
    shifted = DEDICATED not in ids
    shift = 1 if shifted else 0
    wrapped = QUOTA in ids and MEMBER - shift in ids
    text = any(kind == "text" for number, kind in parameters if number in {PLMN - shift, SST - shift, SD - shift})
    form = f"{'wrapped' if wrapped else 'unwrapped'}, parameter ids {ranges(ids)}"
    if shifted:
        form += ", counted as 4 to 12 (slice forks of OpenAirInterface)"
    if text:
        form += "; PLMN, SST and SD as text"
    return f"{form}: never written here" if shifted or text else form


def ranges(numbers: Iterator[int] | set[int]) -> str:
    """Numbers in order, neighbours as ranges: `1-3, 5-13`."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _nested(parameters: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    """(id, kind of value) of parameters and all that they hold, outermost first; kind: `text`, `octets`, `other`."""
    for parameter in parameters:
        ((choice, value),) = parameter["ranParameter-valueType"].items()
        yield parameter["ranParameter-ID"], _kind(value.get("ranParameter-value", {}))
        held = [value.get("ranParameter-Structure", {})]
        if choice == "ranP-Choice-List":
            held = value["ranParameter-List"]["list-of-ranParameter"]
        for structure in held:
            yield from _nested(structure.get("sequence-of-ranParameters", ()))


def _kind(value: Mapping[str, Any]) -> str:
    """Octets that are all decimal digits of ASCII are text: no PLMN of three octets, no SD, looks like that."""
    if "valuePrintableString" in value:
        return "text"
    octets = bytes.fromhex(value["valueOctS"]) if "valueOctS" in value else b""
    return "text" if octets and len(octets) in (1, 2, 5, 6) and octets.isdigit() else "octets" if octets else "other"
