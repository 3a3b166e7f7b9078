"""README of a bundle whose followers were trained: how to make it again, how they learned, where it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.card_format import CARD, sparkline
from training.follower_run.report import FollowReport

CURVES = ("reward", "loss", "entropy", "step_kl")


def follower_card(provenance: Mapping[str, Any], metrics: Mapping[str, Any], reports: Sequence[FollowReport]) -> str:
    """Markdown."""
    trained = provenance["trained_followers"]
    learning = [r for r in reports if r.update >= 0]
    lines = [
        "# Followers for the uplink MAC game",
        "",
        f"Trained under `{trained['leader']}`, which stood still; the bundle's own leader is as it was. "
        f"{trained['method'].capitalize()}; seed {trained['seed']}, {trained['updates']} updates.",
        "",
        "## Made by",
        "",
        "```",
        str(provenance.get("command") or "(not recorded)"),
        "```",
        "",
        "| scenario | hash | UEs trained on |",
        "|---|---|---|",
        *(
            f"| {name} | {digest} | {', '.join(map(str, trained['ues']))} |"
            for name, digest in trained["scenarios"].items()
        ),
        "",
        "## How they learned",
        "",
        "| | first tenth | last tenth | |",
        "|---|---|---|---|",
    ]
    for name in CURVES if learning else ():
        values = [float(getattr(r, name)) for r in learning]
        tenth = max(1, len(values) // 10)
        first, last = np.mean(values[:tenth]), np.mean(values[-tenth:])
        lines.append(f"| {name} | {first:.4g} | {last:.4g} | `{sparkline(values)}` |")
    lines += ["", "## Figures of training", "", *(f"- {name}: {value}" for name, value in metrics.items()), ""]
    lines += [
        "These are figures of training, not of held-out worlds. Followers answer the leader that they learned under: "
        "`stackmac evaluate --followers learned` measures them under this bundle's, "
        "`--player pf_leader_retrained_followers=DIR` under proportional fair.",
        "",
        "One training seed; claims need several. What the DCM does not offer is never used, whatever the weights are.",
        "",
    ]
    return "\n".join(lines)


def write_card(
    bundle: Path, provenance: Mapping[str, Any], metrics: Mapping[str, Any], reports: Sequence[FollowReport]
) -> None:
    (bundle / CARD).write_text(follower_card(provenance, metrics, reports), encoding="utf-8")
