"""`stackmac warm-start` and `stackmac train`. Torch and numba are imported only when one of them runs."""

from __future__ import annotations

import math
import signal
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from policy.model_kinds import TEXT
from training.command_line.options import command, command_of, option
from training.command_line.result_file import check_json_path, write_json
from training.command_line.values import MAX_UES, counts_in, goes_with, names_in, some_names_in
from training.learning.config import TrainConfig, make_config
from training.progress_bar import ProgressBar
from training.world_seeds import MAX_SEED

if TYPE_CHECKING:
    from training.imitation.warm_start import StepReport
    from training.learning.report import UpdateReport

training_app = typer.Typer(
    add_completion=False, rich_markup_mode=None, help="Train bundles by imitation.", no_args_is_help=True
)
train_app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Improve bundles.", no_args_is_help=True)


@dataclass(frozen=True)
class WarmStartOptions:
    """What `stackmac warm-start` is given."""

    scenario: str = option(help="Scenario names or FILE.toml, comma-separated.")
    out: Path = option(help="Directory of the run; the bundle is OUT/bundle.")
    teacher: str = option("proportional_fair", "The leader to imitate, `oracle` or `belief_pf`.")
    steps: int = option(2400, "Optimizer steps.", min=1)
    seed: int = option(0, "Of everything random.", min=0, max=MAX_SEED)
    ues: str = option("", "UE counts to train on, comma-separated; the default is 2 to 20.")
    positions: int = option(0, "Positions a block of the prompt takes, its fields summed; 0 = one per field.", min=0)
    resume: bool = option(False, "Go on where OUT stopped.")
    seconds: float = option(0.0, "Stop and save after this long, one step at least; 0 = never.", min=0)


@command(training_app, "warm-start", WarmStartOptions)
def warm_start_command(options: WarmStartOptions) -> int:
    """Train a bundle by imitation: the leader of a teacher, the followers of the best-response rule.

    Ctrl-C saves and stops when the step is done, a second one at once; the exit status is then 130. Without --seconds
    the same options give the same bundle, however often it was stopped.
    """
    import torch

    from policy.model_config import ModelConfig
    from training.imitation.teachers import make_teacher
    from training.imitation.warm_start import WarmStartConfig, warm_start
    from training.run_folder import exit_status, how_ended
    from training.simulator.scenario import make_scenario

    torch.set_num_threads(1)  # such small models are fastest so, and sums always come out alike
    scenarios = [make_scenario(name) for name in some_names_in("--scenario", options.scenario)]
    counts = counts_in("--ues", options.ues, MAX_UES) if options.ues else ()
    figures = "loss {loss:.3f}  accuracy {accuracy:.1%}  follower {follower:.3f}"
    with ProgressBar("warm start", options.steps, figures) as bar:

        def show(report: StepReport) -> None:
            bar.show(report.step + 1, loss=report.loss, accuracy=report.accuracy, follower=report.follower_loss)

        result = warm_start(
            scenarios,
            make_teacher(options.teacher),
            options.out,
            WarmStartConfig(
                steps=options.steps, seed=options.seed, leader=ModelConfig(block_positions=options.positions)
            ),
            ues=counts,
            resume=options.resume,
            seconds=options.seconds or math.inf,
            progress=show,
            command=command_of("warm-start", options, ("out", "resume", "seconds"), "--out DIR"),
        )
    how = how_ended(result.complete, "step", result.kept)
    typer.echo(
        f"{how}: step {result.steps}/{options.steps}, loss {result.last.loss:.3f} nats, "
        f"accuracy {result.last.accuracy:.1%}, follower loss {result.last.follower_loss:.3f}; bundle in {result.bundle}"
    )
    return exit_status(result.complete, result.is_asked)


def _effects(config: TrainConfig) -> tuple[tuple[tuple[str, ...], str, bool], ...]:
    """Options, what they have an effect with, and whether that is so."""
    learns = frozenset(config.roles)
    return (
        (("lora_rank", "bf16", "gradient_checkpointing"), "--base-model", config.model_kind == TEXT),
        (("sharpness", "greedy_share"), "--objective regression", config.objective == "regression"),
        (("leader_lr",), "--roles leader", "leader" in learns),
        (("follower_lr", "consistency"), "--roles follower", "follower" in learns),
        (("alternate",), "--roles leader,follower", len(learns) == 2),
    )


def _preset(name: str, help: str, flag: str = "", **limits: Any) -> Any:
    """An option that a preset sets; what is shown is the preset tiny's."""
    value = next(one.default for one in fields(TrainConfig) if one.name == name)
    words = ",".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, bool):
        words = name.replace("_", "-") if value else "no-" + name.replace("_", "-")
    return option(None, help, flag, show_default=words, **limits)


@dataclass(frozen=True)
class TrainOptions:
    """What `stackmac train` is given; None = as the preset says (training.learning.config)."""

    scenario: str = option(help="Scenario names or FILE.toml, comma-separated.")
    out: Path = option(help="Directory of the run; the bundle is OUT/bundle.")
    preset: str = option("tiny", "tiny, small or llama-1b.")
    start: Path | None = option(None, "Bundle to improve; without one, a warm start comes first.", "--from")
    resume: bool = option(False, "Go on where OUT stopped.")
    teacher: str | None = _preset("teacher", "Whom the warm start imitates: a leader, `oracle` or `belief_pf`.")
    warm_up_steps: int | None = _preset("warm_up_steps", "Of the warm start.", "--warm-start-steps", min=1)
    model_kind: str | None = _preset(
        "model_kind", "Kind of the leader's network: pointer, vocabulary, mappo, mappo_g or text."
    )
    positions: int | None = _preset(
        "positions", "Positions a block of the prompt takes, its fields summed; 0 = one each.", min=0
    )
    base_model: str | None = option(None, "Hugging Face causal LM: folder or hub id.")
    lora_rank: int | None = _preset("lora_rank", "Of LoRA; 0 = all weights.", min=0)
    bf16: bool | None = _preset("bf16", "Weights of the base model in bfloat16.")
    gradient_checkpointing: bool | None = _preset("gradient_checkpointing", "Less memory, more time.")
    objective: str | None = _preset("objective", "regression, counterfactual, token, all_action or sequence.")
    roles: str | None = _preset("roles", "leader, follower, or both: leader,follower.")
    reward: str | None = option(None, "What cells are paid, module:function; the default is the change of utility.")
    rule: str | None = _preset("rule", "Of followers that do not learn: best_response or obey.")
    sharpness: float | None = _preset("sharpness", "Of regression: logits per unit of value.")
    greedy_share: float | None = _preset(
        "greedy_share", "Of regression: share of cells played by the likeliest tokens.", min=0, max=1
    )
    alternate: bool | None = _preset("alternate", "Both roles: in turn by rounds, or in every update.")
    leader_lr: float | None = _preset("leader_lr", "Learning rate; kappa_1.", min=0)
    follower_lr: float | None = _preset("follower_lr", "Learning rate; kappa_2.", min=0)
    consistency: float | None = _preset("consistency", "rho_2: weight of following the DCM.", min=0)
    kl: float | None = _preset("kl", "Weight of the KL to the leader at the beginning.", min=0)
    target_kl: float | None = _preset("target_kl", "Nats a choice that end an update's epochs; 0 = never.", min=0)
    epochs: int | None = _preset("epochs", "Passes over each batch.", min=1)
    choose_rounds: int | None = _preset(
        "choose_rounds", "Rounds between two looks after which the best weights are kept; 0 = the last.", min=0
    )
    updates: int | None = _preset("updates", "Updates, at most.", min=1)
    cell_steps: int | None = option(None, "Slots x cells to play, branches not counted.", min=1)
    seconds: float | None = _preset("seconds", "Stop and save after this long, one update at least; 0 = never.", min=0)
    seed: int | None = _preset("seed", "Of everything random.", min=0, max=MAX_SEED)
    ues: str | None = option(None, "UE counts, comma-separated, repeats count; the default is the scenarios'.")
    device: str | None = _preset("device", "auto, cpu or cuda.")
    json_file: str = option("", "Write the result; - = stdout.", "--json", metavar="FILE")

    def config(self) -> TrainConfig:
        """The preset with what is given on top. Raises UserMistake."""
        known = {one.name for one in fields(TrainConfig)} - {"preset"}
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.name in known}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if self.roles is not None:
            changes["roles"] = tuple(names_in(self.roles))
        if self.ues is not None:
            changes["ues"] = counts_in("--ues", self.ues, MAX_UES)
        config = make_config(self.preset, some_names_in("--scenario", self.scenario), **changes)
        for names, needed, is_there in _effects(config):
            for name in names:
                goes_with("--" + name.replace("_", "-"), getattr(self, name), None, needed, is_there)
        return config

    def command(self) -> str:
        """What makes the bundle again, wherever it is written."""
        rest = "--from DIR/bundle --out DIR2" if self.start else "--out DIR"
        return command_of("train", self, ("out", "start", "resume", "json_file"), rest)


@command(train_app, "train", TrainOptions)
def train_command(options: TrainOptions) -> int:
    """Train a leader, its followers, or both, against each other in branches of the simulator.

    Ctrl-C saves and stops when the update is done, a second one at once. Without --seconds the same options give the
    same bundle, however often it was stopped. Exit status 130: stopped so, or by --seconds before there was a bundle,
    in the warm start; --resume goes on. Defaults in brackets are those of the preset tiny in scenarios of K below 10;
    other presets, slower leaders and --objective sequence have their own.
    """
    import torch

    from policy.bundle import load_bundle
    from training.learning.distributed import Ranks
    from training.learning.trainer import train
    from training.rewards import pay
    from training.run_folder import exit_status, how_ended

    check_json_path(options.json_file)
    config = options.config()
    pay(config.reward)
    torch.set_num_threads(1)  # such small models are fastest so, and sums always come out alike
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _Screens(config) as screens:
        result = train(
            config,
            options.out,
            start=load_bundle(options.start) if options.start else None,
            resume=options.resume,
            progress=screens.show_update,
            warm_progress=screens.show_warm_start,
            command=options.command(),
        )
    status = exit_status(result.complete, result.is_asked)
    if not Ranks().is_first:
        return status
    how = how_ended(result.complete, "update", result.kept)
    last = result.last
    typer.echo(
        f"{how}: update {result.updates}, {result.cell_steps} cell-steps, reward {last.reward:.4f}; "
        f"bundle in {result.bundle}",
        err=options.json_file == "-",
    )
    if options.json_file:
        answer = {"bundle": str(result.bundle), "complete": result.complete, "config": config.as_json()}
        write_json(options.json_file, answer | {"last": last._asdict()})
    return status


class _Screens:
    """One progress bar after another: of the warm start, of the training."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._stack = ExitStack()
        self._bars: dict[str, ProgressBar] = {}

    def __enter__(self) -> _Screens:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def show_warm_start(self, report: StepReport) -> None:
        bar = self._bar("warm start", self._config.warm_up_steps, "loss {loss:.3f}  accuracy {accuracy:.1%}")
        bar.show(report.step + 1, loss=report.loss, accuracy=report.accuracy)

    def show_update(self, report: UpdateReport) -> None:
        bar = self._bar("train", self._config.planned_updates, "reward {reward:.4f}{rest}")
        figures = {"entropy": report.entropy, "kl": report.step_kl, "followers' entropy": report.follower_entropy}
        rest = "".join(f"  {name} {value:.3f}" for name, value in figures.items() if value is not None)
        bar.show(report.update + 1, reward=report.reward, rest=rest)
        for warning in report.warnings:
            bar.print_line(f"update {report.update}: {warning}")

    def _bar(self, title: str, steps: int, figures: str) -> ProgressBar:
        if title not in self._bars:
            self._stack.close()
            self._bars[title] = self._stack.enter_context(ProgressBar(title, steps, figures))
        return self._bars[title]
