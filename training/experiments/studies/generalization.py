"""Figs. 4 and 8: trained in small cells, led in larger ones, without training again.

First exactly the paper's: trained on {3, 4} UEs, tested on 5 and 10, against MAPPO-G (attention over UEs, no language)
and MAPPO (padded) with the same warm start, objective and budget. Then the wide run: trained on 3 to 12, tested on up
to 100. All followers are the best response, so that leaders are compared and nothing else.
"""

from __future__ import annotations

from training.experiments.budget import Budget
from training.experiments.comparison import (
    FAIR,
    NODE,
    absolute,
    compare,
    over_ues,
    rules,
    sample_of,
    sentence,
    table_of,
)
from training.experiments.figure import Figure, Panel
from training.experiments.measurement import World
from training.experiments.report import Report
from training.experiments.study import Study
from training.experiments.trainings import Recipe, budget_config, train_all

SCENARIO = "paper"
TRAINED_UES, WIDE_UES = (3, 4), (3, 4, 5, 8, 12)
TEST_UES = (3, 5, 10, 30, 100)
FULL_LARGE = 6
"""Cells of LARGE_UES and more per world seed, at the full budget."""
OURS, WIDE = "pointer {3,4}", "pointer {3..12}"
KINDS = {"mappo_g {3,4}": "mappo_g", "mappo {3,4}": "mappo"}
WIDE_KINDS = {"mappo_g {3..12}": "mappo_g"}

DEFINITIONS = (
    "{3,4} and {3..12}: UE counts that were trained on. pointer: the language model whose head points at UEs; mappo_g: "
    "attention over UEs, no language; mappo: one network with padded seats. All have the same warm start, objective "
    "and number of updates, best-response followers, and decide greedy. Utility: mean over UEs of log(1 + "
    "throughput/100), minus .5 collisions and .1 waste per RBG-slot. Fairness: Jain's index."
)


LARGE_UES = 30


def _cells(budget: Budget, ues: int) -> int:
    """Large cells take long to play, and hold more UEs."""
    return budget.pick(smoke=budget.cells, quick=budget.cells, full=budget.cells if ues < LARGE_UES else FULL_LARGE)


def run(study: Study) -> Report:
    budget, options = study.budget, study.options
    scenario = options.scenario(SCENARIO)
    tests = options.ues or budget.pick(smoke=(5,), quick=(5, 10, 30), full=TEST_UES)
    rivals = dict(list(KINDS.items())[: budget.pick(smoke=1, quick=1, full=2)])
    recipes = [Recipe(OURS, budget_config(budget, [scenario], ues=TRAINED_UES))]
    recipes += [
        Recipe(label, budget_config(budget, [scenario], ues=TRAINED_UES, model_kind=kind))
        for label, kind in rivals.items()
    ]
    if budget.level != "smoke":
        recipes.append(Recipe(WIDE, budget_config(budget, [scenario], ues=WIDE_UES)))
    if budget.level == "full":
        recipes += [
            Recipe(label, budget_config(budget, [scenario], ues=WIDE_UES, model_kind=kind))
            for label, kind in WIDE_KINDS.items()
        ]
    trained = train_all(study, recipes)
    worlds = [World(scenario, ues, _cells(budget, ues), budget.world_seeds, budget.slots) for ues in tests]
    found = compare(study, [*(t.players() for t in trained), *rules(FAIR, NODE)], worlds)
    labels = [t.label for t in trained]
    rival_labels = [label for label in labels if label not in (OURS, WIDE)]
    sentences = [sentence(found, OURS, rival) for rival in rivals]
    sentences += [sentence(found, OURS, rival, "throughput_bits_per_slot", 0) for rival in rivals]
    sentences += [sentence(found, OURS, rival, "jain") for rival in rivals]
    sentences += [sentence(found, label, FAIR) for label in labels if label not in rival_labels]
    if WIDE in labels:
        sentences.append(sentence(found, WIDE, FAIR, "throughput_bits_per_slot", 0))
    return Report(
        table=table_of(found, (FAIR, *rivals), player_meaning="who leads, and the UE counts it was trained on"),
        figure=Figure(
            "Cells of sizes never trained on (the paper's Figs. 4 and 8)",
            [
                Panel("Utility", "UEs per cell", f"above {FAIR}, nats per UE", over_ues(found, labels, FAIR), True,
                      level=0.0),
                Panel("Throughput", "UEs per cell", "bits per slot and cell",
                      absolute(found, [*labels, FAIR], "throughput_bits_per_slot"), True),
                Panel("Fairness", "UEs per cell", "Jain's index", absolute(found, [*labels, FAIR], "jain"), True),
                Panel("Collisions", "UEs per cell", "share of RBG-slots",
                      absolute(found, [*labels, FAIR], "collision_fraction"), True),
            ],
        ),
        definitions=DEFINITIONS,
        paragraph=" ".join(sentences),
        sample=sample_of(study, worlds)
        + (f" Cells of {LARGE_UES} UEs and more: {FULL_LARGE} per world seed." if budget.level == "full" else ""),
        scenarios=[scenario],
    )  # fmt: skip
