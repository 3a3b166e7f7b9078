"""c of the leftover rule in a scenario of one's own: tuned when it is first asked for, and kept beside the file.

FILE.toml has FILE.tuned.json: scenario's hash -> player -> UEs -> c. A scenario that changes has another hash, and is
tuned anew; so is the same file at another K.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from policy.errors import UserMistake
from training.baselines.contention_tuning import TUNED_PLAYERS, Tuned, should_be_tuned, tune_open_contenders
from training.command_line.hold import hold_file
from training.simulator.scenario import Scenario

CELLS = 96
"""Worlds of up to 5 UEs that a c is tuned on when it is asked for; `stackmac tune` takes more."""
OnTuned = Callable[[str, int], None]
"""Called with the player and the number of UEs that are tuned now."""


def table_beside(scenario_file: str) -> Path:
    return Path(scenario_file).with_suffix(".tuned.json")


def contenders_beside(
    scenario_file: str,
    scenario: Scenario,
    players: Iterable[str],
    ues: Iterable[int],
    on_tuned: OnTuned = lambda player, ues: None,
) -> dict[str, dict[int, float]]:
    """c by player and number of UEs, of those players that have one to tune; what is missing is tuned and kept."""
    counts = list(ues)
    rows = [player for player in players if player in TUNED_PLAYERS and should_be_tuned(scenario, player)]
    found: dict[str, dict[int, float]] = {}
    for player in rows:
        for count in counts:
            known = read_table(scenario_file).get(scenario.hash, {}).get(player, {}).get(str(count))
            if known is None:
                on_tuned(player, count)
                known = keep(
                    scenario_file,
                    scenario,
                    player,
                    count,
                    tune_open_contenders(scenario, player, count, cells=CELLS)[0],
                )
            found.setdefault(player, {})[count] = float(known)
    return found


def keep(scenario_file: str, scenario: Scenario, player: str, ues: int, best: Tuned) -> float:
    """Write a tuned c beside the file. Others may tune for it at the same time, and read the table meanwhile."""
    path, contenders = table_beside(scenario_file), round(best.contenders, 3)
    with hold_file(str(path), wait=True):
        table = read_table(scenario_file)
        table.setdefault(scenario.hash, {}).setdefault(player, {})[str(ues)] = contenders
        staging = path.with_name(f".{path.name}.tmp")
        staging.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        staging.replace(path)
    return contenders


def read_table(scenario_file: str) -> dict[str, Any]:
    """What was tuned before. Raises UserMistake."""
    path = table_beside(scenario_file)
    if not path.exists():
        return {}
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserMistake(f"{path}: not a table of tuned c ({error})") from None
    if not isinstance(table, dict):
        raise UserMistake(f"{path}: not a table of tuned c, expected an object by scenario hash")
    return table
