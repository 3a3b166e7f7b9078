"""Nodes that policies want controlled by another kind of control than before: CCC where they are about slices."""

from __future__ import annotations

from collections.abc import Callable

from xapp.config.model import Controls
from xapp.control.sender import ControlSender
from xapp.nodes.cell_manager import Cells
from xapp.nodes.subscription_plan import cell_key, preferred
from xapp.ric.nodes import NodeChange, NodeEvent


class KindChoice:
    """Looks, after a change of policies, whose kind of control is another now. The task runner's."""

    def __init__(
        self, controls: Controls, cells: Cells, sender: ControlSender, about_slices: Callable[[], bool]
    ) -> None:
        """about_slices: whether a policy in force is about S-NSSAIs."""
        self._controls, self._cells, self._sender = controls, cells, sender
        self._about_slices = about_slices
        cells.about_slices = about_slices

    def run(self) -> None:
        """What the node was limited by is given back, and it is planned and asked anew."""
        for node, plan in self._cells.plans().items():
            kind = preferred(plan.offers, self._controls.control_of(node.name), self._about_slices())
            if plan.control and kind != plan.control:
                for cell in plan.carriers:
                    self._sender.release(cell_key(node.name, cell))
                self._cells.on_node(NodeEvent(NodeChange.CHANGED, node))
