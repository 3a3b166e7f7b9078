"""What a node hears of its quotas and when: steps, rates, priorities, refusals, releases. Time is a number here."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xapp.quotas.allocation_to_quota import RELEASED, Quota, QuotaRules, Target
from xapp.quotas.quota_book import (
    GONE_AFTER_PERIODS,
    LONGEST_RETRY_S,
    RELEASE_ATTEMPTS,
    SILENT_AFTER_DECISIONS,
    Order,
    QuotaBook,
)

CELL, OTHER = "node/a", "node/b"
MANY = 1000


def most(percent: int, cap: int = 100) -> Target:
    return Target(Quota(0, percent), cap)


class Kept:
    """A book whose ids are kept as soon as they are to be, and a node that says yes."""

    def __init__(self, **rules: int) -> None:
        self.book = QuotaBook(QuotaRules(**rules))
        self.now_s = 0.0

    def want(self, cell: str = CELL, /, **targets: Target) -> None:
        """targets: u1=..."""
        self.book.want(cell, {int(ue[1:]): target for ue, target in targets.items()}, self.now_s)

    def due(self, at_most: int = MANY, **options: bool) -> list[Order]:
        self.book.kept(self.book.to_keep())
        return self.book.due(self.now_s, at_most, **options)

    def play(self, accepted: bool | None = True) -> list[Order]:
        orders = self.due()
        for order in orders:
            self.book.on_answer(order.ue, accepted, self.now_s)
        return orders


def test_a_quota_is_sent_once_and_again_when_it_changes_by_a_step() -> None:
    node = Kept(step_percent=5)
    node.want(u1=most(40), u2=most(100))
    assert node.play() == [Order(1, Quota(0, 40))]
    for percent in (40, 44, 36, 44):
        node.want(u1=most(percent), u2=most(100))
        assert node.play() == []
    node.want(u1=most(45), u2=most(96))
    assert node.play() == [Order(1, Quota(0, 45))]
    assert node.book.in_force() == {1: Quota(0, 45)}


def test_no_limit_any_more_is_a_step_however_small() -> None:
    node = Kept(step_percent=20)
    node.want(u1=most(70))
    node.play()
    node.want(u1=most(89))
    assert node.play() == []
    node.want(u1=most(95))
    assert node.play() == [Order(1, Quota(0, 95))]
    node.want(u1=most(100))
    (order,) = node.play()
    assert order == Order(1, RELEASED)
    assert order.is_release
    assert node.book.limited == frozenset()


def test_a_broken_cap_and_a_floor_are_sent_however_small_the_step() -> None:
    node = Kept(step_percent=20)
    node.want(u1=most(50), u2=most(50))
    node.play()
    node.want(u1=most(49, cap=49), u2=Target(Quota(1, 50)))
    assert node.play() == [Order(1, Quota(0, 49)), Order(2, Quota(1, 50))]


def test_nobody_is_limited_whose_id_is_not_kept() -> None:
    node = Kept()
    node.want(u1=most(40), u2=most(100))
    assert node.book.due(0.0, MANY) == []
    assert node.book.to_keep() == {1}
    node.book.kept(frozenset({2}))
    assert node.book.due(0.0, MANY) == []
    node.book.kept(frozenset({1}))
    assert node.book.due(0.0, MANY) == [Order(1, Quota(0, 40))]
    assert node.book.limited == node.book.to_keep() == {1}


def test_one_control_a_ue_is_in_flight() -> None:
    node = Kept()
    node.want(u1=most(40))
    assert node.due() == [Order(1, Quota(0, 40))]
    node.want(u1=most(80))
    assert node.due() == []
    node.book.on_answer(1, True, 0.1)
    assert node.due() == [Order(1, Quota(0, 80))]


def test_what_is_rate_limited_waits_and_the_newest_wins() -> None:
    node = Kept(max_controls_per_s=2)
    node.want(u1=most(40), u2=most(40), u3=most(40))
    assert [order.ue for order in node.play()] == [1, 2]
    node.now_s = 0.9
    node.want(u1=most(40), u2=most(40), u3=most(20))
    assert node.play() == []
    assert node.book.waiting == 1
    node.now_s = 1.0
    assert node.play() == [Order(3, Quota(0, 20))]


def test_broken_caps_come_first_then_releases_then_who_waits_longest() -> None:
    node = Kept()
    node.want(u1=most(40))
    node.play()
    node.want(u1=most(100), u2=most(50))
    node.now_s = 0.1
    node.want(u1=most(100), u2=most(50), u3=most(60), u4=most(90, cap=90))
    assert [order.ue for order in node.due()] == [4, 1, 2, 3]


@pytest.mark.parametrize("accepted", [False, None])
def test_a_quota_that_fails_is_tried_again_after_a_pause_that_grows(accepted: bool | None) -> None:
    node = Kept()
    node.want(u1=most(40))
    pauses, last_s = [], 0.0
    while len(pauses) < 9:
        node.want(u1=most(40))
        if node.play(accepted):
            pauses.append(node.now_s - last_s)
            last_s = node.now_s
        node.now_s += 0.5
    assert pauses[1:4] == [1.0, 2.0, 4.0]
    assert pauses[-1] == LONGEST_RETRY_S
    node.now_s += 2 * LONGEST_RETRY_S
    assert node.play() == [Order(1, Quota(0, 40))]
    node.want(u1=most(60))
    assert node.play() == [Order(1, Quota(0, 60))]  # it worked: the pause is forgotten


def test_an_order_that_never_left_is_due_again_at_once() -> None:
    node = Kept()
    node.want(u1=most(40))
    assert node.due() == [Order(1, Quota(0, 40))]
    node.book.not_sent(1)
    assert node.due() == [Order(1, Quota(0, 40))]
    node.book.not_sent(1)
    node.book.release()
    assert (node.due(), node.book.limited) == ([], frozenset()), "nobody was limited, so nobody waits for a release"


def test_a_cell_is_released_and_the_others_are_not() -> None:
    node = Kept()
    node.want(u1=most(40), u2=most(100))
    node.want(OTHER, u3=most(40))
    node.play()
    node.book.release(CELL)
    assert node.play() == [Order(1, RELEASED)]
    node.book.release()
    assert node.play() == [Order(3, RELEASED)]
    assert node.book.limited == frozenset()
    node.want(u1=most(40))
    assert node.play() == [Order(1, Quota(0, 40))]  # and may be limited again


def test_ues_that_two_cells_decide_about_have_the_strictest_limit_and_few_controls() -> None:
    """A node that ignores the subscription's cell: 20 s of decisions ten times a second, a cap in one cell only."""
    node, in_force = Kept(smooth_periods=1), dict[int, Quota]()
    sent = 0
    for period in range(200):
        node.now_s = period / 10
        node.want(CELL, **{f"u{ue}": most(100) for ue in range(6)})
        for order in node.play():
            sent, in_force[order.ue] = sent + 1, order.quota
        node.want(OTHER, **{f"u{ue}": most(30, cap=30) for ue in range(6)})
        for order in node.play():
            sent, in_force[order.ue] = sent + 1, order.quota
        assert set(in_force.values()) == {Quota(0, 30)}, "the cap is never undone"
    assert (sent, len(in_force)) == (6, 6)
    assert node.book.shared == frozenset(range(6))
    assert node.book.in_force(CELL) == node.book.in_force(OTHER) == in_force
    node.book.release(OTHER)
    assert {order.quota for order in node.play()} == {RELEASED}


def test_a_handover_moves_the_entry_and_its_limit_goes_with_the_cell() -> None:
    node = Kept()
    node.want(CELL, u1=most(30, cap=30))
    node.play()
    for _ in range(GONE_AFTER_PERIODS):
        node.want(OTHER, u1=most(60))
        node.want(CELL)
    assert (node.book.cell_of(1), node.book.shared) == (OTHER, frozenset())
    assert node.play() == [Order(1, Quota(0, 60))]


def test_a_cell_that_decides_nothing_any_more_has_no_say() -> None:
    node = Kept()
    node.want(CELL, u1=most(30, cap=30))
    for _ in range(SILENT_AFTER_DECISIONS):
        assert node.book.cell_of(1) == CELL
        node.want(OTHER, u1=most(60))
    assert node.book.cell_of(1) == OTHER
    assert node.play() == [Order(1, Quota(0, 60))]


def test_a_release_overtakes_a_quota_that_waits() -> None:
    node = Kept(max_controls_per_s=1)
    node.want(u1=most(40), u2=most(40))
    node.play()
    node.book.release()
    node.now_s = 1.0
    assert node.play() == [Order(1, RELEASED)]
    node.now_s = 2.0
    assert node.play() == []
    assert node.book.waiting == 0


def test_an_xapp_that_stops_does_not_wait_for_the_rate_limit() -> None:
    node = Kept(max_controls_per_s=3)
    node.want(u1=most(40), u2=most(40), u3=most(40))
    node.play()
    node.book.release()
    assert node.due() == []
    assert [order.ue for order in node.due(2, unhurried=False)] == [1, 2]


def test_what_an_earlier_instance_left_is_released_before_anything_else() -> None:
    node = Kept()
    node.book.restore([1, 2])
    assert node.book.limited == node.book.to_keep() == {1, 2}
    node.want(u1=most(40))
    assert node.due() == [Order(1, RELEASED), Order(2, RELEASED)]
    node.book.on_answer(1, True, 0.0)
    assert node.due() == [Order(1, Quota(0, 40))]
    node.book.on_answer(2, True, 0.0)
    assert node.book.limited == {1}


def test_a_ue_that_left_is_released_once_and_forgotten() -> None:
    node = Kept()
    node.want(u1=most(40), u2=most(100))
    node.play()
    for _ in range(GONE_AFTER_PERIODS - 1):
        node.want(u2=most(100))
        assert node.play() == []
    node.want(u2=most(100))
    assert node.play(accepted=False) == [Order(1, RELEASED)]  # the node does not know it any more
    assert node.book.limited == frozenset()
    assert node.book.given_up == 0
    for _ in range(3):
        node.now_s += 100.0
        node.want(u2=most(100))
        assert node.play() == []


def test_a_release_that_the_node_keeps_refusing_is_given_up() -> None:
    node = Kept()
    node.want(u1=most(40))
    node.play()
    node.book.release()
    attempts = 0
    for _ in range(20):
        attempts += len(node.play(accepted=False))
        node.now_s += LONGEST_RETRY_S
    assert (attempts, node.book.given_up) == (RELEASE_ATTEMPTS, 1)
    assert node.book.limited == frozenset()


def test_a_release_that_nobody_answers_is_never_given_up() -> None:
    node = Kept()
    node.want(u1=most(40))
    node.play()
    node.book.release()
    attempts = 0
    for _ in range(10):
        node.now_s += LONGEST_RETRY_S
        attempts += len(node.play(accepted=None))
    assert (attempts, node.book.given_up, node.book.limited) == (10, 0, {1})
    node.now_s += LONGEST_RETRY_S
    assert node.play() == [Order(1, RELEASED)]
    assert node.book.limited == frozenset()


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    book = QuotaBook(QuotaRules())
    book.on_answer(1, True, 0.0)
    book.not_sent(1)
    assert book.in_force() == {}


@settings(max_examples=100)
@given(
    st.integers(1, 5),
    st.lists(
        st.tuples(
            st.floats(0.0, 0.6),
            st.one_of(
                st.dictionaries(st.integers(1, 6), st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=6),
                st.just("release"),
            ),
            st.sampled_from([True, True, False, None]),
        ),
        max_size=25,
    ),
)
def test_the_rate_holds_and_in_the_end_the_node_has_what_was_said_last(
    rate: int, story: list[tuple[float, dict[int, tuple[int, int]] | str, bool | None]]
) -> None:
    rules = QuotaRules(max_controls_per_s=rate, step_percent=5)
    node, sent_s, wanted = Kept(max_controls_per_s=rate), [], {}
    at_node: dict[int, Quota] = defaultdict(lambda: RELEASED)
    absent: Counter[int] = Counter()
    """Decisions in a row that did not know the UE."""
    forgotten: set[int] = set()
    """UEs that have left, and whose one release was refused."""

    def play(accepted: bool | None) -> None:
        for order in node.due():
            sent_s.append(node.now_s)
            assert order.is_release or order.ue in node.book.to_keep()
            # A control that nobody answers may have arrived.
            if accepted is not False:
                at_node[order.ue] = order.quota
                forgotten.discard(order.ue)
            elif order.is_release and absent[order.ue] >= GONE_AFTER_PERIODS:
                forgotten.add(order.ue)
            node.book.on_answer(order.ue, accepted, node.now_s)

    for pause_s, said, accepted in story:
        node.now_s += pause_s
        if isinstance(said, str):
            node.book.release()
            wanted = {}
        else:
            wanted = {
                ue: Target(Quota(min(percent, cap) // 2, min(percent, cap)), cap) for ue, (percent, cap) in said.items()
            }
            node.book.want(CELL, wanted, node.now_s)
            absent = Counter({ue: absent[ue] + 1 for ue in range(1, 7) if ue not in wanted})
        play(accepted)
    released = bool(story) and isinstance(story[-1][1], str)
    for _ in range(30):
        node.now_s += LONGEST_RETRY_S / 4
        if not released:
            node.book.want(CELL, wanted, node.now_s)
        play(True)
    for first_s, later_s in zip(sent_s, sent_s[rate:]):
        assert later_s - first_s >= 1.0 - 1e-9
    for ue in set(range(1, 7)) - forgotten:
        target = wanted.get(ue, Target(RELEASED))
        assert at_node[ue].max_percent <= target.cap_percent
        assert at_node[ue].min_percent == target.quota.min_percent
        assert abs(at_node[ue].max_percent - target.quota.max_percent) < rules.step_percent
        if target.quota == RELEASED:
            assert at_node[ue] == RELEASED
    assert {ue for ue, quota in at_node.items() if quota != RELEASED} == node.book.limited
