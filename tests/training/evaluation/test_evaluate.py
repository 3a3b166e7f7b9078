"""`stackmac evaluate`: the same worlds for everybody, rows that say what they are, and mistakes in one line."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from round_robin import round_robin_plan

from policy.bundle import load_bundle, save_bundle
from policy.intent import Intent
from policy.leader import never_expires
from policy.leader_models.language_model import new_leader_model
from policy.model_leader import load_leader
from policy.shipped import shipped_bundle
from training.baselines.players import BASELINES, LEARNED, Player, World, make_baselines
from training.evaluation.bundle_players import enter_bundles
from training.evaluation.evaluate import evaluate
from training.evaluation.rows import Row, Setup
from training.intervals import Interval, mean_interval, student_t
from training.simulator.cell import CellBatch
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import LAB_PAPER, MIX, RIC20, SPORADIC, Scenario
from xapp.cli import main

ROW_KEYS = {
    "player", "ues", "k", "profile", "decoding", "followers", "throughput_bits_per_slot", "jain", "utility",
    "collision_fraction", "waste_fraction", "drop_fraction", "drop_fraction_by_class", "delay_slots_p50",
    "delay_slots_p95", "train_seeds", "world_seeds", "cells", "oracle_gap_share", "untrained", "vs",
}  # fmt: skip


def by_label(rows: list[Row]) -> dict[str, Row]:
    return {row.label: row for row in rows}


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_player_against_itself_is_exactly_zero(seeds: int) -> None:
    scheduler = BASELINES["node_scheduler"]
    twin = scheduler._replace(name="twin")
    setup = Setup(MIX, (3,), seeds=seeds, cells=4, periods=30)
    rows = by_label(evaluate([scheduler, twin, BASELINES["node_idle"]], setup).rows)
    over = "world seeds" if seeds > 1 else "cells"
    nothing = Interval(0.0, 0.0, 0.0)
    assert rows["twin"].vs["node_scheduler"] == (0.0, nothing, nothing, nothing, over)
    other = rows["twin"].vs["node_idle"]
    back = rows["node_idle"].vs["twin"]
    assert other.utility_diff.low < other.utility_diff.mean < other.utility_diff.high
    assert other.utility_diff.mean == pytest.approx(-back.utility_diff.mean)
    assert other.utility_diff.mean == pytest.approx(rows["twin"].utility - rows["node_idle"].utility)
    percent, base = other.utility_pct, rows["node_idle"].utility
    assert percent.mean == pytest.approx(100 * other.utility_diff.mean / base) and percent.low < percent.mean
    assert other.throughput_pct == other.throughput_pct_interval.mean


def test_other_worlds_can_be_asked_for() -> None:
    setup = Setup(MIX, (3,), seeds=2, cells=2, periods=30)
    player = BASELINES["node_scheduler"]
    (first,) = evaluate([player], setup).rows
    (other,) = evaluate([player], setup._replace(first_seed=5)).rows
    assert other.world_seeds == (5, 6) and set(first.world_seeds).isdisjoint(other.world_seeds)
    assert other.utility != first.utility


def test_the_gap_goes_from_inflight_pf_to_the_oracle() -> None:
    setup = Setup(SPORADIC, (4,), seeds=2, cells=10, periods=60)
    players = make_baselines("oracle, inflight_pf_smart, round_robin, node_scheduler")
    rows = by_label(evaluate(players, setup).rows)
    assert (rows["inflight_pf_smart"].oracle_gap_share, rows["oracle"].oracle_gap_share) == (0, 1)
    assert rows["round_robin"].oracle_gap_share < 0
    (alone,) = evaluate([BASELINES["oracle"]], setup).rows
    assert math.isnan(alone.oracle_gap_share)


def test_baselines_are_the_reference_games() -> None:
    world = World(MIX, ues=5, cells=40, seed=5, periods=100)

    def pinned(contenders: float, followers: str) -> list[CellMetrics]:
        scenario = MIX.with_(node_contenders=contenders, node_subtracts_inflight=False)
        batch = CellBatch(scenario, 40, 5, seed=5)
        batch.play(None, 100, "obey" if followers == "obey" else "best_response")
        return batch.metrics()

    batch = CellBatch(MIX, 8, 5, seed=5)
    for _ in range(25):
        batch.play(round_robin_plan(batch), 1, "obey")
    small = world._replace(cells=8, periods=25)  # equal to the last coin: a few cells tell
    np.testing.assert_equal(BASELINES["round_robin"].plays[0](small), batch.metrics())
    # The rule that contends knows from reports how many are active; the reference game's assumes all are.
    pairs = [("proportional_fair", pinned(0.0, "obey")), ("proportional_fair_smart", pinned(1.2, "rule"))]
    for name, expected in pairs:
        for metric in ("throughput_bits_per_slot", "utility"):
            mine, theirs = (
                np.mean([getattr(m, metric) for m in row]) for row in (BASELINES[name].plays[0](world), expected)
            )
            assert mine == pytest.approx(theirs, rel=0.03), (name, metric)


@pytest.mark.parametrize("scenario", [LAB_PAPER, RIC20])
def test_every_baseline_plays_where_ues_come_and_go_and_at_a_rics_pace(scenario: Scenario) -> None:
    setup = Setup(scenario, (4,), seeds=1, cells=2, periods=5)
    result = evaluate(make_baselines("all"), setup)
    assert [row.label for row in result.rows] == list(BASELINES)
    assert all(math.isfinite(row.utility) and row.throughput_bits_per_slot > 0 for row in result.rows)


def test_ctrl_c_keeps_the_world_seeds_that_are_finished() -> None:
    calls = 0

    def play(world: World) -> list[CellMetrics]:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise KeyboardInterrupt
        return BASELINES["node_idle"].plays[0](world)

    setup = Setup(MIX, (3,), seeds=9, cells=2, periods=5)
    result = evaluate([Player("impatient", (play,))], setup)
    assert (result.seeds_done, result.complete, len(result.rows[0].world_seeds)) == (3, False, 3)
    with pytest.raises(KeyboardInterrupt):
        evaluate([Player("impatient", (play,))], setup)


def test_sampled_decoding_draws_by_seed_cell_and_slot(tmp_path: Path) -> None:
    # Untrained weights: a trained leader may be so certain that its samples are its greedy words.
    shipped = load_bundle(shipped_bundle(1))
    folder = tmp_path / "untrained"
    save_bundle(replace(shipped, leader=new_leader_model(shipped.leader.config, shipped.leader.layout, seed=3)), folder)
    world = World(MIX, ues=4, cells=3, seed=1, periods=8)
    greedy, sampled = (p.plays[0] for p in enter_bundles(str(folder), 1, ("greedy", "sampled"), "rule").players)
    once = sampled(world)
    np.testing.assert_equal(sampled(world), once)
    assert [m.utility for m in once] != [m.utility for m in greedy(world)]

    leader = load_leader(folder).sampled(7)
    states = CellBatch(MIX, 3, 4, seed=1).observe()
    together = leader.decide(states, [Intent()] * 3, never_expires)
    for state, decision in zip(states, together):
        assert leader.decide([state], [Intent()], never_expires)[0].tokens == decision.tokens
    others = [leader.sampled(seed).decide(states, [Intent()] * 3, never_expires) for seed in (8, 9)]
    assert len({tuple(d.tokens for d in decisions) for decisions in (together, *others)}) > 1


def test_students_t() -> None:
    known = {1: 12.7062, 4: 2.7764, 11: 2.2010, 20: 2.0860, 60: 2.0003, 10_000: 1.9602}
    assert {n: round(student_t(n), 4) for n in known} == pytest.approx(known, abs=2e-4)
    with pytest.raises(ValueError, match="0 degrees"):
        student_t(0)
    mean, low, high = mean_interval([1.0, 2.0, 3.0, math.nan])
    assert (mean, high - mean) == pytest.approx((2.0, 4.3027 / math.sqrt(3))) and mean - low == high - mean
    assert math.isnan(mean_interval([1.0]).low) and math.isnan(mean_interval([]).mean)


def run(*arguments: str) -> int:
    return main(["evaluate", "--scenario", "mix", *arguments])


def test_the_command_writes_rows_and_shows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "rows.json"
    small = ["--ues", "3,4", "--seeds", "2", "--cells", "2", "--slots", "10", "--decoding", "both", "--jobs", "1"]
    names = "node_scheduler,inflight_pf_smart,oracle"
    assert run(*small, "--against", names, "--json", str(target)) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in (*names.split(","), "bundle (sampled)", "mix, K = 1, 4 UEs", MIX.hash))
    result = json.loads(target.read_text())
    assert (result["scenario_hash"], result["scenario"]["load"], result["slots"]) == (MIX.hash, MIX.load, 10)
    assert result["complete"] and "world seeds" in result["interval"] and result["bundles"][0]["name"] == "bundled"
    assert [row["player"] for row in result["rows"]] == ["bundle", "bundle", *names.split(",")] * 2
    for row in result["rows"]:
        assert set(row) == ROW_KEYS
        assert (row["k"], row["profile"], row["cells"], len(row["world_seeds"])) == (1, "full", 2, 2)
        assert set(row["vs"]) == set(names.split(",")) - {row["player"]}
        assert row["drop_fraction_by_class"]["periodic"] is None and row["untrained"] is None
        for against in row["vs"].values():
            for interval in (against["utility_diff"], against["utility_pct"], against["throughput_pct_interval"]):
                assert interval["low"] <= interval["mean"] <= interval["high"]
    assert [row["decoding"] for row in result["rows"][:3]] == ["greedy", "sampled", None]
    assert result["rows"][0]["train_seeds"] == [0]

    again = [*small, "--against", names, "--json", "-"]
    assert run(*again) == 0
    assert json.loads(capsys.readouterr().out) == result


def test_learned_followers_and_another_pace(capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["--ues", "3", "--seeds", "1", "--cells", "2", "--slots", "10", "--against", "node_idle", "--jobs", "1"]
    assert run(*tiny, "--followers", "learned", "--k", "2", "--json", "-") == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert "trained for K from 1 to 1, K is 2" in err and "over cells" in result["interval"]
    assert [(row["followers"], row["k"]) for row in result["rows"]] == [("learned", 2), ("rule", 2)]
    assert result["scenario"]["slots_per_dcm"] == 2 and result["scenario_hash"] != MIX.hash


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--against", "mappo"], "mappo has to be trained first: give its bundles, --player mappo=DIR"),
        (["--against", "nobody"], "unknown player 'nobody'; known: all, node_idle"),
        (["--against", ","], "nobody to compare with"),
        (["--ues", "3,many"], "--ues is '3,many'"),
        (["--ues", "0"], "--ues is '0'"),
        (["--decoding", "loud"], "--decoding is 'loud', expected one of greedy, sampled, both"),
        (["--followers", "none"], "--followers is 'none'"),
        (["--scenario", "utopia"], "unknown scenario 'utopia'"),
        (["--observe", "stars"], "--observe is 'stars', expected one of full, kpm_srsran, kpm_oai"),
        (["--player", "mappo"], "--player is 'mappo', expected NAME=DIR"),
        (["--player", "mappo=a", "--player", "mappo=b"], "--player mappo is given twice"),
        (["--player", "aloha=bundled"], "'aloha' cannot be the name of a learned player"),
        (["--bundle", "bundled,bundled"], "bundled and bundled were trained with the same seed, 0"),
        (["--jobs", "-1"], "--jobs"),
        (["--bundle", "/no/bundle"], "/no/bundle: no such bundle directory"),
        (["--json", "/nowhere/rows.json"], "--json /nowhere/rows.json: No such file or directory"),
        (["--seeds", "0"], "--seeds"),
    ],
)
def test_a_mistake_is_one_line_and_costs_no_run(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) in (1, 2)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("stackmac evaluate: ") and complaint in err


def test_what_learns_is_no_rule() -> None:
    assert not set(LEARNED) & set(BASELINES)
