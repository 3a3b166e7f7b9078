"""Why did UE 7 get nothing: causes are planted, and the answer over HTTP, and on the screen, must name them."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI

from policy.allocation import IDLE, Allocation, LeftoverRule
from policy.cell_state import CellState
from policy.grammar import GrammarOptions
from policy.intent import Intent, Mode, SliceLimit, Target, TargetResult
from policy.leader import Decision
from policy.leader_models.language_model import ModelConfig
from policy.model_kinds import new_model
from policy.model_leader import ModelLeader
from policy.schedulers.schedulers import SCHEDULERS
from xapp.cli import main
from xapp.e2.dcm import messages as dcm
from xapp.explain.api import DECISIONS, decision_router
from xapp.http.access import Access
from xapp.http.server import BackgroundServer

ALL = (3, 7, 9)


def model(**options: bool) -> ModelLeader:
    """Random weights: its preferences mean nothing, its probabilities are real."""
    torch.set_num_threads(1)
    size = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=48)
    return ModelLeader(new_model("pointer", size, 1), GrammarOptions(**options))


class Gives:
    """A leader that gives every RBG to one UE, without telling any odds."""

    def __init__(self, ue: int) -> None:
        self.name, self._ue = "gives", ue

    def decide(self, states: Sequence[CellState], intents: Any, expired: Any) -> list[Decision]:
        return [
            Decision(
                Allocation(s.ue_ids, np.full(s.num_rbgs, s.ue_ids.index(self._ue), np.int16)), decided_by=self.name
            )
            for s in states
        ]


class Broken:
    name = "broken"

    def decide(self, *_: Any) -> list[Decision]:
        raise RuntimeError("no idea")


class Asking:
    """A cell behind the real server; what is asked of it over HTTP."""

    def __init__(self, cell: Any) -> None:
        self.cell, self.node = cell, cell.node
        app = FastAPI()
        app.add_middleware(Access, token=None)
        app.include_router(decision_router(cell.loop.log))
        self.app = app
        self.server = BackgroundServer(app, "127.0.0.1", 0)
        assert self.server.wait_started()
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.http = httpx.Client(base_url=self.url, trust_env=False)

    def close(self) -> None:
        self.http.close()
        self.server.close()

    def get(self, path: str = "", **asked: Any) -> httpx.Response:
        return self.http.get(f"{DECISIONS}/{path or self.node.cell}", params=asked)

    def document(self, **asked: Any) -> Any:
        answer = self.get(**asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def findings_of(self, ue: int, **asked: Any) -> dict[str, str]:
        """Findings about a UE: text by code."""
        (entry,) = self.document(ue=ue, **asked)["ues"]
        assert entry["ue"] == ue
        return {finding["code"]: finding["text"] for finding in entry["why"]}

    def indication(self, ue_ids: tuple[int, ...] = ALL, **columns: Any) -> Any:
        return self.node.indication(ue_ids, **columns)


Ask = Callable[..., Asking]


@pytest.fixture
def ask(make_cell: Any) -> Iterator[Ask]:
    with ExitStack() as stack:

        def make(leader: Any) -> Asking:
            asking = Asking(make_cell(leader))
            stack.callback(asking.close)
            return asking

        yield make


# -- planted causes ---------------------------------------------------------------------------------------------------


def test_a_ue_that_is_capped_at_nothing(ask: Ask) -> None:
    asking = ask(model())
    asking.cell.intent = Intent(max_share_percent={7: 10.0})
    asking.cell.decide(1, asking.indication())
    findings_of = asking.findings_of(7)
    assert "caps it at 0 of 6 RBGs" in findings_of["capped"]
    assert findings_of["masked_cap"] == "on RBGs 0, 1, 2, 3, 4, 5 it could not be named: it held its cap"
    assert "outranked" not in findings_of
    document = asking.document(ue=7)
    assert (document["limits"]["caps"], document["ues"][0]["got_nothing"]) == ({"7": 0}, True)
    assert document["ues"][0]["probabilities"] == [None] * 6


def test_a_ue_at_its_cap_is_not_blamed_for_the_rbgs_before(ask: Ask) -> None:
    asking = ask(Gives(7))
    asking.cell.intent = Intent(max_share_percent={7: 34.0})
    asking.cell.decide(1, asking.indication())
    findings_of = asking.findings_of(7)
    assert "holds 2 RBGs, as many as its cap allows (2 of 6)" in findings_of["capped"]
    assert findings_of["guard_took"].startswith("gives gave it RBGs 2, 3, 4, 5, the guard took that away: ")
    assert "UE 7: holds 6 RBGs, capped at 2" in findings_of["guard_took"]
    assert "outranked_by_rule" not in asking.findings_of(3), "what somebody's own leader took into account is not known"


def test_an_empty_buffer_one_that_was_served_and_one_that_nobody_reported(ask: Ask) -> None:
    asking = ask(model())
    buffers, inflight = np.array([0.0, 700.0, np.nan]), np.array([0.0, 800.0, 0.0])
    asking.cell.decide(1, asking.indication(buffer_bits=buffers, inflight_bits=inflight))
    assert asking.findings_of(3)["buffer_empty"].startswith("its buffer was empty when it was reported")
    assert (
        "of the 700 bits" in asking.findings_of(7)["buffer_served"]
        and "(800)" in asking.findings_of(7)["buffer_served"]
    )
    assert "was not reported" in asking.findings_of(9)["buffer_unknown"]


def test_a_ue_that_is_not_there_and_when_it_last_was(ask: Ask) -> None:
    asking = ask(SCHEDULERS["proportional_fair"])
    asking.cell.decide(1, asking.indication())
    asking.cell.decide(2, asking.indication((3, 9)))
    asking.cell.decide(3, asking.indication((3, 9)))
    text = asking.findings_of(7)["not_in_report"]
    assert text.startswith("it was not in the report, which had UEs 3, 9; it was last there ")
    assert text.endswith("in decision 1")
    assert asking.findings_of(8) == {"not_in_report": "it was not in the report, which had UEs 3, 9"}


def test_a_ue_that_left_or_came_while_the_decision_was_made(ask: Ask) -> None:
    asking = ask(Gives(7))
    asking.cell.report(1, asking.indication())
    waiting = asking.cell.mailbox.take(0.0)
    asking.cell.report(2, asking.indication((3, 9, 11)))
    asking.cell.loop.decide([report for _, report in waiting])
    assert "gone from the one that came before the control was sent" in asking.findings_of(7)["left"]
    assert "the next one is its first" in asking.findings_of(11)["came_later"]
    assert "made for UEs (3, 7, 9), now (3, 9, 11)" in asking.document()["guard"]


def test_a_fallback_says_what_kept_the_leader_from_speaking(ask: Ask) -> None:
    asking = ask(Broken())
    asking.cell.decide(1, asking.indication(buffer_bits=np.array([0.0, 4000.0, 9000.0])))
    findings_of = asking.findings_of(3)
    assert findings_of["fallback"] == "the leader failed; proportional_fair decided in its place"
    assert findings_of["outranked_by_rule"].startswith("proportional_fair took it to have 0 bits waiting, CQI 9")
    assert "and UE 7, with 3 RBGs the one with most, 4000 bits waiting" in findings_of["outranked_by_rule"]
    document = asking.document()
    assert (document["decided_by"], document["reason"]) == ("fallback:error", "error")
    assert (document["odds"]["computed"], document["prompt"]) == (False, {})
    asking.cell.intent = Intent(mode=Mode.FALLBACK)
    asking.cell.decide(2, asking.indication())
    assert "policy in force says `fallback`" in asking.findings_of(3)["fallback"]


def test_shadow_mode_decides_and_sends_nothing(ask: Ask) -> None:
    asking = ask(Gives(3))
    asking.cell.decide(1, asking.indication())
    asking.cell.intent = Intent(mode=Mode.SHADOW)
    asking.cell.decide(2, asking.indication())
    assert "shadow" in asking.findings_of(7)
    control = asking.document()["control"]
    assert (control["nothing_sent"], [m["what"] for m in control["messages"]]) == ("shadow", ["release"])
    assert asking.document(limit=2)["decisions"][0]["sent"] == "shadow"


def test_a_control_that_the_node_refused(ask: Ask) -> None:
    asking = ask(Gives(7))
    asking.cell.decide(1, asking.indication())
    request, _ = asking.node.next_control()
    asking.cell.receiver.on_message(asking.node.refusal(request, dcm.OutcomeCode.BAD_CARRIER))
    assert asking.findings_of(7)["refused"] == f"{asking.node.name} refused the control: BAD_CARRIER: because"


def test_what_the_node_decides_by_itself_is_no_refusal(ask: Ask) -> None:
    asking = ask(SCHEDULERS["static_config"])
    asking.cell.decide(1, asking.indication(k=100, traffic_class=np.array([0.0, 1.0, 2.0])))
    (entry,) = asking.document(ue=7)["ues"]
    assert (entry["dynamic_rbgs"], entry["may_contend_on"]) == (6, 6)
    codes = [finding["code"] for finding in entry["why"]]
    assert codes[-2:] == ["left_to_node", "may_contend"]


def test_leftovers_of_another_class(ask: Ask) -> None:
    class Leftovers(Gives):
        def decide(self, states: Any, intents: Any, expired: Any) -> list[Decision]:
            rule = LeftoverRule(class_mask=0b110, contenders=1.2)
            return [Decision(Allocation(s.ue_ids, np.full(s.num_rbgs, -1, np.int16), rule)) for s in states]

    asking = ask(Leftovers(7))
    asking.cell.decide(1, asking.indication(traffic_class=np.array([0.0, 1.0, 2.0])))
    assert (
        asking.findings_of(3)["may_not_contend"] == "it may not contend for leftovers: they are for periodic+sporadic"
    )
    assert "with probability 0.6" in asking.findings_of(7)["may_contend"]


def test_being_outranked_comes_with_the_models_own_probabilities(ask: Ask) -> None:
    asking = ask(model(allow_open=False, allow_dynamic=False, allow_idle=False))
    made = asking.cell.decide(1, asking.indication())
    losers = [ue for row, ue in enumerate(ALL) if not (made.allocation.owner_M == row).any()]
    assert losers, "of three UEs this model serves fewer"
    (entry,) = asking.document(ue=losers[0])["ues"]
    probabilities = entry["probabilities"]
    assert entry["got_nothing"] and all(0 < p < 1 for p in probabilities)
    (outranked,) = [f["text"] for f in entry["why"] if f["code"] == "outranked"]
    best = int(np.argmax(probabilities))
    winner = ALL[int(made.allocation.owner_M[best])]
    assert f"its best chance was RBG {best} with probability {probabilities[best]:.2g}" in outranked
    assert f"where UE {winner} had" in outranked and f"it could expect {sum(probabilities):.2g}" in outranked


def test_floors_of_others_mask_a_ue(ask: Ask) -> None:
    asking = ask(model())
    asking.cell.intent = Intent(min_share_percent={3: 50.0, 9: 50.0})
    asking.cell.decide(1, asking.indication())
    findings_of = asking.findings_of(7)
    assert findings_of["masked_floors"].endswith("every RBG that was left was owed to an operator's floor")
    assert "the policy promises it 3 of 6 RBGs" in asking.findings_of(3)["floor"]


def test_a_slices_limits_and_what_does_not_hold_are_shown(ask: Ask) -> None:
    asking = ask(model(allow_open=False, allow_dynamic=False))
    gold = SliceLimit("gold", frozenset({3, 7, 99}), max_share_percent=17.0)
    asking.cell.intent = Intent(slice_limits=(gold,), max_share_percent={9: 10.0}, min_share_percent={9: 50.0})
    asking.cell.decide(1, asking.indication())
    limits = asking.document()["limits"]
    assert limits["slices"] == [{"name": "gold", "ues": [3, 7], "cap": 1, "floor": 0}]
    assert limits["not_enforced"] == ["UE 9: floor of 3 RBGs exceeds its cap of 0: the cap holds"]
    assert "masked_slice_cap" in {**asking.findings_of(3), **asking.findings_of(7)}


def test_targets_are_shown_with_what_was_measured_and_the_share_that_they_became(
    ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    asking = ask(model())
    result = TargetResult("missed", "900 kbit/s in the newest second, 1000 wanted", {"min_kbps": "missed"}, 350.0)
    floor = Target("gold", "slice 2", frozenset({3, 7}), "2", min_kbps=1000.0, result=result)
    delay = Target("fast", "UE 9", frozenset({9}), max_delay_ms=5.0)
    held = SliceLimit("2", frozenset({3, 7}), min_share_percent=34.0)
    asking.cell.intent = Intent(slice_limits=(held,), targets=(floor, delay))
    asking.cell.decide(1, asking.indication())
    first, second = asking.document()["targets"]
    assert (first["state"], first["share_percent"], first["bits_per_rbg"]) == ("missed", 34.0, 350.0)
    assert (second["state"], second["text"]) == ("unknown", "no window has ended")
    assert [row["policy"] for row in asking.document(ue=9)["targets"]] == ["fast"]
    assert main(["explain", "--url", asking.url]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "target slice 2: at least 1000 kbit/s, by gold: missed (900 kbit/s in the newest second, 1000 wanted);"
        " a floor of 34 % of the cell, at 350 bits an RBG and slot" in printed
    )
    assert "UE 9: delay at most 5 ms, by fast: unknown (no window has ended); it is tracked and does not act" in printed


# -- the document -----------------------------------------------------------------------------------------------------


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


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_answers_in_words(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    asking = ask(model())
    asking.cell.intent = Intent(max_share_percent={7: 10.0})
    asking.cell.decide(1, asking.indication())
    assert main(["explain", "--url", asking.url, "--cell", asking.node.nci, "--ue", "7"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"decision 1 about {asking.node.cell}" in printed
    assert "UE 7 got nothing" in printed and "- the policy caps it at 0 of 6 RBGs" in printed
    assert "buffer_bits 4000" in printed and "not reported: inflight" not in printed
    assert "log-probabilities computed anew; equal to those recorded" in printed
    assert main(["explain", "--url", asking.url]) == 0
    assert "because" in capsys.readouterr().out


def test_the_command_prints_the_document_as_json(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    asking = ask(SCHEDULERS["dynamic"])
    asking.cell.decide(1, asking.indication())
    assert main(["explain", "--url", asking.url, "--ue", "7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == asking.document(ue=7)


@pytest.mark.parametrize(
    ("arguments", "status", "chosen"),
    [
        (["--cell", "nowhere"], 2, "no cell ends in 'nowhere'; expected one of gnb_001"),
        (["--id", "77"], 1, "no decision 77 about gnb_001"),
    ],
)
def test_the_command_says_what_it_does_not_find(
    ask: Ask, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, chosen: str
) -> None:
    asking = ask(SCHEDULERS["dynamic"])
    asking.cell.decide(1)
    assert main(["explain", "--url", asking.url, *arguments]) == status
    assert chosen in capsys.readouterr().err


def test_nobody_at_the_address_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--url", "http://127.0.0.1:9"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not answer as an xApp" in line


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
