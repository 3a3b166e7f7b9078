"""How a training run learns: one frozen object, validated once, written into every bundle and checkpoint.

Presets name a model's size; `make_config` adds what a slow leader's scenarios and an objective need. Whatever a preset
says can be changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from policy.errors import UserMistake
from policy.model_config import ModelConfig
from policy.model_kinds import KINDS, TEXT
from policy.text.text_config import TextConfig
from training.alternatives import Search
from training.learning.objectives import DEFAULT_OBJECTIVE, OBJECTIVES, Objective
from training.ranges import Ranges
from training.schedules import cosine, warm_up
from training.simulator.scenario import SLOW_LEADER_SLOTS, Scenario, make_scenario
from training.simulator.slot_view import RULES, Rule

if TYPE_CHECKING:
    from training.learning.follower_config import FollowConfig

ROLES = ("leader", "follower")
DEVICES = ("auto", "cpu", "cuda")

_AT_LEAST_ONE = ("updates", "worlds", "cells", "horizon", "round_updates", "epochs", "batch", "warm_up_updates")
_NOT_NEGATIVE = (
    "seed", "cell_steps", "seconds", "entropy", "kl", "target_kl", "consistency", "warm_up_steps", "leader_lr",
    "follower_lr", "lora_rank", "positions", "micro_batch", "choose_rounds",
)  # fmt: skip
_SHARES = ("greedy_share", "exploration", "gamma", "lam", "final_lr_share")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One run. The defaults suit K <= 5 and models of 10^5 weights; `make_config` knows what else needs."""

    scenarios: tuple[Scenario, ...]
    """Played in turn."""
    ues: tuple[int, ...] = ()
    """D(I): UE counts to train on, repeats count twice; () = the scenarios' own."""
    preset: str = "tiny"
    model_kind: str = "pointer"
    """Kind of the leader's network where none is given to begin with: policy.model_kinds."""
    model: ModelConfig = ModelConfig()
    """The size of that network."""
    positions: int = 0
    """Positions that a block of its prompt takes (ModelConfig.block_positions); 0 = one per field."""
    base_model: str = ""
    """A Hugging Face causal LM, folder or hub id, to fine-tune instead; "" = none."""
    lora_rank: int = 0
    """0 = all weights."""
    bf16: bool = False
    gradient_checkpointing: bool = False
    teacher: str = "proportional_fair"
    """Who is imitated where no bundle is given to begin with; `oracle` knows what no leader can."""
    warm_up_steps: int = 2400
    """Steps of imitation."""

    roles: tuple[str, ...] = ("leader",)
    rule: Rule = "best_response"
    """What followers do that do not learn, and all of them in branches; `obey` makes a Dictator."""
    alternate: bool = True
    """With both roles: one learns per round while the other stands still; False = both in every update."""
    objective: str = DEFAULT_OBJECTIVE
    """What both roles climb: training.learning.objectives."""
    reward: str = ""
    """What cells are paid, module:function (training.rewards.pay); "" = the change of utility."""
    seed: int = 0
    updates: int = 300
    cell_steps: int = 0
    """Instead of `updates`: slots x cells that may be played, branches not counted; 0 = no limit."""
    seconds: float = 0.0
    """Stop and save after this long; 0 = never. What a run learns until then does not depend on it."""

    worlds: int = 12
    """Side by side: scenarios in turn, UE counts as even as can be."""
    cells: int = 16
    """Cells of each world."""
    horizon: int = 1
    """Periods played between two updates; worlds x cells x horizon = states an update."""
    round_updates: int = 40
    """Updates between two sets of worlds. At K = 1 rounds much shorter than this show the leader little but what the
    node's scheduler left behind before it took over: it then leaves to that scheduler what is its own to do."""
    search: Search = Search(futures=4)

    epochs: int = 2
    """Times that a state is learnt from, at most: see target_kl."""
    batch: int = 192
    """States an optimizer step."""
    micro_batch: int = 0
    """States a forward, gradients added up; 0 = all of a batch."""
    clip: float = 0.2
    """How far the ratio of a token's new and old probability may be from 1."""
    target_kl: float = 0.02
    """Nats a choice between the model that played and the one that learns: more ends the epochs. 0 = never."""
    gamma: float = 0.9
    lam: float = 0.9
    """GAE's lambda, over a cell's decisions and over a UE's slots; only objectives with a critic."""
    kl: float = 0.0
    """Weight of the divergence from the leader that it began with."""
    entropy: float = 0.003
    exploration: float = 0.1
    """Share of a step's weight that is spread evenly over the actions tried: a leader that is nearly certain can change
    its mind. `counterfactual` and `all_action` only."""
    scale: float = 10.0
    """Factor on values in the loss: what they weigh against entropy and KL."""
    greedy_share: float = 0.5
    """`regression`: share of cells that are played by the likeliest tokens, as a leader is in the end. Values of tokens
    among tokens drawn at random are another game's: with none greedy, half of the gain in `sporadic` was lost."""
    sharpness: float = 100.0
    """`regression`: logits per unit of value; its inverse is the temperature at which the leader plays."""
    consistency: float = 0.0
    """rho_2 of the paper's Eq. 2: what a follower gains by doing in a slot all that its DCM entitles it to."""

    leader_lr: float = 1e-3
    follower_lr: float = 2e-3
    """kappa_1 / kappa_2 of the paper's Theorem 2 is leader_lr / follower_lr."""
    final_lr_share: float = 0.03
    """The cosine ends here."""
    warm_up_updates: int = 20
    clip_norm: float = 1.0
    device: str = "auto"
    watch_rounds: int = 4
    """Rounds between two looks at a UE count that is not trained on; 0 = never."""
    choose_rounds: int = 0
    """Rounds between two looks at worlds kept for choosing: the bundle gets the weights that led best there, those that
    the run began with included. 0 = the last ones."""

    def __post_init__(self) -> None:
        if not self.scenarios:
            raise UserMistake("no scenario to train on")
        ranges = Ranges(self)
        ranges.at_least_one(_AT_LEAST_ONE)
        ranges.not_negative(_NOT_NEGATIVE)
        ranges.share(_SHARES)
        ranges.positive(("scale", "sharpness"))
        ranges.inside(0, "clip", 1)
        ranges.one_of("objective", OBJECTIVES)
        ranges.one_of("model_kind", KINDS)
        ranges.one_of("rule", RULES)
        ranges.one_of("device", DEVICES)
        if self.model_kind == TEXT:
            expected = f"a language model's directory or hub id, for model_kind {TEXT}"
            ranges.check("base_model", bool(self.base_model), expected)
        elif self.base_model:
            ranges.check("model_kind", False, f"{TEXT}, for a base model")
        ranges.check("ues", all(count >= 1 for count in self.ues), "counts of 1 or more")
        if "follower" in self.roles:
            ranges.check("choose_rounds", not self.choose_rounds, "0 where followers learn")
        roles_fit = bool(self.roles) and set(self.roles) <= set(ROLES) and len(set(self.roles)) == len(self.roles)
        ranges.check("roles", roles_fit, f"some of {', '.join(ROLES)}")

    @property
    def leader(self) -> ModelConfig | TextConfig:
        """What a warm start begins with."""
        if self.model_kind != TEXT:
            return replace(self.model, block_positions=self.positions or self.model.block_positions)
        return TextConfig(self.base_model, self.lora_rank, self.bf16, self.gradient_checkpointing)

    @property
    def ue_counts(self) -> tuple[int, ...]:
        return tuple(sorted(self.ues or {count for s in self.scenarios for count in s.ue_counts}))

    @property
    def cell_steps_an_update(self) -> int:
        """The most that one update plays."""
        return self.worlds * self.cells * self.horizon * max(s.slots_per_dcm for s in self.scenarios)

    @property
    def planned_updates(self) -> int:
        """What the learning rate's cosine is laid out for."""
        if not self.cell_steps:
            return self.updates
        return max(1, min(self.updates, self.cell_steps // self.cell_steps_an_update))

    @property
    def kappa_ratio(self) -> float:
        return self.leader_lr / self.follower_lr if self.follower_lr else math.inf

    def make_objective(self) -> Objective:
        """The leader's objective."""
        return OBJECTIVES[self.objective](self)

    def learning_rate_at(self, update: int, peak: float) -> float:
        """Linear warm-up, then a cosine."""
        return (
            peak
            * cosine(update, self.planned_updates, 1.0, self.final_lr_share)
            * warm_up(update, self.warm_up_updates)
        )

    def as_json(self) -> dict[str, Any]:
        """All of it but the scenarios, which their hashes name."""
        plain = asdict(self) | {"scenarios": {s.name: s.hash for s in self.scenarios}}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


def follow_config(config: TrainConfig) -> FollowConfig:
    """What a run's settings mean to its followers. Their entropy and exploration have weights of their own."""
    from training.learning.follower_config import FollowConfig

    return FollowConfig(
        objective=config.objective,
        consistency=config.consistency,
        scale=config.scale,
        clip=config.clip,
        kl=config.kl,
        target_kl=config.target_kl,
        gamma=config.gamma,
        lam=config.lam,
    )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # 2 layers, d = 64: at most 20 minutes on one core.
    "tiny": {},
    "small": {"model": ModelConfig(hidden_size=128, num_layers=4, num_heads=4, intermediate_size=352)},
    # A pretrained LM reads text and is adapted by LoRA; it needs a GPU.
    "llama-1b": {
        "model_kind": TEXT,
        "lora_rank": 16,
        "bf16": True,
        "gradient_checkpointing": True,
        "leader_lr": 1e-4,
        "micro_batch": 16,
        "warm_up_steps": 400,
        "watch_rounds": 0,
    },
}
"""name -> what differs from TrainConfig's defaults."""

_SLOW: Mapping[str, Any] = {
    "worlds": 12,
    "cells": 10,
    "round_updates": 10,
    "search": Search(owner_steps=0, grants=2, futures=4),
    "exploration": 0.3,
    "kl": 0.003,
    "leader_lr": 5e-4,
    "choose_rounds": 2,
}
"""A period of many slots is dear to play: fewer states. No RBG is tried with another owner, since a lock over a period
never pays; what is left unvaried is held to the leader that it began with."""


def make_config(preset: str = "tiny", scenarios: Sequence[str | Scenario] = ("mix",), **changes: Any) -> TrainConfig:
    """A preset for the scenarios and the objective, with `changes` on top. Raises UserMistake."""
    if preset not in PRESETS:
        raise UserMistake(f"preset is {preset!r}, expected one of {', '.join(PRESETS)}")
    unknown = changes.keys() - {f.name for f in fields(TrainConfig)}
    if unknown:
        raise UserMistake(f"no training option {min(unknown)!r}")
    worlds = tuple(make_scenario(s) if isinstance(s, str) else s for s in scenarios)
    chosen: dict[str, Any] = {"preset": preset, "scenarios": worlds}
    if worlds and max(s.slots_per_dcm for s in worlds) >= SLOW_LEADER_SLOTS:
        chosen |= _SLOW
    objective = OBJECTIVES.get(changes.get("objective", DEFAULT_OBJECTIVE))
    if objective is not None:
        chosen |= objective.defaults
    if changes.get("base_model"):
        chosen["model_kind"] = TEXT
    return TrainConfig(**(chosen | dict(PRESETS[preset]) | changes))
