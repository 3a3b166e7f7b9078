"""What the document about a decision holds, whose decisions there are, and who may see what."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import httpx
import numpy as np
from asking import Ask, Gives, model

from policy.allocation import IDLE, Allocation
from policy.leader import Decision
from policy.schedulers.schedulers import SCHEDULERS
from xapp.explain.api import DECISIONS


def test_log_probs_computed_anew_are_those_of_the_decision(ask: Ask) -> None:
    asking = ask(model())
    made = asking.cell.decide(1, asking.indication())
    document = asking.document()
    token_probabilities = document["odds"]
    assert (
        token_probabilities["computed"]
        and token_probabilities["log_probs_equal"]
        and token_probabilities["log_probs_differ_by"] < 1e-4
    )
    steps = token_probabilities["steps"]
    assert [step["ask"] for step in steps] == ["mask", "contenders", "grant_ue", *(f"RBG {m}" for m in range(6))]
    assert made.decision.log_probs is not None
    for step, log_prob in zip(steps, made.decision.log_probs):
        assert math.isclose(step["probability"], math.exp(log_prob), abs_tol=1e-4)
        assert step["alternatives"][0]["probability"] <= step["probability"] + 1e-4
    assert document["prompt"]["ues"]["7"]["buffer_bits"] == "3000 to 6000"
    state = document["state"]["ues"][1]
    assert (state["ue"], state["buffer_bits"], state["head_delay_slots"]) == (7, 4000.0, None)
    assert document["control"]["messages"][0]["pdu"] == made.outcome.controls[0].pdu.hex()


def test_another_model_than_the_one_that_decided_is_found_out(ask: Ask) -> None:
    asking = ask(model())
    made = asking.cell.decide(1, asking.indication())
    assert made.decision.log_probs is not None
    made.decision.log_probs[4] -= 0.5
    token_probabilities = asking.document()["odds"]
    assert not token_probabilities["log_probs_equal"] and math.isclose(
        token_probabilities["log_probs_differ_by"], 0.5, abs_tol=1e-3
    )


def test_decisions_are_listed_and_found_by_id(ask: Ask) -> None:
    asking = ask(SCHEDULERS["proportional_fair"])
    for sn in range(1, 5):
        asking.cell.decide(sn)
    listed = asking.document(limit=3)["decisions"]
    assert [entry["id"] for entry in listed] == [4, 3, 2]
    assert asking.document(id=2)["id"] == 2
    assert asking.http.get(DECISIONS).json() == {
        "cells": [{"cell": asking.node.cell, "decisions": 4, "oldest_id": 1, "newest_id": 4}]
    }


def test_what_is_not_there_is_a_404_with_a_reason(ask: Ask) -> None:
    asking = ask(SCHEDULERS["proportional_fair"])
    assert "cells with decisions: none so far" in asking.get().json()["detail"]
    asking.cell.decide(1)
    answer = asking.get("gnb/with/slashes")
    assert answer.status_code == 404
    assert answer.json()["detail"] == (
        f"no decision about cell 'gnb/with/slashes'; cells with decisions: {asking.node.cell}"
    )
    answer = asking.get(id=99)
    assert (answer.status_code, "kept are 1 to 1" in answer.json()["detail"]) == (404, True)
    assert asking.get(limit=0).status_code == 422


def test_a_cell_where_nobody_sends_has_an_answer_too(ask: Ask) -> None:
    class Nobody(Gives):
        def decide(self, states: Any, intents: Any, expired: Any) -> list[Decision]:
            return [Decision(Allocation(s.ue_ids, np.full(s.num_rbgs, IDLE, np.int16))) for s in states]

    asking = ask(Nobody(0))
    asking.cell.decide(1, asking.indication(()))
    document = asking.document()
    assert (document["ues"], document["allocation"]["owners"]) == ([], ["IDLE"] * 6)
    assert asking.findings_of(7) == {"not_in_report": "it was not in the report, which had no UE"}


def test_who_asks_from_elsewhere_is_not_shown_messages_which_hold_the_epoch(ask: Ask) -> None:
    asking = ask(SCHEDULERS["proportional_fair"])
    asking.cell.decide(1, asking.indication())

    async def from_elsewhere() -> httpx.Response:
        transport = httpx.ASGITransport(app=asking.app, client=("10.1.2.3", 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://xapp") as http:
            return await http.get(f"{DECISIONS}/{asking.node.cell}")

    (here,), (elsewhere,) = (
        document["control"]["messages"] for document in (asking.document(), asyncio.run(from_elsewhere()).json())
    )
    assert here.pop("pdu") and here == elsewhere
