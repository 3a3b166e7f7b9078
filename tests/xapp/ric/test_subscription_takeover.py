"""Subscriptions at the end, over a restart, and between two instances."""

from __future__ import annotations

import threading
from typing import Any

from subscribing import ENDPOINT, KEY, OPTIONS, REQUEST, Clock, FakeSubmgr, Maker, activate, other, status_of

from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import (
    SubscriptionRequest,
)
from xapp.ric.subscriptions import SubscriptionClient, SubscriptionState


def test_closing_deletes_every_subscription(make: Maker, submgr: FakeSubmgr) -> None:
    client = make()
    client.want(REQUEST)
    client.want(other(2))
    client.want(other(3))
    client.run_due()
    activate(client)
    submgr.deletes = [(400, {})]
    client.close(5.0)
    assert sorted(set(submgr.deleted)) == ["s1", "s2", "s3"]
    assert len(submgr.deleted) == 4


def test_closing_while_the_same_deletion_is_under_way(submgr: FakeSubmgr) -> None:
    """A stop waits only so long for the task runner; here both hear that it worked, the task runner first."""
    client = SubscriptionClient(submgr.service.url, ENDPOINT, options=OPTIONS)
    client.want(REQUEST)
    client.run_due()
    client.drop(KEY)
    task_runner = threading.Thread(target=client.run_due)
    first, second = threading.Event(), threading.Event()

    def respond(request: Any) -> tuple[int, object]:
        if first.is_set():
            second.set()
            task_runner.join(30.0)
        else:
            first.set()
            second.wait(30.0)
        return 204, None

    submgr.service.respond = respond
    task_runner.start()
    assert first.wait(30.0)
    client.close(5.0)
    assert submgr.deleted == ["s1", "s1"] and client.counters["deleted"] == 2


def test_closing_gives_up_when_the_manager_hangs(submgr: FakeSubmgr) -> None:
    released = threading.Event()
    client = SubscriptionClient(submgr.service.url, ENDPOINT, options=OPTIONS)
    client.want(REQUEST)
    client.run_due()

    def hang(request: Any) -> tuple[int, object]:
        released.wait(30.0)
        return 204, None

    submgr.service.respond = hang
    client.close(0.2)
    released.set()
    assert client.counters["delete_failed"] >= 1


def test_a_restarted_xapp_takes_an_unchanged_subscription_over(
    make: Maker, submgr: FakeSubmgr, store: SharedStore
) -> None:
    before = make(store=store, owner="before")
    before.want(other(3))
    before.want(REQUEST)
    before.run_due()
    after = make(store=store, owner="after")
    after.want(REQUEST)  # asked for first this time: the id must not depend on the order
    after.run_due()
    assert after.counters["adopted"] == 1
    assert status_of(after).subscription_id == status_of(before).subscription_id == "s2"
    assert submgr.posted[2] == submgr.posted[1] and submgr.deleted == []


def test_a_restarted_xapp_deletes_what_it_wants_differently(
    make: Maker, submgr: FakeSubmgr, store: SharedStore
) -> None:
    before = make(store=store, owner="before")
    before.want(REQUEST)
    before.run_due()
    after = make(store=store, owner="after")
    after.want(SubscriptionRequest(KEY, b"\x09", REQUEST.actions))
    after.run_due()
    assert submgr.deleted == ["s1"]
    assert list(store.find("subscription/")) == ["subscription/after/2"]


def test_a_restarted_xapp_deletes_what_it_no_longer_wants(
    make: Maker, submgr: FakeSubmgr, store: SharedStore, clock: Clock
) -> None:
    before = make(store=store, owner="before")
    before.want(REQUEST)
    before.run_due()
    after = make(store=store, owner="after")
    after.run_due()
    clock.now_s += 29.0
    after.run_due()
    assert submgr.deleted == []
    clock.now_s += 2.0
    after.run_due()
    assert submgr.deleted == ["s1"]
    assert store.find("subscription/") == {}


# -- two instances ----------------------------------------------------------------------------------------------------


def test_an_instance_that_stands_back_asks_for_nothing_and_deletes_nothing(
    make: Maker, submgr: FakeSubmgr, store: SharedStore, clock: Clock
) -> None:
    older = make(store=store, owner="older")
    older.want(REQUEST)
    older.run_due()
    older.drop(KEY)
    older.want(other(2))
    older.enter_standby()
    clock.now_s += 100.0
    older.run_due()
    older.close(1.0)
    assert len(submgr.posted) == 1 and submgr.deleted == []
    assert list(store.find("subscription/")) == ["subscription/older/1"]


def test_the_younger_takes_over_what_is_the_same_and_replaces_the_rest(
    make: Maker, submgr: FakeSubmgr, store: SharedStore
) -> None:
    older = make(store=store, owner="older")
    older.want(REQUEST)
    older.want(other(2))
    older.run_due()
    older.enter_standby()
    younger = make(store=store, owner="younger")
    younger.want(REQUEST)
    younger.want(SubscriptionRequest(other(2).key, b"\x09", REQUEST.actions))
    younger.run_due()
    assert submgr.deleted == ["s2"]
    assert sorted(store.find("subscription/")) == ["subscription/younger/1", "subscription/younger/3"]


def test_what_an_older_instance_was_about_to_ask_for_is_found_at_the_second_look(
    make: Maker, submgr: FakeSubmgr, store: SharedStore, clock: Clock
) -> None:
    straggler = make(store=store, owner="older")
    straggler.run_due()
    younger = make(store=store, owner="younger")
    younger.want(SubscriptionRequest(KEY, b"\x09", REQUEST.actions))
    younger.run_due()
    activate(younger)
    straggler.want(REQUEST)
    straggler.run_due()
    straggler.enter_standby()
    clock.now_s += 15.0
    younger.run_due()
    assert submgr.deleted == ["s2"]
    assert list(store.find("subscription/")) == ["subscription/younger/1"]


def test_a_second_record_of_a_subscription_that_is_ours_is_no_reason_to_delete_it(
    make: Maker, submgr: FakeSubmgr, store: SharedStore, clock: Clock
) -> None:
    for owner in ("first", "second"):
        client = make(store=store, owner=owner)
        client.want(REQUEST)
        client.run_due()
        client.enter_standby()
        if owner == "first":
            record = store.find("subscription/")
    for name, value in record.items():
        store.set(name, value)  # as if it could not be deleted
    third = make(store=store, owner="third")
    third.want(REQUEST)
    third.run_due()
    activate(third)
    clock.now_s += 100.0
    third.run_due()
    assert submgr.deleted == []
    assert list(store.find("subscription/")) == ["subscription/third/1"]


def test_an_instance_that_steps_forward_asks_for_everything_anew(
    make: Maker, submgr: FakeSubmgr, store: SharedStore, clock: Clock
) -> None:
    older = make(store=store, owner="older")
    older.want(REQUEST)
    older.run_due()
    activate(older)
    older.enter_standby()
    younger = make(store=store, owner="younger")
    younger.want(SubscriptionRequest(KEY, b"\x09", REQUEST.actions))
    younger.run_due()
    assert submgr.deleted == ["s1"]
    older.take_control()
    assert status_of(older).state is SubscriptionState.WANTED
    clock.now_s += 1.0
    older.run_due()
    assert status_of(older).state is SubscriptionState.ACCEPTED
    assert submgr.deleted == ["s1", "s1", "s2"]  # what the younger one, which is gone, had asked for


def test_nothing_is_left_in_the_store_after_a_clean_end(make: Maker, submgr: FakeSubmgr, store: SharedStore) -> None:
    client = make(store=store)
    client.want(REQUEST)
    client.want(other(2))
    client.run_due()
    assert len(store.find("subscription/")) == 2
    client.forget_node("gnb_other")
    client.close(5.0)
    assert store.find("subscription/") == {}


def test_what_is_due_next_is_known(make: Maker, submgr: FakeSubmgr, clock: Clock) -> None:
    client = make()
    assert client.next_due_s() == 1.0
    client.want(REQUEST)
    assert client.next_due_s() < 0.1
    submgr.script = [(503, {})]
    client.run_due()
    assert 0.5 <= client.next_due_s() <= 1.0


def test_what_waits_for_a_deletion_is_not_due(make: Maker, submgr: FakeSubmgr, clock: Clock) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    activate(client)
    submgr.deletes = [(400, {})] * 4
    client.resubscribe(KEY, "no reports")
    for _ in range(4):
        clock.now_s += 8.0
        client.run_due()
    assert client.next_due_s() == 1.0


class HangingStore(SharedStore):
    """Shared data that do not answer: every call costs a time-out of the test's clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(environ={})
        self._clock = clock

    def delete(self, key: str) -> bool:
        self._clock.now_s += self.timeout_s
        return False


def test_a_stop_tells_the_manager_before_shared_data_that_hang(submgr: FakeSubmgr, clock: Clock, make: Maker) -> None:
    store = HangingStore(clock)
    client = make(store=store)
    for number in range(6):
        client.want(other(number))
    client.run_due()
    client.close(3.0)
    assert len(submgr.deleted) == 6
    assert clock.now_s < 100.0 + 3.0 + store.timeout_s
    store.close()
