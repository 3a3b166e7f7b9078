"""`stackmac guard-lab`: how soon the KPI guard finds a leader that does harm, whether it leaves a good one alone, and
what its hold-outs cost; in the simulator, many worlds at a time.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from statistics import mean
from typing import Any, TypeVar

import numpy as np
import typer

from policy.errors import RunFailed, UserMistake
from policy.kpi_guard.rules import FALSE_ALARM_CYCLES, GuardRules
from policy.registry import make_leader
from training.command_line.options import command, option
from training.command_line.result_file import check_json_path, write_json
from training.evaluation.process_pool import begin_worker
from training.intervals import percent_above
from training.simulator.scenario import MAX_SEED, make_scenario
from xapp.lab.guard_replay import GuardedRun, Seen, run_guarded
from xapp.lab.harmful_leaders import plug_in_of

guard_lab_app = typer.Typer(add_completion=False, rich_markup_mode=None)

FAST_RULES = GuardRules(window_slots=100, ignored_slots=20, starved_slots=100, starved_together_slots=60, cycles=False)
"""As xapp.config.kpi_guard has them for K < 10: a lab knows nothing of the xApp's configuration."""


PROGRESS_PERIOD_S = 10.0

Each = TypeVar("Each")


@dataclass(frozen=True, slots=True)
class GuardLabOptions:
    """One measurement."""

    scenario: str = option("lab", "Scenario: see `stackmac scenarios`.")
    ues: int = option(20, "UEs per cell.", min=1, max=200)
    worlds: int = option(10, "Cells, each with a guard of its own.", min=1, max=1000)
    seconds: float = option(120.0, "Simulated time, from control start or from the swap.", min=1, max=86_400)
    leader: str = option("bundled", "As `stackmac lab --leader`.")
    swap_for: str = option("", "This leader takes the place of the first after --settled seconds.")
    settled: float = option(0.0, "Seconds under the first leader before that.", min=0, max=86_400)
    announced: bool = option(False, "The guards are told of the swap, as where the xApp loads a bundle anew.")
    jobs: int = option(1, "Processes that share the worlds; what is found does not depend on it.", min=1, max=256)
    seed: int = option(1, "Of the worlds.", min=0, max=MAX_SEED)
    false_alarm_cycles: float = option(FALSE_ALARM_CYCLES, "A: mean cycles to a false alarm, at least.", min=10)
    pool: bool = option(False, "The worlds are cells of one RIC, and share the evidence.")
    packets: bool = option(False, "Nodes report packets lost and delivered, and the guard uses them.")
    cost: bool = option(False, "Play the same worlds without guard, too: what hold-outs cost, paired.")
    json_file: str = option("", "Write the results there (- = standard output).", flag="--json")


class Progress:
    """How far it is, and for how long it will go on, in one line of standard error; nothing for what is short."""

    def __init__(self, total_s: float) -> None:
        self._total_s, self._started_s, self._printed_s = total_s, time.monotonic(), time.monotonic()

    def __call__(self, played_s: float) -> None:
        now_s = time.monotonic()
        if now_s - self._printed_s < PROGRESS_PERIOD_S or not played_s:
            return
        self._printed_s = now_s
        left_s = (now_s - self._started_s) * (self._total_s / played_s - 1.0)
        typer.echo(f"{played_s:.0f} of {self._total_s:.0f} simulated s, {left_s / 60.0:.1f} minutes left", err=True)


@command(guard_lab_app, "guard-lab", GuardLabOptions)
def guard_lab(options: GuardLabOptions) -> int:
    """Worlds in the simulator, each with leader and KPI guard: how many were reverted, how soon, by which rule."""
    check_json_path(options.json_file)
    if options.swap_for and not options.settled:
        raise UserMistake("--swap-for needs --settled above 0: when that is")
    if options.pool and options.jobs > 1:
        raise UserMistake(
            f"--jobs is {options.jobs}, expected 1 with --pool: cells that share evidence share a process"
        )
    result = measure(options)
    if options.json_file:
        write_json(options.json_file, result)
    else:
        typer.echo(result["text"])
    return 0


def measure(options: GuardLabOptions) -> dict[str, Any]:
    """All figures, and a line of them as `text`."""
    run = _run_by_jobs(options, guarded=True)
    figures = _figures(run.seen)
    text = (
        f"{options.scenario}/{options.ues} {options.swap_for or options.leader}: {figures['reverted']} of"
        f" {options.worlds} reverted, after {_seconds(figures['median_s'])} / {_seconds(figures['p95_s'])} /"
        f" {_seconds(figures['max_s'])} s (median / p95 / maximum), {figures['rules'] or 'no rule'};"
        f" hold-outs {100 * figures['hold_out_share']:.1f} % of the time until then"
    )
    if options.cost:
        without = _run_by_jobs(options, guarded=False).metrics
        ours, theirs = [m.utility for m in run.metrics], [m.utility for m in without]
        paired = percent_above(ours, theirs, paired=True)
        figures["cost_percent"], figures["cost_half_width_percent"] = -paired.mean, paired.half_width
        text += f"; cost {figures['cost_percent']:.2f} +- {figures['cost_half_width_percent']:.2f} % of utility"
    shown = {name: value for name, value in asdict(options).items() if name not in ("json_file", "jobs")}
    return {"options": shown, **figures, "text": text}


def _run_by_jobs(options: GuardLabOptions, *, guarded: bool) -> GuardedRun:
    jobs = min(options.jobs, options.worlds)
    if jobs == 1:
        return _run(options, guarded, None, Progress(options.settled + options.seconds))
    shares = [range(options.worlds)[job::jobs] for job in range(jobs)]
    older = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=begin_worker)
    runs: list[GuardedRun] = []
    try:
        # The first share says for all how far they are: they are as long.
        futures = [
            pool.submit(_run, options, guarded, share, Progress(options.settled + options.seconds) if not job else None)
            for job, share in enumerate(shares)
        ]
        runs = [future.result() for future in futures]
    except BrokenProcessPool as error:
        raise RunFailed(f"a process died while it played: {error}") from None
    finally:
        pool.shutdown(wait=bool(runs), cancel_futures=True)
        if not runs:
            for child in set(multiprocessing.active_children()) - older:
                child.terminate()
    return GuardedRun(_in_order([run.seen for run in runs]), _in_order([run.metrics for run in runs]))


def _in_order(shares: list[list[Each]]) -> list[Each]:
    """By world: share j has every n-th from the j-th on."""
    return [shares[world % len(shares)][world // len(shares)] for world in range(sum(map(len, shares)))]


def _run(options: GuardLabOptions, guarded: bool, rows: Sequence[int] | None, progress: Progress | None) -> GuardedRun:
    scenario = make_scenario(options.scenario)
    fast = scenario.slots_per_dcm < 10
    rules = replace(FAST_RULES if fast else GuardRules(), false_alarm_cycles=options.false_alarm_cycles)
    return run_guarded(
        scenario,
        make_leader(plug_in_of(options.leader)),
        ues=options.ues,
        cells=options.worlds,
        seed=options.seed,
        seconds=options.seconds + options.settled,
        rules=rules if guarded else None,
        swapped_for=make_leader(plug_in_of(options.swap_for)) if options.swap_for else None,
        swapped_s=options.settled,
        announced=options.announced,
        pooled=options.pool,
        packets=options.packets,
        to_the_end=options.cost,
        rows=rows,
        report=progress or (lambda played_s: None),
    )


def _figures(seen: list[Seen]) -> dict[str, Any]:
    times = np.array([np.inf if each.reverted_s is None else each.reverted_s for each in seen])
    rules: dict[str, int] = {}
    for each in seen:
        if each.verdict is not None:
            name = f"{each.verdict.rule.value} ({each.verdict.kpi})" if each.verdict.m > 1 else each.verdict.rule.value
            rules[name] = rules.get(name, 0) + 1
    quantiles = {
        "median_s": np.quantile(times, 0.5, method="higher"),
        "p95_s": np.quantile(times, 0.95, method="higher"),
        "max_s": times.max(),
    }
    return {
        "reverted": int(np.isfinite(times).sum()),
        **{name: float(value) if np.isfinite(value) else None for name, value in quantiles.items()},
        "rules": ", ".join(f"{name} {count}" for name, count in sorted(rules.items())),
        "hold_out_share": mean(each.hold_out_share for each in seen),
    }


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"
