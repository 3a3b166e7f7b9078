"""What an evaluation has played so far: a line a play."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training.baselines.players import Player
from training.command_line.result_file import as_plain
from training.evaluation.evaluate import Cells, Key
from training.evaluation.played_file import PlayedFile
from training.evaluation.result_document import (
    Document,
    made_by,
    player_json,
    read_parts,
    read_values,
    setup_json,
    values_json,
)
from training.evaluation.rows import Setup
from training.simulator.metrics import CellMetrics


class Journal(PlayedFile):
    """The plays that are kept."""

    def __init__(self, json_file: str, players: Sequence[Player], bundles: Sequence[Document], setup: Setup) -> None:
        """json_file: of the result; "" and - have no journal."""
        head = _head(made_by(), setup.scenario.hash, setup_json(setup), as_plain(list(bundles)), players)
        super().__init__(json_file, head, of="evaluation", entry="play")

    def begin(self, *, resume: bool) -> Cells:
        """What was played before: all of it, where the result is there already. Raises UserMistake where another
        evaluation lies there, or this one unasked."""
        document = self.result(_head_of, resume=resume)
        if document is None:
            return dict(self.entries(read_values, resume=resume))
        played = dict(map(read_values, document["values"]))
        if not document["complete"]:
            self.entries(read_values, resume=resume)
            for key, cells in played.items():
                self.keep(key, cells)
        return played

    def keep(self, key: Key, cells: Sequence[CellMetrics]) -> None:
        self.write(values_json(key, cells))


def _head(
    made: Mapping[str, str], scenario_hash: str, setup: Document, bundles: Sequence[Document], players: Sequence[Player]
) -> Document:
    """What all plays depend on."""
    by_label = {player.label: player_json(player) for player in players}
    return {
        "made_by": made, "scenario_hash": scenario_hash, "setup": setup, "bundles": bundles, "players": by_label,
    }  # fmt: skip


def _head_of(document: Document) -> Document:
    """The same, as a result file has it. Raises ResultError, KeyError, TypeError or AttributeError."""
    players = read_parts(document, "").players
    return _head(document["made_by"], document["scenario_hash"], document["setup"], document["bundles"], players)
