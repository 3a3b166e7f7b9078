"""Policies that several releases have in common: what the mediator tells one of them, all take over."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from xapp.a1.mediator_client import KEY, MARK, A1Policies
from xapp.a1.policy_model import POLICY_TYPE_ID
from xapp.bench.decision_path import Sent
from xapp.monitoring.metrics import Metrics
from xapp.ric.sdl import SharedStore
from xapp.rmr.transport import A1_POLICY_REQUEST, RmrMessage


class Release(A1Policies):
    def __init__(self, store: SharedStore, name: str) -> None:
        super().__init__(
            Sent(), store, Metrics(), handler_id=name, on_change=lambda held: None, query_period_s=0.0, shared=True
        )
        self.run_due()
        self.run_due()  # the mark is set once it is known that nothing was there

    def told(self, operation: str, name: str, alpha: float = 1.0) -> None:
        """By the mediator."""
        request = {
            "operation": operation,
            "policy_type_id": POLICY_TYPE_ID,
            "policy_instance_id": name,
            "payload": "" if operation == "DELETE" else json.dumps({"objective": {"alpha": alpha}}),
        }
        self.on_message(RmrMessage(A1_POLICY_REQUEST, json.dumps(request).encode()))
        self.run_due()

    @property
    def alphas(self) -> dict[str, float]:
        self.run_due()
        return {
            name: held.policy.objective.alpha for name, held in self.held.items() if held.policy.objective is not None
        }


@pytest.fixture
def store() -> Iterator[SharedStore]:
    store = SharedStore("stackmac-in-common", environ={})
    for key in [MARK, *store.find(KEY)]:
        store.delete(key)
    yield store
    store.close()


def test_what_one_release_is_told_all_have(store: SharedStore) -> None:
    one, other = Release(store, "one"), Release(store, "other")
    one.told("CREATE", "p", 0.5)
    one.told("CREATE", "q", 2.0)
    assert one.alphas == other.alphas == {"p": 0.5, "q": 2.0}
    other.told("UPDATE", "p", 0.25)
    assert one.alphas == {"p": 0.25, "q": 2.0}
    other.told("DELETE", "q")
    assert one.alphas == other.alphas == {"p": 0.25}


def test_data_that_were_lost_are_no_deletion(store: SharedStore) -> None:
    one, other = Release(store, "one"), Release(store, "other")
    one.told("CREATE", "p", 0.5)
    assert other.alphas == {"p": 0.5}
    for key in (MARK, KEY + "p"):
        store.delete(key)
    assert other.alphas == one.alphas == other.alphas == {"p": 0.5}
    assert store.find(KEY).keys() == {KEY + "p"} and store.get(MARK)
