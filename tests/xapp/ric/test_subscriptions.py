"""The subscription client against a real HTTP server that plays the platform's subscription manager."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from subscribing import KEY, REQUEST, Clock, FakeSubmgr, Maker, activate, notification, other, status_of

from xapp.ric.sdl import SharedStore
from xapp.ric.subscriptions import SubscriptionOptions, SubscriptionState, SubscriptionStatus


def test_the_request_is_the_documented_body(make: Maker, submgr: FakeSubmgr) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    assert submgr.service.requests[0].path == "/ric/v1/subscriptions"
    assert submgr.posted == [
        {
            "ClientEndpoint": {"Host": "service-ricxapp-stackmac-http.ricxapp", "HTTPPort": 8080, "RMRPort": 4560},
            "Meid": "gnb_001_001_00000001",
            "RANFunctionID": 2,
            "E2SubscriptionDirectives": {"E2TimeoutTimerValue": 2, "E2RetryCount": 2, "RMRRoutingNeeded": True},
            "SubscriptionDetails": [
                {
                    "XappEventInstanceId": 1,
                    "EventTriggers": [8, 0, 99],
                    "ActionToBeSetupList": [
                        {
                            "ActionID": 1,
                            "ActionType": "report",
                            "ActionDefinition": [0, 64, 255],
                            "SubsequentAction": {"SubsequentActionType": "continue", "TimeToWait": "zero"},
                        }
                    ],
                }
            ],
        }
    ]


def test_accepted_is_not_active_until_the_notification(make: Maker) -> None:
    seen: list[SubscriptionStatus] = []
    client = make(on_change=seen.append)
    client.want(REQUEST)
    assert status_of(client).state is SubscriptionState.WANTED
    client.run_due()
    assert status_of(client).state is SubscriptionState.ACCEPTED
    assert status_of(client).e2_instance_id == 0
    activate(client)
    assert status_of(client) == SubscriptionStatus(KEY, SubscriptionState.ACTIVE, "s1", 17, 0, "")
    assert [status.state for status in seen] == [SubscriptionState.ACCEPTED, SubscriptionState.ACTIVE]


def test_the_notification_may_come_before_the_201(make: Maker, submgr: FakeSubmgr) -> None:
    client = make()
    answers = []

    def notify_first(subscription_id: str, body: dict[str, Any]) -> None:
        ours = body["SubscriptionDetails"][0]["XappEventInstanceId"]
        assert status_of(client).state is SubscriptionState.PENDING
        answers.append(client.on_notification(notification(subscription_id, ours, 9)))

    submgr.before_answer = notify_first
    client.want(REQUEST)
    client.run_due()
    assert answers == [200]
    assert status_of(client) == SubscriptionStatus(KEY, SubscriptionState.ACTIVE, "s1", 9, 0, "")
    assert client.counters == {"activated": 1, "accepted": 1}


def test_a_failure_may_come_before_the_201(make: Maker, submgr: FakeSubmgr, clock: Clock) -> None:
    client = make()
    submgr.before_answer = lambda subscription_id, body: client.on_notification(notification(subscription_id, 1, 0))
    client.want(REQUEST)
    client.run_due()
    assert status_of(client).state is SubscriptionState.WANTED
    submgr.before_answer = lambda subscription_id, body: None
    clock.now_s += 10.0
    client.run_due()
    assert submgr.deleted == ["s1"]
    assert status_of(client).state is SubscriptionState.ACCEPTED


def test_an_active_subscription_survives_a_lost_201(make: Maker, submgr: FakeSubmgr, clock: Clock) -> None:
    client = make()

    def respond(request: Any) -> tuple[int, object]:
        activate(client)
        return 500, {}

    submgr.service.respond = respond
    client.want(REQUEST)
    client.run_due()
    assert status_of(client).state is SubscriptionState.ACTIVE
    clock.now_s += 100.0
    client.run_due()
    assert len(submgr.posted) == 1


def test_what_is_heard_last_is_how_things_are(make: Maker, store: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notification arrives between the 201 and its being told of, while the id is written to SDL."""
    seen: list[SubscriptionState] = []
    client = make(store=store, on_change=lambda status: seen.append(status.state))
    write = store.set

    def slow_write(key: str, value: object) -> bool:
        activate(client)
        return write(key, value)

    monkeypatch.setattr(store, "set", slow_write)
    client.want(REQUEST)
    client.run_due()
    assert seen[-1] is SubscriptionState.ACTIVE is status_of(client).state


@pytest.mark.parametrize(
    "answer",
    [
        (503, {}),
        (400, b"bad"),
        (404, {}),
        (201, {}),
        (201, b"<html>"),
        (201, {"SubscriptionId": 5}),
        (201, []),
        (201, b"[" * 100_000),
        (201, b'{"SubscriptionId": ' + b"1" * 5000 + b"}"),
        (201, b"\xff"),
    ],
    ids=range(10),
)
def test_a_refusal_is_tried_again_after_a_backoff(
    make: Maker, submgr: FakeSubmgr, clock: Clock, answer: tuple[int, object]
) -> None:
    submgr.script = [answer]
    client = make()
    client.want(REQUEST)
    client.run_due()
    status = status_of(client)
    assert status.state is SubscriptionState.WANTED and status.attempts == 1 and status.last_error
    client.run_due()
    assert len(submgr.posted) == 1  # not at once
    clock.now_s += 2.0
    client.run_due()
    assert status_of(client).state is SubscriptionState.ACCEPTED
    assert submgr.posted[0] == submgr.posted[1]


def test_the_backoff_grows_to_its_limit(make: Maker, submgr: FakeSubmgr, clock: Clock) -> None:
    submgr.script = [(503, {})] * 100
    client = make()
    client.want(REQUEST)
    sent_at = []
    for _ in range(600):
        before = len(submgr.posted)
        client.run_due()
        if len(submgr.posted) > before:
            sent_at.append(clock.now_s)
        clock.now_s += 0.1
    gaps = [b - a for a, b in zip(sent_at, sent_at[1:])]
    assert 1.0 <= gaps[0] <= 2.2 and max(gaps) <= 8.2
    assert all(gap >= 4.0 for gap in gaps[3:]) and len(gaps) > 5
    assert len({round(gap, 1) for gap in gaps[3:]}) > 1  # jitter


def test_a_manager_that_is_not_there_is_tried_again(make: Maker, clock: Clock) -> None:
    for url in ("http://127.0.0.1:1", "not a url"):
        client = make(url)
        client.want(REQUEST)
        client.run_due()
        assert status_of(client).state is SubscriptionState.WANTED
        assert client.counters == {"request_failed": 1}


def test_a_manager_that_does_not_answer_costs_one_time_out_a_call(make: Maker, submgr: FakeSubmgr) -> None:
    released = threading.Event()

    def hang(request: Any) -> tuple[int, object]:
        released.wait(30.0)
        return 201, {"SubscriptionId": "late"}

    submgr.service.respond = hang
    client = make(options=SubscriptionOptions(request_timeout_s=0.1, first_backoff_s=100.0, max_backoff_s=100.0))
    for number in (1, 2, 3):
        client.want(other(number))
    for call in (1, 2, 3):
        client.run_due()
        assert client.counters["request_failed"] == call
    released.set()


def test_an_id_that_no_url_can_hold_stops_nothing(make: Maker, submgr: FakeSubmgr, clock: Clock) -> None:
    """A lone surrogate is JSON, and no UTF-8."""
    submgr.script = [(201, b'{"SubscriptionId": "\\ud800"}')]
    client = make()
    client.want(REQUEST)
    client.run_due()
    client.drop(KEY)
    client.want(other(2))
    for _ in range(30):
        clock.now_s += 10.0
        client.run_due()
    assert client.counters["delete_given_up"] == 1
    assert status_of(client, other(2).key).attempts > 0
    assert len(submgr.posted) > 1


def test_instance_id_zero_means_that_it_failed(make: Maker, submgr: FakeSubmgr, clock: Clock) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    body = notification("s1", 1, 0, ErrorCause="unsupported measurement", ErrorSource="E2Node")
    assert client.on_notification(body) == 200
    status = status_of(client)
    assert status.state is SubscriptionState.WANTED
    assert status.last_error == "unsupported measurement, E2Node"
    assert status.refused
    clock.now_s += 10.0
    client.run_due()
    assert len(submgr.posted) == 2
    assert not status_of(client).refused, "what came of the newest attempt is not known yet"
    late = notification("s1", 1, 0, ErrorCause="no answer", ErrorSource="SUBMGR", TimeoutType="E2-Timeout")
    client.on_notification(late)
    assert not status_of(client).refused, "the node has not said no"


@pytest.mark.parametrize(
    ("answer", "unknown"),
    [
        ((200, [{"SubscriptionId": 77, "Meid": KEY.node}]), False),
        ((200, [{"SubscriptionId": "s1", "Meid": KEY.node}]), False),
        ((200, [{"SubscriptionId": 78, "Meid": KEY.node}]), True),
        ((200, []), True),
        ((200, None), False),
        ((500, None), False),
        ((200, {"SubscriptionId": 1}), False),
        ((200, [7]), False),
    ],
)
def test_the_manager_is_asked_what_it_still_holds(
    make: Maker, submgr: FakeSubmgr, answer: tuple[int, object], unknown: bool
) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    client.on_notification(notification("s1", 1, 77))
    respond = submgr.respond
    submgr.service.respond = lambda request: answer if request.method == "GET" else respond(request)
    assert client.unknown_to_manager() == ({KEY} if unknown else set())


def test_a_notification_that_never_comes_starts_over(make: Maker, submgr: FakeSubmgr, clock: Clock) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    clock.now_s += 10.9  # 3 attempts of 2 s, and 5 s
    client.run_due()
    assert status_of(client).state is SubscriptionState.ACCEPTED
    clock.now_s += 0.2
    client.run_due()
    assert submgr.deleted == ["s1"]
    assert status_of(client).state is SubscriptionState.WANTED
    # One that comes now is about the subscription that was deleted.
    activate(client)
    assert status_of(client).state is SubscriptionState.WANTED
    clock.now_s += 5.0
    client.run_due()
    assert len(submgr.posted) == 2


def test_a_failed_deletion_holds_back_the_equal_request(make: Maker, submgr: FakeSubmgr, clock: Clock) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    activate(client)
    submgr.deletes = [(400, {}), (400, {})]
    client.resubscribe(KEY, "no reports")
    for _ in range(40):
        clock.now_s += 0.5
        client.run_due()
        if len(submgr.posted) == 2:
            break
    kinds = [request.method for request in submgr.service.requests]
    assert kinds == ["POST", "DELETE", "DELETE", "DELETE", "POST"]


def test_a_deletion_that_never_works_is_given_up(make: Maker, submgr: FakeSubmgr, clock: Clock) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    activate(client)
    submgr.deletes = [(500, {})] * 100
    client.drop(KEY)
    for _ in range(30):
        clock.now_s += 10.0
        client.run_due()
    assert client.counters["delete_given_up"] == 1
    assert len(submgr.deleted) == client.counters["delete_failed"] == 10
