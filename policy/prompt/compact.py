"""A cell's state as tokens of our own small vocabulary: one block for the cell, one block per UE, all equally long.

Every field is a number put into a level; NaN has a token of its own. So only numbers ever enter a prompt: free text
cannot. Legend: T = tokens a block, N = blocks of a batch (per cell: the cell's own block, then one per UE), U = UEs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import OUTCOME_DECODED, OUTCOME_LOST, WAS_OPEN, CellState, TrafficClass
from policy.cqi import BUFFER_EDGES
from policy.intent import Intent
from policy.limits import compile_limits
from policy.plug_ins.prompt_fields import COUNT_EDGES, MODULES, own_fields
from policy.schedulers.estimate import estimate
from policy.schedulers.periodic_grants import MAX_GRANTS, wanted_grants

LAYOUT_VERSION = 2
"""Version of the fields' meaning; the levels themselves travel with the bundle. Version 1 knew nothing per RBG."""
RBG_FEATURES = ("heard", "outcome")
"""What a model may know of RBGs as it is asked about them (policy.leader_models.action_features)."""


class Field(NamedTuple):
    """One token of a block: level k holds values from edges[k - 1] up to, not including, edges[k]."""

    name: str
    edges: tuple[float, ...]

    @property
    def size(self) -> int:
        """Tokens: one per level, and the first for "not known"."""
        return len(self.edges) + 2

    def as_json(self) -> list[Any]:
        return [self.name, list(self.edges)]

    @classmethod
    def from_json(cls, document: Any) -> Field:
        """Raises ValueError or TypeError."""
        name, edges = document
        return cls(str(name), tuple(float(edge) for edge in edges))


def each_integer(first: int, last: int) -> tuple[float, ...]:
    """Edges that give each integer first..last its own level."""
    return tuple(k + 0.5 for k in range(first, last))


_SERVED_EDGES = (
    (8, 15, 25, 35, 45, 60, 75, 90, 110, 130, 155, 180, 210, 240, 280, 320, 370, 430, 500, 580, 670, 780, 900)
    + (1050, 1250, 1500, 1800, 2200, 2800, 3800, 6000)
)  # fmt: skip

UE_FIELDS: tuple[Field, ...] = (
    Field("traffic_class", each_integer(0, 2)),
    Field("buffer_bits_before", tuple(float(e) for e in BUFFER_EDGES)),
    Field("buffer_bits", tuple(float(e) for e in BUFFER_EDGES)),
    Field(
        "backlog_bits",  # reported buffer less what was decoded since: what proportional fair should look at
        (1, 100, 250, 400, 550, 700, 850, 1000, 1250, 1500, 1800, 2250, 2700, 3200, 3800, 4500, 5300, 6200, 7500)
        + (9000, 11000, 14000, 18000, 24000, 32000),
    ),
    Field("cqi", each_integer(0, 15)),
    Field("cqi_mean", each_integer(0, 15)),
    Field("preferred_rbg", each_integer(0, 17)),
    Field("served_bits_per_slot", _SERVED_EDGES),
    Field("long_served_bits_per_slot", _SERVED_EDGES),
    Field("slots_since_served", (1.5, 2.5, 3.5, 4.5, 6.5, 9.5, 14.5, 24.5, 49.5, 99.5)),
    Field("head_delay_slots", (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 10.5, 13.5, 17.5, 25.5, 40.5, 80.5)),
    Field("deadline_less_age_slots", (-3.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 6.5, 8.5, 11.5, 15.5, 25.5, 50.5, 105.5)),
    Field("arrival_period_slots", (4.5, 9.5, 12.5, 15.5, 18.5, 21.5, 25.5, 40.5, 100.5)),
    Field("prb_share", (0.005, 0.02, 0.04, 0.07, 0.12, 0.2, 0.3, 0.5, 0.75)),
)
"""Order matters: within a block a token sees those before it."""

CELL_FIELDS: tuple[Field, ...] = (
    Field("slots_per_dcm", (1.5, 2.5, 5.5, 9.5, 15.5, 25.5, 55.5, 105.5)),
    Field("num_rbgs", each_integer(1, 18)),
    Field("num_ues", (*each_integer(0, 12), 14.5, 17.5, 21.5, 26.5, 32.5, 40.5, 60.5, 100.5, 200.5)),
    Field("alpha", (0.25, 0.75, 1.5, 2.5, 5.0)),
    Field("age_slots", (*each_integer(0, 8), 10.5, 15.5, 25.5, 55.5, 105.5)),
    Field("backlogged_ues", (*each_integer(0, 12), 14.5, 17.5, 21.5, 26.5, 32.5, 40.5, 60.5, 100.5, 200.5)),
    Field("latency_bound_ues", (*each_integer(0, 8), 10.5, 13.5, 17.5, 25.5, 40.5, 80.5)),
    Field("shortest_deadline_slots", (2.5, 4.5, 6.5, 8.5, 10.5, 12.5, 15.5, 20.5, 30.5, 60.5, 105.5)),
    Field("total_backlog_bits", (1, 1000, 2000, 3000, 4500, 6500, 9000, 13000, 18000, 26000, 40000, 80000)),
    Field("total_served_bits_per_slot", (250, 500, 750, 1000, 1400, 1900, 2600, 3600, 5000, 8000)),
    Field("total_long_served_bits_per_slot", (250, 500, 750, 1000, 1400, 1900, 2600, 3600, 5000, 8000)),
    Field("decoded_rbgs", each_integer(0, 18)),
    Field("lost_rbgs", each_integer(0, 18)),
    Field("open_rbgs", each_integer(0, 18)),
)

UCM_UE_FIELD = Field("ucm", each_integer(0, 7))
UCM_CELL_FIELD = Field("ucm_ues", (*each_integer(0, 12), 17.5, 32.5, 60.5))
"""Fields for a leader whose followers send UCMs alone: `PromptLayout.with_ucm`."""


GRANT_UE_FIELDS: tuple[Field, ...] = (
    Field("packet_rbgs", each_integer(1, MAX_GRANTS)),
    Field("grant_turn", each_integer(1, 2 * MAX_GRANTS)),  # RBGs of its own grant and those of cheaper UEs
    Field("grant_row", each_integer(0, 15)),  # UEs before it that want a grant: a DCM names them in this order
    Field("floor_rbgs", each_integer(0, 6)),
)
GRANT_CELL_FIELDS: tuple[Field, ...] = (
    Field("periodic_ues", (*each_integer(0, 12), 14.5, 17.5, 21.5, 30.5)),
    Field("sporadic_ues", (*each_integer(0, 12), 14.5, 17.5, 21.5, 30.5)),
    Field("grant_rbgs", each_integer(0, 3 * MAX_GRANTS)),
    Field("total_floor_rbgs", each_integer(0, 12)),
)
"""Fields for a leader that gives periodic grants, at a RIC's period: `PromptLayout.with_grants`. Without them it cannot
know which UEs a grant would save, nor in which order to name them, and stops after half of them."""


class Prompts(NamedTuple):
    """A batch of prompts, packed: no padding."""

    tokens_NT: NDArray[Any]
    """Token ids; of a NumericLayout, features."""
    cell_N: NDArray[np.int64]
    """Which state of the batch a block belongs to."""
    place_N: NDArray[np.int64]
    """0 = the cell's own block, 1 + u = UE row u's."""
    num_ues_B: NDArray[np.int64]


@dataclass(frozen=True)
class PromptLayout:
    """Which fields a block has and where their levels lie; stored with every bundle."""

    ue_fields: tuple[Field, ...] = UE_FIELDS
    cell_fields: tuple[Field, ...] = CELL_FIELDS
    rbg_features: tuple[str, ...] = RBG_FEATURES

    def __post_init__(self) -> None:
        if len(self.ue_fields) != len(self.cell_fields):
            raise ValueError(
                f"a UE block has {len(self.ue_fields)} fields and the cell's {len(self.cell_fields)}, expected equal"
            )
        if unknown := set(self.rbg_features) - set(RBG_FEATURES):
            raise ValueError(f"unknown RBG features {sorted(unknown)}")
        all_fields = (
            (*UE_FIELDS, UCM_UE_FIELD, *GRANT_UE_FIELDS),
            (*CELL_FIELDS, UCM_CELL_FIELD, *GRANT_CELL_FIELDS),
        )
        for fields, known in zip((self.ue_fields, self.cell_fields), all_fields):
            unknown = {f.name for f in fields} - {f.name for f in known}
            if unknown:
                unknown -= {name for own in own_fields() for name in (own.name, own.count_name)}
            if unknown:
                raise ValueError(f"unknown prompt fields {sorted(unknown)}; {MODULES} names modules with fields")
            for field in fields:
                if any(a >= b for a, b in zip(field.edges, field.edges[1:], strict=False)):
                    raise ValueError(f"edges of prompt field {field.name} do not ascend")

    @classmethod
    def with_ucm(cls) -> PromptLayout:
        """Everything, and the followers' UCMs."""
        return cls((*UE_FIELDS, UCM_UE_FIELD), (*CELL_FIELDS, UCM_CELL_FIELD))

    @classmethod
    def with_grants(cls) -> Self:
        """Everything, and what periodic grants and floors ask for."""
        return cls((*UE_FIELDS, *GRANT_UE_FIELDS), (*CELL_FIELDS, *GRANT_CELL_FIELDS))

    def with_own(self) -> Self:
        """This one and the fields of one's own that there are now (policy.plug_ins.prompt_fields)."""
        own = own_fields()
        return replace(
            self,
            ue_fields=(*self.ue_fields, *(Field(one.name, one.edges) for one in own)),
            cell_fields=(*self.cell_fields, *(Field(one.count_name, COUNT_EDGES) for one in own)),
        )

    @property
    def block_tokens(self) -> int:
        return len(self.ue_fields)

    @cached_property
    def vocabulary_size(self) -> int:
        return sum(f.size for f in (*self.cell_fields, *self.ue_fields))

    @cached_property
    def _first_ids(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First token id of each field: ([T] of the cell's block, [T] of a UE's)."""
        starts = np.cumsum([0] + [f.size for f in (*self.cell_fields, *self.ue_fields)])[:-1]
        return starts[: self.block_tokens], starts[self.block_tokens :]

    @np.errstate(over="ignore", invalid="ignore")  # absurd numbers end in the outermost levels
    def encode(self, states: Sequence[CellState], intents: Sequence[Intent]) -> Prompts:
        """Tokens of every state, in order; `intents` one per state."""
        num_ues_B = np.array([s.num_ues for s in states], np.int64)
        ue_cell = np.repeat(np.arange(len(states)), num_ues_B)
        ues = _ue_features(states)
        cells = _cell_features(states, intents, ues, ue_cell)
        if GRANT_CELL_FIELDS[0] in self.cell_fields:
            _add_grant_features(states, intents, ues, cells, ue_cell)
        if any(field.name not in ues for field in self.ue_fields):
            _add_own_features(states, ues, cells, ue_cell)
        cell_BT, ue_UT = self._blocks(cells, ues)
        starts_B = np.concatenate([[0], np.cumsum(num_ues_B + 1)[:-1]])
        ue_rows = np.arange(len(ue_cell)) + ue_cell + 1
        tokens_NT = np.empty((len(states) + len(ue_cell), self.block_tokens), cell_BT.dtype)
        tokens_NT[starts_B] = cell_BT
        tokens_NT[ue_rows] = ue_UT
        cell_N = np.repeat(np.arange(len(states)), num_ues_B + 1)
        return Prompts(tokens_NT, cell_N, np.arange(len(cell_N)) - starts_B[cell_N], num_ues_B)

    def _blocks(
        self, cells: Mapping[str, NDArray[np.float64]], ues: Mapping[str, NDArray[np.float64]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Cells' own blocks [B, T] and UEs' [UEs of all states, T], from the features of each."""
        cell_first, ue_first = self._first_ids
        return _levels(cells, self.cell_fields) + cell_first, _levels(ues, self.ue_fields) + ue_first

    def as_json(self) -> dict[str, Any]:
        return {
            "version": LAYOUT_VERSION,
            "rbg_features": list(self.rbg_features),
            "cell_fields": [field.as_json() for field in self.cell_fields],
            "ue_fields": [field.as_json() for field in self.ue_fields],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PromptLayout:
        """Raises ValueError, TypeError or KeyError for a layout this code does not know."""
        version = document["version"]
        if version not in (1, LAYOUT_VERSION):
            raise ValueError(f"prompt layout version is {version}, expected 1 or {LAYOUT_VERSION}")
        return cls(
            ue_fields=tuple(map(Field.from_json, document["ue_fields"])),
            cell_fields=tuple(map(Field.from_json, document["cell_fields"])),
            rbg_features=() if version == 1 else tuple(str(n) for n in document["rbg_features"]),
        )


def _levels(features: Mapping[str, NDArray[np.float64]], fields: Sequence[Field]) -> NDArray[np.int64]:
    """[rows, T]: 0 = not known, else 1 + level."""
    columns = []
    for name, edges in fields:
        value = features[name]
        columns.append(np.where(np.isnan(value), 0, np.searchsorted(np.asarray(edges), value, side="right") + 1))
    return np.stack(columns, axis=1)


def _ue_features(states: Sequence[CellState]) -> dict[str, NDArray[np.float64]]:
    """Every field of a UE block, [UEs of all states]."""

    def column(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(s, name) for s in states]) if states else np.zeros(0)

    buffer, inflight = column("buffer_bits_U"), column("inflight_bits_U")
    period = column("arrival_period_slots_U")
    with np.errstate(invalid="ignore"):  # inf - inf: not known
        backlog = np.maximum(buffer - np.where(np.isnan(inflight), 0.0, inflight), 0.0)
        slack = column("deadline_slots_U") - column("age_slots_U")
    return {
        "traffic_class": column("traffic_class_U"),
        "buffer_bits": buffer,
        "backlog_bits": backlog,
        "buffer_bits_before": column("buffer_bits_before_U"),
        "cqi": column("cqi_U"),
        "cqi_mean": column("cqi_mean_U"),
        "preferred_rbg": column("preferred_rbg_U"),
        "served_bits_per_slot": column("served_bits_per_slot_U"),
        "long_served_bits_per_slot": column("long_served_bits_per_slot_U"),
        "slots_since_served": column("slots_since_served_U"),
        "head_delay_slots": column("head_delay_slots_U"),
        "deadline_slots": column("deadline_slots_U"),
        "age_slots": column("age_slots_U"),
        "deadline_less_age_slots": slack,
        # Without the phase no periodic grant can be given, so the period alone is of no use.
        "arrival_period_slots": np.where(np.isnan(column("arrival_phase_slots_U")), np.nan, period),
        "prb_share": column("prb_share_U"),
        "ucm": column("ucm_U"),
    }


def _cell_features(
    states: Sequence[CellState],
    intents: Sequence[Intent],
    ues: Mapping[str, NDArray[np.float64]],
    ue_cell: NDArray[np.int64],
) -> dict[str, NDArray[np.float64]]:
    """Every field of a cell's block, [B]."""
    count = len(states)

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over the UEs that reported; NaN where none did."""
        known = ~np.isnan(values)
        sums = np.bincount(ue_cell[known], values[known], minlength=count).astype(np.float64)
        return np.where(np.bincount(ue_cell[known], minlength=count) > 0, sums, np.nan)

    def extreme(values: NDArray[np.float64], reduce: np.ufunc, start: float) -> NDArray[np.float64]:
        known = ~np.isnan(values)
        out = np.full(count, start)
        reduce.at(out, ue_cell[known], values[known])
        return np.where(np.isinf(out), np.nan, out)

    kind = ues["traffic_class"]
    latency_bound = ((kind == TrafficClass.PERIODIC) | (kind == TrafficClass.SPORADIC)) & ~np.isnan(
        ues["deadline_slots"]
    )
    return {
        "slots_per_dcm": np.array([s.slots_per_dcm for s in states], np.float64),
        "num_rbgs": np.array([s.num_rbgs for s in states], np.float64),
        "num_ues": np.array([s.num_ues for s in states], np.float64),
        "alpha": np.array([i.alpha for i in intents], np.float64),
        "age_slots": extreme(ues["age_slots"], np.maximum, -np.inf),
        "backlogged_ues": total(np.where(np.isnan(ues["backlog_bits"]), np.nan, ues["backlog_bits"] > 0.0)),
        "latency_bound_ues": np.bincount(ue_cell[latency_bound], minlength=count).astype(np.float64),
        "shortest_deadline_slots": extreme(ues["deadline_slots"], np.minimum, np.inf),
        "total_backlog_bits": total(ues["backlog_bits"]),
        "total_served_bits_per_slot": total(ues["served_bits_per_slot"]),
        "total_long_served_bits_per_slot": total(ues["long_served_bits_per_slot"]),
        "ucm_ues": np.bincount(ue_cell[~np.isnan(ues["ucm"])], minlength=count).astype(np.float64),
        **_outcome_counts(states),
    }


def _add_grant_features(
    states: Sequence[CellState],
    intents: Sequence[Intent],
    ues: dict[str, NDArray[np.float64]],
    cells: dict[str, NDArray[np.float64]],
    ue_cell: NDArray[np.int64],
) -> None:
    """What GRANT_UE_FIELDS and GRANT_CELL_FIELDS hold; NaN for a UE that wants no grant."""
    count = len(states)
    packet_U, turn_U, row_U = (np.full(len(ue_cell), np.nan) for _ in range(3))
    floors, start = [np.zeros(0)], 0
    for state, intent in zip(states, intents):
        wanted = wanted_grants(state, estimate(state))
        for row, grant in enumerate(wanted):
            packet_U[start + grant.ue], row_U[start + grant.ue] = grant.rbgs, row
        taken = 0
        for grant in sorted(wanted):
            taken += grant.rbgs
            turn_U[start + grant.ue] = taken
        floors.append(compile_limits(state, intent).floor_U.astype(np.float64))
        start += state.num_ues
    floor_U, kind_U = np.concatenate(floors), ues["traffic_class"]
    ues |= {"packet_rbgs": packet_U, "grant_turn": turn_U, "grant_row": row_U, "floor_rbgs": floor_U}
    totals = {
        "periodic_ues": kind_U == TrafficClass.PERIODIC,
        "sporadic_ues": kind_U == TrafficClass.SPORADIC,
        "grant_rbgs": np.nan_to_num(packet_U),
        "total_floor_rbgs": floor_U,
    }
    for name, value_U in totals.items():
        cells[name] = np.bincount(ue_cell, value_U, minlength=count).astype(np.float64)


def _add_own_features(
    states: Sequence[CellState],
    ues: dict[str, NDArray[np.float64]],
    cells: dict[str, NDArray[np.float64]],
    ue_cell: NDArray[np.int64],
) -> None:
    """What policy.plug_ins.prompt_fields has."""
    for own in own_fields():
        ues[own.name] = own.of(states)
        known = ~np.isnan(ues[own.name])
        cells[own.count_name] = np.bincount(ue_cell[known], minlength=len(states)).astype(np.float64)


def _outcome_counts(states: Sequence[CellState]) -> dict[str, NDArray[np.float64]]:
    """RBGs by what became of them in the last slot, [B]; NaN where it is not known."""
    sizes_B = [s.num_rbgs for s in states]
    outcome = np.concatenate([s.last_outcome_M for s in states]) if states else np.zeros(0)
    cell = np.repeat(np.arange(len(states)), sizes_B)
    unknown_B = np.bincount(cell, np.isnan(outcome), minlength=len(states)) == sizes_B

    def count(which: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.where(unknown_B, np.nan, np.bincount(cell, which, minlength=len(states)))

    outcome[np.isinf(outcome)] = np.nan
    return {
        "decoded_rbgs": count(outcome % WAS_OPEN == OUTCOME_DECODED),
        "lost_rbgs": count(outcome % WAS_OPEN == OUTCOME_LOST),
        "open_rbgs": count(outcome >= WAS_OPEN),
    }
