"""`stackmac experiment NAME`: one experiment, from its trainings to its table, figure and paragraph."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.experiments.budget import BUDGETS
from training.experiments.registry import EXPERIMENTS
from training.result_file import ResultFileError, check_json_path, write_json

if TYPE_CHECKING:
    from training.experiments.study import Options

experiment_app = typer.Typer(add_completion=False, rich_markup_mode=None)

SHOWN_BUDGETS = ("quick", "full")
MAX_UES = 200
INTERRUPTED = 130
HELP = "\b\n" + "\n".join(f"{e.name:<16}{e.summary}" for e in EXPERIMENTS.values())


@experiment_app.command("experiment", epilog=HELP)
def experiment_command(
    name: Annotated[str, typer.Argument(help="Which one; list names them all.")],
    out: Annotated[Path | None, typer.Option(help="Directory of the results.")] = None,
    budget: Annotated[str, typer.Option(help="quick = minutes, no claims; full = what a claim needs.")] = "quick",
    seeds: Annotated[int, typer.Option(min=0, max=50, help="Training seeds; 0 = the budget's.")] = 0,
    world_seeds: Annotated[int, typer.Option(min=0, max=1000, help="World seeds; 0 = the budget's.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes side by side.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what OUT holds already.")] = False,
    scenario: Annotated[str, typer.Option(help="Scenarios, comma-separated; empty = the experiment's.")] = "",
    ues: Annotated[str, typer.Option(help="UEs per cell, comma-separated; empty = the experiment's.")] = "",
    bundle: Annotated[str, typer.Option(help="Directory of a bundle; empty = the shipped one.")] = "",
    json_file: Annotated[str, typer.Option("--json", help="Write the results there, too (- = standard output).")] = "",
) -> int:
    """Run an experiment; write its table (CSV), figure (PNG, SVG) and paragraph (Markdown) into OUT.

    Ctrl-C keeps what is finished, trainings half-way included; --resume goes on from there.
    """
    if name == "list":
        typer.echo("\n".join(f"{e.name:<16}{e.summary}" for e in EXPERIMENTS.values()))
        return 0
    if name not in EXPERIMENTS:
        raise typer.BadParameter(f"no experiment {name!r}, expected list or one of {', '.join(EXPERIMENTS)}")
    if budget not in BUDGETS:
        raise typer.BadParameter(f"--budget is {budget!r}, expected one of {', '.join(SHOWN_BUDGETS)}")
    if out is None:
        raise typer.BadParameter("--out is missing, expected a directory")
    options = _options(scenario, ues, bundle)
    spent = BUDGETS[budget]
    spent = replace(spent, train_seeds=seeds or spent.train_seeds, world_seeds=world_seeds or spent.world_seeds)

    from rich.console import Console
    from rich.markdown import Markdown

    from training.errors import TrainingError
    from training.experiments.report import as_json, write
    from training.experiments.study import Study, StudyError
    from training.progress_bar import ProgressBar

    command = _command(name, budget, seeds, world_seeds, scenario, ues, bundle)
    try:
        check_json_path(json_file)
        if (out / "parts").exists() and not resume:
            raise StudyError(f"{out} holds an experiment: --resume goes on, or choose another directory")
        out.mkdir(parents=True, exist_ok=True)
        with ProgressBar(name, 1, "{what}") as bar, _term_is_interrupt():

            def show(done: int, parts: int, what: str) -> None:
                bar.show(done, total=parts, what=what)

            study = Study(out, spent, options, jobs=jobs, show=show)
            try:
                report = EXPERIMENTS[name].run(study)
            except KeyboardInterrupt:
                typer.echo(
                    f"stackmac experiment: stopped, {study.parts_done} parts are kept; --resume goes on", err=True
                )
                return INTERRUPTED
        files = write(name, EXPERIMENTS[name].summary, report, out, spent, command)
        if json_file:
            write_json(json_file, as_json(name, report, spent, command))
    except ResultFileError as error:
        typer.echo(f"stackmac experiment: {error}", err=True)
        return 1
    except (StudyError, TrainingError, ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    console = Console(stderr=json_file == "-")
    console.print(Markdown(f"**{name}** ({spent.mark}): {report.paragraph}"))
    console.print(Markdown(f"{report.definitions} {report.sample}"), style="dim")
    console.print(" ".join(str(file) for file in files), style="dim", soft_wrap=True, highlight=False)
    return 0


def _options(scenario: str, ues: str, bundle: str) -> Options:
    from training.experiments.study import Options
    from training.simulator.scenario import make_scenario

    names = tuple(word.strip() for word in scenario.split(",")) if scenario else ()
    try:
        for word in names:
            make_scenario(word)
        counts = tuple(dict.fromkeys(int(count) for count in ues.split(","))) if ues else ()
    except ValueError as error:
        wrong = f"--ues is {ues!r}, expected numbers separated by commas" if "int()" in str(error) else str(error)
        raise typer.BadParameter(wrong) from None
    if not all(1 <= count <= MAX_UES for count in counts):
        raise typer.BadParameter(f"--ues is {ues!r}, expected numbers from 1 to {MAX_UES}")
    if bundle and not (Path(bundle) / "bundle.json").is_file():
        raise typer.BadParameter(f"--bundle is {bundle!r}, expected a bundle's directory")
    return Options(names, counts, bundle)


def _command(name: str, budget: str, seeds: int, world_seeds: int, scenario: str, ues: str, bundle: str) -> str:
    """What gives these numbers again, wherever it is written and however many processes share the work."""
    words = ["stackmac", "experiment", name, "--budget", budget]
    for option, value in (("--seeds", seeds), ("--world-seeds", world_seeds), ("--scenario", scenario),
                          ("--ues", ues), ("--bundle", bundle)):  # fmt: skip
        if value:
            words += [option, str(value)]
    return shlex.join(words) + " --out DIR"


@contextmanager
def _term_is_interrupt() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
