"""How long a decision takes, and how many tokens go into it: one cell, one core, as parts of a study.

Times are this machine's and this moment's: unlike everything else in an experiment they are not the same twice.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from training.experiments.study import Part, Results
from training.simulator.scenario import Scenario
from training.world_seeds import FIRST_WORLD_SEED

WARM_UP_DECISIONS = 3


def latency_part(
    label: str, bundle: Path, scenario: Scenario, ues: int, decisions: int, repeat: int, engine: bool = False
) -> Part:
    """Milliseconds of `decisions` decisions in one cell; `repeat` numbers the world. engine: compiled, not by torch."""
    arguments = {"bundle": bundle, "scenario": scenario, "ues": ues, "decisions": decisions, "repeat": repeat}
    arguments["engine"] = engine
    return Part(f"latency {label} I={ues} {repeat + 1}", measure_latency, arguments)


def measure_latency(bundle: Path, scenario: Scenario, ues: int, decisions: int, repeat: int, engine: bool) -> Results:
    """Leader: prompt to DCM, greedy, without a draft. Followers: all UEs of the cell, one slot."""
    import torch

    from policy.bundle import load_bundle
    from policy.intent import Intent
    from policy.leader import never_expires
    from policy.model_leader import ModelLeader
    from policy.registry import make_leader
    from training.simulator.cell import CellBatch
    from training.simulator.learned_followers import as_followers

    torch.set_num_threads(1)
    loaded = load_bundle(bundle)
    leader = make_leader(str(bundle)) if engine else ModelLeader(loaded.leader, loaded.options)
    answer = as_followers(loaded.follower)
    world = CellBatch(scenario, 1, ues, FIRST_WORLD_SEED + repeat)
    world.play(None, 50)
    leader_ms, follower_ms, dcm_tokens, prompt = [], [], [], 0
    for _ in range(WARM_UP_DECISIONS + decisions):
        states = world.observe()
        prompts = loaded.leader.layout.encode(states, [Intent()])
        prompt = len(prompts[0]) if loaded.leader.uses_words else int(prompts.tokens_NT.size)
        begin = time.perf_counter()
        (decision,) = leader.decide(states, [Intent()], never_expires)
        decided = time.perf_counter()
        view = world.begin_slot([decision.allocation])
        asked = time.perf_counter()
        sends = answer(view)
        answered = time.perf_counter()
        world.finish_slot(sends)
        leader_ms.append(1e3 * (decided - begin))
        follower_ms.append(1e3 * (answered - asked))
        dcm_tokens.append(len(decision.tokens))
    return {
        "leader_ms": leader_ms[WARM_UP_DECISIONS:],
        "follower_ms": follower_ms[WARM_UP_DECISIONS:],
        "prompt_tokens": prompt,
        "dcm_tokens": float(np.mean(dcm_tokens)),
        "weights": sum(p.numel() for p in loaded.leader.parameters()),
    }
