"""What `stackmac soak` is given."""

from __future__ import annotations

from dataclasses import dataclass

from training.command_line.options import option
from training.simulator.scenario import MAX_SEED

PARTS = ("guard", "grammar", "dedupe", "ack", "release", "breaker")
"""What can be sabotaged."""


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """One soak."""

    minutes: float = option(10.0, "Length; every fault comes at least once.", min=0.05, max=10_000)
    seed: int = option(1, "Which fault comes when.", min=0, max=MAX_SEED)
    control: str = option("dcm", "What the gNB is controlled by: dcm or rc.")
    ues: int = option(8, "UEs of the cell.", min=1, max=200)
    faults: str = option("", "Only these, comma-separated, with * for any letters; empty = all.")
    sabotage: str = option("", f"Swap a part of the xApp for a broken one: {', '.join(PARTS)}. Status 1 is right then.")
    json_file: str = option("", "Write the ledger there (- = standard output).", flag="--json")
