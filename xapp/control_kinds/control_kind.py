"""What a kind of control consists of, and which kinds there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, Protocol

from policy.allocation import Allocation
from xapp.config.model import CONTROL_KINDS, Controls, NodeConfig
from xapp.control.encoder import ControlEncoder, DecisionContext
from xapp.e2.dcm.messages import Carrier
from xapp.e2.dialect import Dialect
from xapp.ric.nodes import RanFunction
from xapp.ric.sdl import SharedStore


class Problem(NamedTuple):
    """What a node lacks, or describes in a way that cannot be read."""

    fault: str
    """A fixed name, see xapp.doctor.faults."""
    text: str
    """One line that names the node."""


class Offer(NamedTuple):
    """What a node's RAN function offers to a kind of control."""

    function_id: int
    carriers: dict[str, Carrier]
    """By NR-CGI: the cells that can be controlled."""
    form: Any = None
    """How the function wants its controls, for the encoder."""
    problems: tuple[Problem, ...] = ()


class StatefulEncoder(ControlEncoder, Protocol):
    """One node's encoder, whose controls depend on more than the newest decision."""

    def take(self, cell: str, allocation: Allocation, context: DecisionContext, now_s: float) -> None:
        """The first half of `encode`, recorded as the call `control`; the second is `due`."""
        ...


class RecordedCalls(NamedTuple):
    """How a recording has the calls of stateful encoders (Observer.encoder_called), so that they can be made again."""

    event: str
    """What it calls them."""
    write: Callable[[str, Mapping[str, Any]], dict[str, Any]]
    """A call's arguments as JSON; those of `due` have a form of their own."""
    read_new: Callable[[Mapping[str, Any]], StatefulEncoder]
    """The encoder that the call `new` made."""
    repeat: Mapping[str, Callable[[Any, Mapping[str, Any]], object]]
    """By name: makes a call of such an encoder again; `new`, `control` and `due` are not among them."""


class ControlKind:
    """One service model that nodes are controlled by. Its instance makes their encoders, and keeps what is behind them:
    nothing, where one encoder without a state serves all nodes. Thread safe; all but the properties may block.
    """

    function: ClassVar[str]
    """The RAN function that a node needs, with its article."""
    oids: ClassVar[tuple[str, ...]]
    short_name: ClassVar[str]
    """What the function calls itself where its OID is none."""
    knows_slices_only: ClassVar[bool] = False
    """It says shares of slices, nothing about single UEs: under auto it is for where policies are about slices."""
    shared: ClassVar[ControlEncoder]
    """The one without a state."""
    calls: ClassVar[RecordedCalls | None] = None
    """Of those with a state."""

    def __init__(self, controls: Controls, store: SharedStore, **options: Any) -> None:
        """options: on_change and observer, see xapp.quotas.encoder_store."""

    @staticmethod
    def decode(data: bytes) -> Any:
        """A function's definition, as something with a `short_name`. Raises E2DecodeError."""
        raise NotImplementedError

    @staticmethod
    def offer(node: str, function: RanFunction, settings: NodeConfig) -> Offer | Problem:
        """What a node's function offers, or why it cannot be used."""
        raise NotImplementedError

    @staticmethod
    def indications(cell: str, report_period_ms: int) -> tuple[bytes, bytes] | None:
        """Event trigger and action definition of the DCM indications that are subscribed to beside KPM; None = none."""
        return None

    def encoder(self, node: str, form: Any, dialect: Dialect | None) -> ControlEncoder:
        """The node's. dialect: None = not known yet."""
        return self.shared

    def enter_standby(self) -> None:
        """Another instance controls: what was known here is outdated."""

    def save(self) -> None:
        """Keep in shared data what has changed."""

    def save_again(self) -> None:
        """Shared data were lost: keep everything once more."""

    @property
    def limited(self) -> int:
        """UEs of all nodes that may be limited."""
        return 0

    @property
    def waiting(self) -> int:
        """Controls of all nodes that are to be sent later."""
        return 0


@cache
def control_kinds() -> dict[str, type[ControlKind]]:
    """All kinds by name, the preferred one first."""
    return {name: import_module(f"xapp.control_kinds.{name}").Kind for name in CONTROL_KINDS}


def configured_carriers(settings: NodeConfig) -> dict[str, Carrier]:
    """The cells of a node that does not list them itself."""
    return {
        cell: Carrier.of(cell, bwp_size_prb=settings.num_prb, rbg_size_prb=settings.rbg_prb)
        for cell in settings.cells or ("",)
    }
