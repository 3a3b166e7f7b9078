"""Commands that train. Mounted into `stackmac`; torch and numba are imported only when one of them runs."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from training.warm_start import StepReport

training_app = typer.Typer(help="Train policies.", no_args_is_help=True)


@training_app.command("warm-start")
def warm_start_command(
    scenario: Annotated[str, typer.Option(help="Scenario names, comma-separated.")],
    out: Annotated[Path, typer.Option(help="Directory of the run; the bundle is OUT/bundle.")],
    teacher: Annotated[str, typer.Option(help="The leader to imitate.")] = "proportional_fair",
    steps: Annotated[int, typer.Option(help="Optimizer steps.", min=1)] = 2400,
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
    ues: Annotated[str, typer.Option(help="UE counts to train on, comma-separated; the default is 2 to 20.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where OUT stopped.")] = False,
    seconds: Annotated[float, typer.Option(help="Stop and save after this long; 0 = never.", min=0)] = 0.0,
) -> None:
    """Train a bundle by imitation: the leader of a teacher, the followers of the best-response rule.

    Ctrl-C saves and stops. Without --seconds the same options give the same bundle.
    """
    import torch

    from policy.registry import make_leader
    from training.simulator.scenario import make_scenario
    from training.warm_start import WarmStartConfig, warm_start

    torch.set_num_threads(1)  # such small models are fastest so, and sums always come out alike
    try:
        scenarios = [make_scenario(name.strip()) for name in scenario.split(",")]
        counts = tuple(int(count) for count in ues.split(",")) if ues else ()
        with _ProgressBar(steps) as bar:
            result = warm_start(
                scenarios,
                make_leader(teacher),
                out,
                WarmStartConfig(steps=steps, seed=seed),
                ues=counts,
                resume=resume,
                seconds=seconds or math.inf,
                progress=bar.show,
                command=_command(scenario, teacher, steps, seed, ues),
            )
    except (ValueError, OSError) as error:
        typer.echo(f"stackmac warm-start: {error}", err=True)
        raise typer.Exit(1) from None
    how = "done" if result.complete else "stopped, --resume goes on"
    typer.echo(
        f"{how}: step {result.steps}/{steps}, loss {result.last.loss:.3f} nats, accuracy {result.last.accuracy:.1%}, "
        f"follower loss {result.last.follower_loss:.3f}; bundle in {result.bundle}"
    )


def _command(scenario: str, teacher: str, steps: int, seed: int, ues: str) -> str:
    """What reproduces the bundle, wherever it is written."""
    words = ["stackmac", "warm-start", "--scenario", scenario, "--teacher", teacher, "--steps", str(steps)]
    words += ["--seed", str(seed), *(("--ues", ues) if ues else ())]
    return shlex.join(words) + " --out DIR"


class _ProgressBar:
    """Steps, losses and time left, on the error stream."""

    def __init__(self, steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("warm start"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  accuracy {task.fields[accuracy]:.1%}"),
            TextColumn("follower {task.fields[follower]:.3f}  left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=steps, loss=math.nan, accuracy=math.nan, follower=math.nan)

    def __enter__(self) -> _ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def show(self, report: StepReport) -> None:
        self._progress.update(
            self._task,
            completed=report.step + 1,
            loss=report.loss,
            accuracy=report.accuracy,
            follower=report.follower_loss,
        )
