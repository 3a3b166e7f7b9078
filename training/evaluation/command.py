"""`stackmac evaluate`: a bundle against every baseline, in the same worlds."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from policy.errors import UserMistake
from training.command_line.options import INTERRUPTED, command, option
from training.command_line.result_file import check_json_path, write_json
from training.command_line.values import MAX_UES, counts_in, names_in, one_of
from training.world_seeds import FIRST_WORLD_SEED, MAX_SEED

if TYPE_CHECKING:
    from training.baselines.players import Player
    from training.evaluation.bundle_players import Entry
    from training.simulator.scenario import Scenario

evaluate_app = typer.Typer(add_completion=False, rich_markup_mode=None)

DECODINGS = {"greedy": ("greedy",), "sampled": ("sampled",), "both": ("greedy", "sampled")}
FOLLOWERS = ("rule", "learned")
OWN_FOLLOWERS_UNDER_PF = "pf_leader_learned_followers"


@dataclass(frozen=True)
class EvaluateOptions:
    """What `stackmac evaluate` is given."""

    scenario: str = option(help="Simulator scenario.")
    bundle: str = option(
        "bundled",
        "Directory of a bundle, or several of one player, comma-separated: its training seeds. "
        "bundled = the shipped one for K.",
    )
    ues: str = option("3,5,10", "UEs per cell, comma-separated.")
    against: str = option("all", "all, or names of baselines, comma-separated.")
    player: tuple[str, ...] = option(
        (), "A learned baseline and its bundles, one a training seed.", metavar="NAME=DIR[,DIR...]"
    )
    seeds: int = option(5, "World seeds.", min=1, max=1000)
    first_seed: int = option(FIRST_WORLD_SEED, "They count up from here.", min=1, max=MAX_SEED)
    cells: int = option(32, "Cells per world seed.", min=1, max=10_000)
    k: int = option(0, "Slots per DCM; 0 = the scenario's.", "--k", min=0, max=1000)
    slots: int = option(0, "Length of a run; 0 = 100 slots, or 20 periods from K = 10 on.", min=0, max=1_000_000)
    decoding: str = option("greedy", "Of the bundle: greedy, sampled or both.")
    followers: str = option("rule", "Of the bundle: rule (best response) or learned (its own).")
    observe: str = option("full", "What leaders see: full, kpm_srsran or kpm_oai.")
    jobs: int = option(0, "Processes; 0 = one a core.", min=0, max=256)
    json_file: str = option("", "Write the rows there (- = standard output).", "--json")

    @property
    def is_against_all(self) -> bool:
        return self.against.strip() == "all"

    def learned(self) -> dict[str, str]:
        """Bundles by name of the learned baseline. Raises UserMistake."""
        found: dict[str, str] = {}
        for given in self.player:
            name, equals, folders = given.partition("=")
            if not (name.strip() and equals and folders.strip()):
                raise UserMistake(f"--player is {given!r}, expected NAME=DIR[,DIR...]")
            if name.strip() in found:
                raise UserMistake(f"--player {name.strip()} is given twice; list its bundles: NAME=DIR,DIR")
            found[name.strip()] = folders
        if self.followers == "learned" and self.is_against_all:
            found.setdefault(OWN_FOLLOWERS_UNDER_PF, self.bundle)
        return found


@command(evaluate_app, "evaluate", EvaluateOptions)
def evaluate_command(options: EvaluateOptions) -> int:
    """Measure a bundle and baselines in the same worlds: radio, traffic and coins are equal, differences are paired.

    With several bundles the intervals go over training seeds. The same command gives the same rows, whatever --jobs.
    Ctrl-C keeps the world seeds that are finished.
    """
    one_of("--decoding", options.decoding, DECODINGS)
    one_of("--followers", options.followers, FOLLOWERS)
    counts = tuple(dict.fromkeys(counts_in("--ues", options.ues, MAX_UES)))
    learned = options.learned()

    from rich.console import Console

    from policy.observation import PROFILES
    from training.baselines.players import LEARNED, make_baselines
    from training.evaluation.bundle_players import enter_baseline, enter_bundles
    from training.evaluation.evaluate import count_tasks, evaluate
    from training.evaluation.process_pool import cores
    from training.evaluation.rows import Setup
    from training.evaluation.table import show
    from training.progress_bar import ProgressBar
    from training.run_length import make_scenario_at, periods_of

    one_of("--observe", options.observe, PROFILES)
    check_json_path(options.json_file)
    world = make_scenario_at(options.scenario, options.k)
    rules = make_baselines(options.against)
    slots_per_dcm, decodings = world.slots_per_dcm, DECODINGS[options.decoding]
    entry = enter_bundles(options.bundle, slots_per_dcm, decodings, options.followers)
    _check_given(options.against, learned)
    rivals = [
        enter_baseline(name, names, slots_per_dcm, decodings[0], options.followers) for name, names in learned.items()
    ]
    _warn_of_other_k([entry, *rivals], world)
    baselines = [*rules, *(player for rival in rivals for player in rival.players)]
    players = [*entry.players, *_with_teachers(baselines)]
    periods = periods_of(world, options.slots)
    setup = Setup(world, counts, options.seeds, options.cells, periods, options.observe, options.first_seed)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ProgressBar("evaluate", count_tasks(players, setup), "{what}") as bar:
        jobs = options.jobs or cores()
        result = evaluate(players, setup, lambda done, what: bar.show(done, what=what), jobs=jobs)
    missing = [name for name in LEARNED if name not in learned] if options.is_against_all else []
    show(Console(stderr=options.json_file == "-"), result, entry.players[0].label, missing)
    if options.json_file:
        described = [one for who in (entry, *rivals) for one in who.described()]
        write_json(options.json_file, {"bundles": described, "missing": missing, **result.as_json()})
    return 0 if result.complete else INTERRUPTED


def _check_given(against: str, learned: Mapping[str, str]) -> None:
    from training.baselines.players import LEARNED

    for name in names_in(against):
        if name in LEARNED and name not in learned:
            raise UserMistake(f"{name} has to be trained first: give its bundles, --player {name}=DIR[,DIR...]")


def _with_teachers(baselines: Sequence[Player]) -> list[Player]:
    """The baselines, and those that the learned ones among them must not fall below."""
    from training.baselines.players import BASELINES

    there = {player.name for player in baselines}
    teachers = dict.fromkeys(player.teacher for player in baselines if player.teacher not in {"", *there})
    return [*baselines, *(BASELINES[name] for name in teachers)]


def _warn_of_other_k(entries: Sequence[Entry], scenario: Scenario) -> None:
    for entry in entries:
        for name, bundle in zip(entry.names, entry.bundles, strict=True):
            low, high = bundle.min_slots_per_dcm, bundle.max_slots_per_dcm
            if not low <= scenario.slots_per_dcm <= high:
                typer.echo(
                    f"stackmac evaluate: {name} was trained for K from {low} to {high}, K is {scenario.slots_per_dcm}",
                    err=True,
                )
