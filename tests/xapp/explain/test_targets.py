"""What explain says of targets: what each asks, what was measured, and what came of it."""

from __future__ import annotations

import pytest
from asking import Ask, model

from policy.intent import Intent, SliceLimit, Target, TargetResult
from xapp.cli import main


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
