"""What a training run leaves on disk: a log, a checkpoint that it can be resumed from, and in the end a bundle.

    OUT/bundle/                  what `--leader OUT/bundle` loads
    OUT/checkpoint.safetensors   weights, optimizers, step, an unfinished round: what `--resume` needs
    OUT/log.jsonl                one line a step

A checkpoint names the run that it is of: it is resumed with the same settings only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from policy.errors import INTERRUPTED
from training.checkpoint import Models, Optimizers, fill_from, read_checkpoint, round_in, save_checkpoint
from training.errors import NotWritten, Stopped, TrainingError
from training.rounds import Ending

CHECKPOINT = "checkpoint.safetensors"
"""The name of a run's checkpoint in its directory."""
ABSENT = "not set"
"""What a setting was that the other run does not know: of another version, which resumes none of ours."""


class Restored(NamedTuple):
    """Where a run stands that is resumed."""

    step: int
    counts: dict[str, int]
    log: list[dict[str, Any]]
    """The lines of the steps before it; those of later steps are gone."""
    round: bytes | None
    """What was held of an unfinished round; None = a round begins here."""


class RunFolder:
    """One run's directory. `identity`: what must be equal in a run that resumes another, as JSON can carry it."""

    def __init__(self, out: Path, identity: Mapping[str, Any]) -> None:
        self.out = out
        self.bundle = out / "bundle"
        self.checkpoint = out / CHECKPOINT
        self.log = out / "log.jsonl"
        self.kept = 0
        """The step of the checkpoint: where a resumed run goes on."""
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))

    def begin(self) -> None:
        """Start from nothing. Raises TrainingError where another run lies already."""
        if self.checkpoint.exists():
            raise TrainingError(f"{self.checkpoint} exists: resume it, or choose another directory")
        self.out.mkdir(parents=True, exist_ok=True)
        self.log.write_text("")

    def write_log(self, line: Mapping[str, Any]) -> None:
        """Raises NotWritten. Half a line that is left is not read again: no checkpoint is so far."""
        try:
            with self.log.open("a") as log:
                log.write(json.dumps(line) + "\n")
        except OSError as error:
            raise NotWritten(f"{self.log}: {error.strerror}; the last checkpoint is whole") from error

    def save(
        self,
        models: Models,
        optimizers: Optimizers,
        step: int,
        counts: Mapping[str, int],
        rounds: Sequence[bytes] = (),
    ) -> None:
        """rounds: what each rank holds of an unfinished round."""
        metadata = {"step": str(step), "counts": json.dumps(dict(counts)), "identity": json.dumps(self._identity)}
        save_checkpoint(self.checkpoint, models, optimizers, metadata, rounds)
        self.kept = step

    def restore(self, models: Models, optimizers: Optimizers, rank: int = 0) -> Restored:
        """Go back to the checkpoint. Raises TrainingError, before anything is changed."""
        if not self.checkpoint.exists():
            raise TrainingError(f"{self.checkpoint}: there is no run to resume")
        metadata, tensors = read_checkpoint(self.checkpoint)
        if difference := _difference(json.loads(metadata["identity"]), self._identity):
            raise TrainingError(f"{self.checkpoint}: {difference}")
        fill_from(tensors, models, optimizers)
        self.kept = step = int(metadata["step"])
        lines = self.log.read_text().splitlines()[:step]
        if rank == 0:
            self._write_lines(lines)
        log = [json.loads(line) for line in lines]
        return Restored(step, json.loads(metadata["counts"]), log, round_in(tensors, rank))

    def _write_lines(self, lines: Sequence[str]) -> None:
        """Nobody reads the log half-written: other ranks read it now, too."""
        staging = self.log.with_suffix(".tmp")
        try:
            staging.write_text("".join(line + "\n" for line in lines))
            os.replace(staging, self.log)
        except OSError as error:
            staging.unlink(missing_ok=True)
            raise NotWritten(f"{self.log}: {error.strerror}; the last checkpoint is whole") from error


def check_whole(ending: Ending, unit: str, made: int, folder: RunFolder) -> None:
    """Raises Stopped where a run has nothing to show: nothing was learnt, or half an update more than is said."""
    if made and not ending.within_update:
        return
    where = f"within {unit} {made}" if ending.within_update else f"before the first {unit}"
    bundle = f"{folder.bundle} is as it was" if folder.bundle.exists() else f"there is no {folder.bundle} yet"
    raise Stopped(f"stopped {where}: {bundle}; the same command with --resume goes on from {unit} {folder.kept}")


def how_ended(complete: bool, unit: str, kept: int) -> str:
    """What the last line of a training begins with. kept: the step, in `unit`s, that a resumed run goes on from."""
    return "done" if complete else f"stopped, --resume goes on from {unit} {kept}"


def exit_status(complete: bool, is_asked: bool) -> int:
    """Of a training that leaves a bundle: one whose time was up has done what it was to do."""
    return INTERRUPTED if is_asked and not complete else 0


def _difference(before: object, now: object, name: str = "") -> str:
    """The first setting, however deep, that is another now; "" = there is none."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = (
            _difference(before.get(key, ABSENT), now.get(key, ABSENT), f"{name}.{key}" if name else key)
            for key in {**now, **before}
        )
        return next(filter(None, found), "")
    return "" if before == now else f"{name} was {before}, is now {now}"
