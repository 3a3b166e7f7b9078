"""What a measurement has played so far, in a file beside its result: whatever stops it, `--resume` goes on from there.

FILE.played has a line of what everything that is played depends on, then one for each thing that was played. It goes
when the result is whole. As in a training's directory, nothing that is kept there is thrown away unasked, and neither
is a result: FILE is played once, and `--resume` takes it as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from policy.errors import UserMistake, counted
from training.command_line.result_file import holds_something, is_special

Entry = TypeVar("Entry")


class PlayedFile:
    """The lines of the file. Without a file nothing is kept."""

    def __init__(self, json_file: str, head: Mapping[str, Any], *, of: str, entry: str) -> None:
        """json_file: of the result; "", - and devices keep nothing. head: what everything depends on. of, entry: what a
        message calls the measurement, and what is played of it.
        """
        self._file = Path(json_file)
        self.path = Path(f"{json_file}.played") if json_file not in ("", "-") and not is_special(json_file) else None
        self._head: dict[str, Any] = json.loads(json.dumps(head))
        self._of, self._entry = of, entry

    def result(self, head_of: Callable[[Any], Mapping[str, Any]], *, resume: bool) -> Any:
        """What FILE holds, where it is the result of this very measurement, and resumed; None = it is to be played.

        head_of: what everything depended on, of a result; raises UserMistake, ValueError, TypeError, KeyError or
        AttributeError for what is none. Raises UserMistake where FILE holds something and is not to be resumed.
        """
        if self.path is None or self._count() or not holds_something(self._file):
            return None
        if not resume:
            raise UserMistake(
                f"{self._file} is there already: --resume takes it as it is; or delete it, or choose another file"
            )
        try:
            document = json.loads(self._file.read_bytes())
            other = _difference(json.loads(json.dumps(head_of(document))), self._head)
        except (UserMistake, ValueError, TypeError, KeyError, AttributeError):
            raise UserMistake(
                f"{self._file} is no result of this {self._of}: delete it, or choose another file"
            ) from None
        if other:
            raise UserMistake(f"{self._file} is of another {self._of}: {other}")
        return document

    def entries(self, read: Callable[[Any], Entry], *, resume: bool) -> list[Entry]:
        """What was played before; none unless it is resumed. read: an entry from its JSON; raises ValueError,
        TypeError or KeyError for what is none.

        Raises UserMistake where something else lies there, there is no file, or what is kept is not to be resumed.
        """
        if self.path is None:
            if resume:
                raise UserMistake("--resume without --json FILE: what was played is kept beside that file")
            return []
        if not resume and self._count():
            kept = counted(self._count(), self._entry)
            raise UserMistake(f"{self.path} keeps {kept}: --resume goes on; or delete it, or choose another file")
        if not resume or not self.path.exists():
            self.path.write_text(json.dumps(self._head) + "\n", encoding="utf-8")
            return []
        text = self.path.read_bytes()
        try:
            # A line without its end is of what was being played as the machine was switched off.
            head, *lines = text.decode().split("\n")[:-1]
            before = dict(json.loads(head))
            if not (other := _difference(before, self._head)):
                found = [read(json.loads(line)) for line in lines]
        except (ValueError, TypeError, KeyError):
            raise UserMistake(f"{self.path} keeps no {self._of}: delete it, or choose another file") from None
        if other:
            raise UserMistake(f"{self.path} is of another {self._of}: {other}")
        staging = self.path.with_name(f".{self.path.name}")
        staging.write_text("".join(line + "\n" for line in (head, *lines)), encoding="utf-8")
        staging.replace(self.path)
        return found

    def write(self, entry: object) -> None:
        """One more, as JSON."""
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(entry) + "\n")

    @property
    def kept(self) -> str:
        """What an interruption says of it."""
        if self.path is None:
            return "nothing is kept for --resume without --json FILE"
        return f"{self.path} keeps {counted(self._count(), self._entry)}, --resume goes on"

    def _count(self) -> int:
        """Whole lines after the first."""
        if self.path is None or not self.path.exists():
            return 0
        return max(0, self.path.read_bytes().count(b"\n") - 1)

    def end(self) -> None:
        """The result is whole, and written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _difference(before: object, now: object, name: str = "") -> str:
    """The first setting, however deep, that is another now; "" = there is none."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = (
            _difference(before.get(key, "not there"), now.get(key, "not there"), f"{name}.{key}" if name else key)
            for key in {**now, **before}
        )
        return next(filter(None, found), "")
    return "" if before == now else f"{name} was {before}, is now {now}"
