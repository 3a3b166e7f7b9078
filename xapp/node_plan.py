"""What to subscribe to on a node: one KPM and one DCM subscription per cell, from its own RAN functions. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from xapp.e2 import dcm, kpm
from xapp.ric.nodes import E2Node

KPM_STYLE = 4
"""Measurements of each UE that meets a common condition: action definition format 4, message format 3."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One subscription to have: per (node, RAN function, cell)."""

    node: str
    function_id: int
    cell: str
    """NR-CGI, 15 hex digits."""
    kind: str
    """`kpm` or `dcm`."""
    event_trigger: bytes
    action_definition: bytes
    measurements: tuple[str, ...] = ()

    @property
    def cell_key(self) -> str:
        """The cell's name in the xApp."""
        return f"{self.node}/{self.cell}"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """Everything the xApp wants of one node. Raised problems are kept as lines, not exceptions."""

    carriers: dict[str, dcm.Carrier]
    """By NR-CGI: the cells that can be controlled."""
    control_function_id: int | None
    wanted: tuple[Wanted, ...]
    problems: tuple[str, ...] = ()


def plan_node(node: E2Node, *, report_period_ms: int, measurements: tuple[str, ...]) -> NodePlan:
    """Cells and subscriptions of a node. A function that cannot be read becomes a problem, not an exception."""
    problems: list[str] = []
    carriers: dict[str, dcm.Carrier] = {}
    wanted: list[Wanted] = []
    control = node.function(dcm.DCM_OID)
    if control is None:
        problems.append(f"{node.name} has no DCM function: nothing to control")
    else:
        try:
            carriers = {carrier.cell: carrier for carrier in dcm.decode_ran_function(control.definition).cells}
        except ValueError as error:
            problems.append(f"{node.name}: {error}")
        wanted += [
            Wanted(
                node.name,
                control.id,
                cell,
                "dcm",
                dcm.encode_event_trigger(dcm.EventTrigger(report_period_ms)),
                dcm.encode_action_definition(dcm.ActionDefinition(cell)),
            )
            for cell in carriers
        ]
    reporter = next((function for oid in kpm.KPM_OIDS if (function := node.function(oid)) is not None), None)
    if reporter is None:
        problems.append(f"{node.name} has no KPM function")
        return NodePlan(carriers, control.id if control else None, tuple(wanted), tuple(problems))
    try:
        listed = listed_measurements(kpm.decode_ran_function(reporter.definition))
    except ValueError as error:
        problems.append(f"{node.name}: {error}")
        listed = frozenset()
    asked = tuple(name for name in measurements if name in listed)
    if not asked:
        problems.append(f"{node.name} lists none of the measurements {', '.join(measurements)}")
    else:
        trigger = kpm.encode_event_trigger(kpm.EventTrigger(report_period_ms))
        for cell in carriers:
            action = kpm.ActionDefinition(KPM_STYLE, asked, report_period_ms, cell, (kpm.ANY_UE,))
            definition = kpm.encode_action_definition(action)
            wanted.append(Wanted(node.name, reporter.id, cell, "kpm", trigger, definition, asked))
    return NodePlan(carriers, control.id if control else None, tuple(wanted), tuple(problems))


def listed_measurements(function: kpm.RanFunction) -> frozenset[str]:
    """Names that the node's RAN function lists for report style 4."""
    return frozenset(
        name for style in function.report_styles if style.style == KPM_STYLE for name in style.measurements
    )
