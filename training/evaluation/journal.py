"""What an evaluation has played so far, in a file beside its result: whatever stops it, `--resume` goes on from there.

FILE.played has a line of what the plays depend on, then one a play. It goes when the result is whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from policy.errors import UserMistake
from training.baselines.players import Player
from training.evaluation.evaluate import Cells, Key
from training.evaluation.result_document import Document, made_by, player_json, read_values, setup_json, values_json
from training.evaluation.rows import Setup
from training.simulator.metrics import CellMetrics


class Journal:
    """The plays that are kept. Without a file nothing is."""

    def __init__(self, json_file: str, players: Sequence[Player], bundles: Sequence[Document], setup: Setup) -> None:
        """json_file: of the result; "" and - have no journal."""
        self.path = Path(f"{json_file}.played") if json_file not in ("", "-") else None
        head = {
            "made_by": made_by(),
            "scenario_hash": setup.scenario.hash,
            "setup": setup_json(setup),
            "bundles": list(bundles),
            "players": {player.label: player_json(player) for player in players},
        }
        self._head: Document = json.loads(json.dumps(head))

    def begin(self, *, resume: bool) -> Cells:
        """What was played before. Raises UserMistake where another evaluation lies there, or none to be resumed."""
        if self.path is None:
            if resume:
                raise UserMistake("--resume without --json FILE: what was played is kept beside that file")
            return {}
        if not resume:
            self.path.unlink(missing_ok=True)
        if not self.path.exists():
            self.path.write_text(json.dumps(self._head) + "\n", encoding="utf-8")
            return {}
        # A line without its end is of a play during which the machine was switched off.
        text = self.path.read_bytes()
        try:
            head, *lines = text.decode().split("\n")[:-1]
            before = dict(json.loads(head))
            found = dict(read_values(json.loads(line)) for line in lines)
        except (ValueError, TypeError, KeyError):
            raise UserMistake(f"{self.path} is not what `evaluate` keeps; without --resume it is begun anew") from None
        if other := difference(before, self._head):
            raise UserMistake(f"{self.path} is of another evaluation: {other}")
        self.path.write_text("".join(line + "\n" for line in (head, *lines)), encoding="utf-8")
        return found

    @property
    def kept(self) -> str:
        """What an interruption says of it."""
        if self.path is None:
            return "nothing is kept for --resume without --json FILE"
        plays = max(0, len(self.path.read_text(encoding="utf-8").splitlines()) - 1)
        return f"{self.path} keeps all {plays} plays, --resume goes on"

    def keep(self, key: Key, cells: Sequence[CellMetrics]) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(values_json(key, cells)) + "\n")

    def end(self) -> None:
        """The result is whole, and written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def difference(before: object, now: object, name: str = "") -> str:
    """The first setting, however deep, that is another now; "" = there is none."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = (
            difference(before.get(key, "not there"), now.get(key, "not there"), f"{name}.{key}" if name else key)
            for key in {**now, **before}
        )
        return next(filter(None, found), "")
    return "" if before == now else f"{name} was {before}, is now {now}"
