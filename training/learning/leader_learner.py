"""The leader's weights follow its credit: epochs over a batch of examples, inside PPO's limits.

A batch is learnt from for `epochs` passes, or until the policy has moved `target_kl` nats a choice from the one that
played. Losses and gradients that are not finite stop the run before they reach the weights.
Suffixes: B examples, L steps, A actions, T periods, C chains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.errors import Diverged, TrainingError
from training.gae import generalised_advantages, next_values
from training.learning import objectives as credit
from training.learning.config import TrainConfig
from training.learning.distributed import Ranks
from training.learning.leader_critic import LeaderCritic, new_leader_critic
from training.learning.report import LeaderFigures
from training.learning.rollout import Example

if TYPE_CHECKING:
    from policy.leader_models.leader_network import TrainableNetwork

CRITIC_LR = 3e-3
CRITIC_PASSES = 4
"""Over a batch, per epoch of the leader: it must keep up with a policy that changes."""
MIN_STD = 1e-6
"""Advantages are divided by their spread, but not by less."""


@dataclass(slots=True, eq=False)
class _Part:
    """As many examples as one forward takes."""

    examples: Sequence[Example]
    tried: credit.Tried
    advantage_B: Tensor | None
    """Of whole DCMs; `sequence` only."""
    old_log_prob: Tensor | None = None
    """[B, L, A] of the policy that played; None = not looked at yet."""
    before: credit.Baseline | None = None


class _Sums:
    """What an optimizer step adds up over its parts."""

    def __init__(self) -> None:
        self.entropy = self.kl = self.step_kl = self.clipped = self.weighed = 0.0
        self.varied = self.choices = self.examples = 0


class LeaderLearner:
    """A leader, its optimizer, its critic if its credit needs one, and the leader that it began as."""

    def __init__(
        self,
        leader: TrainableNetwork,
        config: TrainConfig,
        reference: TrainableNetwork | None,
        ranks: Ranks | None = None,
    ) -> None:
        """reference: what `config.kl` holds it to; None = nothing."""
        self.leader, self._config, self._reference, self._ranks = leader, config, reference, ranks or Ranks()
        self.critic: LeaderCritic | None = None
        if config.credit == "sequence":
            self.critic = new_leader_critic(config.seed).to(_device_of(leader))
        trained = [p for p in leader.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.98), weight_decay=0.0)
        self.models: dict[str, nn.Module] = {"leader": leader}
        self.optimizers = {"leader": self.optimizer}
        if self.critic is not None:
            self.models["leader_critic"] = self.critic
            self.optimizers["leader_critic"] = torch.optim.AdamW(self.critic.parameters(), weight_decay=0.0)

    def learn(self, examples: Sequence[Example], rate: float, rng: np.random.Generator) -> LeaderFigures:
        """One update. Raises Diverged."""
        config = self._config
        advantage_B, explained = None, None
        if self.critic is not None:
            examples, advantage_B, explained = self._sequence_advantages(examples)
        order = rng.permutation(len(examples)) if len(examples) > config.batch else np.arange(len(examples))
        batches = [
            [self._part(examples, rows, advantage_B) for rows in _pieces(batch, config.micro_batch or config.batch)]
            for batch in _pieces(order, config.batch)
        ]
        self.leader.train()
        for part in (part for batch in batches[1:] for part in batch):
            with torch.no_grad():
                self._note_old(part, self._logits(self.leader, part))
        epochs = 1 if config.credit in ("all_action", "regression") else config.epochs
        sums, begun = _Sums(), 0
        for epoch in range(epochs):
            begun += 1
            sums = _Sums()
            for batch in batches:
                if not self._descend(batch, rate, sums, epoch):
                    break
            else:
                continue
            break
        return LeaderFigures(
            sums.entropy / max(sums.varied, 1),
            sums.kl / max(sums.examples, 1),
            sums.step_kl / max(sums.choices, 1),
            sums.clipped / max(sums.weighed, 1e-9),
            begun,
            explained,
        )

    def _part(self, examples: Sequence[Example], rows: NDArray[np.int64], advantage_B: Tensor | None) -> _Part:
        chosen = [examples[row] for row in rows.tolist()]
        device = _device_of(self.leader)
        whole = None if advantage_B is None else advantage_B[torch.from_numpy(rows)].to(device)
        return _Part(chosen, credit.tried_of(chosen, device), whole)

    def _logits(self, model: TrainableNetwork, part: _Part) -> Tensor:
        """[B, L, A]"""
        prompts = model.layout.encode([e.state for e in part.examples], [e.intent for e in part.examples])
        return model.teacher_forcing_logits(prompts, part.tried.script).float()

    def _note_old(self, part: _Part, logits: Tensor) -> None:
        exploration = self._config.exploration if self._config.credit in ("counterfactual", "all_action") else 0.0
        part.old_log_prob = credit.log_probs(logits.detach(), part.tried.legal)
        part.before = credit.baseline_of(part.tried, logits, exploration)
        # Of a role's own, so that leader and followers weigh alike whatever their rewards' units.
        if self._config.credit in ("counterfactual", "token"):
            weight, advantage = part.before.weight, part.before.advantage
            spread = (weight * advantage**2).sum() / weight.sum().clamp(min=MIN_STD)
            part.before = part.before._replace(advantage=advantage / spread.sqrt().clamp(min=MIN_STD))

    def _descend(self, batch: Sequence[_Part], rate: float, sums: _Sums, epoch: int) -> bool:
        """One optimizer step, or none if the policy has moved far enough (False)."""
        config, count = self._config, sum(len(part.examples) for part in batch)
        self.optimizer.zero_grad(set_to_none=True)
        moved = choices = 0.0
        for part in batch:
            logits = self._logits(self.leader, part)
            if part.old_log_prob is None:
                self._note_old(part, logits)
            loss, part_moved, part_choices = self._loss(part, logits, sums)
            moved, choices = moved + part_moved, choices + part_choices
            if self._ranks.any(not bool(torch.isfinite(loss))):
                raise Diverged(f"the leader's loss is {loss.item()}")
            (loss / count).backward()
        if epoch and config.target_kl:
            moved, choices = self._ranks.sum([moved, choices])
            if moved / max(choices, 1.0) > config.target_kl:
                return False
        step(self.optimizer, self.leader, rate, config.clip_norm, "leader", self._ranks)
        return True

    def _loss(self, part: _Part, logits: Tensor, sums: _Sums) -> tuple[Tensor, float, int]:
        """Summed over the part's examples; how far the policy has moved on them, nats, and over how many choices."""
        config, tried = self._config, part.tried
        assert part.before is not None and part.old_log_prob is not None
        if config.credit == "sequence":
            assert part.advantage_B is not None
            objective = credit.sequence(tried, part.advantage_B, logits, config.clip)
        elif config.credit == "all_action":
            objective = credit.all_action(tried, part.before, logits)
        elif config.credit == "regression":
            objective = credit.regression(tried, part.before, logits, config.sharpness)
        elif config.credit == "token":
            objective = credit.token(tried, part.before, logits, config.clip)
        else:
            objective = credit.counterfactual(tried, part.before, logits, config.clip)
        log_prob = credit.log_probs(logits, tried.legal)
        entropy_BL = -(log_prob.exp() * log_prob).sum(-1)
        kl = torch.zeros((), device=logits.device)
        if self._reference is not None and config.kl:
            with torch.no_grad():
                start = credit.log_probs(self._logits(self._reference, part), tried.legal)
            kl = (log_prob.exp() * (log_prob - start)).sum()
        scale = config.scale if config.credit in ("all_action", "regression") else 1.0
        # A regression's temperature is its sharpness: pushed on, it would rest elsewhere.
        entropy = 0.0 if config.credit == "regression" else config.entropy
        loss = config.kl * kl - scale * objective.gained - entropy * entropy_BL.sum()

        choice_BL = tried.legal.sum(-1) > 1
        looked_BL = choice_BL if config.credit == "sequence" else tried.varied
        moved = (part.old_log_prob.exp() * (part.old_log_prob - log_prob.detach())).sum().item()
        choices = int(choice_BL.sum())
        sums.entropy += (entropy_BL.detach() * looked_BL).sum().item()
        sums.varied += int(looked_BL.sum())
        sums.kl += kl.item()
        sums.step_kl += moved
        sums.choices += choices
        sums.clipped += objective.clipped.item()
        sums.weighed += objective.weighed.item()
        sums.examples += len(part.examples)
        return loss, moved, choices

    def _sequence_advantages(self, examples: Sequence[Example]) -> tuple[list[Example], Tensor, float]:
        """Advantages by GAE; each chain's last decision only says what comes after. Trains the critic too."""
        assert self.critic is not None
        config = self._config
        chains: dict[int, list[Example]] = {}
        for example in examples:
            chains.setdefault(example.chain, []).append(example)
        length = min(map(len, chains.values()))
        if length < 2:
            raise TrainingError(f"credit sequence needs a horizon of 2 or more periods, has {length}")
        grid = [[chain[t] for chain in chains.values()] for t in range(length)]
        flat = [example for row in grid for example in row]
        features = self.critic.features([e.state for e in flat])
        with torch.no_grad():
            value_TC = self.critic(features).double().cpu().numpy().reshape(length, -1)
        # Returns near 1: an optimizer's steps are of a fixed size.
        unit = max(1.0 - config.gamma, 1.0 / length)
        reward_TC = np.array([[e.reward * e.size * unit for e in row] for row in grid])[:-1]
        # Cells do not leave: the batch's end is a truncation.
        truncated_TC = np.zeros(reward_TC.shape, bool)
        truncated_TC[-1] = True
        result = generalised_advantages(
            reward_TC,
            value_TC[:-1],
            next_values(value_TC[:-1], value_TC[-1]),
            np.zeros(reward_TC.shape, bool),
            truncated_TC,
            gamma=config.gamma,
            lam=config.lam,
        )
        returns = result.return_TN.reshape(-1)
        left = returns.var()
        explained = 1.0 - float((returns - value_TC[:-1].reshape(-1)).var() / left) if left > 0 else 0.0
        learnt = flat[: reward_TC.size]
        self._fit_critic(features[: len(learnt)], returns)
        advantage = result.advantage_TN.reshape(-1)
        advantage = (advantage - advantage.mean()) / max(float(advantage.std()), MIN_STD)
        return learnt, torch.from_numpy(advantage.astype(np.float32)), explained

    def _fit_critic(self, features_BF: Tensor, returns: NDArray[np.float64]) -> None:
        assert self.critic is not None
        optimizer = self.optimizers["leader_critic"]
        target = torch.from_numpy(returns.astype(np.float32)).to(_device_of(self.leader))
        for _ in range(CRITIC_PASSES * self._config.epochs):
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.mse_loss(self.critic(features_BF), target)
            loss.backward()
            step(optimizer, self.critic, CRITIC_LR, self._config.clip_norm, "leader's critic", self._ranks)


def step(
    optimizer: torch.optim.Optimizer, model: nn.Module, rate: float, clip_norm: float, name: str, ranks: Ranks
) -> None:
    """One optimizer step at `rate`, along the ranks' mean gradient. Raises Diverged, before any weight changes."""
    ranks.average_gradients(model.parameters())
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    if not bool(torch.isfinite(norm)):
        raise Diverged(f"the {name}'s gradient is {norm.item()}")
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def _pieces(rows: NDArray[np.int64], size: int) -> Iterable[NDArray[np.int64]]:
    return (rows[k : k + size] for k in range(0, len(rows), size))


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
