"""`stackmac bench training`: how fast a leader learns, where the time goes, and what it saves over named alternatives.

An update is taken apart and each part timed alone in the same worlds: processor time, so that a busy machine and many
threads count as they should. Shares of an update, and ratios to an alternative measured in the same run, compare across
machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from training.command_line.options import command, option
from training.command_line.result_file import check_json_path, write_json
from training.command_line.values import MAX_UES

if TYPE_CHECKING:
    from training.alternatives import DecidedDcm
    from training.counterfactual import Values
    from training.simulator.cell import CellBatch

SEED = 1
REPEATS = 5
ALTERNATIVE_CELLS = 4
"""Cells that the slow alternatives are given; their time is scaled up to all."""

bench_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class Row:
    """One part of an update, or a comparison."""

    part: str
    what: str
    median_ms: float
    share: float | None
    """Share of the update's time; None for a comparison."""
    alternative: str = ""
    ratio: float | None = None
    """The alternative's time per ours: above 1 we are faster."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What an update comes to."""

    cell_steps_per_s: float
    """Slots x cells that the leader led."""
    simulated_per_s: float
    """Slots x cells with all branches, per second of the whole update."""
    branches_per_state: float


def branches_of(values: Values) -> int:
    """The DCM as it was decided, and each alternative."""
    return int(values.known_LA.sum() - values.known_LA.any(axis=1).sum()) + 1


def median_ms(run: Callable[[], object], repeats: int = REPEATS) -> float:
    run()  # first-time work: compiled code, caches
    return float(np.median([_taken_ms(run) for _ in range(repeats)]))


def times_ours(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> tuple[float, float]:
    """(ms of ours, the alternative's time per ours): medians of pairs, taken in turn."""
    ours(), theirs()  # first-time work
    pairs = [(_taken_ms(ours), _taken_ms(theirs)) for _ in range(repeats)]
    return float(np.median([mine for mine, _ in pairs])), float(np.median([other / mine for mine, other in pairs]))


def _taken_ms(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return max((time.process_time() - start) * 1e3, 1e-6)


def measure(scenario: str, preset: str, ues: int, repeats: int = REPEATS, **changes: Any) -> tuple[list[Row], Speed]:
    """Parts of one update of fresh weights, and the comparisons. Raises UserMistake."""
    import torch

    from policy.grammar import compile_grammar
    from policy.intent import Intent
    from policy.leader_models.transcript import teacher_forcing_example
    from policy.leader_models.whole_dcms import teacher_forcing_examples
    from policy.model_kinds import new_model
    from training.alternatives import DecidedDcm
    from training.counterfactual import TAIL_SLOTS, evaluate
    from training.imitation.warm_start import options_for
    from training.learning.compiled_decoder import compiled_decoder
    from training.learning.config import make_config
    from training.learning.example import Example
    from training.learning.leader_learner import LeaderLearner, token_choices
    from training.simulator.cell import CellBatch

    torch.set_num_threads(1)
    config = make_config(preset, [scenario], ues=(ues,), **changes)
    (cell,) = config.scenarios
    slots_per_dcm, cells, rng = cell.slots_per_dcm, config.worlds * config.cells, np.random.default_rng(SEED)
    leader = new_model(config.model_kind, config.leader, SEED).eval()
    world = CellBatch(cell, cells, ues, SEED)
    world.play(None, 10 * slots_per_dcm)
    states = world.observe()
    intents = [Intent()] * cells
    grammars = [compile_grammar(s, i, options_for(config.scenarios)) for s, i in zip(states, intents)]
    uniforms_BL = rng.random((cells, max(g.max_tokens for g in grammars)))

    compiled = compiled_decoder(leader, options_for(config.scenarios))

    def by_torch() -> list[Any]:
        return leader.decode(states, intents, grammars, uniforms_BL=uniforms_BL)

    def decode() -> Sequence[Any]:
        """As the trainer does before every update."""
        if compiled is None:
            return by_torch()
        compiled.repack()
        return compiled.decode(states, intents, grammars, uniforms_BL=uniforms_BL)

    decoded = decode()
    dcms = [DecidedDcm(s, i, g, one.tokens) for s, i, g, one in zip(states, intents, grammars, decoded)]
    values, plan = evaluate(world, dcms, config.search, rng)
    examples = [
        Example(b, dcm.state, dcm.intent, v.steps, one.log_probs, v.base, 0.0, v.base, v.known_LA, v.value_LA)
        for b, (dcm, v, one) in enumerate(zip(dcms, values, decoded))
    ]
    learner = LeaderLearner(leader, config, None)
    teacher_batch = token_choices(examples, torch.device("cpu")).teacher_batch

    def forward() -> object:
        return leader.teacher_forcing_logits(leader.layout.encode(states, intents), teacher_batch)

    def all_actions() -> object:
        return leader.logits(  # type: ignore[operator]
            leader.read(leader.layout.encode(states, intents)),  # type: ignore[operator]
            teacher_batch.steps,
            teacher_batch.features_BLA,
        )

    def lines() -> object:
        return teacher_forcing_examples(grammars, states, [one.tokens for one in decoded])

    def line_by_line() -> object:
        return [teacher_forcing_example(g, s, one.tokens) for g, s, one in zip(grammars, states, decoded)]

    times = {
        "simulator": median_ms(lambda: world.select(np.arange(cells)).play(plan, slots_per_dcm), repeats),
        "branching": median_ms(lambda: evaluate(world, dcms, config.search, np.random.default_rng(SEED)), repeats),
        "playing": median_ms(decode, repeats),
        "forward": median_ms(forward, repeats),
    }
    learning = median_ms(lambda: learner.learn(examples, 0.0, rng), repeats)
    times["backward"] = max(learning - times["forward"], 0.0)
    total = sum(times.values())
    meanings = {
        "simulator": "the period itself",
        "branching": "every alternative's future",
        "playing": "prompts, and the DCMs drawn token by token",
        "forward": "one pass over prompts and DCMs",
        "backward": "objective, gradients and the step",
    }
    rows = [Row(part, meanings[part], round(ms, 2), round(ms / total, 4)) for part, ms in times.items()]
    if compiled is not None:
        rows.append(_against("playing", "the compiled decision", "torch", *times_ours(decode, by_torch, repeats)))
        in_head = times_ours(forward, all_actions, repeats)
        rows.append(_against("forward", "the head on legal actions alone", "on all actions", *in_head))
    in_lines = times_ours(lines, line_by_line, repeats)
    rows.append(_against("lines", "whole DCMs in array operations", "step by step", *in_lines))
    rows += _comparisons(world, dcms, times["branching"], config.search, repeats)
    branches = sum(map(branches_of, values))
    simulated = (
        branches * (slots_per_dcm + cell.report_delay_slots + TAIL_SLOTS) * config.search.futures
        + cells * slots_per_dcm
    )
    seconds = total / 1e3
    return rows, Speed(
        round(cells * slots_per_dcm / seconds, 1), round(simulated / seconds, 1), round(branches / cells, 1)
    )


def _comparisons(world: CellBatch, dcms: list[DecidedDcm], ours_ms: float, search: Any, repeats: int) -> Iterator[Row]:
    """Branching of all cells at once against what one would write first; of a few cells, scaled to all."""
    from policy.follower import Answer
    from training.counterfactual import TAIL_SLOTS, evaluate
    from training.simulator.cell import CellBatch

    def all_branches(merge: bool) -> object:
        return evaluate(world, dcms, search, np.random.default_rng(SEED), merge=merge)

    if world.scenario.slots_per_dcm == 1:
        merged = times_ours(lambda: all_branches(True), lambda: all_branches(False), repeats)
        yield _against("branching", "equal transmissions once", "every branch played", *merged)

    few = min(ALTERNATIVE_CELLS, world.cells)
    scale = world.cells / few

    def at_once(alternative: str, theirs_ms: float) -> Row:
        return _against("branching", "all cells at once", alternative, ours_ms, theirs_ms / ours_ms)

    def one_by_one() -> None:
        for b in range(few):
            evaluate(world.select([b]), dcms[b : b + 1], search, np.random.default_rng(SEED))

    yield at_once("one cell at a time", median_ms(one_by_one, 2) * scale)

    values, _ = evaluate(world.select(np.arange(few)), dcms[:few], search, np.random.default_rng(SEED))
    branches = sum(map(branches_of, values))
    scenario, seed, ues = world.scenario, world.seed, world.ues
    slots = scenario.slots_per_dcm + scenario.report_delay_slots + TAIL_SLOTS

    def slot_by_slot() -> None:
        branch = world.select([0])
        for _ in range(slots):
            slot = branch.begin_slot(None)
            branch.finish_slot((slot.answer_BUM & Answer.RULE) > 0)

    yield at_once("Python, slot by slot", median_ms(slot_by_slot, 3) * branches * search.futures * scale)

    def from_slot_0() -> None:
        CellBatch(scenario, 1, ues, seed).play(None, world.slot + slots)

    yield at_once("re-simulated from slot 0", median_ms(from_slot_0, 3) * branches * search.futures * scale)


def _against(part: str, what: str, alternative: str, ours_ms: float, ratio: float) -> Row:
    return Row(part, what, round(ours_ms, 2), None, alternative, float(f"{ratio:.3g}"))


@dataclass(frozen=True)
class BenchTrainingOptions:
    """What `stackmac bench training` is given."""

    scenario: str = option("mix", "Scenario to learn in.")
    preset: str = option("tiny", "Size of the leader: tiny or small.")
    ues: int = option(4, "UEs per cell.", min=1, max=MAX_UES)
    model_kind: str = option("pointer", "Kind of the leader's network.")
    positions: int = option(1, "Positions that a UE takes in the leader's prompt; 0 = one per field.", min=0)
    repeats: int = option(REPEATS, "Times that each part is measured.", min=1)
    json_file: str = option("", "Write the rows as JSON; - = stdout.", "--json", metavar="FILE")


@command(bench_app, "bench training", BenchTrainingOptions)
def bench_training(options: BenchTrainingOptions) -> None:
    """Speed of training on one core: parts of an update, and branching against named alternatives."""
    check_json_path(options.json_file)
    changes = {"model_kind": options.model_kind, "positions": options.positions * (options.model_kind == "pointer")}
    rows, speed = measure(options.scenario, options.preset, options.ues, options.repeats, **changes)
    quiet = options.json_file == "-"
    for row in rows:
        share = f"{row.share:>7.1%}" if row.share is not None else f"{row.ratio:>6.3g} x {row.alternative}"
        typer.echo(f"{row.part:<11}{row.what:<44}{row.median_ms:>10.2f} ms  {share}", err=quiet)
    typer.echo(
        f"{speed.cell_steps_per_s:.0f} cell-steps/s led, {speed.simulated_per_s:.0f} cell-steps/s simulated with "
        f"{speed.branches_per_state:.1f} branches a state, on one core",
        err=quiet,
    )
    if options.json_file:
        write_json(options.json_file, {"rows": [asdict(row) for row in rows], "speed": asdict(speed)})
