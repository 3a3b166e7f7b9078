"""Which of several instances controls: each in its own SDL client on a real Redis, with a clock of the test's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xapp.ric.comeback import ALONE_S, FORGIVE_S, LEAP_NS, MAX_WAIT_S
from xapp.ric.leader_election import BEAT_S, EPOCH_KEY, GONE_S, INSTANCE_PREFIX, MAX_EPOCH, LeaderElection, Role
from xapp.ric.sdl import SharedStore


class Instance:
    """One instance of the xApp, with what it was told."""

    def __init__(self, store: SharedStore, clock: Callable[[], float], now_ns: int) -> None:
        self.store = store
        self.roles: list[Role] = []
        self.leader_election = LeaderElection(store, on_role=self.roles.append, clock=clock, now_ns=lambda: now_ns)

    @property
    def role(self) -> Role:
        return self.leader_election.role

    def run(self, times: int = 1) -> Role:
        for _ in range(times):
            assert self.leader_election.run() == BEAT_S
        return self.role


class World:
    """A namespace in Redis and a clock."""

    namespaces = iter(range(10**6))

    def __init__(self, environ: dict[str, str], stack: ExitStack) -> None:
        self._environ, self._stack = environ, stack
        self.namespace = f"leader election{next(self.namespaces)}"
        self.now_s = 100.0

    def start(self, now_ns: int = 1000, **options: Any) -> Instance:
        store = SharedStore(self.namespace, environ=self._environ, timeout_s=10.0, **options)
        self._stack.callback(store.close)
        return Instance(store, lambda: self.now_s, now_ns)


@pytest.fixture
def environ(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = {"DBAAS_SERVICE_HOST": redis_server.host, "DBAAS_SERVICE_PORT": str(redis_server.port)}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def world(environ: dict[str, str]) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(environ, stack)


def test_one_instance_controls_at_its_first_look(world: World) -> None:
    only = world.start()
    assert only.role is Role.WAITING
    assert only.run() is Role.CONTROL
    assert only.roles == [Role.CONTROL]


def test_the_younger_waits_until_the_older_has_stood_back(world: World) -> None:
    older = world.start()
    older.run()
    younger = world.start()
    assert younger.leader_election.epoch > older.leader_election.epoch
    assert younger.run(5) is Role.WAITING
    assert older.run() is Role.SHADOW
    assert younger.run() is Role.CONTROL
    assert older.run(5) is Role.SHADOW
    assert younger.run(5) is Role.CONTROL


def test_of_two_that_start_at_once_one_waits(world: World) -> None:
    slow, quick = world.start(now_ns=1000), world.start(now_ns=2000)
    find = slow.store.find

    def find_and_be_overtaken(prefix: str) -> dict[str, Any]:
        slow.store.find = find  # type: ignore[method-assign]
        found = find(prefix)
        assert quick.run() is Role.WAITING
        return found

    slow.store.find = find_and_be_overtaken  # type: ignore[method-assign]
    assert slow.run() is Role.CONTROL
    assert quick.run() is Role.WAITING
    assert (slow.run(), quick.run()) == (Role.SHADOW, Role.CONTROL)


def test_a_clock_that_is_behind_makes_nobody_older(world: World) -> None:
    older = world.start(now_ns=10**18)
    older.run()
    younger = world.start(now_ns=5)
    younger.run()
    older.run()
    assert (younger.run(), older.role) == (Role.CONTROL, Role.SHADOW)


def test_an_instance_that_left_keeps_nobody_waiting(world: World) -> None:
    before = world.start()
    before.run()
    before.leader_election.leave()
    assert world.start().run() is Role.CONTROL


def test_an_instance_that_was_killed_is_waited_for_until_its_beat_has_stood_still(world: World) -> None:
    killed = world.start()
    killed.run()
    after = world.start()
    assert after.run() is Role.WAITING
    world.now_s += GONE_S
    assert after.run() is Role.WAITING
    world.now_s += 0.1
    assert after.run() is Role.CONTROL
    world.now_s += 100.0
    after.run()
    assert list(world.start().store.find(INSTANCE_PREFIX)) == [f"{INSTANCE_PREFIX}{after.leader_election.id}"]


@pytest.mark.parametrize("killed", [False, True])
def test_when_the_younger_is_gone_the_older_controls_again_above_it(world: World, killed: bool) -> None:
    older = world.start()
    older.run()
    younger = world.start()
    younger.run()
    older.run()
    younger.run()
    if killed:
        older.run()
        world.now_s += GONE_S + 0.1
    else:
        younger.leader_election.leave()
    assert older.run() is Role.WAITING
    assert older.run() is Role.CONTROL
    assert older.leader_election.epoch > younger.leader_election.epoch
    assert older.roles == [Role.CONTROL, Role.SHADOW, Role.WAITING, Role.CONTROL]
    if killed:  # it was only cut off
        younger.run()
        assert (younger.role, older.run()) == (Role.SHADOW, Role.CONTROL)


def test_a_node_that_refuses_for_a_reason_that_sdl_does_not_know_is_caught_up_with(world: World) -> None:
    only = world.start()
    only.run()
    epoch = only.leader_election.epoch
    only.leader_election.refused()
    assert only.run() is Role.WAITING
    assert only.run() is Role.CONTROL
    assert only.leader_election.epoch >= epoch + LEAP_NS


def test_records_that_make_no_sense_are_passed_over(world: World) -> None:
    only = world.start()
    for number, value in enumerate([7, [], {}, {"epoch": "x", "beat": 1}, {"epoch": 10**30, "beat": None}]):
        only.store.set(f"{INSTANCE_PREFIX}odd{number}", value)
    only.store.set(EPOCH_KEY, "no number")
    assert only.run() is Role.CONTROL
    assert world.start().leader_election.epoch == 1000


def test_the_highest_epoch_outlives_a_redis_that_starts_over(world: World) -> None:
    only = world.start(now_ns=10**18)
    only.run()
    for key in (EPOCH_KEY, f"{INSTANCE_PREFIX}{only.leader_election.id}"):
        only.store.delete(key)
    only.run()
    assert world.start(now_ns=5).leader_election.epoch > only.leader_election.epoch


def test_without_shared_data_an_instance_controls_until_a_node_refuses_it() -> None:
    store = SharedStore(environ={})
    alone = Instance(store, lambda: 0.0, 1)
    assert alone.run() is Role.CONTROL
    alone.leader_election.refused()
    assert alone.run(3) is Role.SHADOW
    assert alone.leader_election.is_refused
    store.close()


class Clock:
    """Seconds of the test's."""

    now_s = 1000.0


@pytest.mark.parametrize("behind_ns", [1, 3600 * 10**9, 400 * 24 * 3600 * 10**9])
def test_whom_a_node_refuses_comes_back_with_an_epoch_that_the_node_takes(behind_ns: int) -> None:
    """A clock that was set back, without SDL: the node knows an epoch that lies ahead of ours."""
    store, clock = SharedStore(environ={}), Clock()
    alone = Instance(store, lambda: clock.now_s, 10**18)
    nodes_epoch, waits_s = 10**18 + behind_ns, []
    while alone.leader_election.epoch < nodes_epoch:
        alone.leader_election.refused()
        assert alone.run() is Role.SHADOW
        began_s = clock.now_s
        while alone.run() is Role.SHADOW:
            clock.now_s += BEAT_S
            assert clock.now_s - began_s <= MAX_WAIT_S + BEAT_S
        waits_s.append(clock.now_s - began_s)
    assert waits_s == sorted(waits_s) and waits_s[0] >= ALONE_S
    assert len(waits_s) <= 10
    store.close()


def test_a_refusal_long_ago_does_not_make_the_next_wait_longer() -> None:
    store, clock = SharedStore(environ={}), Clock()
    alone = Instance(store, lambda: clock.now_s, 1)
    for _ in range(3):
        alone.leader_election.refused()
        assert alone.run() is Role.SHADOW
        clock.now_s += ALONE_S - 0.1
        assert alone.run() is Role.SHADOW
        clock.now_s += 0.1
        assert alone.run() is Role.CONTROL
        clock.now_s += FORGIVE_S
    store.close()


def test_a_node_that_goes_on_refusing_is_asked_more_and_more_seldom(world: World) -> None:
    only = world.start()
    only.run()
    waits_s = []
    for _ in range(9):
        only.leader_election.refused()
        began_s = world.now_s
        while only.run() is not Role.CONTROL:
            world.now_s += BEAT_S
        waits_s.append(world.now_s - began_s)
    assert waits_s == sorted(waits_s)
    assert waits_s[0] <= BEAT_S and MAX_WAIT_S <= waits_s[-1] <= MAX_WAIT_S + 2 * BEAT_S


def test_a_refusal_that_a_younger_instance_explains_is_no_alarm(world: World) -> None:
    older = world.start()
    older.run()
    younger = world.start()
    younger.run()
    older.leader_election.refused()
    assert (older.run(), older.leader_election.is_refused) == (Role.SHADOW, False)
    assert older.roles[-2:] == [Role.SHADOW, Role.SHADOW], "told once more: the younger speaks in its place"
    younger.leader_election.leave()
    assert older.run(2) is Role.CONTROL


def test_a_number_that_no_control_can_carry_is_no_epoch(world: World) -> None:
    only = world.start()
    only.store.set(EPOCH_KEY, 10**30)
    only.store.set(f"{INSTANCE_PREFIX}odd", {"epoch": 10**30, "beat": 1, "role": "control"})
    assert world.start().leader_election.epoch == 1000
    assert only.run() is Role.CONTROL
    only.store.set(EPOCH_KEY, MAX_EPOCH - 1)
    assert world.start().leader_election.epoch == MAX_EPOCH


def test_an_sdl_that_does_not_answer_stops_nobody(own_redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in own_redis.environ.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        world = World(own_redis.environ, stack)
        first = world.start()
        first.run()
        own_redis.stop()
        assert first.run() is Role.CONTROL
        second = world.start(now_ns=2000)
        assert second.run() is Role.WAITING
        world.now_s += GONE_S + 0.1
        assert second.run() is Role.CONTROL  # nobody can be asked; a node that knows the older one's epoch takes this
        first.leader_election.refused()
        assert first.run() is Role.SHADOW
        own_redis.start()
        for _ in range(3):
            second.run()
            first.run()
        assert (first.role, second.role) == (Role.SHADOW, Role.CONTROL)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["start", "kill", "leave", "run", "run", "run", "run", "wait"]), max_size=40), st.data()
)
def test_never_two_control_and_in_the_end_the_youngest_does(
    environ: dict[str, str], steps: list[str], data: st.DataObject
) -> None:
    """Beats go on while time passes: only an instance that was killed falls silent."""
    with ExitStack() as stack:
        world = World(environ, stack)
        alive = [world.start()]
        for step in [*steps, *["run"] * 3]:
            if step == "start" and len(alive) < 4:
                alive.append(world.start())
            elif step in ("kill", "leave") and len(alive) > 1:
                gone = alive.pop(data.draw(st.integers(0, len(alive) - 1)))
                if step == "leave":
                    gone.leader_election.leave()
            elif step == "run":
                alive[data.draw(st.integers(0, len(alive) - 1))].run()
            elif step == "wait":
                for _ in range(int(2 * GONE_S)):
                    world.now_s += 1.0
                    for instance in alive:
                        instance.run()
            assert sum(instance.role is Role.CONTROL for instance in alive) <= 1
        for _ in range(30):
            world.now_s += 1.0
            for instance in alive:
                instance.run()
            assert sum(instance.role is Role.CONTROL for instance in alive) <= 1
        youngest = max(alive, key=lambda instance: instance.leader_election.epoch)
        assert [instance.role is Role.CONTROL for instance in alive] == [instance is youngest for instance in alive]
