"""What `stackmac bench` measures by processes of their own: starts, and how many cells one can do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policy.allocation import all_dynamic
from xapp import cli
from xapp.bench import capacity, start
from xapp.bench import command as bench
from xapp.bench.decision_path import carrier
from xapp.bench.many_cells import BenchCell, based_on
from xapp.bench.report_generator import GeneratorSetting
from xapp.e2.dcm import messages as dcm
from xapp.e2.e2ap import hot_messages as e2ap

CELLS, PERIODS = 2, 4


def test_starts_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "STARTS", 1)
    monkeypatch.setattr(start, "BUNDLED", "round_robin")  # the others take seconds of a core each
    monkeypatch.setattr(start, "is_installed", lambda name: False)
    path = tmp_path / "bench.json"
    assert cli.main(["bench", "start", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [row["alternative"] for row in rows] == ["proportional_fair", start.FLOOR]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["alternative_median_us"] / row["median_us"], rel=0.1)
        assert row["params"]["cpu_s"] > 0 and row["params"]["theirs_cpu_s"] > 0


def test_loads_are_decided_about_and_twice_the_load_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "CELLS", (CELLS,))
    warm = GeneratorSetting._field_defaults["warm_periods"]
    monkeypatch.setattr(capacity, "PERIODS", warm + PERIODS)
    monkeypatch.setattr(capacity, "AFTER_PERIODS", PERIODS)
    path = tmp_path / "bench.json"
    assert cli.main(["bench", "capacity", "--leaders", "round_robin,proportional_fair", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [row["what"] for row in rows] == [
        f"proportional_fair, 1 process, {CELLS} cells",
        f"proportional_fair, 2 processes, {CELLS} cells",
        f"proportional_fair, 1 process, {2 * CELLS} cells for {capacity.PERIODS} periods",
    ]
    sent = [CELLS * PERIODS, CELLS * PERIODS, CELLS * PERIODS + CELLS * 2 * PERIODS]
    assert [row["params"]["generator"]["sent"] for row in rows] == sent
    for row, processes in zip(rows, (1, 2, 1)):
        loops = row["params"]["loops"]
        assert len(loops) == processes
        assert all(loop["most_waiting"] <= 2 * CELLS and sum(loop["decided_by"].values()) > 0 for loop in loops)
        assert 0 < row["params"]["generator"]["answered"] <= row["params"]["generator"]["sent"]


def test_a_control_says_which_report_it_is_based_on() -> None:
    ((indication, _),) = BenchCell(3).reports(1, 2)
    assert e2ap.decode_indication(indication.payload).request_id.instance == BenchCell(3).dcm_instance

    for number in (0, 1, 300, 65_535):
        control = dcm.encode_control(
            all_dynamic((1, 2), 17),
            instance_epoch=1_700_000_000_000,
            decision_id=12_345,
            based_on_indication_sn=number,
            carrier=carrier(17),
            valid_for_slots=2,
        )
        assert based_on(control) == number
    assert based_on(b"") == 0
