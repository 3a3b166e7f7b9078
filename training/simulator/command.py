"""`stackmac scenarios`: the worlds there are, with their numbers and hashes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import typer

from training.command_line.options import argument, command, option
from training.command_line.screen import print_whole

if TYPE_CHECKING:
    from training.simulator.scenario import Scenario

scenarios_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True)
class ScenariosOptions:
    """What `stackmac scenarios` is given."""

    name: str = argument("One scenario; without it, all of them.", "")
    as_json: bool = option(False, "Every field, as results carry it.", "--json")
    show: str = option("", "One scenario, or FILE.toml, as a file of one's own begins.", metavar="NAME")


@command(scenarios_app, "scenarios", ScenariosOptions)
def scenarios_command(options: ScenariosOptions) -> None:
    """Print the scenarios of the simulator."""
    from rich.console import Console
    from rich.table import Table

    from training.simulator.scenario import SCENARIOS, make_scenario
    from training.simulator.scenario_file import as_toml

    if options.show:
        typer.echo(as_toml(make_scenario(options.show)), nl=False)
        return
    chosen = [make_scenario(options.name)] if options.name else list(SCENARIOS.values())
    if options.as_json:
        typer.echo(json.dumps({scenario.name: described(scenario) for scenario in chosen}, indent=2))
        return
    if options.name:
        for field_name, value in described(chosen[0]).items():
            if field_name != "traffic":
                typer.echo(f"{field_name}: {value}")
        for profile in chosen[0].traffic:
            shown = {key: value for key, value in asdict(profile).items() if value and key != "traffic_class"}
            typer.echo(f"{profile.traffic_class.name}: " + ", ".join(f"{k} {_short(v)}" for k, v in shown.items()))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("scenario", "hash", "RBGs", "K", "D", "load", "UEs", "node's c"):
        table.add_column(column, no_wrap=True)
    table.add_column("classes and more")
    console = Console()
    for scenario in chosen:
        table.add_row(*_row(scenario), ("\n" if console.is_terminal else ", ").join(_classes(scenario)))
    print_whole(console, table)


def described(scenario: Scenario) -> dict[str, Any]:
    """Every field, and the hash."""
    return {**asdict(scenario), "hash": scenario.hash}


def _row(scenario: Scenario) -> list[str]:
    return [
        *(scenario.name, scenario.hash, str(scenario.num_rbgs), str(scenario.slots_per_dcm)),
        *(str(scenario.report_delay_slots), f"{scenario.load:g}"),
        *(",".join(map(str, scenario.ue_counts)), f"{scenario.node_contenders:g}"),
    ]


def _classes(scenario: Scenario) -> list[str]:
    """A line for each traffic class, and for whatever else there is."""
    lines = [f"{p.traffic_class.name} {p.ue_share:.0%} <= {p.deadline_slots} slots" for p in scenario.traffic]
    if scenario.present_slots:
        lines.append(f"UEs stay {scenario.present_slots:g} slots, {scenario.resident_ues} for ever")
    if scenario.regime_slots:
        lines.append(f"regimes of {scenario.regime_slots:g} slots")
    if scenario.coupling:
        lines.append(f"coupling {scenario.coupling:g}")
    return lines


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
