"""`stackmac experiment NAME`: one experiment, from its trainings to its table, figure and paragraph."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from policy.bundle_files import read_description
from policy.errors import INTERRUPTED, UserMistake, counted
from training.command_line.hold import hold_folder
from training.command_line.options import argument, command, command_of, option
from training.command_line.result_file import check_json_path, holds_something, write_json
from training.command_line.values import MAX_UES, counts_in, names_in, one_of
from training.experiments.budget import BUDGETS, Budget
from training.experiments.registry import EXPERIMENTS

if TYPE_CHECKING:
    from training.experiments.study import Options, Shard

experiment_app = typer.Typer(add_completion=False, rich_markup_mode=None)

MACHINES = ("out", "jobs", "resume", "json_file", "shard", "merge", "minutes")
"""Options that say who does the work, not what it is."""
SHOWN_BUDGETS = ("quick", "full")
HELP = "\b\n" + "\n".join(f"{e.name:<16}{e.summary}" for e in EXPERIMENTS.values())


@dataclass(frozen=True)
class ExperimentOptions:
    """What `stackmac experiment` is given."""

    name: str = argument("Which one; list names them all.")
    out: Path | None = option(None, "Directory of the results.")
    budget: str = option("quick", "quick = minutes, no claims; full = what a claim needs.")
    seeds: int = option(0, "Training seeds; 0 = the budget's.", min=0, max=50)
    world_seeds: int = option(0, "World seeds; 0 = the budget's.", min=0, max=1000)
    jobs: int = option(1, "Processes side by side; 0 = one a core.", min=0, max=256)
    resume: bool = option(False, "Keep what OUT holds already.")
    shard: str = option("", "K/N: only the training seeds K, K+N, ...; no report.")
    merge: str = option("", "Directories of shards, comma-separated: go on from what they hold.")
    minutes: float = option(0.0, "Stop after this long, as Ctrl-C would; 0 = never.", min=0)
    scenario: str = option("", "Scenarios or FILE.toml, comma-separated; empty = the experiment's.")
    ues: str = option("", "UEs per cell, comma-separated; empty = the experiment's.")
    bundle: str = option("", "Directory of a bundle, or module:Class, where one is looked at; empty = the shipped.")
    json_file: str = option("", "Write the results there, too (- = standard output).", "--json")

    def command(self) -> str:
        """What gives these numbers again, wherever it is written and however many processes share the work."""
        return command_of("experiment", self, MACHINES, "--out DIR")

    def study_options(self) -> Options:
        """Raises UserMistake."""
        from policy.plug_ins.loading import is_plug_in
        from policy.registry import check_leader
        from training.experiments.study import Options
        from training.simulator.scenario import make_scenario

        names = tuple(names_in(self.scenario))
        for name in names:
            make_scenario(name)
        counts = tuple(dict.fromkeys(counts_in("--ues", self.ues, MAX_UES))) if self.ues else ()
        if is_plug_in(self.bundle):
            check_leader(self.bundle)
        elif self.bundle:
            read_description(Path(self.bundle))
        return Options(names, counts, self.bundle)


@command(experiment_app, "experiment", ExperimentOptions, epilog=HELP)
def experiment_command(options: ExperimentOptions) -> int:
    """Run an experiment; write its table (CSV), figure (PNG, SVG) and paragraph (Markdown) into OUT.

    Ctrl-C keeps what is finished, trainings half-way included; --resume goes on from there. Without it OUT must hold no
    experiment, and FILE of --json nothing. Several machines take a
    --shard each; --merge of their directories plays what is left and writes the whole.
    """
    name, out = options.name, options.out
    if name == "list":
        typer.echo("\n".join(f"{e.name:<16}{e.summary}" for e in EXPERIMENTS.values()))
        return 0
    if name not in EXPERIMENTS:
        raise UserMistake(f"no experiment {name!r}, expected list or one of {', '.join(EXPERIMENTS)}")
    if options.budget not in BUDGETS:
        one_of("--budget", options.budget, SHOWN_BUDGETS)
    if out is None:
        raise UserMistake("--out is missing, expected a directory")
    if options.bundle and not EXPERIMENTS[name].takes_bundle:
        those = ", ".join(e.name for e in EXPERIMENTS.values() if e.takes_bundle)
        raise UserMistake(f"--bundle is {options.bundle}, but {name} trains its own; {those} take one")
    if ":" in options.bundle and not EXPERIMENTS[name].takes_leader:
        those = ", ".join(e.name for e in EXPERIMENTS.values() if e.takes_leader)
        raise UserMistake(f"--bundle is {options.bundle}, but {name} looks into a network; {those} takes any leader")
    study_options = options.study_options()
    budget = BUDGETS[options.budget]
    seeds, world_seeds = options.seeds or budget.train_seeds, options.world_seeds or budget.world_seeds
    budget = replace(budget, train_seeds=seeds, world_seeds=world_seeds)

    from training.experiments.shards import shard_of

    check_json_path(options.json_file)
    shard = shard_of(options.shard, budget.train_seeds)
    with hold_folder(out):
        return _run(options, out, budget, study_options, shard)


def _run(options: ExperimentOptions, out: Path, budget: Budget, study_options: Options, shard: Shard) -> int:
    """The experiment in a directory that is ours."""
    from rich.console import Console
    from rich.markdown import Markdown

    from training.evaluation.process_pool import cores
    from training.experiments.kept import document_of, write_all
    from training.experiments.shards import HELD, gather
    from training.experiments.study import Study, StudyError
    from training.progress_bar import ProgressBar

    name = options.name
    if any((out / held).exists() for held in HELD) and not options.resume:
        raise StudyError(f"{out} holds an experiment: --resume goes on, or choose another directory")
    if options.json_file != "-" and holds_something(Path(options.json_file)) and not options.resume:
        raise StudyError(f"{options.json_file} is there already: --resume writes over it; or choose another file")
    gather([Path(folder) for folder in names_in(options.merge)], out)
    with ProgressBar(name, 1, "{what}") as bar, _interrupted_by_signals(options.minutes):

        def show(done: int, parts: int, what: str) -> None:
            bar.show(done, total=parts, what=what)

        study = Study(out, budget, study_options, jobs=options.jobs or cores(), shard=shard, show=show)
        try:
            report = EXPERIMENTS[name].run(study)
        except KeyboardInterrupt:
            kept = counted(study.parts_done, "part is", "parts are")
            typer.echo(f"stackmac experiment: stopped, {kept} kept; --resume goes on", err=True)
            return INTERRUPTED
    if options.shard:
        lies = counted(study.parts_done, "part lies", "parts lie")
        typer.echo(f"shard {options.shard} is done: {lies} in {out}; --merge puts shards together")
        return 0
    files = write_all(name, report, study, options.command(), out)
    if options.json_file:
        write_json(options.json_file, document_of(name, report, study, options.command()))
    console = Console(stderr=options.json_file == "-")
    console.print(Markdown(f"**{name}** ({budget.mark}): {report.paragraph}"))
    console.print(Markdown(f"{report.definitions} {report.sample}"), style="dim")
    console.print(" ".join(str(file) for file in files), style="dim", soft_wrap=True, highlight=False)
    return 0


@contextmanager
def _interrupted_by_signals(minutes: float) -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does, and so does the time being up."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    clock = threading.Timer(60 * minutes, os.kill, (os.getpid(), signal.SIGTERM))
    clock.daemon = True
    if minutes:
        clock.start()
    try:
        yield
    finally:
        clock.cancel()
        signal.signal(signal.SIGTERM, before)
