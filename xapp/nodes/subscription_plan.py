"""What to subscribe to on a node: one KPM and one DCM subscription per cell, from its own RAN functions. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from xapp.config.model import NodeConfig
from xapp.config.slices import SliceId, SliceMembers
from xapp.control_kinds.control_kind import Offer, Problem, configured_carriers, control_kinds
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import messages as kpm
from xapp.nodes.kpm_condition import left_out, slice_condition, slice_text
from xapp.nodes.service_models import find_function
from xapp.ric.nodes import E2Node

KPM_STYLE = 4
"""Measurements of each UE that meets a common condition: action definition format 4, message format 3."""
KPM_NAME = "ORAN-E2SM-KPM"
"""What the function calls itself where its OID is none."""
WHOLE_NODE = "node"
"""In the name of the one cell of a node whose cells nobody has named."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One subscription to have: per (node, RAN function, cell)."""

    node: str
    function_id: int
    cell: str
    """NR-CGI, 15 hex digits; "" = the node is one cell."""
    kind: str
    """`kpm` or `dcm`."""
    event_trigger: bytes
    action_definition: bytes
    measurements: tuple[str, ...] = ()
    dialect: Dialect | None = Dialect.STANDARD
    """Of its reports; None: the first of them tells."""

    @property
    def cell_key(self) -> str:
        """The cell's name in the xApp."""
        return cell_key(self.node, self.cell)


def cell_key(node: str, cell: str) -> str:
    """What a cell is called in the xApp: `<node>/<NR-CGI>`, or `<node>/node`."""
    return f"{node}/{cell or WHOLE_NODE}"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """Everything the xApp wants of one node. Problems are kept, not raised."""

    carriers: dict[str, dcm.Carrier]
    """By NR-CGI: the cells that can be controlled."""
    control: str
    """The kind of control that the node is under; "" = none: it is left alone."""
    wanted: tuple[Wanted, ...]
    problems: tuple[Problem, ...] = ()
    offers: dict[str, Offer] = field(default_factory=dict)
    """By kind of control, all that the node offers: what an earlier instance left under another is taken back."""
    dialect: Dialect | None = Dialect.STANDARD
    """How the node writes KPM and RC; None: its first report tells."""


def plan_node(
    node: E2Node,
    *,
    report_period_ms: int,
    measurements: tuple[str, ...],
    control: str = "auto",
    settings: NodeConfig | None = None,
    known_dialect: Dialect | None = None,
    slices: Iterable[SliceMembers] = (),
    about_slices: bool = False,
) -> NodePlan:
    """Cells and subscriptions of a node. A function that cannot be read becomes a problem, not an exception.

    control: auto, none or a kind of control. Under auto a node is controlled by the first kind that it offers. Under
    none it is subscribed to, by the same functions as under auto, and never controlled. known_dialect: that which its
    reports were found to be in, if they were. slices: those that policies speak of. about_slices: policies are.
    """
    settings = settings or NodeConfig()
    dialect = known_dialect if settings.dialect == "auto" else Dialect(settings.dialect)
    offers, unusable = _offers(node, settings)
    used = preferred(offers, control, about_slices)
    carriers: dict[str, dcm.Carrier] = {}
    wanted: list[Wanted] = []
    problems: list[Problem] = []
    if used:
        function_id, carriers, _, problems[:] = offers[used]
        asked = {cell: control_kinds()[used].indications(cell, report_period_ms) for cell in carriers}
        wanted = [Wanted(node.name, function_id, cell, "dcm", *each) for cell, each in asked.items() if each]
    elif control == "none":
        carriers = configured_carriers(settings)
    else:
        problems = [*unusable, Problem("no_control_function", f"{node.name} has {_lacks(control)}: nothing to control")]
    if carriers:
        problems += _left_out(node.name, left_out(node.name, settings, slices))
    wanted += _kpm(node, carriers, report_period_ms, measurements, problems, dialect, settings)
    return NodePlan(carriers, "" if control == "none" else used, tuple(wanted), tuple(problems), offers, dialect)


def preferred(offers: Iterable[str], control: str, about_slices: bool) -> str:
    """By which of the kinds of control that it offers a node is controlled; "" = by none."""
    kinds = control_kinds()
    in_order = sorted(offers, key=lambda name: kinds[name].knows_slices_only and not about_slices)
    return next((name for name in in_order if control in ("auto", "none", name)), "")


def _offers(node: E2Node, settings: NodeConfig) -> tuple[dict[str, Offer], list[Problem]]:
    """What the node offers to each kind of control, and why functions of others cannot be used."""
    offers: dict[str, Offer] = {}
    unusable: list[Problem] = []
    for name, kind in control_kinds().items():
        function = find_function(node, kind.oids, kind.short_name, kind.decode)
        found = kind.offer(node.name, function, settings) if function else None
        if isinstance(found, Offer):
            offers[name] = found
        elif found is not None:
            unusable.append(found)
    return offers, unusable


def _lacks(control: str) -> str:
    """What a node has not that could be controlled so."""
    needed = [kind.function for name, kind in control_kinds().items() if control in ("auto", name)]
    return f"neither {' nor '.join(needed)}" if len(needed) > 1 else f"no {needed[0].partition(' ')[2]}"


def _left_out(node: str, slices: Iterable[SliceId], reason: str = "") -> list[Problem]:
    """One problem that names them all, if there are any."""
    named = ", ".join(map(slice_text, slices))
    return [Problem("slices_not_reported", f"{node}: UEs of {named} are not asked for{reason}")] if named else []


def _kpm(
    node: E2Node,
    carriers: dict[str, dcm.Carrier],
    report_period_ms: int,
    measurements: tuple[str, ...],
    problems: list[Problem],
    dialect: Dialect | None,
    settings: NodeConfig,
) -> list[Wanted]:
    """One KPM subscription per cell, for those of the measurements that the node lists."""
    reporter = find_function(node, kpm.KPM_OIDS, KPM_NAME, kpm.decode_ran_function)
    if reporter is None:
        problems.append(Problem("no_kpm_function", f"{node.name} has no KPM function"))
        return []
    styles: tuple[kpm.ReportStyle, ...] = ()
    try:
        described = kpm.decode_ran_function(reporter.definition)
        listed, styles = listed_measurements(described), described.report_styles
    except E2DecodeError as error:
        problems.append(Problem("function_unreadable", f"{node.name}: {error}"))
        listed = frozenset()
    asked = tuple(name for name in measurements if name in listed)
    if not asked:
        text = f"{node.name} lists none of the measurements {', '.join(measurements)}"
        problems.append(Problem("measurements_missing", text))
        return []
    trigger = kpm.encode_event_trigger(kpm.EventTrigger(report_period_ms))
    whom = slice_condition(styles, settings)
    if carriers:
        problems += _left_out(node.name, whom.uncovered, ": the node takes one condition")
    wanted = []
    for cell in carriers:
        action = kpm.ActionDefinition(KPM_STYLE, asked, report_period_ms, cell or None, whom.conditions)
        definition = kpm.encode_action_definition(action, dialect or Dialect.STANDARD)
        wanted.append(Wanted(node.name, reporter.id, cell, "kpm", trigger, definition, asked, dialect))
    return wanted


def listed_measurements(function: kpm.RanFunction) -> frozenset[str]:
    """Names that the node's RAN function lists for report style 4."""
    return frozenset(
        name for style in function.report_styles if style.style == KPM_STYLE for name in style.measurements
    )
