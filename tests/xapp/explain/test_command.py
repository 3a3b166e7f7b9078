"""`stackmac explain` on the screen."""

from __future__ import annotations

import json

import pytest
from asking import Ask, model

from policy.intent import Intent
from policy.schedulers.schedulers import SCHEDULERS
from xapp.cli import main


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
