"""README of a bundle whose followers were trained: how to make it again, how they learned, where it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policy.errors import counted
from training.card_format import CARD, curves, figures, made_by
from training.follower_run.report import FollowReport

CURVES = ("reward", "loss", "entropy", "step_kl")


def follower_card(provenance: Mapping[str, Any], metrics: Mapping[str, Any], reports: Sequence[FollowReport]) -> str:
    """Markdown."""
    trained = provenance["trained_followers"]
    lines = [
        "# Followers for the uplink MAC game",
        "",
        f"Trained under `{trained['leader']}`, which stood still; the bundle's own leader is as it was. "
        f"{trained['method'][0].upper()}{trained['method'][1:]}; seed {trained['seed']}, "
        f"{counted(trained['updates'], 'update')}.",
        "",
        *made_by(provenance),
        "| scenario | hash | UEs trained on |",
        "|---|---|---|",
        *(
            f"| {name} | {digest} | {', '.join(map(str, trained['ues']))} |"
            for name, digest in trained["scenarios"].items()
        ),
        "",
        "## How they learned",
        "",
        *curves([report for report in reports if report.update >= 0], CURVES),
        "",
        *figures(metrics),
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
