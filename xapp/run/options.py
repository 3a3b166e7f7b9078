"""How `stackmac run` is started: by a person, a pod or the lab."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.command_line.options import option
from xapp.config.live import DEFAULT_PATHS


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `stackmac run` is given."""

    config: Path | None = option(
        None,
        f"The xApp descriptor; its `controls` section configures everything. {DEFAULT_PATHS}",
    )
    leader: str = option("", "Overrides controls.leader.")
    json_lines: bool = option(False, "Status as JSON lines on standard output.")
    record: Path | None = option(
        None, "Write every input and decision there, for `stackmac replay` and `explain`.", dir_okay=False
    )
    record_max_mb: int = option(256, "MB of a recording's part.", min=1, max=1_000_000)
    record_parts: int = option(
        4, "The newest parts of a recording that are kept; 1 = it ends at the size of a part.", min=1, max=1000
    )
