"""`stackmac guard-lab`: how soon the KPI guard finds a leader that does harm, whether it leaves a good one alone, and
what its hold-outs cost; in the simulator, many worlds at a time.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import nan
from statistics import mean
from typing import Any

import numpy as np
import typer

from policy.errors import INTERRUPTED, UserMistake
from policy.kpi_guard.rules import FALSE_ALARM_CYCLES, GuardRules
from policy.registry import make_leader
from policy.time_scales import SLOT_MS
from training.command_line.hold import hold_file
from training.command_line.options import command, option
from training.command_line.result_file import as_plain, check_json_path, write_json
from training.command_line.values import goes_with
from training.evaluation.result_document import made_by
from training.intervals import percent_above
from training.progress_bar import ProgressBar
from training.simulator.scenario import MAX_SEED, make_scenario
from xapp.lab.guard_replay import Seen, run_guarded
from xapp.lab.guard_runs import Part, Played, PlayedParts, World, play_parts
from xapp.lab.harmful_leaders import plug_in_of

guard_lab_app = typer.Typer(add_completion=False, rich_markup_mode=None)

FAST_RULES = GuardRules(window_slots=100, ignored_slots=20, starved_slots=100, starved_together_slots=60, cycles=False)
"""As xapp.config.kpi_guard has them for K < 10: a lab knows nothing of the xApp's configuration."""
NOT_OF_THE_WORLDS = ("json_file", "jobs", "resume")


@dataclass(frozen=True, slots=True)
class GuardLabOptions:
    """One measurement."""

    scenario: str = option("lab", "Scenario: see `stackmac scenarios`.")
    ues: int = option(20, "UEs per cell.", min=1, max=200)
    worlds: int = option(10, "Cells of a batch, each with a guard of its own.", min=1, max=1000)
    seeds: int = option(1, "Batches, their seeds counted up from --seed; each is kept as it ends.", min=1, max=1000)
    seconds: float = option(120.0, "Simulated time, from control start or from the swap.", min=1, max=86_400)
    leader: str = option("bundled", "As `stackmac lab --leader`.")
    swap_for: str = option("", "This leader takes the place of the first after --settled seconds.")
    settled: float = option(0.0, "Seconds under the first leader before that.", min=0, max=86_400)
    announced: bool = option(False, "The guards are told of the swap, as where the xApp loads a bundle anew.")
    jobs: int = option(1, "Processes that share the worlds; what is found does not depend on it.", min=1, max=256)
    seed: int = option(1, "Seed of the first batch's worlds.", min=0, max=MAX_SEED)
    false_alarm_cycles: float = option(
        FALSE_ALARM_CYCLES, "A: mean cycles to a false alarm, at least.", min=10, max=1e12
    )
    pool: bool = option(False, "The worlds are cells of one RIC, and share the evidence.")
    packets: bool = option(False, "Nodes report packets lost and delivered, and the guard uses them.")
    cost: bool = option(False, "Play the same worlds without guard, too: what hold-outs cost, paired.")
    cost_from: float = option(0.0, "Utility counts from this second on.", min=0, max=86_400)
    resume: bool = option(False, "Go on where FILE of --json stopped; of a whole one, show its figures.")
    json_file: str = option(
        "", "Write the results there (- = standard output); FILE.played is kept meanwhile.", flag="--json"
    )

    @property
    def total_s(self) -> float:
        return self.settled + self.seconds


@command(guard_lab_app, "guard-lab", GuardLabOptions)
def guard_lab(options: GuardLabOptions) -> int:
    """Worlds in the simulator, each with leader and KPI guard: how many were reverted, how soon, by which rule.

    Ctrl-C keeps the batches that ended; --resume goes on. A FILE of --json that is there already is never played anew:
    without --resume it is refused, with it its figures are shown as they are.
    """
    check_json_path(options.json_file)
    if options.swap_for and not options.settled:
        raise UserMistake("--swap-for needs --settled above 0: when that is")
    if options.pool and options.jobs > 1 and options.seeds == 1:
        raise UserMistake(
            f"--jobs is {options.jobs}, expected 1 with --pool: cells that share evidence share a process"
        )
    goes_with("--settled", options.settled, 0.0, "--swap-for", options.swap_for)
    goes_with("--announced", options.announced, False, "--swap-for", options.swap_for)
    if options.cost_from and not options.cost:
        raise UserMistake(f"--cost-from is {options.cost_from:g}, expected --cost with it")
    if options.seed + options.seeds - 1 > MAX_SEED:
        raise UserMistake(f"--seed is {options.seed}, with --seeds {options.seeds} the last is above {MAX_SEED}")
    scenario = make_scenario(options.scenario)
    last_s = options.total_s - scenario.slots_per_dcm * SLOT_MS / 1000.0
    if options.cost_from > last_s:
        raise UserMistake(
            f"--cost-from is {options.cost_from:g}, expected at most {last_s:g}, where the last period begins"
        )
    for leader in filter(None, (options.leader, options.swap_for)):
        make_leader(plug_in_of(leader))
    file = PlayedParts(options.json_file, {"made_by": made_by(), "options": _shown(options)})
    with hold_file(options.json_file):
        return _measure_and_keep(options, file)


def _measure_and_keep(options: GuardLabOptions, file: PlayedParts) -> int:
    if (whole := file.whole(resume=options.resume)) is not None:
        typer.echo(whole["text"])
        return 0
    known = file.begin(resume=options.resume)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = measure(options, known, file.keep)
    except KeyboardInterrupt:
        typer.echo(f"stackmac guard-lab: stopped; {file.kept}", err=True)
        return INTERRUPTED
    if options.json_file:
        write_json(options.json_file, result)
    else:
        typer.echo(result["text"])
    file.end()
    return 0


def measure(
    options: GuardLabOptions,
    known: Played | None = None,
    keep: Callable[[Part, Sequence[World]], None] = lambda part, worlds: None,
) -> dict[str, Any]:
    """All figures, and a line of them as `text`. known: what was played before. keep: is handed each part as it ends.

    Raises UserMistake for a scenario or a leader that there is not.
    """
    parts = _parts(options)
    # Parts that were cut for another number of processes are of no use.
    played: Played = {part: worlds for part, worlds in (known or {}).items() if part in parts}
    if known and not played:
        typer.echo("stackmac guard-lab: what was kept was cut for another --jobs and is played again", err=True)
    left = [part for part in parts if part not in played]
    before_s = options.total_s * len(played)
    with ProgressBar("guard-lab", round(options.total_s * len(parts)), "{parts} of {all} parts") as bar:

        def show(played_s: float) -> None:
            bar.show(round(before_s + played_s), parts=len(played), all=len(parts))

        for part, worlds in play_parts(left, partial(_play, options), options.jobs, show):
            played[part] = worlds
            keep(part, worlds)
            bar.show(round(options.total_s * len(played)), parts=len(played), all=len(parts))
    guarded, free = (_in_order(options, parts, played, guarded=guarded) for guarded in (True, False))
    figures = _figures(guarded)
    text = (
        f"{options.scenario}/{options.ues} {options.swap_for or options.leader}: {figures['reverted']} of"
        f" {len(guarded)} reverted, after {_seconds(figures['median_s'])} / {_seconds(figures['p95_s'])} /"
        f" {_seconds(figures['max_s'])} s (median / p95 / maximum), {figures['rules'] or 'no rule'};"
        f" hold-outs {100 * figures['hold_out_share']:.1f} % of the time until then"
    )
    if options.cost:
        paired = percent_above(_utilities(guarded), _utilities(free), paired=True)
        figures["cost_percent"], figures["cost_half_width_percent"] = -paired.mean, paired.half_width
        text += f"; cost {figures['cost_percent']:.2f} +- {figures['cost_half_width_percent']:.2f} % of utility"
    values = {"guarded": [w._asdict() for w in guarded], "free": [w._asdict() for w in free]}
    found: dict[str, Any] = as_plain(
        {"made_by": made_by(), "options": _shown(options), **figures, "text": text, "values": values}
    )
    return found


def _shown(options: GuardLabOptions) -> dict[str, Any]:
    return {name: value for name, value in asdict(options).items() if name not in NOT_OF_THE_WORLDS}


def _parts(options: GuardLabOptions) -> list[Part]:
    """One a batch; a single batch is shared by the processes, each of which draws all of it."""
    shares = min(options.jobs, options.worlds) if options.seeds == 1 else 1
    return [
        Part(options.seed + batch, first, shares, guarded)
        for guarded in ((True, False) if options.cost else (True,))
        for batch in range(options.seeds)
        for first in range(shares)
    ]


def _in_order(options: GuardLabOptions, parts: Sequence[Part], played: Played, *, guarded: bool) -> list[World]:
    """By seed and world."""
    found = {
        (part.seed, row): world
        for part in parts
        if part.guarded == guarded
        for row, world in zip(part.rows(options.worlds), played[part], strict=True)
    }
    return [found[place] for place in sorted(found)]


def _play(options: GuardLabOptions, part: Part, report: Callable[[float], None]) -> list[World]:
    scenario = make_scenario(options.scenario)
    fast = scenario.slots_per_dcm < 10
    rules = replace(FAST_RULES if fast else GuardRules(), false_alarm_cycles=options.false_alarm_cycles)
    run = run_guarded(
        scenario,
        make_leader(plug_in_of(options.leader)),
        ues=options.ues,
        cells=options.worlds,
        seed=part.seed,
        seconds=options.total_s,
        rules=rules if part.guarded else None,
        swapped_for=make_leader(plug_in_of(options.swap_for)) if options.swap_for else None,
        swapped_s=options.settled,
        announced=options.announced,
        pooled=options.pool,
        packets=options.packets,
        to_the_end=options.cost,
        measured_from_s=options.cost_from,
        rows=part.rows(options.worlds),
        report=report,
    )
    return [
        # Without --cost a run ends with the last revert of those that share a process: its utility is of no one length.
        World(seen.reverted_s, _found(seen), seen.hold_out_share, metrics.utility if options.cost else None)
        for seen, metrics in zip(run.seen, run.metrics, strict=True)
    ]


def _utilities(worlds: Sequence[World]) -> list[float]:
    return [nan if world.utility is None else world.utility for world in worlds]


def _found(seen: Seen) -> str:
    if seen.verdict is None:
        return ""
    return f"{seen.verdict.rule.value} ({seen.verdict.kpi})" if seen.verdict.m > 1 else seen.verdict.rule.value


def _figures(worlds: Sequence[World]) -> dict[str, Any]:
    times = np.array([np.inf if each.reverted_s is None else each.reverted_s for each in worlds])
    rules: dict[str, int] = {}
    for name in (each.found for each in worlds if each.found):
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
        "hold_out_share": mean(each.hold_out_share for each in worlds),
    }


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"
