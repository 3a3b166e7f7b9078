"""`stackmac evaluate`: a bundle against every baseline, in the same worlds."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from training.result_file import ResultFileError, check_json_path, write_json

if TYPE_CHECKING:
    from training.baselines.players import Player
    from training.evaluation.bundle_players import Entry
    from training.simulator.scenario import Scenario

evaluate_app = typer.Typer(add_completion=False, rich_markup_mode=None)

DECODINGS = {"greedy": ("greedy",), "sampled": ("sampled",), "both": ("greedy", "sampled")}
FOLLOWERS = ("rule", "learned")
MAX_UES = 200
INTERRUPTED = 130
OWN_FOLLOWERS_UNDER_PF = "pf_leader_learned_followers"


@evaluate_app.command("evaluate")
def evaluate_command(
    scenario: Annotated[str, typer.Option(help="Simulator scenario.")],
    bundle: Annotated[
        str,
        typer.Option(
            help="Directory of a bundle, or several of one policy, comma-separated: its training seeds. "
            "bundled = the shipped one for K."
        ),
    ] = "bundled",
    ues: Annotated[str, typer.Option(help="UEs per cell, comma-separated.")] = "3,5,10",
    against: Annotated[str, typer.Option(help="all, or names of baselines, comma-separated.")] = "all",
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR[,DIR...]", help="A learned baseline and its bundles, one a training seed."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="World seeds.")] = 5,
    first_seed: Annotated[int, typer.Option(min=1, max=2**40, help="They count up from here.")] = 700_001,
    cells: Annotated[int, typer.Option(min=1, max=10_000, help="Cells per world seed.")] = 32,
    k: Annotated[int, typer.Option("--k", min=0, max=1000, help="Slots per DCM; 0 = the scenario's.")] = 0,
    slots: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Length of a run; 0 = 100 slots, or 20 periods from K = 10 on.")
    ] = 0,
    decoding: Annotated[str, typer.Option(help="Of the bundle: greedy, sampled or both.")] = "greedy",
    followers: Annotated[str, typer.Option(help="Of the bundle: rule (best response) or learned (its own).")] = "rule",
    observe: Annotated[str, typer.Option(help="What leaders see: full, kpm_srsran or kpm_oai.")] = "full",
    jobs: Annotated[int, typer.Option(min=0, max=256, help="Processes; 0 = one a core.")] = 0,
    json_file: Annotated[str, typer.Option("--json", help="Write the rows there (- = standard output).")] = "",
) -> int:
    """Measure a bundle and baselines in the same worlds: radio, traffic and coins are equal, differences are paired.

    With several bundles the intervals go over training seeds. The same command gives the same rows, whatever --jobs.
    Ctrl-C keeps the world seeds that are finished.
    """
    for option, value, known in (("--decoding", decoding, DECODINGS), ("--followers", followers, FOLLOWERS)):
        if value not in known:
            raise typer.BadParameter(f"{option} is {value!r}, expected one of {', '.join(known)}")
    counts = _counts(ues)
    learned = _learned(policy or [])

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

    if observe not in PROFILES:
        raise typer.BadParameter(f"--observe is {observe!r}, expected one of {', '.join(PROFILES)}")
    console = Console(stderr=json_file == "-")
    try:
        check_json_path(json_file)
        world = make_scenario_at(scenario, k)
        rules = make_baselines(against)
        pace = world.slots_per_dcm
        entry = enter_bundles(bundle, pace, DECODINGS[decoding], followers)
        if followers == "learned" and against.strip() == "all":
            learned.setdefault(OWN_FOLLOWERS_UNDER_PF, bundle)
        _check_given(against, learned)
        rivals = [
            enter_baseline(name, names, pace, DECODINGS[decoding][0], followers) for name, names in learned.items()
        ]
        _warn_of_pace([entry, *rivals], world)
        baselines = [*rules, *(player for rival in rivals for player in rival.players)]
        players = [*entry.players, *_with_teachers(baselines)]
        setup = Setup(world, counts, seeds, cells, periods_of(world, slots), observe, first_seed)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with ProgressBar("evaluate", count_tasks(players, setup), "{what}") as bar:
            result = evaluate(players, setup, lambda done, what: bar.show(done, what=what), jobs=jobs or cores())
        missing = [name for name in LEARNED if name not in learned] if against.strip() == "all" else []
        show(console, result, entry.players[0].label, missing)
        if json_file:
            described = [one for who in (entry, *rivals) for one in who.described()]
            write_json(json_file, {"bundles": described, "missing": missing, **result.as_json()})
    except ResultFileError as error:
        typer.echo(f"stackmac evaluate: {error}", err=True)
        return 1
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    return 0 if result.complete else INTERRUPTED


def _learned(policies: Sequence[str]) -> dict[str, str]:
    """Bundles by name of the learned baseline."""
    found: dict[str, str] = {}
    for given in policies:
        name, equals, folders = given.partition("=")
        if not (name.strip() and equals and folders.strip()):
            raise typer.BadParameter(f"--policy is {given!r}, expected NAME=DIR[,DIR...]")
        if name.strip() in found:
            raise typer.BadParameter(f"--policy {name.strip()} is given twice; list its bundles: NAME=DIR,DIR")
        found[name.strip()] = folders
    return found


def _check_given(against: str, learned: Mapping[str, str]) -> None:
    from training.baselines.players import LEARNED

    for name in (name.strip() for name in against.split(",")):
        if name in LEARNED and name not in learned:
            raise ValueError(f"{name} has to be trained first: give its bundles, --policy {name}=DIR[,DIR...]")


def _with_teachers(baselines: Sequence[Player]) -> list[Player]:
    """The baselines, and those that the learned ones among them must not fall below."""
    from training.baselines.players import BASELINES

    there = {player.policy for player in baselines}
    teachers = dict.fromkeys(player.teacher for player in baselines if player.teacher not in {"", *there})
    return [*baselines, *(BASELINES[name] for name in teachers)]


def _counts(ues: str) -> tuple[int, ...]:
    try:
        counts = tuple(dict.fromkeys(int(count) for count in ues.split(",")))
    except ValueError:
        raise typer.BadParameter(f"--ues is {ues!r}, expected numbers separated by commas") from None
    if not all(1 <= count <= MAX_UES for count in counts):
        raise typer.BadParameter(f"--ues is {ues!r}, expected numbers from 1 to {MAX_UES}")
    return counts


def _warn_of_pace(entries: Sequence[Entry], scenario: Scenario) -> None:
    for entry in entries:
        for name, bundle in zip(entry.names, entry.bundles, strict=True):
            low, high = bundle.min_slots_per_dcm, bundle.max_slots_per_dcm
            if not low <= scenario.slots_per_dcm <= high:
                typer.echo(
                    f"stackmac evaluate: {name} was trained for K from {low} to {high}, K is {scenario.slots_per_dcm}",
                    err=True,
                )
