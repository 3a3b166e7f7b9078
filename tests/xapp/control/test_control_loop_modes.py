"""The pacer under every mode, with cells that fall silent, at the end, and whatever a node reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from deciding import PERIOD_MS, AllIdle, Deciding, Slow
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE_S, wait_for

from policy.intent import Intent, Mode
from policy.schedulers.schedulers import SCHEDULERS

Make = Callable[..., Deciding]


# -- modes, silence, the end ------------------------------------------------------------------------------------------


def test_in_fallback_mode_the_model_is_not_asked(make: Make) -> None:
    leader = AllIdle()
    deciding = make(leader)
    deciding.intent = Intent(mode=Mode.FALLBACK)
    assert all(owner >= 0 for owner in deciding.decided(1).allocation.owner_M.tolist())
    wait_for(lambda: deciding.metrics["decisions"] == 1)
    assert (leader.asked, deciding.decided_by) == ([], {"fallback:intent": 1})


def test_in_shadow_mode_decisions_are_made_but_the_cell_is_the_nodes_own(make: Make) -> None:
    deciding = make(AllIdle())
    assert not deciding.decided(1).release
    deciding.intent = Intent(mode=Mode.SHADOW)
    assert deciding.decided(2).release
    deciding.report(3)
    wait_for(lambda: deciding.metrics["decisions"] == 3)
    assert (deciding.metrics["controls_sent"], deciding.metrics["releases_sent"]) == (1, 1)
    assert deciding.node.rmr.receive(0.05) is None


def test_whoever_keeps_the_books_hears_what_was_sent_under_which_intent(make: Make) -> None:
    deciding = make(AllIdle())
    sent = deciding.decided(1).allocation
    wait_for(lambda: len(deciding.settled) == 1)
    intent, allocation, was_sent = deciding.settled[0]
    assert intent == Intent() and was_sent
    assert allocation.owner_M.tolist() == sent.owner_M.tolist()
    deciding.intent = Intent(mode=Mode.SHADOW)
    assert deciding.decided(2).release
    wait_for(lambda: len(deciding.settled) == 2)
    assert not deciding.settled[1][2]


def test_a_cell_without_a_function_to_control_is_only_watched(make: Make) -> None:
    deciding = make(AllIdle())
    deciding.link.target = None
    deciding.report(1)
    wait_for(lambda: deciding.metrics["decisions"] == 1)
    assert not deciding.loop.last_decisions()[deciding.node.cell]["sent"]
    assert deciding.metrics["controls_sent"] == 0


def test_a_silent_cell_is_released_once_not_scheduled_on_guesses(make: Make) -> None:
    deciding = make(AllIdle(), stale_after_periods=10.0)
    assert not deciding.decided(1).release
    assert deciding.control().release
    assert deciding.node.rmr.receive(12 * PERIOD_MS / 1e3) is None
    assert (deciding.metrics["stale_releases"], deciding.metrics["decisions"]) == (1, 1)
    assert not deciding.decided(2).release


def test_closing_waits_for_no_leader_and_sends_nothing_more(make: Make) -> None:
    slow = Slow()
    deciding = make(slow)
    deciding.report(1)
    assert slow.started.wait(PATIENCE_S)
    started_s = time.monotonic()
    deciding.loop.close()
    assert time.monotonic() - started_s < PATIENCE_S / 2
    slow.go.set()
    assert deciding.node.rmr.receive(0.05) is None
    assert deciding.metrics["decisions"] == 0


# -- whatever a node reports ------------------------------------------------------------------------------------------

COLUMNS = ("buffer_bits", "cqi", "preferred_rbg", "head_delay_slots", "served_bits", "inflight_bits", "deadline_slots")
PERIODIC = ("arrival_period_slots", "arrival_phase_slots", "packet_bits")
VALUES = st.one_of(st.floats(0, 100), st.floats(0, 2.0**127, width=32), st.sampled_from([np.nan, 0.0, 1.0, 5.0, 6.0]))


@st.composite
def indications(draw: st.DrawFn) -> dict[str, Any]:
    ue_ids = tuple(sorted(draw(st.sets(st.integers(0, 2**32 - 1), max_size=5))))
    columns = {
        name: np.array(draw(st.lists(VALUES, min_size=len(ue_ids), max_size=len(ue_ids))))
        for name in (*COLUMNS, *PERIODIC)
    }
    columns["traffic_class"] = np.array(
        draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan]), min_size=len(ue_ids), max_size=len(ue_ids)))
    )
    return {"ue_ids": ue_ids, "k": draw(st.sampled_from([1, 5, 20, 100, 100_000])), **columns}


@pytest.mark.parametrize("name", ["proportional_fair", "static_config", "max_weight", "contention"])
def test_whatever_a_node_reports_of_its_ues_it_gets_a_control(make: Make, node: Any, name: str) -> None:
    deciding = make(SCHEDULERS[name])
    sn = 0

    @given(indications())
    def check(columns: dict[str, Any]) -> None:
        nonlocal sn
        sn += 1
        control = deciding.decided(sn, node.indication(slot=sn, **columns))
        assert control.allocation.ue_ids == columns["ue_ids"]
        dropped = deciding.metrics.summary()["dropped"]
        assert dropped == {}, dropped
        assert set(deciding.decided_by) <= {name}, deciding.decided_by

    check()
