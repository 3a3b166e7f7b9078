"""`stackmac evaluate`: a bundle against every baseline, in the same worlds."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from policy.errors import INTERRUPTED, UserMistake, counted
from training.command_line.hold import hold_file
from training.command_line.options import command, option
from training.command_line.result_file import check_json_path, write_json
from training.command_line.values import MAX_UES, counts_in, names_in, one_of
from training.world_seeds import FIRST_WORLD_SEED, MAX_SEED

if TYPE_CHECKING:
    from rich.console import Console

    from training.baselines.players import Player
    from training.evaluation.bundle_players import Entry
    from training.evaluation.journal import Journal
    from training.evaluation.result_document import Document
    from training.evaluation.rows import Setup
    from training.simulator.scenario import Scenario

evaluate_app = typer.Typer(add_completion=False, rich_markup_mode=None)

DECODINGS = {"greedy": ("greedy",), "sampled": ("sampled",), "both": ("greedy", "sampled")}
FOLLOWERS = ("rule", "learned")
OWN_FOLLOWERS_UNDER_PF = "pf_leader_learned_followers"


@dataclass(frozen=True)
class EvaluateOptions:
    """What `stackmac evaluate` is given."""

    scenario: str = option(help="Simulator scenario, or FILE.toml.")
    bundle: str = option(
        "bundled",
        "Directory of a bundle, or several of one player, comma-separated: its training seeds. "
        "bundled = the shipped one for K; module:Class = a leader of one's own.",
    )
    ues: str = option("3,5,10", "UEs per cell, comma-separated.")
    against: str = option("all", "all, or names of baselines, comma-separated, and leaders of one's own, module:Class.")
    player: tuple[str, ...] = option(
        (), "A learned baseline and its bundles, one a training seed.", metavar="NAME=DIR[,DIR...]"
    )
    seeds: int = option(5, "World seeds.", min=1, max=1000)
    first_seed: int = option(FIRST_WORLD_SEED, "They count up from here.", min=1, max=MAX_SEED)
    cells: int = option(32, "Cells per world seed.", min=1, max=10_000)
    k: int = option(0, "Slots per DCM; 0 = the scenario's.", "--k", min=0, max=1000)
    slots: int = option(0, "Slots of a run; 0 = 100, or 20 periods from K = 10 on.", min=0, max=1_000_000)
    decoding: str = option("greedy", "Of the bundle: greedy, sampled or both.")
    followers: str = option("rule", "Of the bundle: rule (best response) or learned (its own).")
    observe: str = option("full", "What leaders see: full, kpm_srsran or kpm_oai.")
    jobs: int = option(0, "Processes; 0 = one a core.", min=0, max=256)
    resume: bool = option(False, "Go on where FILE of --json stopped; of a whole one, show its rows.")
    json_file: str = option(
        "", "Write rows and values there (- = standard output); FILE.played is kept meanwhile.", "--json"
    )

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

    With several bundles the intervals go over training seeds crossed with worlds. The same command gives the same rows,
    whatever --jobs. Ctrl-C keeps what was played; --resume goes on. A FILE of --json that is there already is never
    played anew: without --resume it is refused, with it its rows are shown as they are.
    """
    one_of("--decoding", options.decoding, DECODINGS)
    one_of("--followers", options.followers, FOLLOWERS)
    counts = tuple(dict.fromkeys(counts_in("--ues", options.ues, MAX_UES)))
    learned = options.learned()

    from policy.observation import PROFILES
    from policy.plug_ins.loading import is_plug_in
    from training.baselines.players import LEARNED
    from training.evaluation.bundle_players import enter_baseline, enter_bundles
    from training.evaluation.journal import Journal
    from training.evaluation.plug_in_players import enter_plug_in, make_players
    from training.evaluation.rows import Setup
    from training.run_length import make_scenario_at, periods_of

    one_of("--observe", options.observe, PROFILES)
    check_json_path(options.json_file)
    world = make_scenario_at(options.scenario, options.k)
    rules = make_players(options.against)
    slots_per_dcm, decodings = world.slots_per_dcm, DECODINGS[options.decoding]
    if is_plug_in(options.bundle):
        entry = enter_plug_in(options.bundle, options.followers)
    else:
        entry = enter_bundles(options.bundle, slots_per_dcm, decodings, options.followers)
    _check_given(options.against, learned)
    rivals = [
        enter_baseline(name, names, slots_per_dcm, decodings[0], options.followers) for name, names in learned.items()
    ]
    _warn_of_other_k([entry, *rivals], world)
    baselines = [*rules, *(player for rival in rivals for player in rival.players)]
    _check_names([*entry.players, *baselines])
    players = [*entry.players, *_with_teachers(baselines)]
    if options.scenario.endswith(".toml"):
        players = _tuned(players, options.scenario, world, counts)
    periods = periods_of(world, options.slots)
    setup = Setup(world, counts, options.seeds, options.cells, periods, options.observe, options.first_seed)
    described = [one for who in (entry, *rivals) for one in who.described()]
    journal = Journal(options.json_file, players, described, setup)
    missing = [name for name in LEARNED if name not in learned] if options.is_against_all else []
    with hold_file(options.json_file):
        return _play(options, players, setup, journal, described, missing)


def _play(
    options: EvaluateOptions,
    players: Sequence[Player],
    setup: Setup,
    journal: Journal,
    described: Sequence[Document],
    missing: Sequence[str],
) -> int:
    """Play what is not played yet; show and write what came of all of it. missing: learned baselines not given."""
    from rich.console import Console

    from training.evaluation.evaluate import count_tasks, evaluate
    from training.evaluation.process_pool import cores
    from training.evaluation.result_document import document_of
    from training.evaluation.table import show
    from training.progress_bar import ProgressBar

    known = journal.begin(resume=options.resume)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    jobs, started = options.jobs or cores(), time.monotonic()
    try:
        with ProgressBar("evaluate", count_tasks(players, setup), "{what}") as bar:
            result = evaluate(
                players,
                setup,
                lambda done, what: bar.show(done, what=what),
                jobs=jobs,
                known=known,
                keep=journal.keep,
            )
    except KeyboardInterrupt:
        typer.echo(f"stackmac evaluate: stopped in the first world seed; {journal.kept}", err=True)
        return INTERRUPTED
    console = Console(stderr=options.json_file == "-")
    show(console, result, players[0].label, missing)
    if not known and result.complete:
        _show_rate(console, len(result.cells) * setup.cells * setup.slots, time.monotonic() - started, jobs)
    if options.json_file:
        write_json(options.json_file, document_of(result, described, missing))
    if result.complete:
        journal.end()
        return 0
    typer.echo(
        f"stackmac evaluate: stopped after {result.seeds_done} of {counted(setup.seeds, 'world seed')}; {journal.kept}",
        err=True,
    )
    return INTERRUPTED


def _tuned(players: Sequence[Player], file: str, world: Scenario, counts: Sequence[int]) -> list[Player]:
    """The players with the c of the table beside the scenario's file, which is made as far as it is not there."""
    from training.evaluation.plug_in_players import tuned_on_the_spot

    def announce(player: str, ues: int) -> None:
        typer.echo(f"stackmac evaluate: tuning {player} for {counted(ues, 'UE')}; kept beside {file}", err=True)

    return tuned_on_the_spot(players, file, world, counts, announce)


def _check_names(players: Sequence[Player]) -> None:
    """Rows are told apart by their labels. Raises UserMistake."""
    labels = [player.label for player in players]
    for label in labels:
        if labels.count(label) > 1:
            raise UserMistake(f"{label} would take part twice: it is what is measured, and one of --against")


def _show_rate(console: Console, cell_slots: int, seconds: float, jobs: int) -> None:
    """What somebody needs who would know how long a larger table takes."""
    rate = cell_slots / max(seconds, 1e-3) / jobs
    console.print(
        f"{cell_slots} cell-slots in {seconds:.0f} s by {counted(jobs, 'process', 'processes')}: {rate:.0f} a second "
        "and process, their start included",
        style="dim",
        soft_wrap=True,
        highlight=False,
    )


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
