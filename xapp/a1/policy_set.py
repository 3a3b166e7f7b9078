"""All policies together: what they mean for a cell, and which one has its way where several speak of the same thing.

Written precedence, the same whatever order policies came in (docs/policies.md):
- policies that name the cell come before those for every cell, then lower policy instance ids before higher ones;
- objective and period: the first policy that says one;
- mode: the most careful one of all, shadow before fallback before control;
- limits: all hold, so of several caps the lowest and of several floors the highest; where they cannot all hold,
  policy.limits says which gives way;
- a UE counts for one slice: S-NSSAIs before traffic classes, then by name.
Pure and immutable: a set is replaced as a whole, so a decision sees all of a change or nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType

from policy.cell_state import CellState
from policy.intent import Intent
from xapp.a1.cell_policies import CellPolicies, Compiled
from xapp.a1.policy_model import Policy
from xapp.config.model import NodeConfig
from xapp.config.slices import SliceMembers


@dataclass(frozen=True, slots=True)
class PolicySet:
    """`policies` by instance id."""

    policies: Mapping[str, Policy] = field(default_factory=lambda: MappingProxyType({}))
    slices: tuple[SliceMembers, ...] = ()
    """Who is in which slice, as configured."""
    report_period_ms: int = 100
    floor_window_periods: int = 1
    nodes: tuple[NodeConfig, ...] = ()
    """As configured: all UEs of a node that is asked for those of one slice are in it."""
    _by_cell: dict[str, CellPolicies | None] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What has been worked out; None = no policy is about the cell."""

    @property
    def about_slices(self) -> bool:
        """Whether a policy is about a slice that has an S-NSSAI."""
        return any(each.sst is not None for policy in self.policies.values() for each in policy.scope.slices)

    def order(self, cell: str) -> tuple[str, ...]:
        """Ids of the policies whose scope includes the cell, the strongest first."""
        mine = [(not p.names_cells, name) for name, p in self.policies.items() if p.covers(cell)]
        return tuple(name for _, name in sorted(mine))

    def prepare(self, cell: str) -> CellPolicies | None:
        """Work out, once, what the policies come to in the cell: for whoever has time, before a decision needs it."""
        if cell not in self._by_cell:
            order = self.order(cell)
            self._by_cell[cell] = (
                CellPolicies(
                    cell,
                    self.policies,
                    order,
                    slices=self.slices,
                    report_period_ms=self.report_period_ms,
                    floor_window_periods=self.floor_window_periods,
                    only_slice=self._only_slice(cell),
                )
                if order
                else None
            )
        return self._by_cell[cell]

    def _only_slice(self, cell: str) -> str:
        """The slice whose UEs alone are reported there; "" = of several, or nobody has said of which."""
        node = cell.rpartition("/")[0]
        settings = next((entry for entry in self.nodes if fnmatchcase(node, entry.name)), None)
        return settings.slices[0].name if settings is not None and len(settings.slices) == 1 else ""

    def intent(self, state: CellState) -> Intent:
        """Compile the policies for the UEs that are alive in `state`."""
        prepared = self.prepare(state.cell)
        return _NOTHING.intent if prepared is None else prepared.intent(state)

    def compile(self, state: CellState) -> Compiled:
        """The intent, with who limits whom, and what does not hold."""
        prepared = self.prepare(state.cell)
        return _NOTHING if prepared is None else prepared.compile(state)


_NOTHING = Compiled(Intent(), (), {}, {}, ())
