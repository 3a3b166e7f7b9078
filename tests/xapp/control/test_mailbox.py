"""The newest-wins mailbox: bounded by the cells, coalescing, closing."""

from __future__ import annotations

import threading
import time

from xapp.control.mailbox import Mailbox

PATIENCE_S = 30.0
NEVER_S = 3600.0


def test_nothing_comes_out_of_an_empty_mailbox_after_the_timeout() -> None:
    started_s = time.monotonic()
    assert Mailbox[int](0.0).take(0.05) == []
    assert time.monotonic() - started_s >= 0.05


def test_the_newest_value_of_a_cell_wins_and_what_it_replaced_is_counted() -> None:
    lost: list[None] = []
    mailbox: Mailbox[int] = Mailbox(0.0, on_superseded=lambda: lost.append(None))
    for value in range(5):
        mailbox.offer("a", value, complete=True)
    assert mailbox.take(0.0) == [("a", 4)]
    assert len(lost) == 4
    assert mailbox.take(0.0) == []


def test_cells_come_out_together_and_in_the_order_they_came_in() -> None:
    mailbox: Mailbox[int] = Mailbox(0.0)
    for cell, value in (("b", 1), ("a", 2), ("c", 3), ("b", 4)):
        mailbox.offer(cell, value, complete=True)
    assert mailbox.take(0.0) == [("b", 4), ("a", 2), ("c", 3)]


def test_nobody_waits_for_the_coalescing_time_once_all_expected_cells_are_complete() -> None:
    mailbox: Mailbox[int] = Mailbox(NEVER_S)
    mailbox.expect(frozenset({"a", "b"}))
    mailbox.offer("a", 1, complete=True)
    mailbox.offer("b", 2, complete=True)
    assert mailbox.take(PATIENCE_S) == [("a", 1), ("b", 2)]


def test_an_incomplete_cell_waits_for_what_completes_it() -> None:
    mailbox: Mailbox[str] = Mailbox(NEVER_S)
    mailbox.expect(frozenset({"a"}))
    mailbox.offer("a", "first half", complete=False)
    taken: list[list[tuple[str, str]]] = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take(PATIENCE_S)))
    taker.start()
    mailbox.offer("a", "both", complete=True, news=False)
    taker.join(PATIENCE_S)
    assert taken == [[("a", "both")]]


def test_a_complete_cell_does_not_wait_for_another_ones_second_report() -> None:
    mailbox: Mailbox[int] = Mailbox(0.0, NEVER_S)
    mailbox.offer("half", 1, complete=False)
    mailbox.offer("whole", 2, complete=True)
    assert mailbox.take(PATIENCE_S) == [("whole", 2)]
    assert mailbox.take(0.0) == []
    mailbox.offer("half", 3, complete=True, news=False)
    assert mailbox.take(PATIENCE_S) == [("half", 3)]


def test_a_second_report_that_never_comes_is_waited_for_only_so_long() -> None:
    patience_s = 0.05
    mailbox: Mailbox[int] = Mailbox(0.0, patience_s)
    started_s = time.monotonic()
    mailbox.offer("a", 1, complete=False)
    assert mailbox.take(PATIENCE_S) == [("a", 1)]
    assert patience_s <= time.monotonic() - started_s < PATIENCE_S / 2


def test_a_missing_cell_is_waited_for_no_longer_than_the_coalescing_time() -> None:
    coalesce_s = 0.05
    mailbox: Mailbox[int] = Mailbox(coalesce_s)
    mailbox.expect(frozenset({"a", "b"}))
    started_s = time.monotonic()
    mailbox.offer("a", 1, complete=True)
    assert mailbox.take(PATIENCE_S) == [("a", 1)]
    assert coalesce_s <= time.monotonic() - started_s < PATIENCE_S / 2


def test_what_only_completes_makes_no_cell_wait_and_counts_as_no_loss() -> None:
    lost: list[None] = []
    mailbox: Mailbox[int] = Mailbox(0.0, on_superseded=lambda: lost.append(None))
    mailbox.offer("a", 1, complete=True, news=False)
    assert mailbox.take(0.0) == []
    mailbox.offer("a", 2, complete=False)
    mailbox.offer("a", 3, complete=True, news=False)
    assert mailbox.take(0.0) == [("a", 3)]
    assert lost == []


def test_closing_wakes_the_taker_and_ends_all_waiting() -> None:
    mailbox: Mailbox[int] = Mailbox(NEVER_S)
    taken: list[list[tuple[str, int]]] = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take(NEVER_S)))
    taker.start()
    mailbox.close()
    taker.join(PATIENCE_S)
    assert taken == [[]]
    mailbox.offer("a", 1, complete=True)
    assert mailbox.take(PATIENCE_S) == []


def test_of_more_cells_than_one_can_do_those_that_wait_longest_are_taken_and_the_others_wait_on() -> None:
    mailbox: Mailbox[int] = Mailbox(0.0)
    for cell, value in (("a", 1), ("b", 2), ("c", 3), ("a", 4)):
        mailbox.offer(cell, value, complete=True)
    assert mailbox.take(0.0, most=2) == [("a", 4), ("b", 2)]
    mailbox.offer("a", 5, complete=True)
    assert mailbox.take(0.0, most=2) == [("c", 3), ("a", 5)], "whoever was taken goes to the end"


def test_of_more_cells_than_one_can_do_fresh_reports_come_first_and_old_ones_wait_to_be_replaced() -> None:
    mailbox: Mailbox[int] = Mailbox(0.0)
    for cell, value in (("old", 1), ("renewed", 2)):
        mailbox.offer(cell, value, complete=True)
    aged_s = 0.02
    threading.Event().wait(aged_s)
    for cell, value in (("renewed", 3), ("fresh", 4), ("fresher", 5)):
        mailbox.offer(cell, value, complete=True)
    assert mailbox.take(0.0, most=3, fresh_s=aged_s) == [("renewed", 3), ("fresh", 4), ("fresher", 5)]
    assert mailbox.take(0.0, most=3, fresh_s=aged_s) == [("old", 1)], "where there is time for all, age is no reason"


def test_where_all_are_old_somebody_is_taken_all_the_same() -> None:
    mailbox: Mailbox[int] = Mailbox(0.0)
    for cell in "abc":
        mailbox.offer(cell, 0, complete=True)
    assert mailbox.take(0.0, most=2, fresh_s=-1.0) == [("a", 0), ("b", 0)]
