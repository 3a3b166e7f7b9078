"""`python -m training.simulator`: compile the slot loop, so that nobody waits for it later; what is compiled stays."""

from __future__ import annotations

from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario


def main() -> None:
    batch = CellBatch(make_scenario("lab"), 1, 1, 0)
    batch.observe()
    batch.play(None, 1, "best_response")


if __name__ == "__main__":
    main()
