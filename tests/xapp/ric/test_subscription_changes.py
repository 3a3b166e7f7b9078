"""Subscriptions that change, of nodes that go, and notifications of whatever shape."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from subscribing import KEY, REQUEST, Clock, FakeSubmgr, Maker, activate, other, status_of

from xapp.ric.subscription_body import (
    MalformedNotification,
    SubscriptionRequest,
    parse_notification,
)
from xapp.ric.subscriptions import SubscriptionState


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
