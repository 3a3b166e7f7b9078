"""The simulated node's followers, where they are a bundle's."""

from __future__ import annotations

from pathlib import Path

from policy.bundle import Bundle, save_bundle
from policy.follower import FOLLOWER_CONFIG, Access, new_follower_model
from policy.grammar import GrammarOptions
from policy.leader_models.language_model import ModelConfig, new_leader_model
from policy.prompt.compact import PromptLayout
from training.simulator import core
from training.simulator.learned_followers import LearnedFollowers
from xapp.lab.gnb.gnb import Gnb
from xapp.lab.gnb.options import GnbOptions


def test_learned_followers_come_out_of_a_bundle(tmp_path: Path) -> None:
    tiny = ModelConfig(hidden_size=16, num_layers=1, num_heads=1, intermediate_size=16)
    leader = new_leader_model(tiny, PromptLayout(), seed=1)
    save_bundle(Bundle(leader, new_follower_model(FOLLOWER_CONFIG, 1), GrammarOptions(), 1, 5), tmp_path / "b")
    assert tuple(Access) == (core.NONE, core.CONTEND, core.OWN)
    gnb = Gnb(GnbOptions(scenario="mix", k=1, followers="learned", bundle=str(tmp_path / "b")))
    assert isinstance(gnb.mac.followers, LearnedFollowers)
    assert gnb.description()["followers"] == "learned"
    for _ in range(20):
        gnb.mac.play(1)
    (cell,) = gnb.mac.metrics()
    assert cell.transmissions_outside_grant == 0
