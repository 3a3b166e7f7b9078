"""Restarts in any order, and two instances at once: the real processes, with shared data in a real Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from waiting import PATIENCE_S

from xapp.a1.policy_model import POLICY_TYPE_ID, make_policy_type
from xapp.lab.lab import START_TIMEOUT_S, Lab
from xapp.lab.options import LabOptions
from xapp.lab.processes import Child
from xapp.ric.sdl import SharedStore

BACK_S = 30.0
"""Within this everything is as it was before a restart."""


class World:
    """A lab, and what its RIC says."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.policies: dict[str, str] = {}
        """What the xApp must say of each."""

    def put_policy(self, name: str) -> None:
        """As an operator puts it."""
        url = f"{self.lab.a1_url}/A1-P/v2/policytypes/{POLICY_TYPE_ID}"
        assert httpx.put(url, json=make_policy_type(), trust_env=False, timeout=PATIENCE_S).status_code == 201
        policy = {"objective": {"alpha": 0.5}}
        assert httpx.put(f"{url}/policies/{name}", json=policy, trust_env=False, timeout=PATIENCE_S).status_code == 202
        self.policies[name] = "ENFORCED"

    @property
    def xapp(self) -> Child:
        assert self.lab.xapp is not None
        return self.lab.xapp

    @contextmanager
    def another(self) -> Iterator[Child]:
        """One more instance of the xApp."""
        child = self.lab.another_xapp()
        try:
            child.wait_ready(START_TIMEOUT_S)
            yield child
        finally:
            child.kill()

    def listing(self) -> list[Any]:
        """The subscription manager's list: who gets the reports of each live subscription."""
        port = self.lab._ric_ports["submgr_port"]
        answer = httpx.get(f"http://127.0.0.1:{port}/ric/v1/subscriptions", trust_env=False, timeout=PATIENCE_S)
        return sorted(entry["ClientEndpoint"] for entry in answer.json())

    def kept(self) -> set[str]:
        """Keys of the shared data, but for who is there: of a killed instance that stays for a minute."""
        store = SharedStore()
        found = {key for key in store.find("") if not key.startswith("instance/")}
        store.close()
        return found

    def wait_in_control(self, xapp: Child) -> None:
        """New controls of this instance are acknowledged, over subscriptions that are all its own and all there are."""
        acked = xapp.status.get("controls_acked", 0)
        assert xapp.wait_status(lambda status: status.get("controls_acked", 0) >= acked + 3, BACK_S), xapp.status
        assert xapp.wait_status(lambda status: set(status["subscriptions"].values()) == {"active"}, BACK_S)
        assert xapp.wait_status(lambda status: status["policies"] == self.policies, BACK_S), xapp.status["policies"]
        wait_for(lambda: len(self.listing()) == len(xapp.status["subscriptions"]) == 2, self.listing)
        assert len({tuple(endpoint) for endpoint in self.listing()}) == 1


def role(status: dict[str, Any]) -> str:
    """An instance's; empty before its first status."""
    return str(status.get("instance", {}).get("role", ""))


def wait_for(condition: Callable[[], bool], say: Callable[[], object], within_s: float = BACK_S) -> None:
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, say()
        time.sleep(0.05)


@pytest.fixture
def world(own_redis: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name, value in own_redis.environ.items():
        monkeypatch.setenv(name, value)
    with Lab(LabOptions(seconds=600, leader="dynamic")) as lab:
        lab.wait_first_indication()
        yield World(lab)


def test_whatever_is_killed_and_started_again_all_is_back_in_time(world: World, own_redis: Any) -> None:
    lab = world.lab
    assert lab.ric is not None and lab.gnb is not None
    world.wait_in_control(world.xapp)
    world.put_policy("even")

    world.xapp.kill()
    lab.start_xapp(wait=False)
    world.wait_in_control(world.xapp)

    lab.ric.kill()
    lab.start_ric()
    world.wait_in_control(world.xapp)

    lab.gnb.kill()
    lab.start_gnb()
    world.wait_in_control(world.xapp)

    kinds = {"allocation", "cell", "epoch", "model", "policy", "subscription"}
    wait_for(lambda: {key.partition("/")[0] for key in world.kept()} == kinds, world.kept)
    kept = world.kept()
    own_redis.stop()
    own_redis.start()
    world.wait_in_control(world.xapp)
    wait_for(lambda: world.kept() == kept, lambda: world.kept() ^ kept)
    epoch = world.xapp.status["instance"]["epoch"]

    lab.ric.kill()
    world.xapp.kill()
    lab.gnb.kill()
    lab.start_xapp(wait=False)
    lab.start_gnb(wait=False)
    lab.start_ric()
    world.wait_in_control(world.xapp)
    assert world.xapp.status["instance"]["epoch"] > epoch
    assert world.xapp.status["controls_failed"] == 0


def test_of_two_instances_the_younger_controls_and_the_older_stands_by_and_leaves_without_a_trace(world: World) -> None:
    older = world.xapp
    world.wait_in_control(older)

    with world.another() as younger:
        world.wait_in_control(younger)
        assert role(younger.status) == "control"
        assert older.wait_status(lambda status: role(status) == "shadow", BACK_S)
        younger.kill()
        assert older.wait_status(lambda status: role(status) == "control", BACK_S)
        world.wait_in_control(older)

    with world.another() as younger:
        world.wait_in_control(younger)
        assert older.wait_status(lambda status: role(status) == "shadow", BACK_S)
        before, listing = older.status, world.listing()
        final = older.stop()
        assert older.exit_code == 0
        for counter in ("controls_sent", "releases_sent", "controls_failed"):
            assert final[counter] == before[counter], counter
        assert world.listing() == listing
        world.wait_in_control(younger)
        assert younger.wait_status(lambda status: status["instance"]["others"] == 0, BACK_S)

        final = younger.stop()
        assert final["releases_sent"] >= 1
        assert final["controls_failed"] == 0
        assert world.listing() == []
