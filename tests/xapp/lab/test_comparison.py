"""Replays beside a live run: the same scenario, seed, period rule and followers."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from xapp.lab.comparison import compare_leaders
from xapp.lab.gnb.gnb import Gnb
from xapp.lab.gnb.options import GnbOptions
from xapp.lab.gnb.status import figures
from xapp.lab.options import LabOptions


@pytest.mark.parametrize("followers", ["rule", "learned"])
def test_a_replay_is_what_the_gnb_plays_without_an_xapp(followers: str) -> None:
    options = LabOptions(seconds=6, leader="dynamic", k=1, seed=3, followers=followers).resolved()
    gnb = Gnb(GnbOptions(k=1, seed=3, scenario=options.scenario, followers=followers))
    while gnb.mac.slot < options.periods:
        gnb.mac.play(5)
    rows = compare_leaders(options, ("node_scheduler",), Console(file=io.StringIO()))
    assert list(rows) == ["dynamic", "node_scheduler"]
    assert rows["node_scheduler"] == figures(gnb.mac.metrics())
