"""The experiments by name. A module is imported only when its experiment is asked for; each has `run`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, cast

from training.experiments.report import Report
from training.experiments.study import Study

Run = Callable[[Study], Report]


class Experiment(NamedTuple):
    name: str
    summary: str
    module: str
    takes_bundle: bool = False
    """Whether it looks at a bundle that is there; the others train their own."""
    takes_leader: bool = False
    """Whether that may be a leader of one's own, too; the others look into the network."""

    def run(self, study: Study) -> Report:
        """Raises StudyError; KeyboardInterrupt where it was stopped."""
        return cast(Run, import_module(f"training.experiments.studies.{self.module}").run)(study)


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment("convergence", "Fig. 5: epochs until the system utility stands still", "convergence"),
        Experiment("dictator", "Fig. 6: followers that choose against followers that obey", "dictator"),
        Experiment("generalization", "Figs. 4 and 8: cells of sizes never trained on", "generalization"),
        Experiment("period", "at which K granting single RBGs stops paying", "period", True, True),
        Experiment(
            "learning_rates", "Theorem 2: ratio of the leader's and the followers' learning rates", "learning_rates"
        ),
        Experiment("consistency", "Eq. 2: the consistency weight rho_2", "consistency"),
        Experiment("ucm", "UCMs: whether what followers say matters to the leader", "ucm"),
        Experiment("coupling", "open question 3: convergence as UEs disturb each other", "coupling"),
        Experiment("multicell", "open question 1: several cells that disturb each other", "multicell"),
        Experiment("models", "kinds and sizes of the leader's network: utility, latency, weights", "models"),
        Experiment("scale", "up to 200 UEs: latency, tokens, throughput, utility", "scale", True),
        Experiment("grammar", "the protocol action grammar on and off", "grammar_on_off", True),
    )
}
"""All experiments, in the order in which they are listed."""
