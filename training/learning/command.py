"""Commands that train. Mounted into `stackmac`; torch and numba are imported only when one of them runs."""

from __future__ import annotations

import math
import shlex
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.errors import RunFailed, Stopped
from training.progress_bar import ProgressBar
from training.result_file import ResultFileError, check_json_path, write_json

if TYPE_CHECKING:
    from training.imitation.warm_start import StepReport
    from training.learning.report import UpdateReport

training_app = typer.Typer(help="Train policies.", no_args_is_help=True)
train_app = typer.Typer(help="Improve policies.", no_args_is_help=True)

RUN_FAILED, MISTAKE = 1, 2
"""Exit status: what went wrong while it ran, and what was asked wrongly."""


@training_app.command("warm-start")
def warm_start_command(
    scenario: Annotated[str, typer.Option(help="Scenario names, comma-separated.")],
    out: Annotated[Path, typer.Option(help="Directory of the run; the bundle is OUT/bundle.")],
    teacher: Annotated[str, typer.Option(help="The leader to imitate, or `oracle`.")] = "proportional_fair",
    steps: Annotated[int, typer.Option(help="Optimizer steps.", min=1)] = 2400,
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
    ues: Annotated[str, typer.Option(help="UE counts to train on, comma-separated; the default is 2 to 20.")] = "",
    positions: Annotated[
        int, typer.Option(help="Positions a block of the prompt takes, its fields summed; 0 = one per field.", min=0)
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where OUT stopped.")] = False,
    seconds: Annotated[float, typer.Option(help="Stop and save after this long; 0 = never.", min=0)] = 0.0,
) -> None:
    """Train a bundle by imitation: the leader of a teacher, the followers of the best-response rule.

    Ctrl-C saves and stops. Without --seconds the same options give the same bundle.
    """
    import torch

    from policy.model_config import ModelConfig
    from training.imitation.teachers import make_teacher
    from training.imitation.warm_start import WarmStartConfig, warm_start
    from training.simulator.scenario import make_scenario

    torch.set_num_threads(1)  # such small models are fastest so, and sums always come out alike
    try:
        scenarios = [make_scenario(name.strip()) for name in scenario.split(",")]
        counts = _counts(ues) if ues else ()
        figures = "loss {loss:.3f}  accuracy {accuracy:.1%}  follower {follower:.3f}"
        with ProgressBar("warm start", steps, figures) as bar:

            def show(report: StepReport) -> None:
                bar.show(report.step + 1, loss=report.loss, accuracy=report.accuracy, follower=report.follower_loss)

            result = warm_start(
                scenarios,
                make_teacher(teacher),
                out,
                WarmStartConfig(steps=steps, seed=seed, leader=ModelConfig(block_positions=positions)),
                ues=counts,
                resume=resume,
                seconds=seconds or math.inf,
                progress=show,
                command=_command(scenario, teacher, steps, seed, ues, positions),
            )
    except (ValueError, OSError) as error:
        typer.echo(f"stackmac warm-start: {error}", err=True)
        raise typer.Exit(0 if isinstance(error, Stopped) else MISTAKE) from None
    how = "done" if result.complete else "stopped, --resume goes on"
    typer.echo(
        f"{how}: step {result.steps}/{steps}, loss {result.last.loss:.3f} nats, accuracy {result.last.accuracy:.1%}, "
        f"follower loss {result.last.follower_loss:.3f}; bundle in {result.bundle}"
    )


def _command(scenario: str, teacher: str, steps: int, seed: int, ues: str, positions: int) -> str:
    """What reproduces the bundle, wherever it is written."""
    words = ["stackmac", "warm-start", "--scenario", scenario, "--teacher", teacher, "--steps", str(steps)]
    words += ["--seed", str(seed), *(("--ues", ues) if ues else ())]
    words += ["--positions", str(positions)] if positions else []
    return shlex.join(words) + " --out DIR"


@train_app.command("train")
def train_command(
    scenario: Annotated[str, typer.Option(help="Scenario names, comma-separated.")],
    out: Annotated[Path, typer.Option(help="Directory of the run; the bundle is OUT/bundle.")],
    preset: Annotated[str, typer.Option(help="tiny, small or llama-1b.")] = "tiny",
    start: Annotated[
        Path | None, typer.Option("--from", help="Bundle to improve; without one, a warm start comes first.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where OUT stopped.")] = False,
    teacher: Annotated[str | None, typer.Option(help="Whom the warm start imitates: a leader, or `oracle`.")] = None,
    warm_up_steps: Annotated[int | None, typer.Option("--warm-start-steps", help="Of the warm start.", min=1)] = None,
    model_kind: Annotated[str | None, typer.Option(help="Kind of the leader's network.")] = None,
    positions: Annotated[
        int | None, typer.Option(help="Positions a block of the prompt takes, its fields summed; 0 = one each.", min=0)
    ] = None,
    base_model: Annotated[str | None, typer.Option(help="Hugging Face causal LM: folder or hub id.")] = None,
    lora_rank: Annotated[int | None, typer.Option(help="Of LoRA; 0 = all weights.", min=0)] = None,
    bf16: Annotated[bool | None, typer.Option(help="Weights of the base model in bfloat16.")] = None,
    gradient_checkpointing: Annotated[bool | None, typer.Option(help="Less memory, more time.")] = None,
    objective: Annotated[
        str | None, typer.Option(help="regression, counterfactual, token, all_action or sequence.")
    ] = None,
    roles: Annotated[str | None, typer.Option(help="leader, follower, or both: leader,follower.")] = None,
    rule: Annotated[str | None, typer.Option(help="Of followers that do not learn: best_response or obey.")] = None,
    sharpness: Annotated[float | None, typer.Option(help="Of regression: logits per unit of value.")] = None,
    greedy_share: Annotated[
        float | None, typer.Option(help="Of regression: share of cells played by the likeliest words.", min=0, max=1)
    ] = None,
    alternate: Annotated[bool | None, typer.Option(help="Both roles: in turn by rounds, or in every update.")] = None,
    leader_lr: Annotated[float | None, typer.Option(help="Learning rate; kappa_1.", min=0)] = None,
    follower_lr: Annotated[float | None, typer.Option(help="Learning rate; kappa_2.", min=0)] = None,
    consistency: Annotated[float | None, typer.Option(help="rho_2: weight of following the DCM.", min=0)] = None,
    kl: Annotated[float | None, typer.Option(help="Weight of the KL to the leader at the beginning.", min=0)] = None,
    target_kl: Annotated[
        float | None, typer.Option(help="Nats a choice that end an update's epochs; 0 = never.", min=0)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over each batch.", min=1)] = None,
    choose_rounds: Annotated[
        int | None,
        typer.Option(help="Rounds between two looks after which the best weights are kept; 0 = the last.", min=0),
    ] = None,
    updates: Annotated[int | None, typer.Option(help="At most so many.", min=1)] = None,
    cell_steps: Annotated[int | None, typer.Option(help="Slots x cells to play, branches not counted.", min=1)] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop and save after this long; 0 = never.", min=0)] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.", min=0)] = None,
    ues: Annotated[
        str | None, typer.Option(help="UE counts, comma-separated, repeats count; the default is the scenarios'.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    json_file: Annotated[str, typer.Option("--json", metavar="FILE", help="Write the result; - = stdout.")] = "",
) -> None:
    """Train a leader, its followers, or both, against each other in branches of the simulator.

    Ctrl-C saves and stops. Without --seconds the same options give the same bundle.
    """
    given: dict[str, Any] = {
        "teacher": teacher, "warm_up_steps": warm_up_steps, "model_kind": model_kind, "positions": positions,
        "base_model": base_model,
        "lora_rank": lora_rank, "bf16": bf16, "gradient_checkpointing": gradient_checkpointing, "objective": objective,
        "roles": None if roles is None else tuple(_names(roles)), "alternate": alternate, "rule": rule,
        "sharpness": sharpness, "greedy_share": greedy_share, "leader_lr": leader_lr, "follower_lr": follower_lr,
        "consistency": consistency, "kl": kl, "target_kl": target_kl, "epochs": epochs,
        "choose_rounds": choose_rounds,
        "updates": updates, "cell_steps": cell_steps, "seconds": seconds, "seed": seed, "device": device,
    }  # fmt: skip
    try:
        changes = {name: value for name, value in given.items() if value is not None}
        if ues is not None:
            changes["ues"] = _counts(ues)
        _train(preset, _names(scenario), changes, out, start, resume, json_file)
    except (ValueError, OSError, ResultFileError) as error:
        typer.echo(f"stackmac train: {error}", err=True)
        status = 0 if isinstance(error, Stopped) else RUN_FAILED if isinstance(error, RunFailed) else MISTAKE
        raise typer.Exit(status) from None


def _train(
    preset: str, scenarios: list[str], changes: dict[str, Any], out: Path, start: Path | None, resume: bool, json: str
) -> None:
    import torch

    from policy.bundle import load_bundle
    from training.learning.config import make_config
    from training.learning.distributed import Ranks
    from training.learning.trainer import train

    check_json_path(json)
    config = make_config(preset, scenarios, **changes)
    torch.set_num_threads(1)  # such small models are fastest so, and sums always come out alike
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = "stackmac train", *_as_words({"preset": preset, "scenario": scenarios} | changes)
    command = " ".join(words) + (" --from DIR/bundle --out DIR2" if start else " --out DIR")
    quiet = not Ranks().is_first
    with ExitStack() as screens:
        shown: dict[str, ProgressBar] = {}

        def bar(title: str, steps: int, figures: str) -> ProgressBar:
            if title not in shown:
                for other in shown.values():
                    other.__exit__()
                shown[title] = screens.enter_context(ProgressBar(title, steps, figures))
            return shown[title]

        def show_warm_start(report: StepReport) -> None:
            figures = "loss {loss:.3f}  accuracy {accuracy:.1%}"
            warm = bar("warm start", config.warm_up_steps, figures)
            warm.show(report.step + 1, loss=report.loss, accuracy=report.accuracy)

        def show(report: UpdateReport) -> None:
            training = bar("train", config.planned_updates, "reward {reward:.4f}{rest}")
            figures = {"entropy": report.entropy, "kl": report.step_kl, "followers' entropy": report.follower_entropy}
            rest = "".join(f"  {name} {value:.3f}" for name, value in figures.items() if value is not None)
            training.show(report.update + 1, reward=report.reward, rest=rest)
            for warning in report.warnings:
                training.say(f"update {report.update}: {warning}")

        result = train(
            config,
            out,
            start=load_bundle(start) if start else None,
            resume=resume,
            progress=show,
            warm_progress=show_warm_start,
            command=command,
        )
    if quiet:
        return
    how = "done" if result.complete else "stopped, --resume goes on"
    last = result.last
    typer.echo(
        f"{how}: update {result.updates}, {result.cell_steps} cell-steps, reward {last.reward:.4f}; "
        f"bundle in {result.bundle}",
        err=json == "-",
    )
    if json:
        answer = {"bundle": str(result.bundle), "complete": result.complete, "config": config.as_json()}
        write_json(json, answer | {"last": last._asdict()})


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _counts(text: str) -> tuple[int, ...]:
    """Raises ValueError, one line."""
    try:
        return tuple(int(count) for count in text.split(","))
    except ValueError:
        raise ValueError(f"--ues is {text!r}, expected counts separated by commas") from None


def _as_words(options: Mapping[str, Any]) -> Iterator[str]:
    """What the options were, as one would type them."""
    for name, value in options.items():
        option = "--" + {"warm_up_steps": "warm-start-steps"}.get(name, name).replace("_", "-")
        if isinstance(value, bool):
            yield option if value else "--no-" + option[2:]
        else:
            words = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
            yield f"{option} {shlex.quote(words)}"
