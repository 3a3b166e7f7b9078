"""A subscription client opposite a scripted manager, over HTTP; and shared data in a real Redis."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from subscribing import ENDPOINT, OPTIONS, Clock, FakeSubmgr, Maker

from xapp.ric.sdl import SharedStore
from xapp.ric.subscriptions import SubscriptionClient


@pytest.fixture
def submgr(serve: Callable[..., Any]) -> FakeSubmgr:
    return FakeSubmgr(serve)


@pytest.fixture
def clock() -> Clock:
    return Clock()


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


@pytest.fixture
def store(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedStore]:
    monkeypatch.setenv("DBAAS_SERVICE_HOST", redis_server.host)
    monkeypatch.setenv("DBAAS_SERVICE_PORT", str(redis_server.port))
    store = SharedStore("stackmac-subscriptions", timeout_s=10.0)
    for key in store.find("subscription/"):
        store.delete(key)
    yield store
    store.close()
