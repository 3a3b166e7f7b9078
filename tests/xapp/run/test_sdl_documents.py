"""What others may read of the xApp in shared data: written, withdrawn, written again; on a real Redis."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import PATIENCE_S

from policy.allocation import DYNAMIC, IDLE, NO_CAP, OPEN, Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import make_cell_state
from policy.intent import Intent
from policy.leader import Decision
from policy.schedulers.schedulers import SCHEDULERS
from xapp.a1 import mediator_client as a1
from xapp.control.decision_record import ControlOutcome, DecisionLog, DecisionRecord
from xapp.quotas import quota_store, slice_store
from xapp.ric import leader_election
from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_state import STORE_PREFIX
from xapp.run import sdl_documents as sdl_documents
from xapp.run.sdl_documents import SdlDocuments, model_document

DOCUMENT = Path(__file__).parents[3] / "docs" / "sdl.md"
CELL = "gnb_1/00f110000000011"


def record(number: int, cell: str = CELL) -> DecisionRecord:
    state = make_cell_state(cell, num_rbgs=5, slots_per_dcm=10, slot=0, ue_ids=(7, 9))
    allocation = Allocation(
        (7, 9),
        np.array([0, 1, OPEN, DYNAMIC, IDLE], np.int16),
        LeftoverRule(3, 1.5),
        (PeriodicGrant(1, 2, 20, 4),),
        max_rbgs_U=np.array([NO_CAP, 2], np.uint8),
    )
    decision = Decision(allocation, decided_by="model")
    leader, outcome = SCHEDULERS["dynamic"], ControlOutcome(nothing="shadow")
    return DecisionRecord(
        number,
        12.5,
        state,
        state,
        1,
        1,
        Intent(),
        Intent(),
        leader,
        decision,
        allocation,
        (),
        outcome,
        decision_ms=1.5,
        loop_ms=2.5,
    )


class SlowStore(SharedStore):
    """Stores what the test lets it."""

    def __init__(self) -> None:
        super().__init__(timeout_s=PATIENCE_S, environ={})
        self.asked, self.go_on = threading.Event(), threading.Event()

    def set(self, key: str, value: object) -> bool:
        self.asked.set()
        assert self.go_on.wait(PATIENCE_S)
        return super().set(key, value)


class Written:
    """Documents of an xApp whose cells and decisions are the test's choice."""

    def __init__(self, store: SharedStore) -> None:
        self.store = store
        self.log = DecisionLog()
        self.cells: list[str] = []
        self.model = model_document("bundled", "model", "1.0.0", 5)
        self.sdl_documents = self.again()

    def again(self) -> SdlDocuments:
        """As a new start of the xApp."""
        return SdlDocuments(self.store, self.log, model=self.model, cells=lambda: self.cells)

    def decide(self, number: int, cell: str = CELL) -> None:
        self.log.add(record(number, cell))
        if cell not in self.cells:
            self.cells.append(cell)
        self.sdl_documents.run()

    @property
    def found(self) -> dict[str, Any]:
        return self.store.find("")


@pytest.fixture
def written(own_redis: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    for name, value in own_redis.environ.items():
        monkeypatch.setenv(name, value)
    store = SharedStore(timeout_s=10.0)
    yield Written(store)
    store.close()


def test_the_newest_decision_of_each_cell_can_be_read(written: Written) -> None:
    written.sdl_documents.run()
    assert written.found == {"model": written.model}
    written.decide(3)
    written.decide(4)
    assert written.found == {
        "model": written.model,
        f"cell/{CELL}": {
            "id": 4,
            "time_ms": 12500,
            "decided_by": "model",
            "ues": 2,
            "mode": "control",
            "decision_ms": 1.5,
            "loop_ms": 2.5,
            "control": [],
            "nothing_sent": "shadow",
            "guard_changes": 0,
        },
        f"allocation/{CELL}": {
            "id": 4,
            "time_ms": 12500,
            "decided_by": "model",
            "slots_per_dcm": 10,
            "rbgs": [7, 9, "open", "dynamic", "idle"],
            "leftover": {"class_mask": 3, "contenders": 1.5},
            "periodic_grants": [{"ue": 9, "rbg": 2, "period_slots": 20, "phase_slots": 4}],
            "max_rbgs": {"9": 2},
        },
    }


def test_a_cell_that_reports_no_more_is_taken_out_and_a_stop_takes_out_all(written: Written) -> None:
    written.decide(1)
    written.decide(2, "other/1")
    written.cells.remove(CELL)
    written.sdl_documents.run()
    assert sorted(written.found) == ["allocation/other/1", "cell/other/1", "model"]
    written.sdl_documents.withdraw()
    assert written.found == {}


def test_what_a_killed_run_left_about_cells_that_are_gone_is_taken_out(written: Written) -> None:
    written.decide(1)
    written.decide(2, "other/1")
    written.cells.remove(CELL)
    written.again().run()
    assert sorted(written.found) == ["allocation/other/1", "cell/other/1", "model"]


def test_a_redis_that_starts_over_empty_is_filled_again(written: Written, own_redis: Any) -> None:
    lost: list[str] = []
    written.sdl_documents.on_lost.append(lambda: lost.append("told"))
    written.decide(1)
    before = written.found
    written.sdl_documents.run()
    assert lost == []
    own_redis.stop()
    written.sdl_documents.run()
    assert lost == []  # it does not answer: nobody knows whether anything is lost
    own_redis.start()
    written.sdl_documents.run()
    written.sdl_documents.run()
    assert lost == ["told"]
    assert written.found == before


def test_a_redis_that_is_not_there_costs_nothing_but_the_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DBAAS_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("DBAAS_SERVICE_PORT", str(closed.getsockname()[1]))
        store = SharedStore(timeout_s=10.0)
        written = Written(store)
        written.decide(1)
        written.sdl_documents.withdraw()
        assert store.counters == {"error": 1}
        store.close()


def test_the_document_lists_every_key_that_the_code_writes() -> None:
    keys = re.findall(r"^\| `([a-z]+/?)[^`]*` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    written = [
        leader_election.EPOCH_KEY,
        leader_election.INSTANCE_PREFIX,
        STORE_PREFIX,
        a1.KEY,
        a1.MARK,
        quota_store.KEY,
        slice_store.KEY,
        sdl_documents.MODEL_KEY,
        sdl_documents.CELL_KEY,
        sdl_documents.ALLOCATION_KEY,
    ]
    assert keys == written


def test_nothing_is_written_by_a_task_that_comes_back_after_the_end() -> None:
    store = SlowStore()
    written = Written(store)
    written.cells = [CELL]
    written.log.add(record(1))
    task = threading.Thread(target=written.sdl_documents.run)
    task.start()
    assert store.asked.wait(PATIENCE_S)
    stop = threading.Thread(target=written.sdl_documents.withdraw)
    stop.start()
    stop.join(0.05)  # without waiting for the task it would be done by now
    store.go_on.set()
    task.join(PATIENCE_S)
    stop.join(PATIENCE_S)
    assert store.find("") == {}
    store.close()
