"""What docs/results holds of full experiments makes the pages and tables that stand beside it, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.experiments import report
from training.experiments.figure import draw
from xapp.cli import main

KEPT = sorted((Path(__file__).parents[3] / "docs" / "results").glob("*.json"))


@pytest.mark.usefixtures("quick_drawing")
@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: str(kept.stem))
def test_a_kept_result_makes_its_table_and_page_again(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As SVG too they take twice as long, and nothing here looks at those.
    monkeypatch.setattr(report, "draw", lambda figure, png, svg: draw(figure, png))
    assert main(["results", "figure", str(kept), "--out", str(tmp_path)]) == 0
    for ending in (".csv", ".md", ".json"):
        assert (tmp_path / kept.name).with_suffix(ending).read_bytes() == kept.with_suffix(ending).read_bytes()
    # Pixels may differ with the machine's fonts.
    assert (tmp_path / kept.name).with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_there_are_kept_results() -> None:
    assert KEPT
