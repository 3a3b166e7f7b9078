"""`stackmac tune`: the c of every row's leftover rule, on worlds that nothing is evaluated on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from training.baselines.contention_tuning import Tuned

tune_app = typer.Typer(add_completion=False, rich_markup_mode=None)

SCENARIOS = "mix,sporadic,paper,paper_dynamic,lab_paper,coupled,dense,ric20,ric100"
UES = "3,4,5,8,10,30"


@tune_app.command("tune")
def tune_command(
    scenarios: Annotated[str, typer.Option(help="Names, comma-separated.")] = SCENARIOS,
    policies: Annotated[str, typer.Option(help="all, or names of rows, comma-separated.")] = "all",
    ues: Annotated[str, typer.Option(help="UEs per cell, comma-separated.")] = UES,
    cells: Annotated[int, typer.Option(min=8, max=100_000, help="Cells up to 5 UEs; fewer with more UEs.")] = 240,
    out: Annotated[
        str, typer.Option("--json", help="Table to write; what it holds of other rows stays. - = standard output.")
    ] = "-",
) -> None:
    """Tune how eagerly UEs contend for what a leader leaves over, for every row of a comparison."""
    from training.baselines.contention_tuning import TUNED_POLICIES, tune_table, worth_tuning
    from training.progress_bar import ProgressBar
    from training.simulator.scenario import make_scenario

    names = _words(scenarios)
    rows = list(TUNED_POLICIES) if policies == "all" else _words(policies)
    try:
        counts = [int(word) for word in _words(ues)]
    except ValueError:
        raise typer.BadParameter(f"--ues is {ues!r}, expected numbers from 1 to 200, comma-separated") from None
    if not counts or not all(1 <= count <= 200 for count in counts):
        raise typer.BadParameter(f"--ues is {ues!r}, expected numbers from 1 to 200, comma-separated")
    for row in rows:
        if row not in TUNED_POLICIES:
            raise typer.BadParameter(f"--policies has {row!r}, expected all or of {', '.join(TUNED_POLICIES)}")
    try:
        steps = len(counts) * sum(worth_tuning(make_scenario(name), row) for name in names for row in rows)
        table = _read(out)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    done = 0
    with ProgressBar("tune", steps, "c {contenders:.2f}  utility {utility:.3f}") as bar:
        for name in names:
            for row in rows:

                def show(_scenario: str, _policy: str, _ues: int, best: Tuned) -> None:
                    nonlocal done
                    done += 1
                    bar.show(done, contenders=best.contenders, utility=best.utility)

                fresh = tune_table([name], [row], counts, cells=cells, progress=show)
                for scenario, by_policy in fresh.items():
                    for policy, by_ues in by_policy.items():
                        table.setdefault(scenario, {}).setdefault(policy, {}).update(by_ues)
                if out != "-":
                    _write(out, table)
    if out == "-":
        typer.echo(json.dumps(table, indent=1))


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _read(out: str) -> dict[str, dict[str, dict[str, float]]]:
    """The table that is there already. Raises OSError, ValueError."""
    if out == "-" or not Path(out).exists():
        return {}
    table: dict[str, dict[str, dict[str, float]]] = json.loads(Path(out).read_text(encoding="utf-8"))
    return table


def _write(out: str, table: dict[str, dict[str, dict[str, float]]]) -> None:
    Path(out).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
