"""Throughput targets: shares follow what RBGs carry, windows are judged, what is out of reach starves nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policy.cell_state import make_cell_state
from policy.intent import Intent, Mode, SliceLimit, Target
from xapp.a1.target_keeper import TargetKeeper
from xapp.a1.target_lines import line, target_rows
from xapp.control.cell_tracker import Service

CELL, RBGS, K = "gnb/00f110000000011", 10, 100
SLICE = frozenset((1, 2))


class Cell:
    """A cell whose slice gets what it is held, at so many bits an RBG, and has so much to send."""

    def __init__(self, target: Target, *, bits_per_rbg: float = 1000.0, offered_kbps: float = 1e9) -> None:
        self.keeper = TargetKeeper(70)
        self.intent = Intent(slice_limits=(SliceLimit("1", SLICE),), targets=(target,))
        self.bits_per_rbg, self.offered_kbps = bits_per_rbg, offered_kbps
        self.slot, self.own_percent = 0, 20.0
        self.delay_slots = float("nan")
        self.packets: tuple[list[float], list[float]] | None = None
        """Lost and delivered in each period, by UE."""

    def play(self, periods: int, mode: Mode = Mode.CONTROL) -> SliceLimit:
        limit = self.intent.slice_limits[0]
        for _ in range(periods):
            self.slot += K
            intent = self.keeper.with_limits(self.intent, self.state(0.0))
            (limit,) = intent.slice_limits
            share = min(max(self.own_percent, limit.min_share_percent), limit.max_share_percent) / 100.0
            kbps = min(self.offered_kbps, share * RBGS * self.bits_per_rbg)
            service = None
            if self.packets is not None:
                service = Service((1, 2, 3), np.zeros(3), K, *map(np.array, self.packets))
            self.keeper.on_decided(self.state(kbps), replace(intent, mode=mode), service)
        return limit

    def state(self, kbps: float) -> Any:
        share = kbps / (RBGS * self.bits_per_rbg)
        return make_cell_state(
            CELL,
            num_rbgs=RBGS,
            slots_per_dcm=K,
            slot=self.slot,
            ue_ids=(1, 2, 3),
            served_bits_per_slot_U=[kbps / 2, kbps / 2, 5.0],
            prb_share_U=[share / 2, share / 2, 0.1],
            head_delay_slots_U=[self.delay_slots, 1.0, 99.0] if self.delay_slots > 0 else [float("nan")] * 3,
        )

    @property
    def row(self) -> dict[str, Any]:
        (row,) = self.keeper.rows()
        return row


def slice_target(**values: float) -> Target:
    return Target("p", "slice 1", SLICE, "1", **values)


def test_a_floor_becomes_the_share_that_carries_it() -> None:
    cell = Cell(slice_target(min_kbps=4000.0))
    cell.play(41)
    assert 40.0 <= cell.play(1).min_share_percent <= 48.0
    assert 3900.0 <= cell.row["mean_kbps"] <= 4200.0, "no more than it asks for, either"
    assert cell.row["state"] == "met" and cell.row["bits_per_rbg"] == pytest.approx(1000.0)
    assert cell.row["windows"] == 4 and cell.row["windows_by_state"]["met"] >= 3
    cell.bits_per_rbg = 700.0
    assert cell.play(60).min_share_percent > 57.0, "revised: an RBG carries less now"


def test_who_has_more_than_the_floor_anyway_is_promised_less_until_that_ends() -> None:
    cell = Cell(slice_target(min_kbps=4000.0))
    cell.own_percent = 60.0
    assert cell.play(48).min_share_percent == pytest.approx(20.0, abs=0.1), "half of what it needs"
    cell.own_percent = 0.0
    cell.play(40)
    assert cell.row["windows_by_state"]["met"] >= 7 and cell.row["state"] == "met"


def test_what_one_window_has_too_much_is_not_taken_from_the_next() -> None:
    """Two periods a window, and a decision governs the period after it: what is asked for at the end of a window that
    was ahead is for the next one, and half of it at half of the floor could not be made up."""
    keeper, intent = (
        TargetKeeper(70),
        Intent(slice_limits=(SliceLimit("1", SLICE),), targets=(slice_target(min_kbps=4000.0),)),
    )
    governing_percent, slot = 50.0, 0
    for own_percent in (60.0, 60.0, 0.0, 0.0) * 8:
        slot += 500
        kbps = max(own_percent, governing_percent) * 100.0
        state = make_cell_state(
            CELL,
            num_rbgs=RBGS,
            slots_per_dcm=500,
            slot=slot,
            ue_ids=(1, 2),
            served_bits_per_slot_U=[kbps / 2, kbps / 2],
            prb_share_U=[kbps / 20_000.0] * 2,
        )
        (limit,) = keeper.with_limits(intent, state).slice_limits
        governing_percent = limit.min_share_percent
        keeper.on_decided(state, replace(intent, mode=Mode.CONTROL))
    (row,) = keeper.rows()
    assert row["windows_by_state"] == {"met": 16}


def test_what_is_out_of_reach_is_said_within_two_windows_and_starves_nobody() -> None:
    cell = Cell(slice_target(min_kbps=9000.0))
    limit = cell.play(20)
    assert limit.min_share_percent == 70.0
    assert cell.row["state"] == "out of reach" and "needs 90 % of the cell and targets get 70 %" in cell.row["text"]


def test_floors_of_a_cell_share_what_they_may_claim() -> None:
    cell = Cell(slice_target(min_kbps=6000.0))
    other = Target("q", "UE 3", frozenset((3,)), "", 10.0)
    cell.intent = Intent(slice_limits=cell.intent.slice_limits, targets=(*cell.intent.targets, other))
    cell.play(10)
    assert sum(row["share_percent"] for row in cell.keeper.rows()) <= 70.1


def test_who_has_less_to_send_is_idle_and_the_share_shrinks() -> None:
    cell = Cell(slice_target(min_kbps=4000.0), offered_kbps=300.0)
    limit = cell.play(30)
    assert cell.row["state"] == "idle" and limit.min_share_percent <= 15.0


def test_an_operators_cap_below_the_floor_is_no_lack_of_data() -> None:
    cell = Cell(slice_target(min_kbps=4000.0))
    cell.intent = Intent(slice_limits=(SliceLimit("1", SLICE, 0.0, 15.0),), targets=cell.intent.targets)
    cell.play(30)
    assert cell.row["windows_by_state"] == {"missed": 3} and cell.row["share_percent"] >= 40.0
    cell.intent = Intent(slice_limits=(SliceLimit("1", SLICE, 0.0, 0.0),), targets=cell.intent.targets)
    cell.play(30)
    assert cell.row["windows_by_state"] == {"missed": 6}, "cut off, it sends nothing"


def test_a_ceiling_becomes_a_cap() -> None:
    cell = Cell(slice_target(max_kbps=3000.0))
    cell.own_percent = 60.0
    limit = cell.play(40)
    assert limit.max_share_percent == pytest.approx(30.0) and cell.row["state"] == "met"


def test_in_shadow_windows_are_judged_and_nothing_acts() -> None:
    cell = Cell(slice_target(min_kbps=4000.0))
    limit = cell.play(30, Mode.SHADOW)
    assert limit.min_share_percent == 0.0 and cell.row["windows_by_state"] == {"missed": 3}


def test_loss_is_judged_where_packets_are_counted_and_unknown_with_the_reason_where_not() -> None:
    cell = Cell(slice_target(max_loss_rate=0.01))
    cell.play(10)
    assert cell.row["state"] == "unknown" and cell.row["loss_rate"] is None
    assert "the node does not report packets lost and delivered" in cell.row["text"]
    # UE 3, which is not in the slice, loses everything.
    cell.packets = [1.0, 0.0, 50.0], [100.0, 100.0, 0.0]
    cell.play(10)
    assert cell.row["state"] == "met" and cell.row["loss_rate"] == pytest.approx(1.0 / 201.0, abs=1e-6)
    cell.packets = [3.0, 0.0, 0.0], [100.0, 100.0, 0.0]
    cell.play(10)
    assert cell.row["state"] == "missed" and "1.5 % lost, 1 % at most" in cell.row["text"]
    cell.packets = [0.0, 0.0, 9.0], [0.0, 0.0, 0.0]
    cell.play(10)
    assert cell.row["state"] == "idle" and "no packet was sent" in cell.row["text"]
    assert cell.row["windows_by_state"] == {"unknown": 1, "met": 1, "missed": 1, "idle": 1}


def test_of_several_things_that_a_target_asks_each_is_judged_and_the_worst_counts() -> None:
    cell = Cell(slice_target(min_kbps=1000.0, max_delay_ms=5.0))
    cell.play(10)
    assert cell.row["verdicts"] == {"min_kbps": "met", "max_delay_ms": "unknown"} and cell.row["state"] == "unknown"
    cell.delay_slots = 7.0
    cell.play(10)
    assert cell.row["verdicts"]["max_delay_ms"] == "missed" and cell.row["state"] == "missed"
    assert "7 ms waited, 5 ms at most" in cell.row["text"]


def test_an_intent_says_what_has_come_of_its_targets() -> None:
    cell = Cell(slice_target(min_kbps=4000.0))
    assert cell.keeper.with_limits(cell.intent, cell.state(0.0)).targets[0].result is None
    cell.play(30)
    intent = cell.keeper.with_limits(cell.intent, cell.state(0.0))
    (target,) = intent.targets
    assert target.result is not None and (target.result.state, target.result.text) == ("met", cell.row["text"])
    (row,) = target_rows(intent)
    assert row["share_percent"] == cell.row["share_percent"] > 40.0
    assert line(row) == (
        f"slice 1: at least 4000 kbit/s, by p: met ({cell.row['text']});"
        f" a floor of {row['share_percent']:g} % of the cell, at 1000 bits an RBG and slot"
    )


def test_a_cell_that_leaves_takes_its_verdicts_along_and_begins_anew() -> None:
    cell = Cell(slice_target(min_kbps=4000.0))
    cell.play(30, Mode.SHADOW)
    assert cell.row["state"] == "missed"
    cell.keeper.keep_only([CELL])
    assert cell.row["windows"] == 3
    cell.keeper.keep_only([])
    assert cell.keeper.rows() == []
    cell.play(5, Mode.SHADOW)
    assert (cell.row["state"], cell.row["windows"]) == ("unknown", 0), "nothing of what was before counts"
    cell.play(5, Mode.SHADOW)
    assert cell.row["windows_by_state"] == {"missed": 1}


def test_a_cell_whose_time_runs_backwards_has_started_over() -> None:
    cell = Cell(slice_target(min_kbps=4000.0))
    cell.play(30, Mode.SHADOW)
    cell.slot = 0
    cell.play(2, Mode.SHADOW)
    assert cell.row["windows"] == 0


def test_a_policy_that_goes_takes_its_shares_with_it() -> None:
    cell = Cell(slice_target(min_kbps=4000.0))
    cell.play(20)
    cell.intent = Intent(slice_limits=cell.intent.slice_limits)
    assert cell.play(2).min_share_percent == 0.0 and cell.keeper.rows() == []
