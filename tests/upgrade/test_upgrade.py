"""What an earlier version left behind is read by this one: shared data, configuration, chart values, policies.

tests/upgrade/make_state.py wrote each state, by the version that its folder names. Recordings and bundles of earlier
versions: tests/xapp/record/test_kept_recordings.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from waiting import wait_for

from xapp.a1.policy_model import parse_policy
from xapp.config.live import Configuration
from xapp.lab.lab import Lab
from xapp.lab.options import LabOptions
from xapp.ric.leader_election import LeaderElection
from xapp.ric.sdl import NAMESPACE, SharedStore
from xapp.ric.subscription_state import SubscriptionMemory

STATES = sorted(Path(__file__).parent.glob("state-*"))
PREFIX = f"{{{NAMESPACE}}},"
PATIENCE_S = 60.0


def left(state: Path) -> dict[str, str]:
    """By key as on the wire, as text."""
    kept: dict[str, str] = json.loads((state / "shared-data.json").read_text(encoding="utf-8"))["redis"]
    return kept


def values(state: Path) -> dict[str, Any]:
    """By key, without the envelope."""
    return {key.partition(",")[2]: json.loads(text)["value"] for key, text in left(state).items()}


@pytest.fixture(params=STATES, ids=lambda path: path.name)
def state(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def upgraded(own_redis: Any, state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """A Redis with what the earlier version left, which this one is told of."""
    for name, value in own_redis.environ.items():
        monkeypatch.setenv(name, value)
    client = redis.Redis(*own_redis.address)
    client.mset(left(state))
    yield client
    client.close()


def kinds(keys: Any) -> set[str]:
    return {key.partition("/")[0] for key in keys}


def test_a_state_has_every_kind_of_what_is_kept(state: Path) -> None:
    assert kinds(values(state)) == {
        *("allocation", "cell", "epoch", "instance", "model", "policy", "quota", "subscription"),
    }


def test_every_value_is_read(upgraded: redis.Redis, state: Path) -> None:
    store = SharedStore()
    try:
        assert store.find("") == values(state)
        assert "unreadable" not in store.counters
    finally:
        store.close()


def test_the_new_instance_is_the_younger_and_knows_the_olds_subscriptions(upgraded: redis.Redis, state: Path) -> None:
    kept, store = values(state), SharedStore()
    try:
        assert LeaderElection(store, now_ns=lambda: 0).epoch == kept["epoch"] + 1
        orphans = SubscriptionMemory(store, "0").recall(0.0)
    finally:
        store.close()
    assert orphans is not None
    wanted = {key: value for key, value in kept.items() if key.startswith("subscription/")}
    assert {f"subscription/{each.owner}/{each.event_instance_id}": each.subscription_id for each in orphans} == {
        key: value["subscription_id"] for key, value in wanted.items()
    }
    assert all(each.key is not None for each in orphans)


def test_the_xapp_goes_on_from_there(upgraded: redis.Redis, state: Path) -> None:
    """It releases whom the old one had limited, has its policies in force, and writes its own into shared data."""
    kept = values(state)
    policies = {key.removeprefix("policy/") for key in kept if key.startswith("policy/")}
    limited = sum(len(value["ues"]) for key, value in kept.items() if key.startswith("quota/"))
    cells = {key.removeprefix("cell/") for key in kept if key.startswith("cell/")}
    assert limited and policies and cells
    with Lab(LabOptions(seconds=600, leader="dynamic", control="rc", ues=8)) as lab:
        assert lab.xapp is not None
        assert lab.xapp.wait_status(lambda status: status.get("policies", {}).keys() == policies, PATIENCE_S)
        assert lab.xapp.wait_status(lambda status: status["releases_acked"] >= limited, PATIENCE_S), lab.xapp.status
        assert lab.xapp.wait_status(lambda status: status["cells"].keys() >= cells, PATIENCE_S), lab.xapp.status
        assert lab.xapp.status["instance"]["epoch"] > kept["epoch"]
        assert "a1_stored_policy_unreadable" not in lab.xapp.status["dropped"]
        wait_for(lambda: json.loads(upgraded.get(f"{PREFIX}model"))["value"]["epoch"] > kept["epoch"])


def test_the_configuration_says_what_it_said(state: Path) -> None:
    kept = json.loads((state / "config-file.json").read_text(encoding="utf-8"))["controls"]
    controls = Configuration.from_file(state / "config-file.json").controls.model_dump(mode="json")
    assert said_again(kept, controls) == kept


def said_again(kept: Any, now: Any) -> Any:
    """Of what is said now that which was said then; fields that are new have their defaults."""
    if isinstance(kept, dict):
        return {name: said_again(value, now[name]) for name, value in kept.items()}
    return now


def test_policies_say_what_they_said(state: Path) -> None:
    paths = sorted((state / "policies").glob("*.json"))
    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert parse_policy(text).model_dump(mode="json", exclude_unset=True) == json.loads(text), path.name


@pytest.mark.parametrize("name", ["values", "values-set"])
def test_the_chart_takes_the_values(state: Path, name: str) -> None:
    """As `helm upgrade --reuse-values` hands them to it."""
    chart = pytest.importorskip("chart")
    kept = yaml.safe_load((state / f"{name}.yaml").read_text(encoding="utf-8"))
    rendered = chart.render(kept)
    port = kept["controls"].get("http", {}).get("port", 8080)
    assert port in {each["containerPort"] for each in rendered.container["ports"]}
