"""`stackmac train-followers`: followers learn under a leader that stands still."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.errors import RunFailed
from training.progress_bar import ProgressBar
from training.result_file import ResultFileError, check_json_path, write_json

if TYPE_CHECKING:
    from training.learning.follower_config import FollowTraining
    from training.learning.follower_report import FollowReport

followers_app = typer.Typer(help="Train followers.", no_args_is_help=True)

RUN_FAILED, MISTAKE = 1, 2
"""Exit status: what went wrong while it ran, and what was asked wrongly."""


@followers_app.command("train-followers")
def train_followers_command(
    start: Annotated[Path, typer.Option("--from", help="Bundle whose followers learn; its leader stays.")],
    scenario: Annotated[str, typer.Option(help="Scenario names, comma-separated.")],
    out: Annotated[Path, typer.Option(help="Directory of the run; the bundle is OUT/bundle.")],
    leader: Annotated[
        str, typer.Option(help="Who leads: a scheduler, with its tuned c, or a bundle's directory.")
    ] = "proportional_fair",
    ues: Annotated[
        str, typer.Option(help="UE counts, comma-separated, all in every update; the default is the scenarios'.")
    ] = "",
    updates: Annotated[int, typer.Option(help="Updates after imitation.", min=1)] = 120,
    imitation_updates: Annotated[
        int | None,
        typer.Option(help="Updates of imitating the best-response rule before; the default is 40 for fresh followers, "
                     "0 for a bundle's that read what followers read today.", min=0),
    ] = None,
    objective: Annotated[
        str, typer.Option(help="regression, counterfactual, token, all_action or sequence.")
    ] = "regression",
    sharpness: Annotated[float, typer.Option(help="Of regression: logits per unit of value.")] = 120.0,
    futures: Annotated[int, typer.Option(help="Futures in which a flipped bit is tried.", min=1)] = 4,
    consistency: Annotated[float, typer.Option(help="rho_2: weight of following the DCM.", min=0)] = 0.0,
    speaks: Annotated[
        bool, typer.Option("--speaks/--no-speaks", help="Reports carry words, for a leader that reads them.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where OUT stopped.")] = False,
    seconds: Annotated[float, typer.Option(help="Stop and save after this long; 0 = never.", min=0)] = 0.0,
    json_file: Annotated[str, typer.Option("--json", metavar="FILE", help="Write the result; - = stdout.")] = "",
) -> None:  # fmt: skip
    """Train followers under a leader that stands still: by flipping their bits in branches of the simulator.

    Ctrl-C saves and stops. Without --seconds the same options give the same bundle.
    """
    given: dict[str, Any] = {"updates": updates, "seed": seed, "speaks": speaks}
    follow: dict[str, Any] = {
        "objective": objective, "sharpness": sharpness, "futures": futures, "consistency": consistency,
    }  # fmt: skip
    try:
        if imitation_updates is not None:
            given["imitation_updates"] = imitation_updates
        names = [name.strip() for name in scenario.split(",")]
        _train(start, leader, names, ues, out, given, follow, resume, seconds, json_file)
    except (ValueError, OSError, ResultFileError) as error:
        typer.echo(f"stackmac train-followers: {error}", err=True)
        raise typer.Exit(RUN_FAILED if isinstance(error, RunFailed) else MISTAKE) from None


def _train(
    start: Path,
    leader: str,
    names: list[str],
    ues: str,
    out: Path,
    given: dict[str, Any],
    follow: dict[str, Any],
    resume: bool,
    seconds: float,
    json: str,
) -> None:
    import torch

    from policy.bundle import load_bundle
    from training.learning.follower_config import FollowConfig, FollowTraining
    from training.learning.follower_run import FRESH_IMITATION_UPDATES, is_current
    from training.learning.follower_run import follow as run
    from training.simulator.scenario import make_scenario

    check_json_path(json)
    scenarios = [make_scenario(name) for name in names]
    counts = _counts(ues) if ues else tuple(sorted({count for s in scenarios for count in s.ue_counts}))
    bundle = load_bundle(start)
    fresh = 0 if is_current(bundle.follower) else FRESH_IMITATION_UPDATES
    config = FollowTraining(follow=FollowConfig(**follow), **({"imitation_updates": fresh} | given))
    torch.set_num_threads(1)  # such small models are fastest so, and sums always come out alike
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    steps = config.imitation_updates + config.updates
    with ProgressBar(
        "train-followers", steps, "{what}reward {reward:.4f}  loss {loss:.3f}  entropy {entropy:.3f}"
    ) as bar:

        def show(report: FollowReport) -> None:
            what = "imitation  " if report.update < 0 else ""
            done = report.update + config.imitation_updates + 1
            bar.show(done, what=what, reward=report.reward, loss=report.loss, entropy=report.entropy)

        result = run(
            bundle, leader, scenarios, counts, out, config,
            resume=resume, seconds=seconds, progress=show, command=_command(leader, names, counts, config),
        )  # fmt: skip
    how = "done" if result.complete else "stopped, --resume goes on"
    last = result.last
    typer.echo(
        f"{how}: update {result.updates}/{steps}, reward {last.reward:.4f}, entropy {last.entropy:.3f} nats a bit; "
        f"bundle in {result.bundle}",
        err=json == "-",
    )
    if json:
        answer = {"bundle": str(result.bundle), "complete": result.complete, "updates": result.updates}
        write_json(json, answer | {"last": last._asdict()})


def _counts(text: str) -> tuple[int, ...]:
    """Raises ValueError, one line."""
    counts = tuple(int(word) if word.strip().isdigit() else 0 for word in text.split(","))
    if min(counts) < 1:
        raise ValueError(f"--ues is {text!r}, expected counts of 1 or more, separated by commas")
    return counts


def _command(leader: str, scenarios: list[str], ues: tuple[int, ...], config: FollowTraining) -> str:
    """What makes the bundle again, wherever it is written."""
    from training.learning.follower_run import shareable_name

    follow = config.follow
    options = {
        "leader": shareable_name(leader), "scenario": ",".join(scenarios), "ues": ",".join(map(str, ues)),
        "updates": config.updates, "imitation-updates": config.imitation_updates, "objective": follow.objective,
        "sharpness": follow.sharpness, "futures": follow.futures, "consistency": follow.consistency,
        "seed": config.seed,
    }  # fmt: skip
    words = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items()]
    return " ".join(
        ["stackmac train-followers", *words, *(["--speaks"] * config.speaks), "--from DIR/bundle --out DIR2"]
    )
