"""From a bundle's name to its compiled leader."""

from __future__ import annotations

from pathlib import Path

from policy.bundle_files import BUNDLES
from policy.engine.leader import EngineLeader
from policy.engine.model import read_model
from policy.shipped import BUNDLED, BundledLeader


class NoEngine(Exception):
    """A bundle that the engine cannot have; one line that says why."""


class BundledEngine(BundledLeader):
    """The two shipped bundles, compiled."""

    def __init__(self, paper: EngineLeader, lab: EngineLeader) -> None:
        super().__init__(paper, lab)
        self._leaders = (paper, lab)

    def prepare(self, *, may_compile: bool = True) -> None:
        """See EngineLeader."""
        for leader in self._leaders:
            leader.prepare(may_compile=may_compile)


def engine_leader(name: str) -> EngineLeader | BundledEngine:
    """The compiled leader called `bundled`, or of a bundle's directory, yet to be prepared.

    Raises NoEngine for a bundle of another kind, BundleError for a damaged one.
    """
    if name == BUNDLED:
        return BundledEngine(_of_folder(BUNDLES / "paper"), _of_folder(BUNDLES / "lab"))
    return _of_folder(Path(name))


def _of_folder(folder: Path) -> EngineLeader:
    model = read_model(folder)
    if isinstance(model, str):
        raise NoEngine(f"{folder}: {model}, which the compiled engine does not run")
    return EngineLeader(model, folder.name)
