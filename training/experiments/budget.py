"""How much an experiment spends: a look in minutes, or what a claim needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

Level = Literal["smoke", "quick", "full"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Budget:
    """What experiments have in common; what only one of them needs it picks by level."""

    level: Level
    train_seeds: int
    """Trainings that differ by nothing else."""
    world_seeds: int
    cells: int
    """Per world seed."""
    slots: int
    """Length of a run at K < 10; slower leaders get more."""
    updates: int
    """Updates of a training."""
    warm_start_steps: int

    def pick(self, *, smoke: T, quick: T, full: T) -> T:
        """One experiment's own measure."""
        return {"smoke": smoke, "quick": quick, "full": full}[self.level]

    @property
    def mark(self) -> str:
        """Stands wherever the numbers are."""
        return {
            "smoke": "SMOKE budget: shows that it runs, the numbers mean nothing",
            "quick": "QUICK budget: a look, no claim rests on it",
            "full": "full budget",
        }[self.level]


BUDGETS: dict[str, Budget] = {
    budget.level: budget
    for budget in (
        # Hidden: what tests run.
        Budget("smoke", train_seeds=1, world_seeds=2, cells=2, slots=12, updates=2, warm_start_steps=2),
        Budget("quick", train_seeds=2, world_seeds=3, cells=12, slots=100, updates=30, warm_start_steps=120),
        # Made for two cores: an experiment is tens of minutes of processor time, see docs/training.md.
        Budget("full", train_seeds=3, world_seeds=6, cells=16, slots=100, updates=400, warm_start_steps=400),
    )
}
"""The budgets by name."""
