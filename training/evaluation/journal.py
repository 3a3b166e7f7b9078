"""What an evaluation has played so far: a line a play."""

from __future__ import annotations

from collections.abc import Sequence

from training.baselines.players import Player
from training.evaluation.evaluate import Cells, Key
from training.evaluation.played_file import PlayedFile
from training.evaluation.result_document import Document, made_by, player_json, read_values, setup_json, values_json
from training.evaluation.rows import Setup
from training.simulator.metrics import CellMetrics


class Journal(PlayedFile):
    """The plays that are kept."""

    def __init__(self, json_file: str, players: Sequence[Player], bundles: Sequence[Document], setup: Setup) -> None:
        """json_file: of the result; "" and - have no journal."""
        head = {
            "made_by": made_by(),
            "scenario_hash": setup.scenario.hash,
            "setup": setup_json(setup),
            "bundles": list(bundles),
            "players": {player.label: player_json(player) for player in players},
        }
        super().__init__(json_file, head, of="evaluation", entries="all {} plays")

    def begin(self, *, resume: bool) -> Cells:
        """What was played before. Raises UserMistake where another evaluation lies there, or this one unasked."""
        return dict(self.entries(read_values, resume=resume))

    def keep(self, key: Key, cells: Sequence[CellMetrics]) -> None:
        self.write(values_json(key, cells))
