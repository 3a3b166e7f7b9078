"""Who leads while followers learn, by name."""

from __future__ import annotations

from policy.leader import Leader
from policy.prompt.compact import UCM_UE_FIELD, PromptLayout
from policy.registry import make_leader
from policy.schedulers.schedulers import SCHEDULERS
from training.baselines.players import INFLIGHT_PF, open_contenders
from training.baselines.rules import FixedContenders
from training.errors import TrainingError
from training.following.worlds import LeaderOf
from training.simulator.scenario import Scenario


def named_leader(name: str, *, speaks: bool = False) -> LeaderOf:
    """A scheduler with the c that was tuned for its row of an evaluation, `bundled`, or a bundle's leader.

    speaks: it must read the followers' words. Raises LeaderError, and TrainingError for one that does not.
    """
    leader = make_leader(name)
    if speaks and not _reads_words(leader):
        raise TrainingError(f"leader {name} does not read the followers' words")
    if name not in SCHEDULERS:
        return lambda scenario, ues: leader
    row = f"{INFLIGHT_PF if name == 'proportional_fair' else name}_smart"

    def tuned(scenario: Scenario, ues: int) -> Leader:
        contenders = open_contenders(scenario, row, ues)
        return leader if contenders is None else FixedContenders(leader, contenders)

    return tuned


def _reads_words(leader: Leader) -> bool:
    layout = getattr(getattr(leader, "model", None), "layout", None)
    return isinstance(layout, PromptLayout) and UCM_UE_FIELD in layout.ue_fields
