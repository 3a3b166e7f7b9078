"""The leader as a role of the trainer: what its minibatches are, and what they cost under its objective.

Suffixes: B examples, L steps, A actions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.leader_models.transcript import teacher_forcing_batch
from training.critic import Critic, new_critic
from training.learning.config import TrainConfig
from training.learning.distributed import Ranks
from training.learning.example import Example
from training.learning.leader_features import LEADER_FEATURES
from training.learning.learner import Cost, Limits, learn, new_optimizer
from training.learning.objectives import Baseline, TokenChoices, log_probs
from training.learning.ppo import dcm_advantages
from training.learning.report import LeaderFigures
from training.optimizer import AdamW

if TYPE_CHECKING:
    from policy.leader_models.leader_network import LeaderNetwork

CRITIC_LR = 3e-3
CRITIC_PASSES = 4
"""The critic's passes over a batch, per epoch of the leader: it must keep up with a leader that changes."""


@dataclass(slots=True, eq=False)
class _Part:
    """A part of a batch: as many examples as one forward takes."""

    examples: Sequence[Example]
    choices: TokenChoices
    old_log_prob: Tensor | None = None
    """[B, L, A] of the leader that played; None = not looked at yet."""
    before: Baseline | None = None


class _Sums:
    """What an epoch adds up over its parts."""

    def __init__(self) -> None:
        self.entropy = self.kl = self.step_kl = self.clipped = self.weighed = 0.0
        self.varied = self.choices = self.examples = 0

    def over(self, ranks: Ranks) -> _Sums:
        """The same, added up over the ranks."""
        names = list(vars(self))
        together = _Sums()
        for name, value in zip(names, ranks.sum([getattr(self, name) for name in names])):
            setattr(together, name, value)
        return together


class LeaderLearner:
    """A leader, its objective, its optimizer, its critic if the objective needs one, and what it began as."""

    def __init__(
        self,
        leader: LeaderNetwork,
        config: TrainConfig,
        reference: LeaderNetwork | None,
        ranks: Ranks | None = None,
    ) -> None:
        """reference: what `config.kl` holds it to; None = nothing."""
        self.leader, self._config, self._reference, self._ranks = leader, config, reference, ranks or Ranks()
        self.objective = config.make_objective()
        self._limits = Limits(self.objective.leader_epochs(config.epochs), config.clip_norm, config.target_kl)
        self._sums = _Sums()
        self.optimizer = new_optimizer(p for p in leader.parameters() if p.requires_grad)
        self.models: dict[str, nn.Module] = {"leader": leader}
        self.optimizers = {"leader": self.optimizer}
        self.critic: Critic | None = None
        if self.objective.needs_critic:
            self.critic = new_critic(LEADER_FEATURES, config.seed).to(leader.device)
            self.models["leader_critic"] = self.critic
            self.optimizers["leader_critic"] = AdamW(self.critic.parameters(), weight_decay=0.0)

    def learn(self, examples: Sequence[Example], rate: float, rng: np.random.Generator) -> LeaderFigures:
        """One update. Raises Diverged."""
        config = self._config
        advantage_B, explained = None, None
        if self.critic is not None:
            known = dcm_advantages(self.critic, examples, config.gamma, config.lam)
            examples, advantage_B, explained = known.examples, known.advantage_B, known.explained_variance
            self._fit_critic(self.critic, known.features_BF, known.return_B)
        order = rng.permutation(len(examples)) if len(examples) > config.batch else np.arange(len(examples))
        batches = [
            [self._part(examples, rows, advantage_B) for rows in _pieces(batch, config.micro_batch or config.batch)]
            for batch in self._minibatches(order)
        ]
        self.leader.train()
        # The first batch is looked at when its turn comes: until then no weight has changed.
        for part in (part for batch in batches[1:] for part in batch):
            with torch.no_grad():
                self._look_at_old(part, self._logits(self.leader, part))

        def epoch() -> Iterable[list[_Part]]:
            self._sums = _Sums()
            return batches

        begun = learn("leader's", self.optimizer, epoch, self._costs, rate, self._limits, self._ranks)
        sums = self._sums.over(self._ranks)
        return LeaderFigures(
            sums.entropy / max(sums.varied, 1),
            sums.kl / max(sums.examples, 1),
            sums.step_kl / max(sums.choices, 1),
            sums.clipped / max(sums.weighed, 1e-9),
            begun,
            explained,
        )

    def _minibatches(self, order: NDArray[np.int64]) -> Iterable[NDArray[np.int64]]:
        """This rank's share of each: together the ranks have `config.batch` states in one."""
        if self._ranks.size == 1:
            return _pieces(order, self._config.batch)
        steps = math.ceil(self._ranks.sum([len(order)])[0] / self._config.batch)
        return np.array_split(order, max(1, steps))

    def _fit_critic(self, critic: Critic, features_BF: Tensor, return_B: NDArray[np.float64]) -> None:
        target = torch.from_numpy(return_B.astype(np.float32)).to(self.leader.device)

        def costs(features: Tensor) -> Iterator[Cost]:
            yield Cost(nn.functional.mse_loss(critic(features), target))

        limits = Limits(CRITIC_PASSES * self._config.epochs, self._config.clip_norm)
        optimizer = self.optimizers["leader_critic"]
        learn("leader's critic's", optimizer, lambda: [features_BF], costs, CRITIC_LR, limits, self._ranks)

    def _part(self, examples: Sequence[Example], rows: NDArray[np.int64], advantage_B: Tensor | None) -> _Part:
        chosen = [examples[row] for row in rows.tolist()]
        device = self.leader.device
        advantage = None if advantage_B is None else advantage_B[torch.from_numpy(rows)].to(device)
        return _Part(chosen, token_choices(chosen, device)._replace(advantage=advantage))

    def _logits(self, model: LeaderNetwork, part: _Part) -> Tensor:
        """Unmasked logits of every step of the part's DCMs, [B, L, A]."""
        prompts = model.layout.encode([e.state for e in part.examples], [e.intent for e in part.examples])
        return model.teacher_forcing_logits(prompts, part.choices.teacher_batch).float()

    def _look_at_old(self, part: _Part, logits: Tensor) -> None:
        part.old_log_prob = log_probs(logits.detach(), part.choices.legal)
        part.before = self.objective.baseline(part.choices, logits)

    def _costs(self, batch: Sequence[_Part]) -> Iterator[Cost]:
        """The cost of each part of a batch, as its share of the mean over the batch's examples, of all ranks."""
        count = self._ranks.sum([sum(len(part.examples) for part in batch)])[0] / self._ranks.size
        for part in batch:
            logits = self._logits(self.leader, part)
            if part.old_log_prob is None:
                self._look_at_old(part, logits)
            cost = self._cost(part, logits)
            yield cost._replace(loss=cost.loss / count)

    def _cost(self, part: _Part, logits: Tensor) -> Cost:
        """The cost of one part, summed over its examples; figures go into the epoch's sums."""
        config, choices, sums = self._config, part.choices, self._sums
        assert part.before is not None and part.old_log_prob is not None
        gain = self.objective.of_tokens(choices, part.before, logits)
        log_prob = log_probs(logits, choices.legal)
        entropy_BL = -(log_prob.exp() * log_prob).sum(-1)
        kl = torch.zeros((), device=logits.device)
        if self._reference is not None and config.kl:
            with torch.no_grad():
                start = log_probs(self._logits(self._reference, part), choices.legal)
            kl = (log_prob.exp() * (log_prob - start)).sum()
        loss = config.kl * kl - gain.total - self.objective.entropy_weight * entropy_BL.sum()

        choice_BL = choices.legal.sum(-1) > 1
        counted_BL = choices.varied if self.objective.needs_branches else choice_BL
        step_kl = (part.old_log_prob.exp() * (part.old_log_prob - log_prob.detach())).sum().item()
        count = int(choice_BL.sum())
        sums.entropy += (entropy_BL.detach() * counted_BL).sum().item()
        sums.varied += int(counted_BL.sum())
        sums.kl += kl.item()
        sums.step_kl += step_kl
        sums.choices += count
        sums.clipped += gain.clipped.item()
        sums.weighed += gain.weighed.item()
        sums.examples += len(part.examples)
        return Cost(loss, step_kl, count)


def token_choices(examples: Sequence[Example], device: torch.device) -> TokenChoices:
    """What is known of all tokens of the examples' DCMs."""
    teacher_batch = teacher_forcing_batch([e.steps for e in examples])
    shape = teacher_batch.mask_BLA.shape
    known_BLA, value_BLA = np.zeros(shape, bool), np.zeros(shape, np.float32)
    log_prob_BL = np.zeros(shape[:2], np.float32)
    for row, example in enumerate(examples):
        steps, width = example.known_LA.shape
        known_BLA[row, :steps, :width] = example.known_LA
        value_BLA[row, :steps, :width] = np.where(example.known_LA, example.value_LA - example.base, 0.0) * example.size
        log_prob_BL[row, :steps] = example.log_probs_L
    varied_BL: NDArray[np.bool_] = np.asarray(known_BLA.any(axis=-1))

    def tensor(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return TokenChoices(
        teacher_batch,
        tensor(teacher_batch.mask_BLA),
        tensor(np.where(varied_BL[:, :, None], known_BLA, teacher_batch.mask_BLA)),
        tensor(varied_BL),
        tensor(value_BLA),
        tensor(teacher_batch.tokens_BL),
        tensor(log_prob_BL),
    )


def _pieces(rows: NDArray[np.int64], size: int) -> Iterable[NDArray[np.int64]]:
    return (rows[k : k + size] for k in range(0, len(rows), size))
