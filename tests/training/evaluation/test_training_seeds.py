"""Claims over training seeds, learned baselines beside their teachers, profiles, and rows whoever computes them."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from policy.bundle import load_bundle, save_bundle
from policy.cell_state import COLUMNS
from policy.errors import UserMistake
from policy.observation import PROFILES, make_profile, observed
from policy.shipped import shipped_bundle
from training.baselines.players import BASELINES, Player, World
from training.baselines.rules import FixedContenders
from training.evaluation.bundle_players import enter_baseline, enter_bundles
from training.evaluation.evaluate import Evaluation, count_tasks, evaluate
from training.evaluation.rows import DICTATOR, Row, Setup
from training.intervals import difference, percent_above, student_t
from training.simulator.cell import CellBatch
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import MIX, RIC20
from xapp.cli import main

BASE = "node_idle"
SETUP = Setup(MIX, (3,), seeds=2, cells=3, periods=10)


@dataclass(frozen=True)
class Shifted:
    """What BASE plays, with so much more utility."""

    factor: float = 1.0
    offset: float = 0.0

    def __call__(self, world: World) -> list[CellMetrics]:
        played = BASELINES[BASE].plays[0](world)
        return [m._replace(utility=self.factor * m.utility + self.offset) for m in played]


def seeded(name: str, offsets: list[float], seeds: tuple[int, ...], baseline: bool = True) -> Player:
    return Player(name, tuple(Shifted(offset=o) for o in offsets), "greedy", train_seeds=seeds, baseline=baseline)


def row(result: Evaluation, player: str, ues: int = 3) -> Row:
    return next(r for r in result.rows if (r.player, r.ues) == (player, ues))


def test_a_claim_crosses_training_seeds_with_worlds() -> None:
    mine = seeded("bundle", [0.1, 0.2, 0.3], (5, 6, 7), baseline=False)
    same = seeded("same", [0.05, 0.15, 0.25], (5, 6, 7))
    other = seeded("other", [0.0, 0.1, 0.2], (8, 9, 10))
    result = evaluate([mine, same, other, BASELINES[BASE]], SETUP)
    vs = row(result, "bundle").vs
    half = student_t(2) * 0.1 / math.sqrt(3)
    assert (
        vs[BASE].utility_diff == pytest.approx((0.2, 0.2 - half, 0.2 + half))
        and vs[BASE].over == "training seeds x world seeds"
    )
    base = row(result, BASE).utility
    # Of a percentage the worlds are part, too: what is added is the same, what it is added to is not.
    percent = vs[BASE].utility_pct
    assert percent.mean == pytest.approx(100 * 0.2 / base) and percent.half_width > 100 * half / base
    assert vs["same"].utility_diff == pytest.approx((0.05, 0.05, 0.05))
    welch = student_t(4) * 0.1 * math.sqrt(2 / 3)  # twice the variance, twice the degrees of freedom
    assert vs["other"].utility_diff == pytest.approx((0.1, 0.1 - welch, 0.1 + welch))
    assert row(result, BASE).vs["same"].over == "training seeds x world seeds"
    # More cells say more of each seed, and nothing more of seeds.
    more = evaluate([mine, BASELINES[BASE]], SETUP._replace(seeds=3, cells=6))
    assert row(more, "bundle").vs[BASE].utility_diff.half_width == pytest.approx(half)

    assert [(r.player, r.train_seeds) for r in result.seed_rows if r.player != "other"] == [
        *(("bundle", (s,)) for s in (5, 6, 7)),
        *(("same", (s,)) for s in (5, 6, 7)),
    ]
    first = result.seed_rows[0]
    assert first.vs[BASE].utility_diff.mean == pytest.approx(0.1) and first.vs[BASE].over == "world seeds"
    assert first.vs["same"].utility_diff.mean == pytest.approx(0.1 - 0.15)
    assert "training seeds" in result.interval and len(result.as_json()["seed_rows"]) == 9


def test_unpaired_differences_are_welchs() -> None:
    a, b = [1.0, 2.0, 3.0], [2.0, 2.5, 3.0]
    variance = 1.0 / 3 + 0.25 / 3
    degrees = variance**2 / ((1.0 / 3) ** 2 / 2 + (0.25 / 3) ** 2 / 2)
    half = student_t(degrees) * math.sqrt(variance)
    assert difference(a, b, paired=False) == pytest.approx((-0.5, -0.5 - half, -0.5 + half))
    assert difference(a, [1.0], paired=False).half_width == pytest.approx(student_t(2) / math.sqrt(3))
    assert math.isnan(difference([1.0], [2.0], paired=False).low)
    assert math.isnan(difference([], [2.0], paired=False).mean)
    assert percent_above([1.1, 2.2], [1.0, 2.0], paired=True) == pytest.approx((10.0, 10.0, 10.0))
    assert math.isnan(percent_above([1.0], [-1.0], paired=False).mean)


@pytest.mark.parametrize(
    ("factor", "trained", "verdict"),
    [(0.95, (3,), True), (0.99, (3,), False), (1.2, (), False), (0.95, (7,), None), (0.95, (), True)],
)
def test_a_learned_baseline_far_below_its_teacher_is_untrained(
    factor: float, trained: tuple[int, ...], verdict: bool | None
) -> None:
    learner = Player("dictator_learned", (Shifted(factor),), "greedy", "obey", (1,), True, BASE, trained)
    dictator = BASELINES["inflight_pf"]
    players = [BASELINES["aloha"], learner, dictator, BASELINES[BASE]]
    result = evaluate(players, SETUP._replace(ues=(3, 4)))
    assert [row(result, "dictator_learned", ues).untrained for ues in (3, 4)] == [verdict] * 2
    assert row(result, BASE).untrained is None
    # An untrained one is no Dictator, however the other does.
    better = max(["inflight_pf"] + ["dictator_learned"] * (not verdict), key=lambda p: row(result, p).utility)
    assert result.dictators[3] == better
    aloha = row(result, "aloha")
    assert aloha.vs[DICTATOR] == aloha.vs[better] and DICTATOR not in row(result, better).vs


def test_rows_do_not_depend_on_the_number_of_processes() -> None:
    players = [BASELINES["node_scheduler"], BASELINES["round_robin"]]
    said: list[tuple[int, str]] = []
    many = evaluate(players, SETUP, lambda done, what: said.append((done, what)), jobs=2)
    assert many.as_json() == evaluate(players, SETUP).as_json()
    assert said[0][0] == 0 and [d for d, _ in said[1:]] == [1, 2, 3, 4, 4] and count_tasks(players, SETUP) == 4


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The shipped one as if of seeds 1 and 2."""
    shipped = load_bundle(shipped_bundle(1))
    folder = tmp_path_factory.mktemp("bundles")
    for seed in (1, 2):
        provenance = {"seed": 0, "teacher": "proportional_fair", "ues": [3], "trained": {"seed": seed, "ues": [4]}}
        save_bundle(replace(shipped, provenance=provenance), folder / str(seed))
    return [str(folder / "1"), str(folder / "2")]


def test_what_a_learned_baseline_is_made_of_goes_by_its_name(bundles: list[str]) -> None:
    both = ",".join(bundles)
    made = {}
    for name in ("dictator_learned", "pf_leader_retrained_followers", "mappo", "mine"):
        (made[name],) = enter_baseline(name, both, 1, "greedy", "learned").players
    assert {name: (p.followers, p.teacher) for name, p in made.items()} == {
        "dictator_learned": ("obey", "inflight_pf"),
        "pf_leader_retrained_followers": ("learned", "inflight_pf_smart"),
        "mappo": ("rule", "inflight_pf_smart"),
        "mine": ("learned", "inflight_pf_smart"),
    }
    assert made["mappo"].train_seeds == (1, 2) and made["mappo"].trained_ues == (4,)
    assert made["mappo"].label == "mappo"
    world = World(MIX, ues=3, cells=6, seed=1, periods=40)
    played = {name: p.plays[0](world) for name, p in made.items()}
    assert len({tuple(m.utility for m in rows) for rows in played.values()}) == 4
    drawn = enter_baseline("pf_leader_retrained_followers", both, 1, "sampled", "learned").players[0].plays[0](world)
    assert [m.utility for m in drawn] != [m.utility for m in played["pf_leader_retrained_followers"]]
    again = pickle.loads(pickle.dumps(made["mappo"]))
    np.testing.assert_equal(again.plays[1](world), played["mappo"])
    with pytest.raises(UserMistake, match="trained with the same seed, 1"):
        enter_bundles(f"{bundles[0]},{bundles[0]}", 1, ("greedy",), "rule")


def test_the_command_takes_training_seeds_and_learned_baselines(
    bundles: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--scenario", "mix", "--ues", "4", "--seeds", "1", "--cells", "2", "--slots", "5", "--jobs", "1"]
    players = ["--player", f"mappo={bundles[1]}", "--player", f"dictator_learned={bundles[0]}"]
    target = tmp_path / "rows.json"
    options = ["--against", "node_scheduler,mappo", "--observe", "kpm_oai", "--json", str(target)]
    assert main(["evaluate", *small, "--bundle", ",".join(bundles), *players, *options]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "bundle (greedy), training seed 2:" in shown and "leaders see kpm_oai" in shown
    result = json.loads(target.read_text())
    assert [(b["player"], b["name"]) for b in result["bundles"]] == [
        ("bundle", bundles[0]),
        ("bundle", bundles[1]),
        ("mappo", bundles[1]),
        ("dictator_learned", bundles[0]),
    ]
    rows = {r["player"]: r for r in result["rows"]}
    assert list(rows) == [
        "bundle", "node_scheduler", "mappo", "dictator_learned", "inflight_pf_smart", "inflight_pf",
    ]  # fmt: skip
    assert rows["bundle"]["train_seeds"] == [1, 2] and rows["bundle"]["profile"] == "kpm_oai"
    assert isinstance(rows["mappo"]["untrained"], bool) and rows["bundle"]["untrained"] is None
    assert set(rows["bundle"]["vs"]) == {*rows, DICTATOR} - {"bundle"}
    assert result["dictator"]["4"] in ("inflight_pf", "dictator_learned")
    assert result["contenders"]["node_scheduler"] == {"4": MIX.node_contenders}
    assert len(result["seed_rows"]) == 2 and result["missing"] == []

    assert main(["evaluate", *small, "--followers", "learned"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "not given, they have to be trained first: pf_leader_retrained_followers, dictator_learned, mappo" in shown


@pytest.mark.parametrize("name", [name for name in PROFILES if name != "full"])
def test_a_profile_hides_what_kpm_does_not_say(name: str) -> None:
    (state,) = CellBatch(RIC20, 1, 6, seed=1).observe()
    seen = observed(state, make_profile(name))
    known = {c for c in COLUMNS if not np.isnan(getattr(seen, c)).all()}
    assert {"served_bits_per_slot_U", "prb_share_U", "age_slots_U"} <= known
    assert not known & {"buffer_bits_U", "inflight_bits_U", "cqi_U", "preferred_rbg_U", "traffic_class_U"}
    assert seen.ue_ids == state.ue_ids and observed(state, make_profile("full")) is state
    world = World(RIC20, ues=6, cells=2, seed=1, periods=4)
    blind, sighted = (BASELINES["static_config"].plays[0](w) for w in (world._replace(observe=name), world))
    assert [m.utility for m in blind] != [m.utility for m in sighted]
    with pytest.raises(ValueError, match="unknown observation profile 'x'"):
        make_profile("x")


def test_a_fixed_c_replaces_the_rules_own() -> None:
    from policy.intent import Intent
    from policy.leader import never_expires
    from policy.schedulers.schedulers import SCHEDULERS

    states = CellBatch(MIX, 2, 3, seed=1).observe()
    leader = SCHEDULERS["proportional_fair"]
    plain, fixed = (who.decide(states, [Intent()] * 2, never_expires) for who in (leader, FixedContenders(leader, 2.5)))
    for before, after in zip(plain, fixed):
        assert after.allocation.leftover == before.allocation.leftover._replace(contenders=2.5)
        assert (after.allocation.owner_M == before.allocation.owner_M).all()
