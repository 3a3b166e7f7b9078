"""An evaluation as a result file holds it: its rows, and every value that they come from, so that anybody can work out
the intervals again, and add what another machine has played.

`values` has an entry for each player, number of UEs, training seed and world seed: each metric of its cells, a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

from policy.errors import UserMistake
from training.baselines.players import Player, World
from training.command_line.result_file import as_plain
from training.evaluation.evaluate import Cells, Evaluation, Key, collect
from training.evaluation.rows import Setup
from training.simulator.jit import SOURCES_DIGEST
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import Scenario
from training.simulator.scenario_file import scenario_from

Document = dict[str, Any]


class ResultError(UserMistake):
    """A result file that cannot be read, or does not belong to another: one line."""


def made_by() -> dict[str, str]:
    """What values depend on besides all that a result file says."""
    return {"stackmac": version("stackmac"), "simulator": SOURCES_DIGEST}


def setup_json(setup: Setup) -> Document:
    """What was measured, without the scenario."""
    plain: Document = as_plain(setup._replace(scenario=None)._asdict())  # type: ignore[arg-type]
    del plain["scenario"]
    return plain


def player_json(player: Player) -> Document:
    """A player without its plays."""
    plain: Document = as_plain(player._replace(plays=())._asdict())
    return {**plain, "plays": len(player.plays)}


def values_json(key: Key, cells: Sequence[CellMetrics]) -> Document:
    """One entry of `values`."""
    metrics = {name: as_plain([getattr(cell, name) for cell in cells]) for name in CellMetrics._fields}
    return {**key._asdict(), "cells": metrics}


def read_values(entry: Mapping[str, Any]) -> tuple[Key, list[CellMetrics]]:
    """What `values_json` wrote. Raises KeyError, TypeError or ValueError."""
    key = Key(**{name: entry[name] for name in Key._fields})
    columns = [[_number(value) for value in entry["cells"][name]] for name in CellMetrics._fields]
    return key, [CellMetrics(*values) for values in zip(*columns, strict=True)]


def document_of(result: Evaluation, bundles: Sequence[Document], missing: Sequence[str]) -> Document:
    """The content of a result file."""
    return {
        "bundles": as_plain(list(bundles)),
        "missing": list(missing),
        "made_by": made_by(),
        "setup": setup_json(result.setup),
        "players": [player_json(player) for player in result.players],
        **result.as_json(),
        "values": [values_json(key, cells) for key, cells in result.cells.items()],
    }


class Parts(NamedTuple):
    """What a result file was worked out from."""

    players: list[Player]
    setup: Setup
    cells: Cells
    contenders: dict[str, dict[int, float | str]]


def read_parts(document: Document, name: str) -> Parts:
    """name: of the file. Raises ResultError."""
    try:
        contenders = {who: {int(ues): c for ues, c in by.items()} for who, by in document["contenders"].items()}
        return Parts(
            [_player(plain) for plain in document["players"]],
            _setup(document["setup"], scenario_from(document["scenario"])),
            dict(map(read_values, document["values"])),
            contenders,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ResultError(f"{name}: no result of `stackmac evaluate` with its values ({reason})") from None


def read_document(document: Document, name: str) -> Evaluation:
    """The evaluation of a result file whose world seeds are whole, worked out again from its values. Raises
    ResultError."""
    return collect(*read_parts(document, name))


def _setup(plain: Mapping[str, Any], scenario: Scenario) -> Setup:
    return Setup(scenario, **{**plain, "ues": tuple(plain["ues"])})


def _player(plain: Mapping[str, Any]) -> Player:
    seeds = {name: tuple(plain[name]) for name in ("train_seeds", "trained_ues")}
    return Player(**{**plain, **seeds, "plays": (_cannot_play,) * plain["plays"]})


def _cannot_play(world: World) -> list[CellMetrics]:
    raise AssertionError(f"a player of a result file was asked to play {world}")


def _number(value: Any) -> Any:
    """NaN is null in a file."""
    return tuple(map(_number, value)) if isinstance(value, list) else float("nan") if value is None else value
