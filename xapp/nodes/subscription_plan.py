"""What to subscribe to on a node: one KPM and one DCM subscription per cell, from its own RAN functions. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from xapp.config.model import NodeConfig
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import messages as kpm
from xapp.e2.rc import messages as rc
from xapp.ric.nodes import E2Node, RanFunction

KPM_STYLE = 4
"""Measurements of each UE that meets a common condition: action definition format 4, message format 3."""
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
    dialect: Dialect = Dialect.STANDARD
    """Of its reports."""

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


def plan_node(
    node: E2Node,
    *,
    report_period_ms: int,
    measurements: tuple[str, ...],
    control: str = "auto",
    settings: NodeConfig | None = None,
) -> NodePlan:
    """Cells and subscriptions of a node. A function that cannot be read becomes a problem, not an exception.

    control: auto, dcm or rc (xapp.config.model). A node with both is controlled by DCM under auto: it says more.
    """
    settings = settings or NodeConfig()
    problems: list[Problem] = []
    carriers: dict[str, dcm.Carrier] = {}
    wanted: list[Wanted] = []
    own = node.function(dcm.DCM_OID)
    by_dcm = own is not None and control != "rc"
    quotas = _quota_function(node, [] if by_dcm else problems)
    used: Literal["dcm", "rc", ""] = ""
    if by_dcm and own is not None:
        used = "dcm"
        try:
            carriers = {carrier.cell: carrier for carrier in dcm.decode_ran_function(own.definition).cells}
        except ValueError as error:
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
    elif quotas is not None and control != "dcm":
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
    wanted += _kpm(node, carriers, report_period_ms, measurements, problems, Dialect(settings.dialect))
    function = own if used == "dcm" else quotas if used == "rc" else None
    return NodePlan(
        carriers,
        used,
        function.id if function else None,
        tuple(wanted),
        tuple(problems),
        quotas.id if quotas else None,
    )


def _quota_function(node: E2Node, problems: list[Problem]) -> RanFunction | None:
    """The node's RC function, if it takes PRB quotas."""
    function = next((found for oid in rc.RC_OIDS if (found := node.function(oid)) is not None), None)
    if function is None:
        return None
    try:
        offers = rc.decode_ran_function(function.definition).offers(rc.SLICE_PRB_QUOTA)
    except ValueError as error:
        problems.append(Problem("function_unreadable", f"{node.name}: {error}"))
        return None
    if not offers:
        text = f"{node.name}: its RC function lists no PRB quotas (control style 2, action 6)"
        problems.append(Problem("quotas_not_offered", text))
    return function if offers else None


def _kpm(
    node: E2Node,
    carriers: dict[str, dcm.Carrier],
    report_period_ms: int,
    measurements: tuple[str, ...],
    problems: list[Problem],
    dialect: Dialect,
) -> list[Wanted]:
    """One KPM subscription per cell, for those of the measurements that the node lists."""
    reporter = next((function for oid in kpm.KPM_OIDS if (function := node.function(oid)) is not None), None)
    if reporter is None:
        problems.append(Problem("no_kpm_function", f"{node.name} has no KPM function"))
        return []
    try:
        listed = listed_measurements(kpm.decode_ran_function(reporter.definition))
    except ValueError as error:
        problems.append(Problem("function_unreadable", f"{node.name}: {error}"))
        listed = frozenset()
    asked = tuple(name for name in measurements if name in listed)
    if not asked:
        text = f"{node.name} lists none of the measurements {', '.join(measurements)}"
        problems.append(Problem("measurements_missing", text))
        return []
    trigger = kpm.encode_event_trigger(kpm.EventTrigger(report_period_ms))
    wanted = []
    for cell in carriers:
        action = kpm.ActionDefinition(KPM_STYLE, asked, report_period_ms, cell or None, (kpm.ANY_UE,))
        definition = kpm.encode_action_definition(action, dialect)
        wanted.append(Wanted(node.name, reporter.id, cell, "kpm", trigger, definition, asked, dialect))
    return wanted


def listed_measurements(function: kpm.RanFunction) -> frozenset[str]:
    """Names that the node's RAN function lists for report style 4."""
    return frozenset(
        name for style in function.report_styles if style.style == KPM_STYLE for name in style.measurements
    )
