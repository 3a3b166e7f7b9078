"""The subscription client against a real HTTP server that plays the platform's subscription manager."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import (
    Action,
    ClientEndpoint,
    Directives,
    MalformedNotification,
    SubscriptionKey,
    SubscriptionRequest,
    parse_notification,
)
from xapp.ric.subscriptions import SubscriptionClient, SubscriptionOptions, SubscriptionState, SubscriptionStatus

ENDPOINT = ClientEndpoint("service-ricxapp-stackmac-http.ricxapp", 8080, 4560)
KEY = SubscriptionKey("gnb_001_001_00000001", 2, "00f110000000001")
REQUEST = SubscriptionRequest(KEY, b"\x08\x00\x63", (Action(1, b"\x00\x40\xff"),))
OPTIONS = SubscriptionOptions(
    directives=Directives(timeout_s=2, retries=2), request_timeout_s=5.0, first_backoff_s=1.0, max_backoff_s=8.0
)


def other(number: int) -> SubscriptionRequest:
    return SubscriptionRequest(KEY._replace(cell=f"00f11000000000{number}"), b"\x01", (Action(1, b"\x02"),))


def notification(subscription_id: str, ours: int, theirs: int, **more: str) -> bytes:
    instance = {"XappEventInstanceId": ours, "E2EventInstanceId": theirs, **more}
    return json.dumps({"SubscriptionId": subscription_id, "SubscriptionInstances": [instance]}).encode()


class FakeSubmgr:
    """Accepts with ids "s1", "s2", ...; `script` holds answers to give before that; hooks run before the answer."""

    def __init__(self, serve: Callable[..., Any]) -> None:
        self.script: list[tuple[int, object]] = []
        self.before_answer: Callable[[str, dict[str, Any]], None] = lambda subscription_id, body: None
        self.by_body: dict[str, str] = {}
        self.deletes: list[tuple[int, object]] = []
        self.service = serve(self.respond)

    def respond(self, request: Any) -> tuple[int, object]:
        if request.method == "DELETE":
            return self.deletes.pop(0) if self.deletes else (204, None)
        if self.script:
            return self.script.pop(0)
        text = json.dumps(request.body, sort_keys=True)
        subscription_id = self.by_body.setdefault(text, f"s{len(self.by_body) + 1}")
        self.before_answer(subscription_id, request.body)
        return 201, {"SubscriptionId": subscription_id}

    @property
    def posted(self) -> list[dict[str, Any]]:
        return [request.body for request in self.service.of("POST")]

    @property
    def deleted(self) -> list[str]:
        return [request.path.rsplit("/", 1)[1] for request in self.service.of("DELETE")]


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def submgr(serve: Callable[..., Any]) -> FakeSubmgr:
    return FakeSubmgr(serve)


@pytest.fixture
def clock() -> Clock:
    return Clock()


Maker = Callable[..., SubscriptionClient]


@pytest.fixture
def make(submgr: FakeSubmgr, clock: Clock) -> Iterator[Maker]:
    made = []

    def start(url: str = submgr.service.url, **more: Any) -> SubscriptionClient:
        settings = {"options": OPTIONS, "clock": clock, "rng": random.Random(3), **more}
        made.append(SubscriptionClient(url, ENDPOINT, **settings))
        return made[-1]

    yield start
    for client in made:
        client.close(0.0)


def status_of(client: SubscriptionClient, key: SubscriptionKey = KEY) -> SubscriptionStatus:
    status = client.status(key)
    assert status is not None
    return status


def activate(client: SubscriptionClient, subscription_id: str = "s1", ours: int = 1, theirs: int = 17) -> None:
    assert client.on_notification(notification(subscription_id, ours, theirs)) == 200


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


def test_wanting_the_same_again_changes_nothing_and_wanting_another_replaces(make: Maker, submgr: FakeSubmgr) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    activate(client)
    client.want(REQUEST)
    client.run_due()
    assert len(submgr.posted) == 1
    client.want(SubscriptionRequest(KEY, b"\x09", REQUEST.actions))
    client.run_due()
    assert submgr.deleted == ["s1"]
    assert submgr.posted[1]["SubscriptionDetails"][0]["EventTriggers"] == [9]
    assert status_of(client).e2_instance_id == 0
    activate(client, "s2", submgr.posted[1]["SubscriptionDetails"][0]["XappEventInstanceId"], 18)
    assert status_of(client).e2_instance_id == 18


def test_several_cells_do_not_mix(make: Maker, submgr: FakeSubmgr) -> None:
    client = make()
    for number in (1, 2, 3):
        client.want(other(number))
    client.run_due()
    ours = {body["SubscriptionDetails"][0]["XappEventInstanceId"] for body in submgr.posted}
    assert len(ours) == 3
    for number, event_id in enumerate(sorted(ours), start=1):
        activate(client, f"s{number}", event_id, 100 + number)
    assert [status_of(client, other(number).key).e2_instance_id for number in (1, 2, 3)] == [101, 102, 103]


def test_a_lost_node_is_forgotten_and_subscribed_again(make: Maker, submgr: FakeSubmgr) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    activate(client)
    client.forget_node(KEY.node)
    client.run_due()
    assert client.statuses() == []
    assert submgr.deleted == []
    client.want(REQUEST)
    client.run_due()
    activate(client, theirs=18)
    assert status_of(client).e2_instance_id == 18


def test_other_nodes_are_not_forgotten(make: Maker) -> None:
    client = make()
    client.want(REQUEST)
    client.forget_node("gnb_other")
    assert status_of(client).key == KEY


def test_resubscribing_keeps_nothing_of_the_old(make: Maker, submgr: FakeSubmgr, clock: Clock) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    client.resubscribe(KEY, "too early: it is not active")
    assert status_of(client).state is SubscriptionState.ACCEPTED
    activate(client)
    client.resubscribe(KEY, "no reports")
    assert status_of(client).e2_instance_id == 0
    clock.now_s += 5.0
    client.run_due()
    assert submgr.deleted == ["s1"] and len(submgr.posted) == 2


def test_unknown_notifications_are_answered_200(make: Maker) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    activate(client, ours=99)
    activate(client, "another")
    assert client.counters["notification_unknown"] == 2
    assert status_of(client).state is SubscriptionState.ACCEPTED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"SubscriptionId": 5, "SubscriptionInstances": [{"XappEventInstanceId": 1, "E2EventInstanceId": 2}]}',
        b'{"SubscriptionId": "s1", "SubscriptionInstances": []}',
        b'{"SubscriptionId": "s1", "SubscriptionInstances": [5]}',
        b'{"SubscriptionId": "s1", "SubscriptionInstances": [{"E2EventInstanceId": 2}]}',
        b'{"SubscriptionId": "s1", "SubscriptionInstances": [{"XappEventInstanceId": true, "E2EventInstanceId": 2}]}',
        b'{"SubscriptionId": "s1", "SubscriptionInstances": [{"XappEventInstanceId": 1, "E2EventInstanceId": -1}]}',
        b'{"SubscriptionId": "s1", "SubscriptionInstances": [{"XappEventInstanceId": 1, "E2EventInstanceId": 65536}]}',
    ],
)
def test_a_malformed_notification_is_answered_400_and_counted(make: Maker, body: bytes) -> None:
    client = make()
    client.want(REQUEST)
    client.run_due()
    assert client.on_notification(body) == 400
    assert client.counters["notification_malformed"] == 1
    assert status_of(client).state is SubscriptionState.ACCEPTED


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["SubscriptionId", "SubscriptionInstances", "XappEventInstanceId", "E2EventInstanceId"]),
            inner,
        )
    ),
)


@given(st.one_of(st.binary(), json_values.map(lambda value: json.dumps(value).encode())))
def test_any_notification_is_read_or_refused(body: bytes) -> None:
    try:
        assert parse_notification(body).outcomes
    except MalformedNotification as error:
        assert str(error)


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
            task_runner.join(10.0)
        else:
            first.set()
            second.wait(10.0)
        return 204, None

    submgr.service.respond = respond
    task_runner.start()
    assert first.wait(10.0)
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


@pytest.fixture
def store(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedStore]:
    monkeypatch.setenv("DBAAS_SERVICE_HOST", redis_server.host)
    monkeypatch.setenv("DBAAS_SERVICE_PORT", str(redis_server.port))
    store = SharedStore("stackmac-subscriptions", timeout_s=10.0)
    for key in store.find("subscription/"):
        store.delete(key)
    yield store
    store.close()


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
