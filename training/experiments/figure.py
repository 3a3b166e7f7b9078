"""A figure as data, and how it is drawn: PNG and SVG, the same bytes for the same numbers.

Curves over numbers are lines with a band for the interval; over names they are bars with whiskers.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from training.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_WIDTH_IN = 5.2
PANEL_HEIGHT_IN = 3.9
COLUMNS = 2
"""Panels side by side."""
TITLE_CHARACTERS = 50
"""Characters of a title's line as wide as a panel."""
DPI = 150
SAVED: dict[str, dict[str, Any]] = {
    ".png": {"dpi": DPI, "metadata": {"Software": None}},
    ".svg": {"metadata": {"Date": None, "Creator": None}},
}
"""How a file is written, by its ending: nothing in it differs from run to run."""
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Okabe and Ito's: distinguishable for everybody."""
MARKERS = "osD^vP*X"


class Curve(NamedTuple):
    """One player or setting, over the panel's x."""

    label: str
    x: Sequence[float] | Sequence[str]
    y: Sequence[Interval]
    """A point without an interval has NaN ends."""
    dashed: bool = False


class Panel(NamedTuple):
    """One pair of axes."""

    title: str
    x_label: str
    """With the unit."""
    y_label: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = False
    level: float | None = None
    """A horizontal line: what the curves are compared with."""
    marks: Sequence[tuple[float, str]] = ()
    """Vertical lines with a word each."""


class Figure(NamedTuple):
    title: str
    panels: Sequence[Panel]


def point(value: float) -> Interval:
    """A number without an interval."""
    return Interval(value, math.nan, math.nan)


def draw(figure: Figure, *files: Path) -> None:
    """Write the files, each as its ending says: .png or .svg."""
    import matplotlib

    # No pyplot: it would choose a backend for the whole process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    count = len(figure.panels)
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    with matplotlib.rc_context({"svg.hashsalt": "stackmac", "font.size": 9.0, "axes.titlesize": 10.0}):
        canvas = Canvas(figsize=(PANEL_WIDTH_IN * columns, PANEL_HEIGHT_IN * rows + 0.4), layout="constrained")
        FigureCanvasAgg(canvas)
        canvas.suptitle("\n".join(textwrap.wrap(figure.title, TITLE_CHARACTERS * columns)))
        axes = canvas.subplots(rows, columns, squeeze=False).flatten()
        looks: dict[str, int] = {}
        for panel, axis in zip(figure.panels, axes):
            _draw_panel(panel, axis, _looks_of(panel, looks))
        for axis in axes[count:]:
            axis.set_visible(False)
        for file in files:
            canvas.savefig(file, **SAVED[file.suffix])


def _looks_of(panel: Panel, known: dict[str, int]) -> list[int]:
    """Each curve's colour and marker: what has a name looks alike in all panels. Adds what is new to `known`."""
    chosen: list[int] = []
    for curve in panel.curves:
        before = known.get(curve.label)
        if before is None or before in chosen:
            others = {known[c.label] for c in panel.curves if c.label in known}
            before = next(k for k in range(len(known) + len(panel.curves) + 1) if k not in {*chosen, *others})
            known.setdefault(curve.label, before)
        chosen.append(before)
    return chosen


def _draw_panel(panel: Panel, axis: Axes, looks: list[int]) -> None:
    axis.set_title(panel.title)
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)
    named = any(isinstance(x, str) for curve in panel.curves for x in curve.x)
    if named:
        _draw_bars(panel, axis, looks)
    else:
        for look, curve in zip(looks, panel.curves):
            _draw_line(curve, axis, look)
        _scale(panel, axis)
    if panel.level is not None:
        axis.axhline(panel.level, color="#444444", linewidth=0.8, zorder=0)
    for x, word in panel.marks:
        axis.axvline(x, color="#444444", linewidth=0.8, linestyle=":", zorder=0)
        axis.annotate(word, (x, 1.0), (2, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
                      rotation=90, va="top", fontsize=7)  # fmt: skip
    axis.grid(True, color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    if len(panel.curves) > 1 or panel.curves[0].label:
        axis.legend(fontsize=7, framealpha=0.4)


def _draw_line(curve: Curve, axis: Axes, look: int) -> None:
    colour, x = PALETTE[look % len(PALETTE)], [float(v) for v in curve.x]
    mean = [i.mean for i in curve.y]
    marker = MARKERS[look % len(MARKERS)] if len(x) <= 30 else ""
    style = "--" if curve.dashed else "-"
    axis.plot(x, mean, color=colour, marker=marker, markersize=4, linestyle=style, label=curve.label)
    if any(math.isfinite(i.low) for i in curve.y):
        axis.fill_between(x, [i.low for i in curve.y], [i.high for i in curve.y], color=colour, alpha=0.18, linewidth=0)


def _scale(panel: Panel, axis: Axes) -> None:
    if panel.log_y and any(i.mean > 0 for curve in panel.curves for i in curve.y):
        axis.set_yscale("log")
    if not panel.log_x:
        return
    axis.set_xscale("log")
    ticks = sorted({float(x) for curve in panel.curves for x in curve.x})
    if len(ticks) <= 12:
        axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axis.minorticks_off()


def _draw_bars(panel: Panel, axis: Axes, looks: list[int]) -> None:
    names: list[Any] = list(dict.fromkeys(x for curve in panel.curves for x in curve.x))
    width = 0.8 / max(1, len(panel.curves))
    for k, curve in enumerate(panel.curves):
        at = [names.index(x) - 0.4 + (k + 0.5) * width for x in curve.x]
        mean = [i.mean for i in curve.y]
        whiskers = [[_length(i.mean - i.low) for i in curve.y], [_length(i.high - i.mean) for i in curve.y]]
        colour = PALETTE[looks[k] % len(PALETTE)]
        axis.bar(at, mean, width, yerr=whiskers, capsize=2, color=colour, label=curve.label)
    turned = sum(map(len, names)) > 40
    axis.set_xticks(range(len(names)), names, rotation=30 if turned else 0, ha="right" if turned else "center")
    if panel.log_y:
        axis.set_yscale("log")


def _length(value: float) -> float:
    return value if math.isfinite(value) else 0.0
