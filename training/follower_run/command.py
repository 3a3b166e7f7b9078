"""`stackmac train-followers`: followers learn under a leader that stands still."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from training.command_line.options import command, command_of, option
from training.command_line.result_file import check_json_path, write_json
from training.command_line.values import MAX_UES, counts_in, some_names_in
from training.progress_bar import ProgressBar
from training.world_seeds import MAX_SEED

if TYPE_CHECKING:
    from policy.bundle import Bundle
    from training.follower_run.report import FollowReport
    from training.learning.follower_config import FollowTraining

followers_app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Train followers.", no_args_is_help=True)


@dataclass(frozen=True)
class TrainFollowersOptions:
    """What `stackmac train-followers` is given."""

    start: Path = option(help="Bundle whose followers learn; its leader stays.", flag="--from")
    scenario: str = option(help="Scenario names, comma-separated.")
    out: Path = option(help="Directory of the run; the bundle is OUT/bundle.")
    leader: str = option("proportional_fair", "Who leads: a scheduler, with its tuned c, or a bundle's directory.")
    ues: str = option("", "UE counts, comma-separated, all in every update; the default is the scenarios'.")
    updates: int = option(120, "Updates after imitation.", min=1)
    imitation_updates: int | None = option(
        None,
        "Updates of imitating the best-response rule before; the default is 40 for fresh followers, "
        "0 for a bundle's that read what followers read today.",
        min=0,
    )
    objective: str = option("regression", "regression, counterfactual, token, all_action or sequence.")
    sharpness: float = option(120.0, "Of regression: logits per unit of value.")
    futures: int = option(4, "Futures in which a flipped bit is tried.", min=1)
    consistency: float = option(0.0, "rho_2: weight of following the DCM.", min=0)
    speaks: bool = option(False, "Reports carry words, for a leader that reads them.", "--speaks/--no-speaks")
    seed: int = option(0, "Of everything random.", min=0, max=MAX_SEED)
    resume: bool = option(False, "Go on where OUT stopped.")
    seconds: float = option(0.0, "Stop and save after this long, one update at least; 0 = never.", min=0)
    json_file: str = option("", "Write the result; - = stdout.", "--json", metavar="FILE")

    def config(self, start: Bundle) -> FollowTraining:
        """Raises UserMistake."""
        from training.follower_run.run import FRESH_IMITATION_UPDATES, is_current
        from training.learning.follower_config import FollowConfig, FollowTraining

        imitation = self.imitation_updates
        if imitation is None:
            imitation = 0 if is_current(start.follower) else FRESH_IMITATION_UPDATES
        follow: dict[str, Any] = {
            name: getattr(self, name) for name in ("objective", "sharpness", "futures", "consistency")
        }
        given: dict[str, Any] = {name: getattr(self, name) for name in ("updates", "seed", "speaks")}
        return FollowTraining(follow=FollowConfig(**follow), imitation_updates=imitation, **given)

    def command(self, ues: tuple[int, ...], config: FollowTraining) -> str:
        """What makes the bundle again, wherever it is written."""
        from training.follower_run.run import shareable_name

        spelled_out = replace(
            self,
            leader=shareable_name(self.leader),
            ues=",".join(map(str, ues)),
            imitation_updates=config.imitation_updates,
        )
        left_out = ("start", "out", "resume", "seconds", "json_file")
        return command_of("train-followers", spelled_out, left_out, "--from DIR/bundle --out DIR2")


@command(followers_app, "train-followers", TrainFollowersOptions)
def train_followers_command(options: TrainFollowersOptions) -> int:
    """Train followers under a leader that stands still: by flipping their bits in branches of the simulator.

    Ctrl-C saves and stops when the update is done, a second one at once; the exit status is then 130. Without --seconds
    the same options give the same bundle, however often it was stopped.
    """
    import torch

    from policy.bundle import load_bundle
    from training.follower_run.run import follow
    from training.run_folder import exit_status, how_ended
    from training.simulator.scenario import make_scenario

    check_json_path(options.json_file)
    scenarios = [make_scenario(name) for name in some_names_in("--scenario", options.scenario)]
    own = tuple(sorted({count for scenario in scenarios for count in scenario.ue_counts}))
    counts = counts_in("--ues", options.ues, MAX_UES) if options.ues else own
    start = load_bundle(options.start)
    config = options.config(start)
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

        result = follow(
            start, options.leader, scenarios, counts, options.out, config, resume=options.resume,
            seconds=options.seconds or math.inf, progress=show, command=options.command(counts, config),
        )  # fmt: skip
    how = how_ended(result.complete, "update", result.kept)
    last = result.last
    typer.echo(
        f"{how}: update {result.updates}/{steps}, reward {last.reward:.4f}, entropy {last.entropy:.3f} nats a bit; "
        f"bundle in {result.bundle}",
        err=options.json_file == "-",
    )
    if options.json_file:
        answer = {"bundle": str(result.bundle), "complete": result.complete, "updates": result.updates}
        write_json(options.json_file, answer | {"last": last._asdict()})
    return exit_status(result.complete, result.is_asked)
