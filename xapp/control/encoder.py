"""How decisions become control messages: one encoder for each service model that nodes are controlled by.

DCM says a whole allocation in one message with a lease. RC (xapp.quotas.rc_encoder) knows only quotas of single UEs,
which are many, stay for ever and wait for their turn. The sender (xapp.control.sender) knows neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.intent import Intent
from policy.time_scales import LEASE_PERIODS
from xapp.e2.dcm.messages import AppliedControl, Carrier, Outcome
from xapp.e2.dialect import Dialect
from xapp.e2.kpm.report_reader import KpmReport


class DecisionContext(NamedTuple):
    """What a decision rests on, as far as its controls say so."""

    state: CellState
    """The cell's newest, which the allocation is for."""
    intent: Intent = Intent()
    indication_sn: int = 0
    """Of the DCM indication behind the state, 0 = none."""
    lead_slots: int = 0
    """From the report to the period that the decision governs."""
    kpm: KpmReport | None = None
    """The KPM report behind the state: it names the UEs in full."""
    measurement: int | None = None
    """Counts the cell's measurements: the same as that of the decision before where the report has brought no new one.
    None = every report brings one."""


class SendContext(NamedTuple):
    """When a control is sent, by which instance and under which number."""

    instance_epoch: int
    next_id: Callable[[], int]
    """A number for one more control, larger than all before."""
    now_s: float
    """time.monotonic()."""
    lease_periods: int = LEASE_PERIODS
    """Periods after a report until which its control holds, where a control has a lease."""


class OnAnswer(Protocol):
    """What an encoder does with an answer to one of its controls."""

    def __call__(self, accepted: bool | None, *, echoed: bool, now_s: float) -> None:
        """accepted: None = no answer came in time. echoed: the answer named the control that it answers."""
        ...


class ControlMessage(NamedTuple):
    """One control on its way out."""

    what: str
    """`controls` or `releases`."""
    decision_id: int
    header: bytes
    message: bytes
    cell: str
    """Key of the cell that it is about; "" = not known."""
    subject: int | None = None
    """The UE (of CCC the number of the slice) that it is about; None = the whole cell."""
    call_process_id: bytes | None = None
    """What the answer names again; None = nothing, for a node that knows no format of it."""
    on_answer: OnAnswer | None = None
    """Called with the node's answer, where the encoder waits for it."""
    on_not_sent: Callable[[], None] | None = None
    """Called where the message could not be handed over, instead of `on_answer`."""
    on_outcome: Callable[[bytes], None] | None = None
    """Called with what an answer says beside that it is one, before `on_answer`."""


class AppliedCheck(NamedTuple):
    """What a cell's newest report shows of whether it does what it is asked for."""

    effective: bool | None
    """None = the reports do not say."""
    text: str = ""


class ControlEncoder(Protocol):
    """One service model. Thread safe.

    Whatever it returns is to be sent now; a message says itself who wants to know what became of it.
    """

    service_model: str
    """Its name in configurations and recordings."""
    subject: str = "UE"
    """What its controls are about, where they are not about whole cells."""
    leader_acts: bool = True
    """What the leader decides is in its controls; False = they say what policies ask for, and no more."""

    def encode(
        self, cell: str, carrier: Carrier, allocation: Allocation, context: DecisionContext, send_context: SendContext
    ) -> Sequence[ControlMessage]:
        """Write an allocation, which has passed the guard. Raises E2EncodeError if it does not fit the carrier."""
        ...

    def release(self, cell: str, carrier: Carrier, send_context: SendContext) -> Sequence[ControlMessage]:
        """Give a cell back to the node's own scheduler."""
        ...

    def is_applied(self, state: CellState, applied: AppliedControl | None, epoch: int) -> AppliedCheck:
        """Whether the cell does what it is asked for, as far as its newest state and report say.

        applied: the control that the report names as in force, if it names one. epoch: this instance's. Asked for on
        demand, never in the decision path.
        """
        ...

    def due(self, send_context: SendContext, *, closing: bool = False) -> Sequence[ControlMessage]:
        """What had to wait and need not any longer. closing: everything is to be given back, as fast as may be."""
        return ()

    def reported(self, kpm: KpmReport, now_s: float) -> None:
        """A node reports these UEs, whether or not anything is decided about them. now_s: time.monotonic()."""
        return None

    def read_outcome(self, outcome: bytes) -> Outcome | None:
        """What a refusal says beside its cause, if that can be read. Raises E2DecodeError."""
        return None

    def use_dialect(self, dialect: Dialect | None) -> None:
        """How the node writes E2SM, as its first report has shown; None = that is not known yet."""
        return None

    def explain(self, cell: str) -> dict[str, Any]:
        """What is in force beyond the newest allocation, for a screen."""
        return {}

    def kept_free_percent(self, cell: str, slice_name: str) -> float:
        """How much of a floor of a slice ("" = of a single UE) the node keeps free for who it is of: who then uses less
        has nothing more to send. 100 = all that was promised.
        """
        return 100.0

    @property
    def limited(self) -> int:
        """UEs that stay limited until they are released, whoever lives."""
        return 0
