"""`stackmac bench`: every part runs, and compares what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from policy.registry import make_leader
from xapp import cli
from xapp.bench import command as bench
from xapp.bench import decision as bench_decision
from xapp.bench import kpm as bench_kpm
from xapp.bench.asn1_rivals import rivals
from xapp.bench.decision_path import DecisionPath
from xapp.e2.dcm import messages as dcm
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm.compiled_code import compiled_walk_code
from xapp.e2.kpm.compiled_walk import CompiledWalk


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "CASE_S", 0.0)
    monkeypatch.setattr(bench, "MIN_REPEATS", 3)
    monkeypatch.setattr(bench_kpm, "UES", (3,))
    monkeypatch.setattr(bench_decision, "UES", (3,))


def test_all_parts_make_rows_and_the_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bench.json"
    assert cli.main(["bench", "all", "--leaders", "proportional_fair", "--json", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = json.loads(path.read_text())["rows"]
    assert {row["part"] for row in rows} == {"kpm", "e2ap", "rc", "dcm", "rmr", "decision", "loop"}
    assert len(out.splitlines()) == 1 + len(rows)
    for row in rows:
        assert row["what"] in out
        assert 0 < row["median_us"] <= row["p99_us"]
        assert row["ratio"] == pytest.approx(row["alternative_median_us"] / row["median_us"], rel=0.1, abs=0.01)


def test_one_part_alone_with_json_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "kpm", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)["rows"]
    assert {row["part"] for row in rows} == {"kpm"}
    assert all(row["what"] in err for row in rows)


def test_reports_are_read_and_written_beside_all_that_can(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    assert cli.main(["bench", "kpm", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    readers = {"the walk in Python", "composed types", "pycrate", "asn1tools"}
    for case in ("A", "B", "B, noValue"):
        named = [row for row in rows if row["params"]["case"] == case]
        assert {row["alternative"] for row in named if row["what"] == f"read {case}, 3 UEs x 8"} == readers
    assert {row["alternative"] for row in rows if row["what"] == "write A, 3 UEs x 8"} == readers - {
        "the walk in Python"
    }


@pytest.mark.parametrize("ues", [3, 100])  # of these asn1tools cannot read the whole message
def test_all_readers_of_reports_read_the_same_numbers_or_it_is_noticed(
    ues: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk, others = CompiledWalk(compiled_walk_code(may_compile=True)), rivals()
    assert [other.name for other in others] == ["pycrate", "asn1tools"]
    for case in bench_kpm.CASES:
        message = bench_kpm.writing(case, ues, np.random.default_rng(1))()
        bench_kpm.check_same_table(message, walk, others)
        changed = bytearray(message)
        changed[-1] ^= 1  # of the granularity period
        bench_kpm.check_same_table(bytes(changed), walk, others)
    other = others[0]
    value = other.read(message)
    record = other.ue_reports(value)[-1]["measReport"]["measData"][-1]["measRecord"]
    record[0] = ("integer", 5)
    monkeypatch.setattr(other, "read", lambda message: value)
    with pytest.raises(RuntimeError, match="pycrate reads other numbers"):
        bench_kpm.check_same_table(message, walk, others)


@pytest.mark.parametrize("args", [("nothing",), ("loop", "--leaders", "nobody")])
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], args: tuple[str, ...]) -> None:
    assert cli.main(["bench", *args]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert args[-1] in err


@pytest.mark.parametrize(("k", "num_rbgs"), bench.SLOTS_PER_DCM)
def test_what_is_measured_is_a_whole_decision(k: int, num_rbgs: int) -> None:
    path = DecisionPath(make_leader("proportional_fair"), k, num_rbgs)
    rng = np.random.default_rng(1)
    request = e2ap.decode_control_request(path.decide(path.reports(rng, 8)))
    control = dcm.decode_control(request.message)
    assert control.allocation.ue_ids == tuple(range(8))
    assert control.allocation.num_rbgs == num_rbgs
    summary = path.metrics.summary()
    assert (summary["decided_by"], summary["guard_changes"]) == ({"proportional_fair": 1}, 0)
    assert (summary["indications_received"], summary["dropped"]) == (2, {})
    path.close()


def test_the_compiled_decision_is_measured_beside_all_its_alternatives(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    assert cli.main(["bench", "decision", "--leaders", "bundled", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert {row["part"] for row in rows} == {"decision"}
    for name, k, rbgs in (("paper", 1, 6), ("lab", 100, 17)):
        place = {"bundle": name, "k": k, "ues": 3, "rbgs": rbgs}
        alternatives = {row["alternative"] for row in rows if row["params"] == place}
        assert alternatives == {"torch, drafted", "transformers", "arithmetic alone", "in turn"}
        assert [row for row in rows if row["params"] == place | {"positions": 2}]


def test_a_decision_takes_at_least_its_arithmetic() -> None:
    """Blocks cost alike, and so many multiplications a step."""
    from policy.bundle import load_bundle
    from policy.shipped import shipped_bundle

    bundle = load_bundle(shipped_bundle(1))
    assert bench_decision.decision_macs(bundle, 8, 0) == pytest.approx(9 * bench_decision.decision_macs(bundle, 0, 0))
    one = bench_decision.decision_macs(bundle, 8, 1) - bench_decision.decision_macs(bundle, 8, 0)
    d, f, keys = 64, 176, 9 * 1 + 0.5
    assert one == pytest.approx(2 * (4 * d * d + 3 * d * f + 2 * d * keys) + d * d)
