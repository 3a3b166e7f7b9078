"""`stackmac experiment`: every experiment ends in a table, a figure and a paragraph; a study keeps what is finished."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.bundle import load_bundle
from policy.bundle_files import BUNDLES
from policy.grammar import PAPER, compile_grammar
from policy.intent import Intent
from training.experiments import report, trainings
from training.experiments.budget import BUDGETS
from training.experiments.figure import Curve, Figure, Panel, draw
from training.experiments.measurement import Measured, World, metrics_of, pooled
from training.experiments.paragraph import Claim, shown, verdict
from training.experiments.registry import EXPERIMENTS
from training.experiments.studies.coupling import dominance, holds
from training.experiments.studies.free_grammar import FreeGrammar, replay_freely
from training.experiments.studies.game_jacobian import Played, products
from training.experiments.studies.multicell_players import draws_of, search
from training.experiments.studies.multicell_world import PowerControl, make_networks, play
from training.experiments.studies.ucm_hearing import as_received
from training.experiments.table import Column, Table
from training.experiments.trainings import budget_config, train_part
from training.intervals import Interval
from training.simulator.cell import CellBatch
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import MIX
from xapp.cli import main

COLUMNS = {
    "convergence": {"objective", "ues", "epoch", "cell_steps", "utility", "gain", "gain_low", "converged_at"},
    "generalization": {"ues", "player", "train_seeds", "utility", "utility_above_mappo_g {3,4}", "jain"},
    "dictator": {"player", "utility_above_dictator", "throughput_pct_above_dictator"},
    "learning_rates": {"player", "kappa", "swing", "diverged", "utility_above_warm start"},
    "consistency": {"player", "rho_2", "agreement", "utility", "jain"},
    "ucm": {"reports", "words", "utility", "above_without", "above_without_low", "above_need"},
    "multicell": {"cells", "player", "against", "utility_pct", "utility_pct_low", "p5_pct"},
    "coupling": {"coupling", "gain", "converged_at", "dominance", "dominance_high", "condition", "h_bb_squared"},
    "models": {"player", "utility_above_pointer", "weights", "latency_ms", "latency_p99_ms"},
    "period": {"scenario", "ues", "k", "player", "utility_diff", "utility_diff_low", "utility_diff_high"},
    "scale": {"ues", "player", "utility_diff", "leader_ms", "leader_p99_ms", "prompt_tokens", "dcm_tokens"},
    "grammar": {"part", "ues", "grammar", "step", "utility", "lost_share", "loss"},
}  # fmt: skip
"""Some of each table's."""
IN_FULL = "period"
"""The figures of the others are drawn as PNG only, and without their layout."""


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_writes_its_table_its_figure_and_its_paragraph(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if name != IN_FULL:
        request.getfixturevalue("quick_drawing")
    monkeypatch.setitem(BUDGETS, "smoke", replace(BUDGETS["smoke"], slots=5))  # what is played takes most of the time
    figures: list[Figure] = []

    def draw_first(figure: Figure, png: Path, svg: Path) -> None:
        """The same numbers give the same files, as is tested elsewhere; drawing takes much of the rest of the time.

        Both formats are drawn from the same axes: that every figure can be drawn is seen from one.
        """
        if not figures:
            draw(figure, *((png, svg) if name == IN_FULL else (png,)))
        figures.append(figure)

    monkeypatch.setattr(report, "draw", draw_first)
    assert main(["experiment", name, "--out", str(tmp_path), "--budget", "smoke"]) == 0
    rows = list(csv.DictReader((tmp_path / f"{name}.csv").read_text().splitlines()))
    assert rows
    assert COLUMNS[name] <= rows[0].keys()
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    if name == IN_FULL:
        assert "<svg" in (tmp_path / f"{name}.svg").read_text()
    text = (tmp_path / f"{name}.md").read_text()
    result = json.loads((tmp_path / f"{name}.json").read_text())
    for scenario in result["scenarios"].values():
        assert scenario["hash"] in text
    assert f"stackmac experiment {name} --budget smoke --out DIR" in text
    assert "SMOKE" in text
    assert not re.search(r"\bnan\b", text)
    assert all(column in text for column in rows[0])
    assert len(result["rows"]) == len(rows)
    # Everything is made again of what is kept, and nothing is played.
    again = tmp_path / "again"
    assert main(["results", "figure", str(tmp_path / f"{name}.json"), "--out", str(again)]) == 0
    for file in again.iterdir():
        assert file.read_bytes() == (tmp_path / file.name).read_bytes(), file.name
    assert sorted(file.suffix for file in again.iterdir()) == [".csv", ".json", ".md"]
    assert repr(figures[0]) == repr(figures[1])  # NaN is not NaN


def test_cells_of_all_sizes_together_count_alike() -> None:
    worlds = [World(MIX, ues, 2, 2, 10) for ues in (3, 4)]
    found = [
        Measured("a", world, [[metrics_of([cell(k + seed), cell(k + seed)]) for seed in range(2)]])
        for k, world in zip((1.0, 3.0), worlds)
    ]
    together = pooled(found)
    assert together.world.ues == 0
    assert together.mean("utility") == 2.5
    assert [len(result["utility"]) for result in together.runs[0]] == [4, 4]


def test_the_same_numbers_give_the_same_figure(tmp_path: Path) -> None:
    y = [Interval(1.0, 0.5, 1.5), Interval(2.0, math.nan, math.nan)]
    panels = [Panel("lines", "x", "y", [Curve("a", [1, 10], y)], log_x=True, level=1.0, marks=((1.0, "here"),)),
              Panel("bars", "", "y", [Curve("a", ["b", "c"], y), Curve("d", ["b", "c"], y)])]  # fmt: skip
    figure = Figure("two", panels)
    for name in ("a", "b"):
        draw(figure, tmp_path / f"{name}.png", tmp_path / f"{name}.svg")
    for ending in ("png", "svg"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def cell(utility: float) -> CellMetrics:
    return CellMetrics(utility, 1.0, utility, 0, 0, 0, 0, (0.0,), 1, 1, 1, 0, 1)


def test_an_interval_goes_over_training_seeds_where_there_are_several() -> None:
    world = World(MIX, 3, 2, 2, 10)

    def run(*values: float) -> list[dict[str, object]]:
        return [metrics_of([cell(v), cell(v + 1)]) for v in values]

    base = Measured("base", world, [run(1.0, 2.0)])
    one = Measured("one", world, [run(1.5, 2.5)])
    assert one.minus(base, "utility") == (0.5, 0.5, 0.5)
    several = Measured("several", world, [run(1.5, 2.5), run(2.0, 3.0)])
    assert base.minus(several, "utility").mean == -several.minus(base, "utility").mean == -0.75
    mean, low, high = several.minus(base, "utility")
    assert mean == pytest.approx(0.75)
    assert (high - low) / 2 == pytest.approx(12.7062 * 0.25, rel=1e-3)
    assert one.percent_above(base, "utility") == pytest.approx(25.0)
    with pytest.raises(ValueError, match="same worlds"):
        one.minus(base._replace(world=world._replace(ues=4)), "utility")


def test_a_paragraph_says_what_is_better_and_what_is_worse() -> None:
    claims = [Claim("a", Interval(1, 0.5, 1.5)), Claim("b", Interval(-1, -1.5, -0.5)), Claim("c", Interval(1, -1, 3))]
    text = verdict(claims, "PF")
    assert "Better than PF: a +1.000 [+0.500, +1.500]." in text
    assert "Worse than PF: b" in text
    assert "Not distinguishable from PF: c" in text
    assert shown(Interval(math.nan, math.nan, math.nan)) == "not measured"


def test_a_table_refuses_a_row_with_other_columns() -> None:
    table = Table((Column("a", "one"), Column("b", "two")))
    table.add(a=1, b=math.nan)
    assert table.as_csv() == "a,b\n1,\n"
    with pytest.raises(ValueError, match="b, c"):
        table.add(a=1, c=2)


def test_a_grammar_switched_off_allows_everything_and_counts_what_is_illegal() -> None:
    (state,) = CellBatch(MIX, 1, 3, seed=1).observe()
    grammar = compile_grammar(state, Intent(), PAPER)
    free = FreeGrammar(grammar)
    cursor = free.start()
    assert cursor.mask().all()
    cursor.advance(0)  # OPEN is no class mask
    while not cursor.done:
        cursor.advance(int(np.flatnonzero(cursor._cursor.mask())[0]))
    assert cursor.allocation().ue_ids == grammar.ue_ids
    assert free.illegal_tokens == 1


def test_a_leader_without_the_grammar_loses_decisions_and_with_it_none() -> None:
    bundle = load_bundle(BUNDLES / "paper")
    lost = {
        masked: replay_freely(
            bundle.leader, bundle.options, MIX, masked=masked, sampled=True, ues=3, cells=2, seed=1, periods=3
        )
        for masked in (True, False)
    }
    assert (lost[True].decisions, lost[True].lost, lost[True].illegal_tokens) == (6, 0, 0)
    assert lost[False].lost > 0


def test_a_training_that_was_stopped_for_its_bundles_is_the_unbroken_one(tmp_path: Path) -> None:
    config = budget_config(BUDGETS["smoke"], [MIX], updates=4, objective="counterfactual", ues=(2,))
    start = BUNDLES / "paper"
    told: list[str] = []
    logs = [
        train_part(config, start, stops, tmp_path / name, False, told.append)["log"]
        for name, stops in (("stopped", (1, 3)), ("unbroken", ()))
    ]
    assert logs[0] == logs[1]
    assert told[-1] == "update 4/4"
    last = [load_bundle(tmp_path / name / "bundle").leader.state_dict() for name in ("stopped", "unbroken")]
    assert all(torch.equal(last[0][name], tensor) for name, tensor in last[1].items())
    for stop in (1, 3):
        load_bundle(tmp_path / "stopped" / "at" / str(stop))


def test_a_training_that_is_cut_between_a_checkpoint_and_its_copy_makes_the_same_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = budget_config(BUDGETS["smoke"], [MIX], updates=4, objective="counterfactual", ues=(2,))
    told: list[str] = []
    for name in ("whole", "cut"):
        with monkeypatch.context() as patch:
            if name == "cut":
                patch.setattr(trainings, "_keep", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    train_part(config, BUNDLES / "paper", (3,), tmp_path / name, False, told.append)
        train_part(config, BUNDLES / "paper", (3,), tmp_path / name, True, told.append)
    assert told == [f"update {k}/4" for k in (1, 2, 3, 4, 1, 2, 3, 4)]
    copies = [load_bundle(tmp_path / name / "at" / "3").leader.state_dict() for name in ("whole", "cut")]
    assert all(torch.equal(copies[0][name], tensor) for name, tensor in copies[1].items())


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_in_the_update_of_a_stop_ends_the_study(tmp_path: Path) -> None:
    config = budget_config(BUDGETS["smoke"], [MIX], updates=4, objective="counterfactual", ues=(2,))

    def ask_at_the_stop(what: str) -> None:
        if what == "update 2/4":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_part(config, BUNDLES / "paper", (2,), tmp_path, False, ask_at_the_stop)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


class Coin(nn.Module):
    """A player that sends with the probability of one weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def play(self, rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
        self.bits_TB = rng.random(shape) < torch.sigmoid(self.weight).item()
        return self.bits_TB

    def log_probs(self, weights_TB: NDArray[np.float64] | None) -> Tensor:
        sign = torch.from_numpy(np.where(self.bits_TB, 1.0, -1.0)).float()
        with torch.set_grad_enabled(weights_TB is not None):
            found = nn.functional.logsigmoid(sign * self.weight)
            if weights_TB is not None:
                (found * torch.from_numpy(weights_TB).float()).sum().backward()
        return found.detach()


def test_the_jacobians_blocks_of_a_game_that_is_known() -> None:
    b, u, rng = Coin(0.3), Coin(-0.8), np.random.default_rng(0)
    shape = (1, 400_000)
    # The leader is paid where both send, the followers where they alone do.
    both, alone = b.play(rng, shape) & u.play(rng, shape), u.bits_TB & ~b.bits_TB
    played = Played(b.log_probs, u.log_probs, {"b": both.astype(float), "u": alone.astype(float)})
    models: dict[str, nn.Module] = {"b": b, "u": u}
    p, q = (torch.sigmoid(m.weight).item() for m in (b, u))
    dp, dq = p * (1 - p), q * (1 - q)
    expected = {"bb": dp * (1 - 2 * p) * q, "bu": dp * dq, "ub": -dp * dq, "uu": dq * (1 - 2 * q) * (1 - p)}
    one = [torch.tensor(1.0)]
    for player in models:
        for other, product in products(models, played, player, one).items():
            assert product[0].item() == pytest.approx(expected[other + player], abs=3e-3)
    assert b.weight.item() == pytest.approx(0.3)


def test_dominance_holds_only_where_all_four_intervals_say_so() -> None:
    own, clear, unclear = Interval(4.0, 3.0, 5.0), Interval(1.0, 0.5, 2.0), Interval(1.0, -1.0, 3.0)
    low = dominance({"bb": own, "uu": own, "bu": clear, "ub": clear})
    assert low == pytest.approx((0.25, 0.1, 2 / 3))
    assert holds(low) == "holds"
    assert holds(dominance({"bb": clear, "uu": clear, "bu": own, "ub": own})) == "does not hold"
    unknown = dominance({"bb": unclear, "uu": own, "bu": clear, "ub": clear})
    assert math.isnan(unknown.high)
    assert holds(unknown) == "cannot be told"


def test_words_fall_silent_and_change_places() -> None:
    state = CellBatch(MIX, 1, 4, seed=1).observe()[0]
    said = replace(state, ucm_U=np.array([1.0, np.nan, 2.0, 3.0]))
    rng = np.random.default_rng(0)
    assert as_received(said, "as said", False, rng) is said
    assert np.isnan(as_received(said, "nothing", False, rng).ucm_U).all()
    shuffled = [as_received(said, "shuffled", False, rng).ucm_U for _ in range(20)]
    assert all(np.isnan(words[1]) and sorted(words[[0, 2, 3]]) == [1.0, 2.0, 3.0] for words in shuffled)
    assert any(words[0] != 1.0 for words in shuffled)
    alone = as_received(said, "as said", True, rng)
    assert np.isnan(alone.buffer_bits_U).all()
    assert not np.isnan(alone.ucm_U[0])


def test_a_search_that_knows_the_future_loses_nothing_and_cells_disturb_each_other() -> None:
    at = make_networks(2, 3, seed=3)
    power = PowerControl(0.6, 15.0).milliwatts(at.own_WN)
    loud = np.ones((2, 3, 6))
    both = play(at, 60, power, loud, draws_of(at))
    alone = loud.copy()
    alone[:, 1:] = 0.0
    first = slice(0, 8)
    silent = play(at, 60, power, alone, draws_of(at))
    assert (silent.total_WN[:, first].sum(axis=1) > both.total_WN[:, first].sum(axis=1)).all()
    assert silent.total_WN[:, 8:].sum() == 0
    level = search(both, power, draws_of(both))
    assert level.shape == loud.shape
    assert set(np.unique(level)) <= {0.0, 0.25, 1.0}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nothing"], "no experiment 'nothing'"),
        (["period"], "--out is missing"),
        (["period", "--budget", "huge"], "'huge', expected one of quick, full"),
        (["period", "--ues", "0"], "expected counts from 1 to 200"),
        (["period", "--ues", "a"], "expected counts from 1 to 200, separated by commas"),
        (["period", "--scenario", "nowhere"], "unknown scenario 'nowhere'"),
        (["period", "--bundle", "nowhere"], "nowhere: no such bundle directory"),
        (["dictator", "--bundle", "nowhere"], "dictator trains its own; period, scale, grammar take one"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [] if arguments == ["period"] else ["--out", str(tmp_path / "out")]
    assert main(["experiment", *arguments, *out]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("held", ["parts", "trainings"])
def test_a_directory_with_an_experiment_is_not_overwritten(
    held: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / held).mkdir()
    assert main(["experiment", "period", "--out", str(tmp_path), "--budget", "smoke"]) == 2
    assert "--resume goes on" in capsys.readouterr().err


def test_a_result_of_another_directory_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, words = tmp_path / "found.json", ["experiment", "period", "--out", str(tmp_path / "out"), "--budget", "smoke"]
    file.write_text("{}")
    assert main([*words, "--json", str(file)]) == 2
    told = f"{file} is there already: --resume writes over it; or choose another file"
    assert capsys.readouterr().err.strip() == f"stackmac experiment: {told}"
    assert list(tmp_path.iterdir()) == [file] and file.read_text() == "{}"


def test_experiments_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in EXPERIMENTS)
