"""`stackmac explain` on the screen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import Ask, Asking, Broken, model

from policy.intent import Intent
from policy.schedulers.schedulers import SCHEDULERS
from xapp.cli import main
from xapp.control.control_loop import Discretion


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


class Withheld(Discretion):
    """A KPI guard in whose hold-outs the leader is not asked."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def withheld(self, report: Any, intent: Intent) -> str:
        return self._reason


@pytest.mark.parametrize(
    ("reason", "why"),
    [("hold_out", "the KPI guard looks at the cell without the leader (a hold-out)"), ("reverted", "reverted it")],
)
def test_a_period_that_the_leader_did_not_decide_is_said_first(
    make_cell: Any, capsys: pytest.CaptureFixture[str], reason: str, why: str
) -> None:
    asking = Asking(make_cell(model(), discretion=Withheld(reason)))
    try:
        asking.cell.decide(1, asking.indication())
        document = asking.document()
        assert main(["explain", "--url", asking.url]) == 0
        printed = capsys.readouterr().out
        assert main(["explain", "--url", asking.url, "--ue", "7"]) == 0
        of_one = capsys.readouterr().out
    finally:
        asking.close()
    told = document["without_leader"]
    assert why in told["why"] and told["decided_instead"].startswith("the node's own scheduler")
    assert (told["was_asked"], told["owners"][-3:]) == (False, ["UE 3", "UE 7", "UE 9"])
    lines = printed.splitlines()
    first = " ".join(" ".join(lines[1:]).split())
    assert first.startswith(
        f"the leader, model, did not decide here: {told['why']} in its place decided the node's own"
    )
    assert "it would have been asked for an owner of each of 6 RBGs (of " in first
    assert "UE 3, UE 7, UE 9), and shown: cell: " in first
    assert first.index("did not decide") < first.index("decided by fallback")
    for ue in ("3", "7", "9"):
        assert f"UE {ue}: traffic_class {document['prompt']['ues'][ue]['traffic_class']}, " in first
    # Each UE's line has a reason of its own, and not once more that of all.
    assert printed.count("(a hold-out)" if reason == "hold_out" else "reverted it") == 1
    assert "UE 7: traffic_class" in of_one and "UE 3: traffic_class" not in of_one


def test_a_leader_that_failed_was_asked_and_one_that_decided_is_not_said_to_have_been_passed_over(
    ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    asking = ask(Broken())
    asking.cell.decide(1, asking.indication())
    assert main(["explain", "--url", asking.url]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "the leader, broken, did not decide here: the leader failed in its place decided proportional_fair" in printed
    )
    assert "it was asked for an owner of each of 6 RBGs decided by" in printed
    asking = ask(model())
    asking.cell.decide(1, asking.indication())
    assert asking.document()["without_leader"] is None
    assert main(["explain", "--url", asking.url]) == 0
    assert "did not decide" not in capsys.readouterr().out


def test_nobody_at_the_address_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--url", "http://127.0.0.1:9"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not answer as an xApp" in line
