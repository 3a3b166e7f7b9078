"""A cell under control: what feeds it, what it last reported, and where its controls go. Values, which receiver, loop
and sender hand to one another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from policy.cell_state import CellState
from xapp.control.cell_tracker import CellTracker, Service
from xapp.control.encoder import ControlEncoder
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.kpm.report_reader import KpmReport


def node_of(cell: str) -> str:
    """The RAN name in a cell's key."""
    return cell.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class ControlTarget:
    """Where a cell's controls go, and in whose words."""

    node: str
    cell: str
    """Key of the cell in the xApp, see xapp.nodes.subscription_plan.cell_key."""
    function_id: int
    instance_id: int
    """E2EventInstanceId of our own subscription: answers are routed by it."""
    carrier: dcm.Carrier
    encoder: ControlEncoder


@dataclass(slots=True)
class CellLink:
    """A cell under control: its tracker and where its controls go."""

    tracker: CellTracker
    target: ControlTarget | None
    """None: the node has no function that can be controlled; the cell is only watched."""
    first_frame_ns: int = 0
    """When the first frame of the newest period arrived (time.perf_counter_ns)."""
    last_report_s: float = 0.0
    """time.monotonic() of the newest report that opened a period."""
    had_twins: bool = False
    """Some UEs of a KPM report could not be told apart."""
    newest: Report | None = None
    """The newest state of the cell, however old; replaced as a whole, so that any thread may read it."""


@dataclass(frozen=True, slots=True)
class ReportSubscription:
    """An active subscription: which cell its reports belong to and how they are read."""

    cell: str
    kind: str
    """`kpm` or `dcm`."""
    measurements: tuple[str, ...] = ()
    dialect: Dialect | None = Dialect.STANDARD
    """KPM: how the node writes its reports; None: the first that can be read tells, for all feeds of the node."""

    @property
    def node(self) -> str:
        return node_of(self.cell)


@dataclass(slots=True, eq=False)
class Report:
    """What the pacer takes from the mailbox. Never changed, but that the state is made when it is first asked for: of
    two reports that make a period the first is rarely decided about.
    """

    link: CellLink
    made_or_maker: CellState | Callable[[], CellState]
    indication_sn: int
    """Of the indication that opened the period, 0 = none: what a control says it is based on."""
    received_ns: int
    lead_slots: int = 0
    """From the report to the period that its answer governs."""
    number: int = 0
    """Counts the reports of this receiver, over all cells."""
    kpm: KpmReport | None = None
    """The newest KPM report in it."""
    measurement: int | None = None
    """Counts the cell's measurements, see xapp.control.encoder.DecisionContext."""
    service: Service | None = None
    """What UEs were served since the report before."""
    applied: dcm.AppliedControl | None = None
    """What governed the cell meanwhile, where the node reports it."""

    @property
    def state(self) -> CellState:
        """Any thread may ask: two at once make the same."""
        made = self.made_or_maker
        if callable(made):
            made = self.made_or_maker = made()
        return made
