"""Followers trained under a rule, as parts of a study; and how often followers do as the DCM says.

Those of a learned leader are the trainer's own: training.experiments.trainings with roles=("follower",).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.experiments.budget import Budget
from training.experiments.measurement import PlayerSpec
from training.experiments.study import Notify, Part, Results, Study
from training.simulator.scenario import Scenario

if TYPE_CHECKING:
    from training.learning.follower_config import FollowTraining

LESS: dict[str, Any] = {
    "quick": {"updates": 20, "imitation_updates": 15, "worlds": 4, "cells": 8, "slots": 8},
    "smoke": {"updates": 1, "imitation_updates": 1, "worlds": 1, "cells": 2, "slots": 2},
    "full": {"updates": 80, "cells": 32},
}


def follower_config(budget: Budget) -> FollowTraining:
    """Within a budget."""
    from training.learning.follower_config import FollowConfig, FollowTraining

    own = FollowConfig(flips=2) if budget.level == "smoke" else FollowConfig()
    return FollowTraining(follow=own, **LESS[budget.level])


def train_under_pf(
    study: Study, label: str, bundles: Sequence[Path], scenario: Scenario, ues: Sequence[int]
) -> list[PlayerSpec]:
    """Followers of inflight PF, one a training seed, each put into one of `bundles`."""
    parts = [
        Part(
            f"{label}, seed {seed}",
            followers_part,
            {
                "bundle": bundle,
                "config": replace(follower_config(study.budget), seed=seed),
                "scenario": scenario,
                "ues": tuple(ues),
            },
            trains=True,
        )
        for seed, bundle in zip(study.train_seeds, bundles, strict=True)
    ]
    study.run(parts)
    return [
        PlayerSpec(label, "pf_leader_learned_followers", study.folder_of(part) / "bundle", followers="learned")
        for part in parts
    ]


def followers_part(
    bundle: Path, config: FollowTraining, scenario: Scenario, ues: Sequence[int],
    folder: Path, resume: bool, notify: Notify,
) -> Results:  # fmt: skip
    """Fresh followers: imitation of the best-response rule, then their own way. Not resumed half-way."""
    import torch

    from policy.bundle import load_bundle, save_bundle
    from policy.follower import FOLLOWER_CONFIG, new_follower_model
    from policy.schedulers.schedulers import SCHEDULERS
    from training.follower_run.run import train_followers

    torch.set_num_threads(1)
    loaded = load_bundle(bundle)
    model = new_follower_model(FOLLOWER_CONFIG, config.seed)
    reports = train_followers(
        SCHEDULERS["proportional_fair"],
        model,
        [scenario],
        ues,
        config,
        progress=lambda report: notify(f"update {report.update + 1}/{config.updates}"),
    )
    save_bundle(replace(loaded, follower=model.eval()), folder / "bundle")
    return {"log": [report._asdict() for report in reports]}


def measure_agreement(bundle: Path, scenario: Scenario, ues: int, cells: int, slots: int, seed: int) -> Results:
    """Share of the offered RBGs on which UEs with something to send do as the DCM says, per cell.

    The bundle's own leader leads, and its followers draw their bits.
    """
    import torch

    from policy.bundle import load_bundle
    from policy.model_leader import leader_of
    from training.replay import replay
    from training.rewards import agreement
    from training.simulator.cell import SlotView
    from training.simulator.learned_followers import as_followers, follower_view

    torch.set_num_threads(1)
    loaded = load_bundle(bundle)
    followers = as_followers(loaded.follower)
    agreed_B, asked_B = np.zeros(cells), np.zeros(cells)

    def watched(slot: SlotView) -> Any:
        sends_BUM = followers(slot)
        agrees_BU = agreement(slot.entitlement_BUM, slot.answer_BUM, sends_BUM)
        busy_BU = follower_view(slot).busy_N.reshape(agrees_BU.shape)
        agreed_B[:] += (agrees_BU * busy_BU).sum(axis=1)
        asked_B[:] += busy_BU.sum(axis=1)
        return sends_BUM

    periods = max(1, slots // scenario.slots_per_dcm)
    replay(scenario, leader_of(loaded), ues=ues, cells=cells, seed=seed, periods=periods, followers=watched)
    return {"agreement": [float(a / n) if n else None for a, n in zip(agreed_B, asked_B)]}
