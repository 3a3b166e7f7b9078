"""What to subscribe to on a node: one KPM and one DCM subscription per cell, from its own RAN functions. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from xapp.config.model import NodeConfig, SliceId, SliceMembers
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import messages as kpm
from xapp.e2.rc import messages as rc
from xapp.e2.rc.layout import EXPECTED
from xapp.nodes.kpm_condition import left_out, slice_condition, slice_text
from xapp.nodes.service_models import find_function
from xapp.ric.nodes import E2Node, RanFunction

KPM_STYLE = 4
"""Measurements of each UE that meets a common condition: action definition format 4, message format 3."""
KPM_NAME, RC_NAME, DCM_NAME = "ORAN-E2SM-KPM", "ORAN-E2SM-RC", "STACKMAC-DCM"
"""What service models are called where a function's OID is none."""
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


class Problem(NamedTuple):
    """What a node lacks, or describes in a way that cannot be read."""

    fault: str
    """A fixed name, see xapp.doctor.faults."""
    text: str
    """One line that names the node."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """Everything the xApp wants of one node. Problems are kept, not raised."""

    carriers: dict[str, dcm.Carrier]
    """By NR-CGI: the cells that can be controlled."""
    control: Literal["dcm", "rc", ""]
    """The service model that the node is controlled by; "" = by none: it is left alone."""
    control_function_id: int | None
    wanted: tuple[Wanted, ...]
    problems: tuple[Problem, ...] = ()
    quota_function_id: int | None = None
    """Its RC function, if it has one that takes quotas, whatever the node is controlled by: what an earlier instance
    left there is taken back."""
    quota_form: rc.QuotaForm = rc.QuotaForm()
    """How that function wants them."""
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
) -> NodePlan:
    """Cells and subscriptions of a node. A function that cannot be read becomes a problem, not an exception.

    control: auto, dcm, rc or none (xapp.config.model). A node with both is controlled by DCM under auto: it says more.
    Under none it is subscribed to, by the same functions as under auto, and never controlled. known_dialect: that
    which its reports were found to be in, if they were. slices: those that policies speak of.
    """
    settings = settings or NodeConfig()
    dialect = known_dialect if settings.dialect == "auto" else Dialect(settings.dialect)
    problems: list[Problem] = []
    carriers: dict[str, dcm.Carrier] = {}
    wanted: list[Wanted] = []
    own = find_function(node, (dcm.DCM_OID,), DCM_NAME, dcm.decode_ran_function)
    by_dcm = own is not None and control != "rc"
    quotas, form = _quota_function(node, [] if by_dcm or control == "none" else problems)
    used: Literal["dcm", "rc", ""] = ""
    if by_dcm and own is not None:
        used = "dcm"
        try:
            carriers = {carrier.cell: carrier for carrier in dcm.decode_ran_function(own.definition).cells}
        except E2DecodeError as error:
            problems.append(Problem("function_unreadable", f"{node.name}: {error}"))
        wanted += [
            Wanted(
                node.name,
                own.id,
                cell,
                "dcm",
                dcm.encode_event_trigger(dcm.EventTrigger(report_period_ms)),
                dcm.encode_action_definition(dcm.ActionDefinition(cell)),
            )
            for cell in carriers
        ]
    elif (quotas is not None and control != "dcm") or control == "none":
        used = "rc"
        carriers = {
            cell: dcm.Carrier.of(cell, bwp_size_prb=settings.num_prb, rbg_size_prb=settings.rbg_prb)
            for cell in settings.cells or ("",)
        }
    else:
        lacks = {"dcm": "no DCM function", "rc": "no RC function for PRB quotas"}.get(
            control, "neither a DCM function nor an RC function for PRB quotas"
        )
        problems.append(Problem("no_control_function", f"{node.name} has {lacks}: nothing to control"))
    if carriers:
        problems += _left_out(node.name, left_out(node.name, settings, slices))
    wanted += _kpm(node, carriers, report_period_ms, measurements, problems, dialect, settings)
    if control == "none":
        used = ""
    function = own if used == "dcm" else quotas if used == "rc" else None
    return NodePlan(
        carriers,
        used,
        function.id if function else None,
        tuple(wanted),
        tuple(problems),
        quotas.id if quotas else None,
        form,
        dialect,
    )


def _quota_function(node: E2Node, problems: list[Problem]) -> tuple[RanFunction | None, rc.QuotaForm]:
    """The node's RC function, if it takes PRB quotas, and how."""
    nothing = None, rc.QuotaForm()
    function = find_function(node, rc.RC_OIDS, RC_NAME, rc.decode_ran_function)
    if function is None:
        return nothing
    try:
        described = rc.decode_ran_function(function.definition)
    except E2DecodeError as error:
        problems.append(Problem("function_unreadable", f"{node.name}: {error}"))
        return nothing
    form, listed = described.quota_form()
    if form is not None:
        return function, form
    if not described.offers(rc.SLICE_PRB_QUOTA):
        problems.append(Problem("quotas_not_offered", f"{node.name}: its RC function lists {listed.what}"))
    else:
        text = f"{node.name}: its PRB quotas list {listed.what}, expected {EXPECTED}: never controlled"
        problems.append(Problem("quota_layout_unknown", text))
    return nothing


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
