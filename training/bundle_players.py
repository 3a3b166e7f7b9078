"""A bundle as players of an evaluation: its leader, greedy or sampled, over the rule's followers or its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from policy.bundle import Bundle, load_bundle
from policy.follower import FollowerPolicy
from policy.model_leader import leader_of, shipped_bundle
from policy.registry import BUNDLED
from training.baselines.players import Player, World, led
from training.learned_followers import LearnedFollowers
from training.simulator.cell import Followers
from training.simulator.metrics import CellMetrics

POLICY = "bundle"


class Entry(NamedTuple):
    """A bundle that takes part."""

    name: str
    """`bundled`, or its directory."""
    bundle: Bundle
    players: list[Player]


def enter_bundle(name: str, slots_per_dcm: int, decodings: Sequence[str], followers: str) -> Entry:
    """`bundled` (the shipped one for this K) or a directory. followers: rule or learned. Raises BundleError."""
    torch.set_num_threads(1)  # such small models are fastest so, and sums always come out alike
    folder = shipped_bundle(slots_per_dcm) if name == BUNDLED else Path(name)
    bundle = load_bundle(folder)
    leader = leader_of(bundle, folder.name)
    answer: Followers = LearnedFollowers(FollowerPolicy(bundle.follower)) if followers == "learned" else "best_response"
    seed = bundle.provenance.get("seed")
    train_seeds = (seed,) if isinstance(seed, int) else ()

    def play_sampled(world: World) -> list[CellMetrics]:
        return led(leader.sampled(world.seed), answer)(world)

    plays = {"greedy": led(leader, answer), "sampled": play_sampled}
    players = [Player(POLICY, plays[how], how, followers, train_seeds) for how in decodings]
    return Entry(name if name == BUNDLED else str(folder), bundle, players)
