"""`stackmac tune`: the c of every row's leftover rule, on worlds that nothing is evaluated on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from policy.errors import UserMistake, counted
from training.command_line.hold import hold_file
from training.command_line.options import command, option
from training.command_line.result_file import check_json_path
from training.command_line.values import MAX_UES, counts_in, some_names_in

if TYPE_CHECKING:
    from training.baselines.contention_tuning import Tuned

tune_app = typer.Typer(add_completion=False, rich_markup_mode=None)

SCENARIOS = "mix,sporadic,paper,paper_dynamic,lab_paper,coupled,dense,ric20,ric100"
UES = "3,4,5,8,10,30"


@dataclass(frozen=True)
class TuneOptions:
    """What `stackmac tune` is given."""

    scenarios: str = option(SCENARIOS, "Names or FILE.toml, comma-separated; of a file the c are kept beside it, too.")
    players: str = option("all", "all, or names of rows, comma-separated, and leaders of one's own, module:Class.")
    ues: str = option(UES, "UEs per cell, comma-separated.")
    cells: int = option(240, "Cells up to 5 UEs; fewer with more UEs.", min=8, max=100_000)
    out: str = option("-", "Table to write; what it holds of other rows stays. - = standard output.", "--json")


@command(tune_app, "tune", TuneOptions)
def tune_command(options: TuneOptions) -> None:
    """Tune how eagerly UEs contend for what a leader leaves over, for every row of a comparison."""
    from policy.plug_ins.loading import is_plug_in
    from policy.registry import check_leader
    from training.baselines.contention_tuning import TUNED_PLAYERS, should_be_tuned, tune_table
    from training.baselines.own_table import keep
    from training.progress_bar import ProgressBar
    from training.simulator.scenario import make_scenario

    names = list(dict.fromkeys(some_names_in("--scenarios", options.scenarios)))
    rows = (
        list(TUNED_PLAYERS)
        if options.players == "all"
        else list(dict.fromkeys(some_names_in("--players", options.players)))
    )
    counts, out = list(dict.fromkeys(counts_in("--ues", options.ues, MAX_UES))), options.out
    for row in rows:
        if is_plug_in(row):
            check_leader(row)
        elif row not in TUNED_PLAYERS:
            raise UserMistake(f"--players has {row!r}, expected all, module:Class, or of {', '.join(TUNED_PLAYERS)}")
    steps = len(counts) * sum(should_be_tuned(make_scenario(name), row) for name in names for row in rows)
    check_json_path(out)
    done = 0
    kept = _Kept(out)
    with ExitStack() as stack:
        stack.enter_context(hold_file(out))
        table = _read(out)
        bar = stack.enter_context(ProgressBar("tune", steps, "c {contenders:.2f}  utility {utility:.3f}"))
        stack.enter_context(kept.named_when_interrupted())
        for name in names:
            for row in rows:

                def show(scenario: str, player: str, count: int, best: Tuned) -> None:
                    nonlocal done
                    done += 1
                    if scenario.endswith(".toml"):
                        keep(scenario, make_scenario(scenario), player, count, best)
                        kept.beside[scenario] = kept.beside.get(scenario, 0) + 1
                    bar.show(done, contenders=best.contenders, utility=best.utility)

                fresh = tune_table([name], [row], counts, cells=options.cells, progress=show)
                for scenario, by_player in fresh.items():
                    for player, by_ues in by_player.items():
                        table.setdefault(scenario, {}).setdefault(player, {}).update(by_ues)
                if out != "-":
                    _write(out, table)
                    kept.rows += 1
    if out == "-":
        typer.echo(json.dumps(table, indent=1))


@dataclass
class _Kept:
    """What there is of a run that is stopped."""

    out: str
    rows: int = 0
    """Written into `out`, each with all counts of UEs."""
    beside: dict[str, int] = field(default_factory=dict)
    """Of a scenario's file: c written beside it."""

    @contextmanager
    def named_when_interrupted(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            typer.echo(f"stackmac tune: stopped, {self}", err=True)
            raise

    def __str__(self) -> str:
        places = [f"{counted(count, 'c', 'c')} of {file} beside it" for file, count in self.beside.items()]
        if self.rows:
            places.insert(0, f"{counted(self.rows, 'finished row')} in {self.out}")
        if places:
            return f"kept: {', '.join(places)}"
        if self.out == "-":
            return "nothing is kept"
        return f"no row was finished; {self.out} is {'as it was' if Path(self.out).exists() else 'not there yet'}"


def _read(out: str) -> dict[str, dict[str, dict[str, float]]]:
    """The table that is there already. Raises OSError, UserMistake."""
    if out == "-" or not Path(out).exists():
        return {}
    try:
        table: dict[str, dict[str, dict[str, float]]] = json.loads(Path(out).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserMistake(f"--json {out}: not a table of tuned c ({error})") from None
    if not isinstance(table, dict) or not all(isinstance(by_player, dict) for by_player in table.values()):
        raise UserMistake(f"--json {out}: not a table of tuned c, expected objects by scenario and player")
    return table


def _write(out: str, table: dict[str, dict[str, dict[str, float]]]) -> None:
    Path(out).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
