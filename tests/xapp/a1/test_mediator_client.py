"""A1 over real RMR: either mediator's messages, exact answers, and policies that outlive the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from a1_requests import go_form, python_form
from a1_rig import Rig

from xapp.a1.mediator_client import KEY, MAX_POLICIES, MAX_WAITING
from xapp.a1.policy_model import POLICY_TYPE_ID
from xapp.ric.sdl import SharedStore
from xapp.rmr.transport import A1_POLICY_QUERY, A1_POLICY_REQUEST, A1_POLICY_RESPONSE, RmrMessage

CALM = {"objective": {"alpha": 2.0}}
SHADOW = {"mode": "shadow"}


FORMS = {"go": go_form, "python": python_form}


Make = Callable[..., Rig]


@pytest.fixture
def make() -> Iterator[Make]:
    with ExitStack() as stack:

        def start(store: SharedStore | None = None, **options: Any) -> Rig:
            if store is None:
                store = SharedStore(environ={})
                stack.callback(store.close)
            rig = Rig(store, **options)
            stack.callback(rig.close)
            return rig

        yield start


@pytest.mark.parametrize("form", FORMS)
def test_a_policy_comes_changes_and_goes_in_either_mediators_form(make: Make, form: str) -> None:
    rig, write = make(), FORMS[form]
    assert rig.asked(write("CREATE", "p", CALM)) == "OK"
    assert rig.changes[-1]["p"].objective.alpha == 2.0  # type: ignore[union-attr]
    assert rig.asked(write("UPDATE", "p", SHADOW)) == "OK"
    assert rig.changes[-1]["p"].mode == "shadow"
    assert rig.asked(write("DELETE", "p")) == "DELETED"
    assert rig.changes[-1] == {}


def test_a_request_said_twice_changes_nothing_and_is_answered_twice(make: Make) -> None:
    rig = make()
    for _ in range(3):
        assert rig.asked(go_form("CREATE", "p", CALM)) == "OK"
    assert len(rig.changes) == 1
    for _ in range(2):
        assert rig.asked(go_form("DELETE", "p")) == "DELETED"
    assert len(rig.changes) == 2


@pytest.mark.parametrize("wrong", ["not JSON", {"mode": "auto"}, {}, {"mode": "shadow", "x": 1}, "[[[[", 7])
def test_a_policy_that_is_refused_leaves_the_old_one_in_force(make: Make, wrong: Any) -> None:
    rig = make()
    assert rig.asked(go_form("CREATE", "p", CALM)) == "OK"
    assert rig.asked(go_form("UPDATE", "p", wrong)) == "ERROR"
    assert rig.a1.held["p"].policy.objective is not None
    assert len(rig.changes) == 1
    assert rig.metrics["a1_error"] == 1


TWICE = '{"mode": "shadow", "mode": "control"}'


@pytest.mark.parametrize("form", FORMS)
def test_a_policy_with_a_key_twice_is_refused_by_the_keys_name(make: Make, form: str) -> None:
    rig = make()
    assert rig.asked(FORMS[form]("CREATE", "p", CALM)) == "OK"
    written = go_form("UPDATE", "p", TWICE)
    if form == "python":
        written = python_form("UPDATE", "p", {"here": 1}).replace(b'{"here": 1}', TWICE.encode())
    assert rig.asked(written) == "ERROR"
    assert rig.a1.refused["p"].startswith("the key mode is there twice in one object, expected once;")
    assert rig.a1.held["p"].policy.objective is not None


def test_a_request_with_a_key_twice_puts_nothing_in_force(make: Make) -> None:
    rig = make()
    assert rig.asked(go_form("CREATE", "p", CALM)[:-1] + b', "policy_instance_id": "q"}') == "ERROR"
    assert rig.names == [] and "policy_instance_id is there twice" in rig.a1.refused["q"]


def test_all_that_is_wrong_with_a_refused_policy_is_in_the_status(make: Make) -> None:
    rig = make()
    assert rig.asked(go_form("CREATE", "p", {"mode": "auto", "period_ms": 5})) == "ERROR"
    assert rig.a1.refused["p"] == (
        "mode is 'auto': Input should be 'control', 'shadow' or 'fallback'; "
        "period_ms is 5: Input should be greater than or equal to 10 (range 10 to 10240); what was in force stays"
    )


def test_another_policy_type_is_refused(make: Make) -> None:
    rig = make()
    rig.say(go_form("CREATE", "p", CALM, type_id="20008"))
    answer = rig.heard(A1_POLICY_RESPONSE)
    assert (answer["policy_type_id"], answer["status"]) == (20008, "ERROR")
    assert rig.names == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"[1]",
        b"{}",
        b"[" * 100_000,
        go_form("REPLACE", "p", CALM),
        go_form("CREATE", "", CALM),
        go_form("CREATE", "p", CALM, type_id="seven"),
        go_form("CREATE", "p", CALM, type_id=None),
        go_form("CREATE", "p", CALM, type_id=True),
        go_form("CREATE", "p" * 1000, CALM),
        b" " * 200_000 + go_form("CREATE", "p", CALM),
    ],
    ids=range(12),
)
def test_bytes_that_are_no_request_are_counted_and_the_next_one_is_worked_on(make: Make, payload: bytes) -> None:
    rig = make()
    rig.a1.on_message(RmrMessage(A1_POLICY_REQUEST, payload))
    rig.a1.run_due()
    assert rig.metrics.summary()["dropped"] == {"a1_undecodable": 1}
    assert rig.asked(go_form("CREATE", "p", CALM)) == "OK"


def test_neither_requests_nor_policies_pile_up_without_bound(make: Make) -> None:
    rig = make(query_period_s=0.0)
    for _ in range(MAX_WAITING + 5):
        rig.a1.on_message(RmrMessage(A1_POLICY_REQUEST, b"{}"))
    assert rig.metrics.summary()["dropped"] == {"a1_queue_full": 5}
    rig.a1.run_due()
    for start in range(0, MAX_POLICIES, 100):
        for k in range(start, min(start + 100, MAX_POLICIES)):
            rig.a1.on_message(RmrMessage(A1_POLICY_REQUEST, go_form("CREATE", f"p{k}", CALM)))
        rig.a1.run_due()
    assert len(rig.names) == MAX_POLICIES
    rig.say(go_form("CREATE", "one_more", CALM))
    assert "one_more" not in rig.names
    assert rig.metrics["a1_error"] == 1


# -- asking -----------------------------------------------------------------------------------------------------------


def test_the_mediator_is_asked_until_it_answers_ever_more_rarely(make: Make) -> None:
    rig = make()
    waits = []
    for _ in range(3):
        waits.append(rig.a1.run_due())
        assert rig.heard(A1_POLICY_QUERY) == {"policy_type_id": POLICY_TYPE_ID}
        time.sleep(waits[-1])
    assert waits[0] < waits[1] < waits[2]
    assert rig.asked(go_form("CREATE", "p", CALM)) == "OK"
    assert rig.a1.answered
    sent = rig.metrics["a1_queries_sent"]
    assert rig.a1.run_due() > 60.0
    assert rig.metrics["a1_queries_sent"] == sent


def test_it_is_asked_as_soon_as_there_is_a_route(make: Make) -> None:
    rig = make(routes=False)
    assert rig.a1.run_due() <= 1.0
    assert rig.metrics["a1_queries_sent"] == 0
    rig.xapp.routes.update(rig.routes)
    time.sleep(0.06)
    rig.a1.run_due()
    assert rig.heard(A1_POLICY_QUERY) == {"policy_type_id": POLICY_TYPE_ID}


def test_asking_can_be_turned_off(make: Make) -> None:
    rig = make(query_period_s=0.0)
    assert rig.a1.run_due() > 60.0
    assert rig.metrics["a1_queries_sent"] == 0


# -- shared data ------------------------------------------------------------------------------------------------------


def test_policies_are_there_again_after_a_restart(make: Make, redis_server: Any) -> None:
    environ = {"DBAAS_SERVICE_HOST": redis_server.host, "DBAAS_SERVICE_PORT": str(redis_server.port)}
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in environ.items():
            patch.setenv(name, value)
        stores = [SharedStore(f"a1-{time.time_ns()}-shared") for _ in range(1)]
        stores += [SharedStore(stores[0].namespace) for _ in range(2)]
        for store in stores:
            stack.callback(store.close)
        first = make(stores[0])
        for name in ("kept", "gone", "other"):
            assert first.asked(go_form("CREATE", name, CALM)) == "OK"
        assert first.asked(go_form("DELETE", "gone")) == "DELETED"

        second = make(stores[1])
        second.a1.run_due()
        assert second.names == ["kept", "other"]
        assert second.changes == [{name: second.a1.held[name].policy for name in ("kept", "other")}]
        assert all(held.restored for held in second.a1.held.values())
        assert second.asked(go_form("CREATE", "kept", CALM)) == "OK"
        assert [held.restored for _, held in sorted(second.a1.held.items())] == [False, True]
        assert len(second.changes) == 1  # it was in force already

        third = make(stores[2])
        third.a1.on_message(RmrMessage(A1_POLICY_REQUEST, go_form("DELETE", "other")))
        third.a1.run_due()  # the mediator's word came before what was stored
        assert third.names == ["kept"]
        assert list(stores[2].find(KEY)) == [f"{KEY}kept"], "or the next start would bring it back"


def test_an_instance_that_takes_over_again_takes_what_the_other_left(make: Make) -> None:
    store = SharedStore(environ={})
    try:
        older = make(store, query_period_s=0.01)
        for name in ("kept", "gone"):
            assert older.asked(go_form("CREATE", name, CALM)) == "OK"
        store.delete("policy/gone")
        store.set("policy/new", SHADOW)
        older.a1.run_due()
        assert older.names == ["gone", "kept"]
        queries = older.metrics["a1_queries_sent"]
        older.a1.look_again()
        older.a1.on_message(RmrMessage(A1_POLICY_REQUEST, go_form("CREATE", "just_come", CALM)))
        older.a1.run_due()
        assert older.names == ["just_come", "kept", "new"] == sorted(older.changes[-1])
        assert sorted(store.find(KEY)) == [f"{KEY}{name}" for name in older.names]
        older.a1.look_again()
        older.a1.run_due()
        assert older.metrics["a1_queries_sent"] == queries + 1
    finally:
        store.close()


def test_a_store_that_does_not_answer_delays_nothing_and_is_told_later(make: Make) -> None:
    class Failing(SharedStore):
        works = False

        def _call(self, call: Any, **options: Any) -> Any:
            return super()._call(call if self.works else self._fail, **options)

        @staticmethod
        def _fail(sdl: Any) -> None:
            raise OSError("told to")

    store = Failing(environ={})
    try:
        rig = make(store, query_period_s=0.0)
        assert rig.asked(go_form("CREATE", "p", CALM)) == "OK"
        assert rig.names == ["p"]
        assert rig.a1.run_due() < 10.0  # it tries again
        store.works = True
        assert rig.a1.run_due() > 60.0
        assert list(store.find("policy/")) == ["policy/p"]
    finally:
        store.close()


def test_what_another_instance_left_is_not_overwritten_by_what_was_held_before(make: Make) -> None:
    store = SharedStore(environ={})
    try:
        older = make(store, query_period_s=0.0)
        for name in ("kept", "gone"):
            assert older.asked(go_form("CREATE", name, CALM)) == "OK"
        store.delete("policy/gone")
        for name in ("kept", "new"):
            store.set(f"policy/{name}", SHADOW)
        older.a1.look_again()
        older.a1.save_again()
        older.a1.run_due()
        stored = {key: policy["mode"] for key, policy in store.find(KEY).items()}
        assert stored == {f"{KEY}{name}": SHADOW["mode"] for name in ("kept", "new")}
        assert older.names == ["kept", "new"]
    finally:
        store.close()


def test_a_policy_is_kept_before_it_is_answered(make: Make) -> None:
    """The process may be killed, and the mediator forget, as soon as the operator has read that it is in effect."""
    answered: list[int] = []

    class Watched(SharedStore):
        def set(self, key: str, value: object) -> bool:
            answered.append(rig.metrics["a1_ok"])
            return super().set(key, value)

        def delete(self, key: str) -> bool:
            answered.append(rig.metrics["a1_deleted"])
            return super().delete(key)

    store = Watched(environ={})
    try:
        rig = make(store)
        assert rig.asked(go_form("CREATE", "p", CALM)) == "OK"
        assert rig.asked(go_form("DELETE", "p")) == "DELETED"
        assert answered == [0, 0]
    finally:
        store.close()


def test_what_is_stored_and_is_no_policy_is_counted(make: Make) -> None:
    store = SharedStore(environ={})
    try:
        store.set("policy/old", {"mode": "auto"})
        store.set("policy/good", CALM)
        rig = make(store)
        rig.a1.run_due()
        assert rig.names == ["good"]
        assert rig.metrics.summary()["dropped"] == {"a1_stored_policy_unreadable": 1}
    finally:
        store.close()


def test_one_that_cannot_be_kept_holds_up_no_other(make: Make) -> None:
    class Picky(SharedStore):
        def set(self, key: str, value: object) -> bool:
            return key != f"{KEY}a" and super().set(key, value)

    store = Picky(environ={})
    try:
        rig = make(store, query_period_s=0.0)
        for name in ("a", "b", "c"):
            rig.a1.on_message(RmrMessage(A1_POLICY_REQUEST, go_form("CREATE", name, CALM)))
        for _ in range(3):
            rig.a1.run_due()
        assert sorted(store.find(KEY)) == [f"{KEY}b", f"{KEY}c"]
    finally:
        store.close()


def test_a_stored_policy_that_is_nested_without_end_is_passed_over(make: Make) -> None:
    store = SharedStore(environ={})
    try:
        store._call(
            lambda sdl: sdl.set(
                store.namespace,
                f"{KEY}deep",
                b'{"version": 1, "value": {"mode": ' + b"[" * 900 + b"]" * 900 + b"}}",
                usemsgpack=False,
            )
        )
        store.set(f"{KEY}good", CALM)
        rig = make(store)
        rig.a1.run_due()
        assert rig.names == ["good"]
        assert rig.asked(go_form("CREATE", "new", CALM)) == "OK"
        assert {f"{KEY}good", f"{KEY}new"} <= store.find(KEY).keys()
    finally:
        store.close()
