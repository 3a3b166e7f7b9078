"""The language model as a leader: which bundle leads, and what happens when time runs out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from policy.bundle import Bundle, BundleError, save_bundle
from policy.follower import new_follower_model
from policy.grammar import LAB, PAPER
from policy.intent import Intent
from policy.leader import Leader, never_expires
from policy.leader_models.language_model import ModelConfig, new_leader_model
from policy.model_leader import ModelLeader, load_leader
from policy.prompt.compact import PromptLayout
from policy.shipped import EXPIRED, BundledLeader

SMALL = ModelConfig(hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24)


def small_leader(options, seed=0) -> ModelLeader:
    torch.set_num_threads(1)
    return ModelLeader(new_leader_model(SMALL, PromptLayout(), seed), options)


def test_each_state_is_led_by_the_bundle_of_its_pace(make_random_state):
    rng = np.random.default_rng(1)
    paper, lab = small_leader(PAPER), small_leader(LAB, seed=1)
    bundled = BundledLeader(paper, lab)
    assert isinstance(bundled, Leader)
    paces = [1, 100, 5, 6, 1, 20]
    states = [make_random_state(rng, ues=4, slots_per_dcm=k) for k in paces]
    decisions = bundled.decide(states, [Intent()] * 6, never_expires)
    for state, decision, pace in zip(states, decisions, paces):
        expected = (paper if pace <= 5 else lab).decide([state], [Intent()], never_expires)[0]
        assert decision.tokens == expected.tokens
        assert decision.allocation.ue_ids == state.ue_ids
    assert bundled.decide([], [], never_expires) == []


def test_a_decision_says_who_made_it_and_how_sure_it_was(make_random_state):
    state = make_random_state(np.random.default_rng(2), ues=4)
    (decision,) = small_leader(PAPER).decide([state], [Intent()], never_expires)
    assert (decision.decided_by, decision.reason) == ("model", "")
    assert decision.log_probs is not None
    assert len(decision.log_probs) == len(decision.tokens)


def test_between_two_steps_it_notices_that_time_ran_out(make_random_state):
    state = make_random_state(np.random.default_rng(3), ues=4, num_rbgs=17)
    asked = 0

    def expired() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    (decision,) = small_leader(PAPER).decide([state], [Intent()], expired)
    assert asked == 4
    assert decision.reason == EXPIRED
    assert len(decision.allocation.owner_M) == 17


def test_a_bundle_is_loaded_warm_and_on_one_thread(tmp_path, make_random_state):
    bundle = Bundle(new_leader_model(SMALL, PromptLayout(), 0), new_follower_model(SMALL, 0), LAB, 20, 100)
    save_bundle(bundle, tmp_path / "x")
    torch.set_num_threads(2)
    leader = load_leader(tmp_path / "x")
    assert torch.get_num_threads() == 1
    assert leader.options == LAB
    with pytest.raises(BundleError):
        load_leader(tmp_path / "y")
