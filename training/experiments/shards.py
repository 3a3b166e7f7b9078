"""Shards of a study: which training seeds a machine takes, and their directories put together.

A shard plays everything of its training seeds, so that it keeps parts that the whole will ask for by the same keys.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from training.experiments.study import WHOLE, Shard, StudyError

HELD = ("parts", "trainings")


def shard_of(text: str, train_seeds: int) -> Shard:
    """`K/N`, counted from 1; "" = the whole. Raises StudyError."""
    if not text:
        return WHOLE
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    index, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= of <= train_seeds:
        raise StudyError(
            f"--shard is {text!r}, expected K/N with 1 <= K <= N <= {train_seeds}, the training seeds there are"
        )
    return Shard(index - 1, of)


def gather(folders: Sequence[Path], out: Path) -> None:
    """Copy what shards hold into `out`; what is there already stays. Raises StudyError."""
    for folder in folders:
        if not (folder / HELD[0]).is_dir():
            raise StudyError(f"--merge is {folder}, expected the directory of a shard: it has no {HELD[0]}")
    for folder in folders:
        for entry in sorted(path for held in HELD for path in (folder / held).glob("*")):
            target = out / entry.relative_to(folder)
            if target.exists() or entry.name.startswith("."):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            staging = target.with_name(f".{target.name}.merged")
            if entry.is_dir():
                shutil.rmtree(staging, ignore_errors=True)
                shutil.copytree(entry, staging)
            else:
                shutil.copy2(entry, staging)
            staging.rename(target)
