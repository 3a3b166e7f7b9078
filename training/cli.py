"""Commands that train. Mounted into `stackmac`; torch and numba are imported only when one of them runs."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.progress_bar import ProgressBar

if TYPE_CHECKING:
    from training.improve import UpdateReport
    from training.warm_start import StepReport

training_app = typer.Typer(help="Train policies.", no_args_is_help=True)
train_app = typer.Typer(help="Improve policies.", no_args_is_help=True)


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
        figures = "loss {loss:.3f}  accuracy {accuracy:.1%}  follower {follower:.3f}"
        with ProgressBar("warm start", steps, figures) as bar:

            def show(report: StepReport) -> None:
                bar.show(report.step + 1, loss=report.loss, accuracy=report.accuracy, follower=report.follower_loss)

            result = warm_start(
                scenarios,
                make_leader(teacher),
                out,
                WarmStartConfig(steps=steps, seed=seed),
                ues=counts,
                resume=resume,
                seconds=seconds or math.inf,
                progress=show,
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


@train_app.command("train")
def train_command(
    start: Annotated[Path, typer.Option("--from", help="Bundle to improve: its directory.")],
    scenario: Annotated[str, typer.Option(help="Scenario names, comma-separated.")],
    out: Annotated[Path, typer.Option(help="Directory of the run; the bundle is OUT/bundle.")],
    updates: Annotated[int, typer.Option(help="Optimizer steps.", min=1)] = 300,
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
    ues: Annotated[
        str, typer.Option(help="UE counts to train on, comma-separated, repeats count; the default is the scenarios'.")
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where OUT stopped.")] = False,
    seconds: Annotated[float, typer.Option(help="Stop and save after this long; 0 = never.", min=0)] = 0.0,
) -> None:
    """Improve a bundle's leader by counterfactual advantages: each token against its alternatives, in branches.

    Ctrl-C saves and stops. Without --seconds the same options give the same bundle.
    """
    import torch

    from training.improve import config_for, improve
    from training.simulator.scenario import make_scenario

    torch.set_num_threads(1)  # such small models are fastest so, and sums always come out alike
    try:
        scenarios = [make_scenario(name.strip()) for name in scenario.split(",")]
        counts = tuple(int(count) for count in ues.split(",")) if ues else ()
        with ProgressBar("train", updates, "value {value:.3f}  gain {gain:.4f}  entropy {entropy:.3f}") as bar:

            def show(report: UpdateReport) -> None:
                bar.show(report.update + 1, value=report.value, gain=report.gain, entropy=report.entropy)

            result = improve(
                start,
                scenarios,
                out,
                config_for(scenarios, updates=updates, seed=seed),
                ues=counts,
                resume=resume,
                seconds=seconds or math.inf,
                progress=show,
                command=_train_command(scenario, updates, seed, ues),
            )
    except (ValueError, OSError) as error:
        typer.echo(f"stackmac train: {error}", err=True)
        raise typer.Exit(1) from None
    how = "done" if result.complete else "stopped, --resume goes on"
    typer.echo(f"{how}: update {result.updates}/{updates}, value {result.last.value:.3f}; bundle in {result.bundle}")


def _train_command(scenario: str, updates: int, seed: int, ues: str) -> str:
    """What reproduces the bundle after the commands that made the one it began with."""
    words = ["stackmac", "train", "--scenario", scenario, "--updates", str(updates)]
    words += ["--seed", str(seed), *(("--ues", ues) if ues else ())]
    return shlex.join(words) + " --from DIR/bundle --out DIR2"
