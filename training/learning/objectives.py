"""What a role climbs while it learns: one class for each objective, and the registry of their names.

    regression       -(logit / s - Q)^2 of every action that was tried: the model becomes softmax(s x estimated Q), and
                     as much is learnt from what is never chosen
    counterfactual   sum_a w(a) A(a) r(a), clipped as in PPO, over every action a that was tried; A(a) = Q(a) less the
                     model's mean of Q, r = new probability / old
    token            A r of the action that was chosen, clipped: PPO's usual objective, with the same A
    all_action       the gradient sum_a w(a) A(a) logit(a); no ratio and no clip
    sequence         the paper's: one advantage for all of a decision's actions, by GAE over time, and one joint ratio

A leader's choices are the tokens of DCMs, [B, L, A]; a follower's are its bits, [N, M, 2] = not sending, sending. Q
comes from branches of the simulator (training.counterfactual, training.following.branching), so that only `sequence`
needs a critic. At the model that played, `counterfactual` and `all_action` have the same gradient but for how the
share of exploration is centred.

Whatever an objective implies for a run is a member of its class. Another objective is one more class and its entry in
OBJECTIVES.
Suffixes: B DCMs, L steps, A actions; N choices of UEs, M RBGs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:  # the objectives are known, and a run's settings checked, where torch is not
    from torch import Tensor

    from policy.leader_models.transcript import TeacherForcingBatch

MIN_STD = 1e-6
"""Advantages are divided by their spread, but not by less."""
TOKEN_VALUE_BOUND = 3.0
"""The largest value of a token in a regression: a rare branch that lost or saved a whole burst must not turn all else.
"""
BIT_VALUE_BOUND = 1.0
"""The same for the difference between a bit's two values."""


class Settings(Protocol):
    """What an objective takes from the config of its role."""

    @property
    def clip(self) -> float: ...
    @property
    def exploration(self) -> float: ...
    @property
    def sharpness(self) -> float: ...
    @property
    def scale(self) -> float: ...
    @property
    def entropy(self) -> float: ...


class TokenChoices(NamedTuple):
    """What is known of a batch of DCMs, padded to the longest."""

    teacher_batch: TeacherForcingBatch
    legal: Tensor
    """The actions that the grammar allows, bool [B, L, A]."""
    known: Tensor
    """The actions of known value, [B, L, A]; all legal ones in a step that was not varied."""
    varied: Tensor
    """The steps in which anything was tried, [B, L]."""
    value: Tensor
    """The value above that of the DCM as it was decided, times the size of the example, [B, L, A]."""
    chosen: Tensor
    """The tokens that were chosen, [B, L]."""
    old_log_prob: Tensor
    """Log-probability of each of them as it was drawn, [B, L]."""
    advantage: Tensor | None = None
    """Advantage of each whole DCM, [B]; only where the objective needs a critic."""


class Baseline(NamedTuple):
    """What is taken from the leader that played, once per batch."""

    probability: Tensor
    """The leader's probabilities over what was tried, [B, L, A]."""
    floor: Tensor
    """The share of exploration in `weight`, [B, L, A]."""
    weight: Tensor
    """w of each action, [B, L, A]; 0 where nothing was tried."""
    advantage: Tensor
    """A of each action, [B, L, A]."""
    on_policy: float
    """1 less the share of exploration."""


class Gain(NamedTuple):
    """What a leader climbs, summed over the batch."""

    total: Tensor
    clipped: Tensor
    """Weight of the ratios beyond the clip, and of all ratios: their quotient is the clip fraction."""
    weighed: Tensor


class BitChoices(NamedTuple):
    """What is known of the choices of UEs in one world."""

    logit: Tensor
    """Logits of sending, [N, M], from the followers that learn."""
    new: Tensor
    """Log-probabilities of both values, [N, M, 2], from the followers that learn."""
    old: Tensor
    """The same from the followers that played."""
    bit: Tensor
    """The value of each bit that was drawn, [N, M, 1]."""
    allowed: Tensor
    """The bits that the DCM leaves to the UE, bool [N, M]."""
    known: Tensor
    """The bits that a branch flipped, bool [N, M]."""
    gain: Tensor
    """What each flip added to the value of the slot, [N, M]."""
    size: float
    """How much the values of this world count."""
    advantage: Tensor | None
    """Advantage of all bits of a UE in a slot, [N]; only where the objective needs a critic."""


class Objective(ABC):
    """One way to learn, for both roles. The members below say what it implies for a run; most suit most objectives."""

    needs_branches: ClassVar[bool] = True
    """Alternatives are tried in branches of the simulator while worlds are played."""
    needs_critic: ClassVar[bool] = False
    """A critic estimates what comes after: worlds are played for one more period, whose states it looks at."""
    stops_at_target_kl: ClassVar[bool] = True
    """An update's epochs end where the followers are config.target_kl away from those that played."""
    rests: ClassVar[bool] = False
    """The objective has a fixed point of its own: an entropy bonus would only move it."""
    divides_by_spread: ClassVar[bool] = False
    """A leader's advantages have a spread of 1 in each batch, whatever the units of its rewards."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """What a run's config has under this objective unless another value is given."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def entropy_weight(self) -> float:
        return 0.0 if self.rests else self.settings.entropy

    @property
    def exploration(self) -> float:
        """Share of a step's weight that is spread evenly over the actions tried."""
        return 0.0

    def leader_epochs(self, asked: int) -> int:
        """How often a leader learns from a batch, where `asked` is what the config says."""
        return asked

    def greedy_share(self, asked: float) -> float:
        """Share of cells that a leader plays by its likeliest tokens."""
        return 0.0

    @abstractmethod
    def of_tokens(self, choices: TokenChoices, before: Baseline, logits: Tensor) -> Gain:
        """What a leader climbs. logits [B, L, A]: of the leader that learns."""

    @abstractmethod
    def of_bits(self, bits: BitChoices) -> Tensor:
        """What followers climb, summed."""

    def baseline(self, choices: TokenChoices, logits: Tensor) -> Baseline:
        """logits [B, L, A]: of the leader that played."""
        exploration = self.exploration
        probability = log_probs(logits.detach(), choices.known).exp() * choices.known
        advantage = (choices.value - (probability * choices.value).sum(-1, keepdim=True)) * choices.known
        floor = exploration / choices.known.sum(-1, keepdim=True) * choices.known
        weight = ((1.0 - exploration) * probability + floor) * choices.varied[..., None]
        if self.divides_by_spread:
            spread = (weight * advantage**2).sum() / weight.sum().clamp(min=MIN_STD)
            advantage = advantage / spread.sqrt().clamp(min=MIN_STD)
        return Baseline(probability, floor, weight, advantage, 1.0 - exploration)

    def _bit_values(self, bits: BitChoices) -> Tensor:
        """Q of both values of each bit, [N, M, 2]: that of the value that was drawn is 0."""
        gain = bits.gain * (bits.size * self.settings.scale)
        drawn = bits.bit.new_tensor((0, 1)) == bits.bit
        return gain[..., None].expand(drawn.shape).masked_fill(drawn, 0.0)

    def _bit_advantages(self, bits: BitChoices) -> Tensor:
        values = self._bit_values(bits)
        return values - (bits.old.exp() * values).sum(-1, keepdim=True)

    def _bit_weights(self, bits: BitChoices) -> Tensor:
        exploration = self.settings.exploration
        return (1.0 - exploration) * bits.old.exp() + exploration / 2


class Regression(Objective):
    """Minus the squared error of logit / sharpness as an estimate of an action's value, both about their means.

    A policy gradient's push never ends: on values as noisy as one future each it drives a model to certainty about
    noise. A regression has a fixed point, the mean of what was seen, and learns as much from what is never chosen.
    """

    stops_at_target_kl = False
    rests = True

    def leader_epochs(self, asked: int) -> int:
        return 1

    def greedy_share(self, asked: float) -> float:
        """Values of tokens among tokens drawn at random are another game's."""
        return asked

    def of_tokens(self, choices: TokenChoices, before: Baseline, logits: Tensor) -> Gain:
        sharpness = self.settings.sharpness
        even = choices.known / choices.known.sum(-1, keepdim=True)
        weight = 0.5 * (before.probability + even)
        value = sharpness * choices.value.clamp(-TOKEN_VALUE_BOUND, TOKEN_VALUE_BOUND)
        error = (logits - value).masked_fill(~choices.known, 0.0)
        error = error - (weight * error).sum(-1, keepdim=True)
        squared = (weight * error**2).sum(-1) / sharpness**2
        total = self.settings.scale * -squared[choices.varied].sum()
        return Gain(total, total.new_zeros(()), choices.varied.sum())

    def of_bits(self, bits: BitChoices) -> Tensor:
        scale, values = self.settings.scale, self._bit_values(bits)
        difference = ((values[..., 1] - values[..., 0]) / scale).clamp(-BIT_VALUE_BOUND, BIT_VALUE_BOUND)
        climbed = -scale * (bits.logit / self.settings.sharpness - difference).square()
        return climbed[bits.known].sum()


class Counterfactual(Objective):
    """The clipped ratio of every action that was tried, weighed as the model that played weighs it."""

    divides_by_spread = True

    @property
    def exploration(self) -> float:
        return self.settings.exploration

    def of_tokens(self, choices: TokenChoices, before: Baseline, logits: Tensor) -> Gain:
        """The share of exploration climbs log p instead of a ratio.

        A ratio of something that was all but impossible can be anything and means nothing, so that share is held by
        its own floor: what is worse is not pushed below it, what is better not beyond what the clip would let a certain
        action lose.
        """
        clip = self.settings.clip
        log_prob = log_probs(logits, choices.known)
        new, old = log_prob.exp() * choices.known, before.probability
        bounded = new.maximum((1.0 - clip) * old).minimum((1.0 + clip) * old)
        climbed = before.on_policy * (new * before.advantage).minimum(bounded * before.advantage)
        better = before.advantage > 0
        free = (new - old < clip).where(better, new > before.floor)
        explored = before.floor * before.advantage * log_prob.where(free, log_prob.detach())
        outside = (new - old).abs() > clip * old
        varied = choices.varied
        return Gain((climbed + explored)[varied].sum(), (old * outside)[varied].sum().detach(), varied.sum())

    def of_bits(self, bits: BitChoices) -> Tensor:
        climbed = clipped((bits.new - bits.old).exp(), self._bit_advantages(bits), self.settings.clip)
        return (self._bit_weights(bits) * climbed).sum(-1)[bits.known].sum()


class Token(Objective):
    """The clipped ratio of the action that was chosen."""

    divides_by_spread = True

    def of_tokens(self, choices: TokenChoices, before: Baseline, logits: Tensor) -> Gain:
        ratio = _chosen_log_ratio(choices, logits).exp()
        advantage = before.advantage.gather(-1, choices.chosen[..., None])[..., 0]
        return _clipped_gain(ratio, advantage, choices.varied.float(), self.settings.clip)

    def of_bits(self, bits: BitChoices) -> Tensor:
        ratio, advantage = (x.gather(-1, bits.bit)[..., 0] for x in (bits.new - bits.old, self._bit_advantages(bits)))
        return clipped(ratio.exp(), advantage, self.settings.clip)[bits.known].sum()


class AllAction(Objective):
    """The gradient is that of the expected value under the model that played: meant for one step per batch."""

    @property
    def exploration(self) -> float:
        return self.settings.exploration

    def leader_epochs(self, asked: int) -> int:
        return 1

    def of_tokens(self, choices: TokenChoices, before: Baseline, logits: Tensor) -> Gain:
        push = before.weight * before.advantage
        # What is common to all logits changes no probability, but would turn the query that makes them.
        push = (push - push.sum(-1, keepdim=True) / choices.known.sum(-1, keepdim=True)) * choices.known
        total = self.settings.scale * (push * logits.masked_fill(~choices.known, 0.0)).sum()
        return Gain(total, total.new_zeros(()), before.weight.sum())

    def of_bits(self, bits: BitChoices) -> Tensor:
        push = self._bit_weights(bits) * self._bit_advantages(bits)
        climbed = (push[..., 1] - push[..., 0]) / 2 * bits.logit
        return climbed[bits.known].sum()


class Sequence(Objective):
    """The clipped ratio of a whole decision: one probability, the product over its actions (the paper's Eq. 12)."""

    needs_branches = False
    needs_critic = True
    # GAE needs some time; what learned least badly before (a rate of 6e-4 changed the leader by .05 nats a step).
    defaults: ClassVar[Mapping[str, Any]] = {"horizon": 16, "leader_lr": 3e-4, "epochs": 2}

    def of_tokens(self, choices: TokenChoices, before: Baseline, logits: Tensor) -> Gain:
        assert choices.advantage is not None
        ratio = _chosen_log_ratio(choices, logits).sum(-1).exp()
        even = choices.advantage.new_ones(choices.advantage.shape)
        return _clipped_gain(ratio, choices.advantage, even, self.settings.clip)

    def of_bits(self, bits: BitChoices) -> Tensor:
        assert bits.advantage is not None
        log_ratio = ((bits.new - bits.old).gather(-1, bits.bit)[..., 0] * bits.allowed).sum(-1)
        return clipped(log_ratio.exp(), bits.advantage, self.settings.clip).sum()


OBJECTIVES: dict[str, type[Objective]] = {
    "regression": Regression,
    "counterfactual": Counterfactual,
    "token": Token,
    "all_action": AllAction,
    "sequence": Sequence,
}
"""All objectives by the name that `--objective` takes."""
DEFAULT_OBJECTIVE = "regression"


def clipped(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's pessimistic objective, element by element."""
    return (ratio * advantage).minimum(ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)


def outside_clip(ratio: Tensor, clip: float) -> Tensor:
    """Where a ratio is beyond the clip."""
    return (ratio - 1.0).abs() > clip


def log_probs(logits: Tensor, allowed: Tensor) -> Tensor:
    """Log-probabilities over the last axis, 0 where not allowed: x log x is 0 there, and so is its gradient."""
    from policy.leader_models.leader_network import masked_log_softmax

    return masked_log_softmax(logits, allowed).masked_fill(~allowed, 0.0)


def _chosen_log_ratio(choices: TokenChoices, logits: Tensor) -> Tensor:
    """New over old probability of each chosen token, [B, L]."""
    new = log_probs(logits, choices.legal).gather(-1, choices.chosen[..., None])[..., 0]
    return new - choices.old_log_prob


def _clipped_gain(ratio: Tensor, advantage: Tensor, weight: Tensor, clip: float) -> Gain:
    total = (weight * clipped(ratio, advantage, clip)).sum()
    return Gain(total, (weight * outside_clip(ratio, clip)).sum().detach(), weight.sum())
