"""A bundle's README: what it is, how to make it again, how it learned, what it reached, and where it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policy.errors import counted
from training.card_format import CARD, curves, figures, made_by
from training.learning.config import TrainConfig
from training.learning.report import UpdateReport

CURVES = ("reward", "gain", "entropy", "step_kl", "jain", "collision_fraction", "follower_entropy")


def model_card(
    config: TrainConfig, provenance: Mapping[str, Any], metrics: Mapping[str, Any], reports: Sequence[UpdateReport]
) -> str:
    """Markdown."""
    lines = [
        "# A bundle for the uplink MAC game",
        "",
        f"{config.model_kind} leader, preset `{config.preset}`, roles trained: {', '.join(config.roles)}; "
        f"objective `{config.objective}`, seed {config.seed}, {counted(len(reports), 'update')}, "
        f"{reports[-1].cell_steps} cell-steps.",
        "",
        *made_by(provenance),
        "| scenario | hash | slots per DCM | UEs trained on |",
        "|---|---|---|---|",
        *(
            f"| {s.name} | {s.hash} | {s.slots_per_dcm} | {', '.join(map(str, sorted(set(config.ue_counts))))} |"
            for s in dict.fromkeys(config.scenarios)
        ),
        "",
        "## How it learned",
        "",
        *curves(reports, CURVES),
        "",
        *figures(metrics),
        "These are figures of training, not of held-out worlds: `stackmac evaluate --bundle DIR --scenario "
        f"{config.scenarios[0].name} --against all` measures it against every baseline in the same worlds.",
        "",
        "## Limits",
        "",
        f"- Trained on simulated cells of {', '.join(s.name for s in dict.fromkeys(config.scenarios))} with "
        f"{min(config.ue_counts)} to {max(config.ue_counts)} UEs: outside of that, unmeasured unless stated above.",
        "- One training seed; claims need several.",
        "- What a DCM may hold is the grammar's: the guard and the operator's limits hold whatever the weights are.",
        "",
    ]
    warnings = list(dict.fromkeys(warning for r in reports for warning in r.warnings))
    if warnings:
        lines += ["## Warnings while it learned", "", *(f"- {warning}" for warning in warnings), ""]
    return "\n".join(lines)


def write_card(
    bundle: Path,
    config: TrainConfig,
    provenance: Mapping[str, Any],
    metrics: Mapping[str, Any],
    reports: Sequence[UpdateReport],
) -> None:
    (bundle / CARD).write_text(model_card(config, provenance, metrics, reports), encoding="utf-8")
