"""What kind of network should lead, and how large: utility, latency and weights, with one recipe for all.

Pointer or vocabulary head, block-diagonal or dense attention over UEs, decoded token by token or in one pass, and the
networks without language (MAPPO, MAPPO-G).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from policy.model_config import ModelConfig
from training.experiments.comparison import FAIR, bars, compare, rules, sample_of, sentence, table_of
from training.experiments.figure import Curve, Figure, Panel, point
from training.experiments.latency import latency_part
from training.experiments.measurement import World
from training.experiments.paragraph import listed
from training.experiments.report import Report
from training.experiments.study import Study
from training.experiments.trainings import Recipe, Trained, budget_config, train_all
from training.learning.config import PRESETS
from training.simulator.scenario import Scenario

SCENARIO = "mix"
TINY = ModelConfig()
SMALL: ModelConfig = PRESETS["small"]["model"]
MICRO = ModelConfig(hidden_size=32, num_layers=1, num_heads=2, intermediate_size=88)
REFERENCE = "pointer"
LATENCY_UES = 30
MODELS: dict[str, tuple[str, ModelConfig]] = {
    REFERENCE: ("pointer", TINY),
    "vocabulary": ("vocabulary", replace(TINY, head="vocabulary")),
    "mappo_g": ("mappo_g", TINY),
    "pointer, one pass": ("pointer", replace(TINY, decoding="one_pass")),
    "pointer, dense": ("pointer", replace(TINY, attention="dense")),
    "mappo": ("mappo", TINY),
    "pointer, micro": ("pointer", MICRO),
    "pointer, small": ("pointer", SMALL),
}
"""Label: kind of policy.model_kinds, and its size."""

DEFINITIONS = (
    "tiny (where nothing else is named): 2 layers of width 64; micro: 1 of 32; small: 4 of 128. pointer: the head "
    "points at UEs' blocks; vocabulary: UEs have names in the vocabulary; dense: blocks see each other; one pass: all "
    f"RBGs are answered by one forward. Latency: one cell of {LATENCY_UES} UEs, greedy, no draft, one core. Same warm "
    "start, objective and number of updates for all; best-response followers."
)


def run(study: Study) -> Report:
    budget, options = study.budget, study.options
    scenario = options.scenario(SCENARIO)
    chosen = list(MODELS)[: budget.pick(smoke=2, quick=4, full=len(MODELS))]
    recipes = [Recipe(label, _config(study, scenario, *MODELS[label])) for label in chosen]
    trained = train_all(study, recipes)
    counts = options.ues or budget.pick(smoke=(3,), quick=(4, 10), full=(4, 10, 30))
    worlds = [World(scenario, ues, budget.cells, budget.world_seeds, budget.slots) for ues in counts]
    found = compare(study, [*(t.players() for t in trained), *rules(FAIR)], worlds)
    decisions = budget.pick(smoke=2, quick=30, full=300)
    latency_ues = budget.pick(smoke=6, quick=LATENCY_UES, full=LATENCY_UES)
    parts = [latency_part(t.label, t.bundles[0], scenario, latency_ues, decisions, 0) for t in trained]
    timed = dict(zip(chosen, study.run_alone(parts)))
    median = {label: float(np.median(result["leader_ms"])) for label, result in timed.items()}
    p99 = {label: float(np.percentile(result["leader_ms"], 99)) for label, result in timed.items()}
    weights = {label: result["weights"] for label, result in timed.items()}
    more: dict[str, Any] = {
        "weights": ("trained numbers of the leader", weights),
        "latency_ms": (f"median of a decision, {latency_ues} UEs", median),
        "latency_p99_ms": ("its 99th percentile", p99),
    }
    return Report(
        table=table_of(found, (REFERENCE, FAIR), "kind of the leader's network", more),
        figure=_figure(found, chosen, median, p99, weights),
        definitions=DEFINITIONS,
        paragraph=_paragraph(found, trained, median, p99, weights),
        sample=sample_of(study, worlds) + f" {decisions} timed decisions.",
        scenarios=[scenario],
        findings={"latency_ms": median, "weights": weights},
    )


def _config(study: Study, scenario: Scenario, kind: str, model: ModelConfig) -> Any:
    return budget_config(study.budget, [scenario], model_kind=kind, model=model)


def _figure(
    found: Any, chosen: list[str], median: dict[str, float], p99: dict[str, float], weights: dict[str, int]
) -> Figure:
    return Figure(
        "Networks that can lead",
        [
            Panel("Utility", "", f"above {FAIR}, nats per UE", bars(found, chosen, FAIR), level=0.0),
            Panel(
                "Latency of a decision",
                "",
                "ms, one core",
                [
                    Curve("median", chosen, [point(median[label]) for label in chosen]),
                    Curve("p99", chosen, [point(p99[label]) for label in chosen]),
                ],
            ),
            Panel("Size", "", "weights", [Curve("", chosen, [point(float(weights[label])) for label in chosen])]),
        ],
    )


def _paragraph(
    found: Any, trained: list[Trained], median: dict[str, float], p99: dict[str, float], weights: dict[str, int]
) -> str:
    sentences = [sentence(found, t.label, REFERENCE) for t in trained if t.label != REFERENCE]
    sentences.append(sentence(found, REFERENCE, FAIR))
    fast = min(median, key=lambda label: median[label])
    slow = max(median, key=lambda label: median[label])
    sentences.append(
        f"A decision takes {listed([f'{ms:.1f} ms ({label})' for label, ms in median.items()])}: {fast} is the fastest "
        f"with {weights[fast]} weights, {slow} the slowest (p99 {p99[slow]:.1f} ms)."
    )
    return " ".join(sentences)
