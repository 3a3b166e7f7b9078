"""A leader that learns a teacher's DCMs with or without the grammar, and how it does at some points of its way.

With the grammar a step's softmax goes over its legal tokens, without it over all; nothing else differs: states, order
and first weights are equal. Used means sampled, as learning by trial would use it. Every point is used both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from training.experiments.measurement import metrics_of
from training.experiments.studies.free_grammar import replay_freely
from training.experiments.study import Results
from training.simulator.scenario import Scenario
from training.world_seeds import FIRST_WORLD_SEED

if TYPE_CHECKING:
    from torch import Tensor

    from training.imitation.collector import LeaderExample

ROUND_STEPS = 40
"""Between two collections of states."""


def learn(
    scenario: Scenario, ues: Sequence[int], test_ues: int, points: Sequence[int], cells: int, slots: int,
    masked: bool, seed: int, batch: int,
) -> Results:  # fmt: skip
    """Imitate inflight PF. Per point: loss, and by use (masked, free) lost decisions and every cell's metrics.

    points: numbers of steps after which the leader is used, ascending; the last ends it.
    """
    import torch

    from policy.leader_models.language_model import ModelConfig, new_leader_model
    from policy.leader_models.leader_network import masked_log_softmax
    from policy.leader_models.transcript import teacher_forcing_batch
    from policy.prompt.compact import PromptLayout
    from training.imitation.collector import Collector, prompts_of
    from training.imitation.teachers import make_teacher
    from training.imitation.warm_start import WarmStartConfig, options_for
    from training.optimizer import AdamW

    torch.set_num_threads(1)
    options = options_for([scenario])
    model = new_leader_model(ModelConfig(), PromptLayout(), seed)
    optimizer = AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    rates = WarmStartConfig(steps=max(points[-1], 1))
    collector = Collector((scenario,), tuple(ues), make_teacher("proportional_fair"), options)
    rng = np.random.default_rng([seed, 7])

    def used() -> Results:
        """Both ways, in the same worlds."""
        results: Results = {}
        for use in ("masked", "free"):
            freedom = replay_freely(
                model, options, scenario, masked=use == "masked", sampled=True, ues=test_ues, cells=cells,
                seed=FIRST_WORLD_SEED, periods=max(1, slots // scenario.slots_per_dcm),
            )  # fmt: skip
            results[use] = {
                "lost_share": freedom.lost / freedom.decisions,
                "illegal_share": freedom.illegal_tokens / freedom.tokens,
                **metrics_of(freedom.cells),
            }
        return results

    found, examples, loss_now = [], [], float("nan")
    for step in range(points[-1] + 1):
        if step in points:
            model.eval()
            found.append({"step": step, "loss": loss_now if step else None} | used())
        if step == points[-1]:
            break
        if step % ROUND_STEPS == 0:
            examples = collector.collect(model, 0.0, ROUND_STEPS * batch // 2, rng).leader
        model.train()
        chosen = [examples[k] for k in rng.integers(len(examples), size=batch)]
        teacher_batch = teacher_forcing_batch([e.steps for e in chosen])
        logits = model.logits(model.read(prompts_of(chosen)), teacher_batch.steps, teacher_batch.features_BLA)
        real = torch.arange(logits.shape[1])[None] < torch.from_numpy(teacher_batch.lengths_B)[:, None]
        legal = torch.from_numpy(teacher_batch.mask_BLA)
        everything = torch.where(real[..., None], _sayable(chosen, logits.shape[-1])[:, None], legal)
        log_probs = masked_log_softmax(logits, legal if masked else everything)
        loss = -log_probs.gather(-1, torch.from_numpy(teacher_batch.tokens_BL)[..., None])[..., 0].sum() / real.sum()
        for group in optimizer.param_groups:
            group["lr"] = rates.learning_rate_at(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss_now = loss.item()
    return {"points": found}


def _sayable(examples: Sequence[LeaderExample], actions: int) -> Tensor:
    """Each cell's tokens, bool [B, A]: cells have as many as they have UEs, and some."""
    import torch

    counts = torch.tensor([e.steps.mask_LA.shape[1] for e in examples])
    return torch.arange(actions)[None] < counts[:, None]
