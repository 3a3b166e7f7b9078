"""Fig. 6: the value of the followers' freedom. Followers that choose, against followers that only obey.

The Dictator is the same game with the followers' choice taken away: a UE sends on all that it was granted and nowhere
else. Compared are a learned leader with followers that learned under it and with best-response followers, a leader
trained to be obeyed, and inflight PF each way. "The Dictator" is the better of the two that are obeyed.
"""

from __future__ import annotations

from training.experiments.comparison import FAIR, bars, compare, rules, sample_of, sentence, table_of, where
from training.experiments.figure import Figure, Panel
from training.experiments.follower_trainings import train_under_pf
from training.experiments.measurement import Measured, World
from training.experiments.report import Report
from training.experiments.study import Study
from training.experiments.table import Table
from training.experiments.trainings import Recipe, budget_config, train_all
from training.simulator.scenario import Scenario, make_scenario

SCENARIOS = ("paper", "sporadic")
LEARNED, RULE = "leader + learned followers", "leader + best response"
PF_LEARNED, PF_OBEYED = "PF + learned followers", "inflight_pf"
LEARNED_DICTATOR = "dictator_learned"
DICTATOR = "dictator"
"""The better by utility of LEARNED_DICTATOR and PF_OBEYED, world by world."""
PAPER_PERCENT = 17.58
FULL_FOLLOWER_EPOCHS = 200

DEFINITIONS = (
    "Obeyed: a UE sends on all that it was granted and nowhere else. Best response: it sends on the best of what it "
    "may use, and contends for what is open. Learned followers: trained under the very leader that leads them, which "
    "stands still. dictator_learned: a leader trained, by the same recipe, for followers that obey. dictator: in each "
    "world the better by utility of dictator_learned and inflight PF, obeyed. Utility: mean over UEs of log(1 + "
    "throughput/100), minus .5 collisions and .1 waste per RBG-slot."
)


def run(study: Study) -> Report:
    names = study.options.scenarios or study.budget.pick(smoke=("mix",), quick=("sporadic",), full=SCENARIOS)
    scenarios = [make_scenario(name) for name in names]
    found: list[Measured] = []
    worlds: list[World] = []
    for scenario in scenarios:
        mine, played = _measure(study, scenario)
        found += mine
        worlds += played
    players = [LEARNED, RULE, PF_LEARNED, FAIR, LEARNED_DICTATOR, PF_OBEYED]
    sentences = []
    for player in (LEARNED, RULE, PF_LEARNED, FAIR):
        sentences.append(sentence(found, player, DICTATOR))
        percent = ", ".join(
            f"{m.percent_above(_dictator(found, m.world), 'throughput_bits_per_slot'):+.1f} % ({where(m)})"
            for m in found
            if m.player == player
        )
        sentences.append(f"Its throughput: {percent}.")
    sentences += [sentence(found, player, FAIR) for player in (LEARNED, RULE)]
    gaps = ", ".join(_gap(found, m) for m in found if m.player == LEARNED)
    sentences.append(
        f"The Dictator's utility against that of {LEARNED}: {gaps}; the paper's figure is -{PAPER_PERCENT} %."
    )
    return Report(
        table=_table(found),
        figure=Figure(
            "Followers that choose, and followers that obey (the paper's Fig. 6)",
            [
                Panel("Utility", "", "above the Dictator, nats per UE", bars(found, players, DICTATOR), level=0.0),
                Panel("Throughput", "", "above the Dictator, bits per slot and cell",
                      bars(found, players, DICTATOR, "throughput_bits_per_slot"), level=0.0),
            ],
        ),
        definitions=DEFINITIONS,
        paragraph=" ".join(sentences),
        sample=sample_of(study, worlds),
        scenarios=scenarios,
        findings={
            "throughput_pct_above_dictator": {
                f"{m.player}, {where(m)}": m.percent_above(_dictator(found, m.world), "throughput_bits_per_slot")
                for m in found
                if m.player in (LEARNED, RULE, PF_LEARNED, FAIR)
            },
            "paper": PAPER_PERCENT,
        },
    )  # fmt: skip


def _measure(study: Study, scenario: Scenario) -> tuple[list[Measured], list[World]]:
    budget = study.budget
    ues = scenario.ue_counts
    tests = study.options.ues or budget.pick(smoke=(3,), quick=(4,), full=(4, 10))
    leader, obeyed = train_all(
        study,
        [
            Recipe(RULE, budget_config(budget, [scenario], ues=ues)),
            Recipe(LEARNED_DICTATOR, budget_config(budget, [scenario], ues=ues, rule="obey")),
        ],
    )
    epochs = budget.pick(smoke=budget.updates, quick=budget.updates, full=FULL_FOLLOWER_EPOCHS)
    config = budget_config(budget, [scenario], ues=ues, roles=("follower",), updates=epochs)
    (pair,) = train_all(study, [Recipe(LEARNED, config, starts=leader.bundles)])
    under_pf = train_under_pf(study, PF_LEARNED, leader.bundles, scenario, ues)
    worlds = [World(scenario, count, budget.cells, budget.world_seeds, budget.slots) for count in tests]
    dictators = obeyed.players(baseline=LEARNED_DICTATOR)
    who = [pair.players(followers="learned"), leader.players(), dictators, under_pf, *rules(FAIR, PF_OBEYED)]
    found = compare(study, who, worlds)
    return found + [_better_dictator(found, world) for world in worlds], worlds


def _better_dictator(found: list[Measured], world: World) -> Measured:
    """The obeyed leader that is better by utility in this world, under the name of both."""
    obeyed = [m for m in found if m.world == world and m.player in (LEARNED_DICTATOR, PF_OBEYED)]
    return max(obeyed, key=lambda m: m.mean("utility"))._replace(player=DICTATOR)


def _dictator(found: list[Measured], world: World) -> Measured:
    return next(m for m in found if m.player == DICTATOR and m.world == world)


def _gap(found: list[Measured], m: Measured) -> str:
    return f"{_dictator(found, m.world).percent_above(m, 'utility'):+.1f} % ({where(m)})"


def _table(found: list[Measured]) -> Table:
    return table_of(
        found, (DICTATOR,), player_meaning="who leads and how followers answer; dictator: the better obeyed"
    )
