"""Drawing for tests that ask only whether a figure can be drawn."""

from __future__ import annotations

from typing import Any

import pytest

from training.experiments import figure

LOW_DPI = 30


@pytest.fixture
def quick_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every panel is drawn, coarsely and where it happens to be: making room for all words takes most of the time."""
    from matplotlib.figure import Figure

    def without_layout(layout: str, **arguments: Any) -> Figure:
        return Figure(**arguments)

    monkeypatch.setattr("matplotlib.figure.Figure", without_layout)
    monkeypatch.setitem(figure.SAVED, ".png", figure.SAVED[".png"] | {"dpi": LOW_DPI})
