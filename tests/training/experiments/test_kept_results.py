"""What docs/results holds of full experiments makes the pages and tables that stand beside it, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.experiments import report
from xapp.cli import main

KEPT = sorted((Path(__file__).parents[3] / "docs" / "results").glob("*.json"))


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: str(kept.stem))
def test_a_kept_result_makes_its_table_and_page_again(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pixels differ with the machine's fonts; tests/test_without_torch.py draws them.
    monkeypatch.setattr(report, "draw", lambda figure, png, svg: None)
    assert main(["results", "figure", str(kept), "--out", str(tmp_path)]) == 0
    for ending in (".csv", ".md", ".json"):
        assert (tmp_path / kept.name).with_suffix(ending).read_bytes() == kept.with_suffix(ending).read_bytes()


def test_there_are_kept_results() -> None:
    assert KEPT
