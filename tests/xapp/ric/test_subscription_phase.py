"""Cells are asked to report one after another, so that their reports do not all come at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from subscribing import Clock, FakeSubmgr, Maker

from xapp.ric.subscription_body import Action, SubscriptionKey, SubscriptionRequest
from xapp.ric.subscription_phase import SubscriptionPhases
from xapp.ric.subscriptions import SubscriptionClient, SubscriptionOptions

PERIOD_S = 0.1


def request(cell: int, function_id: int = 2) -> SubscriptionRequest:
    return SubscriptionRequest(
        SubscriptionKey(f"gnb_{cell}", function_id, f"{cell:015x}"), b"\x08", (Action(0, b"\x00"),)
    )


def asked(submgr: FakeSubmgr) -> list[tuple[str, int]]:
    return [(body["Meid"], body["RANFunctionID"]) for body in submgr.posted]


def play(client: SubscriptionClient, clock: Clock, until_s: float, step_s: float = 0.001) -> None:
    end_s = clock.now_s + until_s
    while clock.now_s < end_s:
        client.run_due()
        clock.now_s += step_s


@given(st.integers(2, 200), st.floats(0, 1e6))
def test_gaps_between_cells_are_nearly_even_whatever_their_number(cells: int, now_s: float) -> None:
    phases = SubscriptionPhases(PERIOD_S)
    due_s = [phases.due_at(cell, now_s) for cell in range(cells)]
    assert due_s[0] == now_s, "the first one waits for nobody"
    assert all(now_s <= each <= now_s + PERIOD_S + 1e-6 for each in due_s)
    gaps_s = np.diff(sorted([*due_s, now_s + PERIOD_S]))
    assert gaps_s.max() < 3 * PERIOD_S / cells + 1e-6


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_no_two_cells_have_one_phase_and_a_cell_keeps_its_own(events: list[tuple[int, bool]]) -> None:
    phases, known, now_s = SubscriptionPhases(PERIOD_S), {}, 0.0
    for cell, stays in events:
        now_s += 0.37 * PERIOD_S
        if not stays:
            phases.forget(cell)
            known.pop(cell, None)
            continue
        phase = round(phases.due_at(cell, now_s) % PERIOD_S, 6) % PERIOD_S
        assert known.setdefault(cell, phase) == phase
    assert len(set(known.values())) == len(known)


def test_without_a_period_all_is_asked_for_at_once() -> None:
    phases = SubscriptionPhases(0.0)
    assert [phases.due_at(cell, 5.0) for cell in range(3)] == [5.0, 5.0, 5.0]


def test_the_manager_is_asked_for_one_cell_after_the_other_and_for_all_of_a_cell_together(
    make: Maker, submgr: FakeSubmgr
) -> None:
    clock = Clock()
    client = make(clock=clock, options=SubscriptionOptions(report_period_s=PERIOD_S))
    for cell in range(4):
        for function_id in (2, 3):
            client.want(request(cell, function_id))
    client.run_due()
    assert asked(submgr) == [("gnb_0", 2), ("gnb_0", 3)]
    play(client, clock, PERIOD_S)
    # At 0, .62, .24 and .85 of the period.
    assert asked(submgr) == [(f"gnb_{cell}", function_id) for cell in (0, 2, 1, 3) for function_id in (2, 3)]
