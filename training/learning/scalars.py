"""The log for TensorBoard: the same figures as log.jsonl, in OUT/tensorboard. Nothing without the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from training.learning.report import UpdateReport

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


class Scalars:
    """Opened at the first update, so that runs which never learn leave nothing."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._writer: SummaryWriter | None = None
        self._missing = False

    def write(self, report: UpdateReport) -> None:
        if self._missing:
            return
        if self._writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:  # an extra: stackmac[train]
                self._missing = True
                return
            # What a run that was interrupted had written beyond its checkpoint is taken back.
            self._writer = SummaryWriter(str(self._out / FOLDER), purge_step=report.update)
        for name, value in report._asdict().items():
            if isinstance(value, (int, float)) and name != "update":
                self._writer.add_scalar(name, value, report.update)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
