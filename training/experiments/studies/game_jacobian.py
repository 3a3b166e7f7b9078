"""Block norms of the game's Jacobian: how strongly leader and followers pull at each other's gradients.

With g_b = grad_b J_b for the leader and g_u = grad_u J_u for the followers, the Jacobian has four blocks
H_ij = d g_i / d theta_j. Assumption 2 of the paper's Theorem 2 is that those off the diagonal are small. For a random
unit vector v, E |H_ij v|^2 = |H_ij|_F^2 / n_j, so products with random directions tell a block's Frobenius norm.

Games are played once, every word and bit drawn, and products are taken from what was played (score function, in the
causal form of DiCE; what lies back fades with gamma):

    H_ij v = E sum_t A_t [ grad_i c_t  (grad_j c_t . v)  +  (i = j) hess_i c_t v ],   c_t = sum_{s <= t} gamma^{t-s} l_s

where l_s is the log-probability of what was decided (leader) or sent (followers) in slot s, and A_t the slot's reward
less its mean over cells. Directional derivatives are central differences of log-probabilities and of their gradients,
which are smooth: nothing is played again. The square of an estimate's norm holds its own variance; the product of two
halves' estimates does not, so a block that is nothing but noise comes out around 0, on either side.

Suffixes: T slots, B cells, N decisions or choices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.experiments.study import Results
from training.simulator.scenario import Scenario

if TYPE_CHECKING:  # torch: kept results are shown without
    from torch import Tensor, nn

    from policy.bundle import Bundle

BLOCKS = ("bb", "bu", "ub", "uu")
"""Row: whose gradient; column: whose weights. b = leader (base station), u = followers (UEs)."""
GAMMA = 0.9
WARM_UP_SLOTS = 100
STEP = 2e-3
"""Step of a central difference, as a share of the weights' norm."""
CHUNK = 192
"""Decisions a forward."""

LogProbs = Callable[[NDArray[np.float64] | None], "Tensor"]
"""Log-probabilities of each slot and cell [T, B]; with weights [T, B] their gradients have been added up, too."""


class Played(NamedTuple):
    """What was played, and how its probabilities are had again."""

    leader: LogProbs
    follower: LogProbs
    reward: dict[str, NDArray[np.float64]]
    """Each player's rewards, [T, B]."""


def measure_blocks(
    bundle: Path, scenario: Scenario, ues: int, cells: int, slots: int, directions: int, seed: int
) -> Results:
    """Per block and direction an unbiased estimate of its squared Frobenius norm.

    It takes two halves of `cells` cells; equal seeds meet equal worlds, coins and directions.
    """
    import torch

    from policy.bundle import load_bundle

    torch.set_num_threads(1)
    if scenario.control_lead_periods:
        raise ValueError(f"{scenario.name} has K = {scenario.slots_per_dcm}: expected a leader that decides for now")
    loaded = load_bundle(bundle)
    models: dict[str, nn.Module] = {"b": loaded.leader.eval(), "u": loaded.follower.eval()}
    halves = [play(loaded, scenario, ues, cells, slots, [seed, half]) for half in range(2)]
    found: dict[str, list[float]] = {block: [] for block in BLOCKS}
    for direction in range(directions):
        for player, model in models.items():
            generator = torch.Generator().manual_seed(1000 * direction + ord(player))
            vector = [torch.randn(p.shape, generator=generator) for p in model.parameters()]
            norm = float(torch.sqrt(torch.stack([(v**2).sum() for v in vector]).sum()))
            unit = [v / norm for v in vector]
            weights = sum(v.numel() for v in unit)
            found_by_half = [products(models, half, player, unit) for half in halves]
            for other in models:
                square = sum(float((a * b).sum()) for a, b in zip(*(half[other] for half in found_by_half)))
                found[other + player].append(weights * square)
    return {"squares": found}


def play(bundle: Bundle, scenario: Scenario, ues: int, cells: int, slots: int, seed: Sequence[int]) -> Played:
    """Play `slots` slots, all drawn."""
    import torch

    from policy.grammar import compile_grammar
    from policy.intent import Intent
    from training.following.config import RecordingConfig
    from training.following.recording import FollowerTeam, join, play_period
    from training.simulator.cell import CellBatch

    rng = np.random.default_rng(seed)
    world = CellBatch(scenario, cells, ues, int(rng.integers(2**31)))
    slots_per_dcm = scenario.slots_per_dcm
    world.play(None, WARM_UP_SLOTS // slots_per_dcm * slots_per_dcm)
    team, config = FollowerTeam(bundle.follower), RecordingConfig(flips=0)
    decided, batches = [], []
    intents = [Intent()] * cells
    for _ in range(max(2, slots // slots_per_dcm)):
        states = world.observe()
        grammars = [compile_grammar(s, i, bundle.options) for s, i in zip(states, intents)]
        uniforms_BL = rng.random((cells, max(g.max_tokens for g in grammars)))
        dcms = bundle.leader.decode(states, intents, grammars, uniforms_BL=uniforms_BL)
        decided.append((states, grammars, [dcm.tokens for dcm in dcms]))
        batches.append(play_period(world, [dcm.allocation for dcm in dcms], slots_per_dcm, team, config, rng))
    batch = join(batches)
    shape = batch.cell_reward_TB.shape
    choices = batch.choices
    cell_N = choices.slot_N * cells + choices.seat_N // ues

    def leader(weights_TB: NDArray[np.float64] | None) -> Tensor:
        from policy.leader_models.decoding import score

        flat = [row for states, grammars, tokens in decided for row in zip(states, grammars, tokens)]
        rows_N = (np.arange(len(decided))[:, None] * slots_per_dcm * cells + np.arange(cells)).reshape(-1)

        def log_prob(part: slice) -> Tensor:
            states, grammars, tokens = zip(*flat[part])
            return score(bundle.leader, states, [Intent()] * len(states), grammars, tokens).sum(-1)

        return _collected(log_prob, rows_N, shape, weights_TB)

    def follower(weights_TB: NDArray[np.float64] | None) -> Tensor:
        def log_prob(part: slice) -> Tensor:
            logit = bundle.follower(torch.from_numpy(choices.tokens_NL[part]))
            sign = torch.from_numpy(np.where(choices.bits_NM[part], 1.0, -1.0)).float()
            chosen_NM = torch.nn.functional.logsigmoid(sign * logit)
            return (chosen_NM * torch.from_numpy(choices.allowed_NM[part])).sum(-1)

        return _collected(log_prob, cell_N, shape, weights_TB)

    return Played(leader, follower, {"b": batch.cell_reward_TB, "u": batch.reward_TBU.mean(axis=2)})


def _collected(
    log_prob: Callable[[slice], Tensor],
    rows_N: NDArray[np.int64],
    shape: tuple[int, int],
    weights_TB: NDArray[np.float64] | None,
) -> Tensor:
    """Log-probabilities by slot and cell; with weights, their weighted sum's gradient is left in the weights."""
    import torch

    total = torch.zeros(shape[0] * shape[1])
    flat = None if weights_TB is None else torch.from_numpy(weights_TB.reshape(-1)).float()
    for first in range(0, len(rows_N), CHUNK):
        part = slice(first, first + CHUNK)
        rows = torch.from_numpy(rows_N[part])
        with torch.set_grad_enabled(flat is not None):
            found = log_prob(part)
            if flat is not None:
                (found * flat[rows]).sum().backward()
        total.index_add_(0, rows, found.detach())
    return total.reshape(shape)


def products(
    models: dict[str, nn.Module], played: Played, whose: str, unit: Sequence[Tensor]
) -> dict[str, list[Tensor]]:
    """H_ij unit for j = `whose` and both i."""
    import torch

    log_probs = {"b": played.leader, "u": played.follower}
    model = models[whose]
    step = STEP * float(torch.sqrt(torch.stack([(p.detach() ** 2).sum() for p in model.parameters()]).sum()))
    own = _before(_advantage(played.reward[whose]))
    with _shifted(model, unit, step):
        above, gradient_above = _gradient(model, log_probs[whose], own)
    with _shifted(model, unit, -step):
        below, gradient_below = _gradient(model, log_probs[whose], own)
    slope_TB = _after(((above - below) / (2 * step)).double().numpy())
    result = {}
    for player, other in models.items():
        weights_TB = _before(_advantage(played.reward[player]) * slope_TB)
        _, product = _gradient(other, log_probs[player], weights_TB)
        if player == whose:
            curvature = [(a - b) / (2 * step) for a, b in zip(gradient_above, gradient_below)]
            product = [p + c for p, c in zip(product, curvature)]
        result[player] = product
    return result


def _gradient(model: nn.Module, log_probs: LogProbs, weights_TB: NDArray[np.float64]) -> tuple[Tensor, list[Tensor]]:
    """Log-probabilities, and the gradient of their weighted sum, a mean over cells."""
    import torch

    model.zero_grad(set_to_none=True)
    found = log_probs(weights_TB / weights_TB.shape[1])
    gradient = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    return found, gradient


@contextmanager
def _shifted(model: nn.Module, unit: Sequence[Tensor], step: float) -> Iterator[None]:
    """The weights, shifted for a while."""
    import torch

    before = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for p, v in zip(model.parameters(), unit):
            p.add_(v, alpha=step)
    try:
        yield
    finally:
        with torch.no_grad():
            for p, old in zip(model.parameters(), before):
                p.copy_(old)


def _advantage(reward_TB: NDArray[np.float64]) -> NDArray[np.float64]:
    """Less the mean of the other cells, which knows nothing of what was decided in this one."""
    cells = reward_TB.shape[1]
    others_TB = (reward_TB.sum(axis=1, keepdims=True) - reward_TB) / max(1, cells - 1)
    return reward_TB - others_TB


def _after(values_TB: NDArray[np.float64]) -> NDArray[np.float64]:
    """sum_{s <= t} gamma^{t-s} values_s."""
    result_TB = values_TB.copy()
    for t in range(1, len(result_TB)):
        result_TB[t] += GAMMA * result_TB[t - 1]
    return result_TB


def _before(values_TB: NDArray[np.float64]) -> NDArray[np.float64]:
    """sum_{t >= s} gamma^{t-s} values_t."""
    return _after(values_TB[::-1])[::-1].copy()
