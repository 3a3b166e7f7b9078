"""Which UEs a KPM subscription of style 4 asks for: those of the node's slices, said as the node can bear it. Pure.

A condition is the one thing in a subscription that agents differ about, and some do not refuse what they cannot read
but die of it. S-NSSAI EQUAL is the only test that all of them know: OpenAirInterface compares octets (SST alone matches
a slice without SD, SST and SD together are four), FlexRIC's emulator an integer, srsRAN and OCUDU read the condition
and report everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xapp.config.model import NodeConfig
from xapp.config.slices import SliceId, SliceMembers
from xapp.e2.kpm.messages import Condition, ReportStyle

STYLES_WITH_LISTS = {2, 3, 5}
"""Report styles of agents that implement all of KPM: these take several conditions. Agents that know style 4 alone look
at one: FlexRIC's emulator falls over a second, OpenAirInterface reports the UEs of the last one only."""
EMULATOR_STYLE_NAME = "Dummy style name"
"""What FlexRIC's emulator calls its report style 4; OpenAirInterface gives it the specification's name."""


class SliceCondition(NamedTuple):
    """What is asked of a node, and whom that leaves out."""

    conditions: tuple[Condition, ...]
    uncovered: tuple[SliceId, ...]
    """Slices whose UEs are not asked for."""


def slice_condition(styles: Sequence[ReportStyle], settings: NodeConfig) -> SliceCondition:
    """Choose the condition for a node that lists these report styles."""
    asked = settings.reported_slices
    several = any(style.style in STYLES_WITH_LISTS for style in styles)
    covered = asked if several else asked[:1]
    as_integer = settings.kpm_condition == "integer" or (
        settings.kpm_condition == "auto" and any(style.name == EMULATOR_STYLE_NAME for style in styles)
    )
    values = [{"valueInt": each.sst} if as_integer else {"valueOctS": slice_octets(each).hex()} for each in covered]
    conditions = tuple(
        Condition("sNSSAI", "equal", value, or_next=number < len(values)) for number, value in enumerate(values, 1)
    )
    return SliceCondition(conditions, asked[len(covered) :])


def slice_octets(slice_id: SliceId) -> bytes:
    """SST, and the SD where the slice has one."""
    return bytes((slice_id.sst,)) + bytes.fromhex(slice_id.sd)


def left_out(node: str, settings: NodeConfig, members: Iterable[SliceMembers]) -> tuple[SliceId, ...]:
    """Slices that policies speak of at this node, and whose UEs its entry does not ask for."""
    asked = {_key(each) for each in settings.reported_slices}
    here = (each for each in members if not each.cells or any(cell.startswith(f"{node}/") for cell in each.cells))
    found = {_key(each): SliceId(sst=each.sst, sd=each.sd) for each in here}
    return tuple(slice_id for key, slice_id in found.items() if key not in asked)


def slice_text(slice_id: SliceId) -> str:
    return f"SST {slice_id.sst}" + (f" SD {slice_id.sd.lower()}" if slice_id.sd else "")


def _key(slice_id: SliceId | SliceMembers) -> tuple[int, str]:
    return slice_id.sst, slice_id.sd.lower()
