"""A UE counts for one cell, whoever reports it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xapp.control.ue_owners import HANDOVER_REPORTS, UeOwners

A, B = "gnb/a", "gnb/b"
UES = (0, 1, 2)


def test_the_first_that_reports_a_ue_has_it_for_as_long_as_it_does() -> None:
    owners = UeOwners()
    assert owners.report(A, UES) == frozenset()
    for _ in range(10 * HANDOVER_REPORTS):
        assert owners.report(B, (*UES, 7)) == frozenset(UES)
        assert owners.report(A, (*UES, 7)) == {7}
    assert owners.shared() == {**dict.fromkeys(UES, (A, B)), 7: (B, A)}


def test_a_handover_moves_the_entry() -> None:
    owners = UeOwners()
    owners.report(A, UES)
    for _ in range(HANDOVER_REPORTS - 1):
        assert owners.report(B, (1,)) == {1}
        assert owners.report(A, (0, 2)) == frozenset()
    assert owners.report(B, (1,)) == frozenset()
    assert owners.cells_of(1) == (B,)
    assert owners.shared() == {}


def test_a_cell_that_has_nobody_left_and_so_says_nothing_loses_its_ues_too() -> None:
    owners = UeOwners()
    owners.report(A, (1,))
    assert [owners.report(B, (1,)) for _ in range(HANDOVER_REPORTS)] == [{1}] * (HANDOVER_REPORTS - 1) + [frozenset()]


def test_a_report_of_the_owner_that_came_late_moves_nothing() -> None:
    owners = UeOwners()
    owners.report(A, UES)
    for _ in range(5):
        for _ in range(HANDOVER_REPORTS - 1):
            assert owners.report(B, UES) == frozenset(UES)
        owners.report(A, UES)


def test_who_has_left_everywhere_is_forgotten_and_may_come_back_elsewhere() -> None:
    owners = UeOwners()
    owners.report(A, UES)
    owners.report(B, UES)
    for _ in range(HANDOVER_REPORTS + 1):
        owners.report(A, ())
    assert owners.cells_of(0) == ()
    assert owners.report(B, (0,)) == frozenset()


def test_a_cell_that_no_longer_reports_the_others_ues_shares_them_no_longer() -> None:
    owners = UeOwners()
    owners.report(A, UES)
    owners.report(B, UES)
    assert owners.shared()
    for _ in range(HANDOVER_REPORTS + 2):
        owners.report(A, UES)
    assert owners.shared() == {}


def test_the_end_of_a_subscription_gives_its_ues_away() -> None:
    owners = UeOwners()
    owners.report(A, UES)
    owners.report(B, UES)
    owners.forget_cell(A)
    assert owners.report(B, UES) == frozenset()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.frozensets(st.integers(0, 4))), max_size=60))
def test_no_ue_ever_counts_for_two_cells(reports: list[tuple[str, frozenset[int]]]) -> None:
    owners, counted = UeOwners(), dict[str, frozenset[int]]()
    for cell, ues in reports:
        counted[cell] = ues - owners.report(cell, ues)
        for ue in counted[cell]:
            assert owners.cells_of(ue)[0] == cell
            for other in counted.keys() - {cell}:
                counted[other] -= {ue}  # a handover: the other's next report says so
        assert all(owners.cells_of(ue)[0] == cell for ue in counted[cell])
