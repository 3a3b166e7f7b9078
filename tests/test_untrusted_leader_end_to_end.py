"""A plug-in that means harm, in the whole loop over real sockets: the gNB's MAC is the judge."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from policy.allocation import Allocation, LeftoverRule, PeriodicGrant, all_dynamic
from policy.leader import Decision
from xapp.lab.lab import run_lab
from xapp.lab.options import LabOptions


def endless() -> Any:
    return (PeriodicGrant(0, 0, 5, number % 5) for number in itertools.count())


class Malicious:
    """Another kind of harm each time, and once in a while something legal."""

    name = "malicious"

    def __init__(self) -> None:
        self._calls = itertools.count()

    def decide(self, states, intents, expired):  # type: ignore[no-untyped-def]
        harm = next(self._calls) % 6
        owners = [np.zeros(state.num_rbgs, np.int16) for state in states]
        answers: list[list[Any]] = [
            [Decision(Allocation(s.ue_ids, o, periodic_grants=endless())) for s, o in zip(states, owners)],
            [Decision(all_dynamic(s.ue_ids, s.num_rbgs)) for s in states],
            [
                Decision(Allocation(s.ue_ids, o, periodic_grants=((0, 0, 5, 0),) * 200_000))
                for s, o in zip(states, owners)
            ],
            [Decision(Allocation(s.ue_ids, np.full(s.num_rbgs, 99, np.int16), LeftoverRule(7, 1e9))) for s in states],
            [Decision(all_dynamic(s.ue_ids, s.num_rbgs), decided_by="x" * 100_000) for s in states],
            [Decision(all_dynamic(s.ue_ids, 1_000_000)) for s in states],
        ]
        return answers[harm]


def test_no_harm_reaches_the_mac_and_the_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    options = LabOptions(seconds=6, leader="test_untrusted_leader_end_to_end:Malicious")

    summary = run_lab(options, Console(file=io.StringIO(), width=120))

    assert summary["transmissions_outside_grant"] == 0
    assert summary["controls_failed"] == summary["decode_errors"] == 0
    assert summary["controls_sent"] == summary["controls_acked"] == summary["decisions"] > 20
    assert summary["decided_by"]["fallback:malformed"] >= 10
    assert summary["decided_by"]["fallback:breaker_open"] >= 1, "it failed too often to be asked on"
    assert set(summary["decided_by"]) <= {
        "malicious", "fallback:malformed", "fallback:breaker_open", "fallback:late", "fallback:busy"
    }  # fmt: skip
    assert summary["xapp_rss_mb"] < 400
    assert summary["xapp_exit_status"] == 0
