"""One UE of each cell whose model is trained for itself, while leader and all other UEs stand still.

It learns as followers do, each of its bits against its flip in branches of the simulator, but what counts is what it is
served itself: neither what others lose by it nor what its collisions and waste cost the cell. In branches everybody
goes on by the hand-written rule. What the DCM does not offer is never used, whatever the weights are; a search among
rules (training.exploitability) also tries that.
Suffixes: B cells, U seats, M RBGs, N choices.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from policy.follower import Access, Answer, FollowerModel, FollowerPolicy, FollowerView
from training.following.branching import choose_flips, flip_gains
from training.following.config import FollowConfig
from training.following.grounds import WARM_UP_SLOTS, Ground
from training.following.losses import UNIT_UES, Lesson
from training.following.recording import Choices, FollowerTeam, no_words
from training.following.train import FollowTraining, imitate, learn, rate_at
from training.learned_followers import follower_view, own_uniforms
from training.simulator.cell import CellBatch, SlotView

if TYPE_CHECKING:
    from training.exploitability import Game

TRAIN_CELLS = 48
"""Side by side, each with one UE that learns."""
UPDATE_SLOTS = 8
"""Played between two updates, rounded up to whole periods."""
ROUND_UPDATES = 12
"""Updates between two sets of cells."""
IMITATION_SHARE = 0.2
"""Of the updates: first it learns to do as the rule does. Where the others have learned, it begins as one of them."""
OWN_UNIT_BITS = 300.0
"""Own served bits that count as one in what is learned from."""

Answers = Callable[[SlotView], NDArray[np.bool_]]
"""What all UEs send on, [B, U, M]."""


class RetrainedUe:
    """Followers of which one UE a cell has a model of its own; the others stay as they are."""

    def __init__(self, model: FollowerModel, seat_B: NDArray[np.int64], staying: Answers, *, greedy: bool) -> None:
        """greedy: the likelier choice of every bit, instead of one drawn with the UE's own uniforms."""
        self._policy, self._seat_B, self._staying, self._greedy = FollowerPolicy(model), seat_B, staying, greedy

    def __call__(self, slot: SlotView) -> NDArray[np.bool_]:
        sends_BUM = self._staying(slot)
        view = _seen(slot, self._seat_B)
        at = np.arange(len(self._seat_B)), self._seat_B
        sends_BUM[at] = self._policy.bits(view, None if self._greedy else own_uniforms(slot)[at])
        return sends_BUM


def retrain(game: Game, start: FollowerModel, budget: int, told: Callable[[str], None], seed: int = 0) -> FollowerModel:
    """A copy of `start`, trained for about `budget` cell-steps (branches and what comes before it plays not counted).

    told: called at each of `updates_within` updates. Raises Diverged.
    """
    pace = game.scenario.slots_per_dcm
    slots = _update_slots(game)
    updates = updates_within(game, budget)
    first = 0 if game.learned is not None else -int(IMITATION_SHARE * updates)
    config = FollowTraining(updates=updates + first, imitation_updates=-first, seed=seed, slots=slots)
    model = copy.deepcopy(start).train()
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
    team, ground = FollowerTeam(model), None
    seat_B = np.arange(TRAIN_CELLS) % game.ues
    for update in range(first, updates + first):
        told(f"update {update - first + 1}/{updates}")
        rng = np.random.default_rng([seed, 2, update - first])
        if ground is None or (update - first) % ROUND_UPDATES == 0:
            world, warm_up = int(rng.integers(2**62)), int(rng.integers(WARM_UP_SLOTS + 1))
            ground = Ground(game.scenario, TRAIN_CELLS, game.ues, world, warm_up, game.leader)
        imitates = update < 0
        recorder = _Recorder(ground.world, team.model, seat_B, game.staying, config.follow, rng, flips=not imitates)
        model.eval()
        for _ in range(slots // pace):
            allocations = ground.governing()
            recorder.end = ground.world.slot + pace
            ground.world.play(allocations, pace, recorder)
        model.train()
        lesson = recorder.lesson()
        optimizer.param_groups[0]["lr"] = rate_at(config, update)
        if not len(lesson.choices.slot_N):
            continue
        if imitates:
            imitate(team, [lesson], config, optimizer, rng)
        else:
            learn(team, [lesson], config.follow, optimizer, config.epochs, config.batch, config.clip_norm, rng)
    return model.eval()


def updates_within(game: Game, budget: int) -> int:
    """How many updates a budget in cell-steps allows; one at least."""
    return max(1, budget // update_cell_steps(game))


def led_cell_steps(game: Game, budget: int) -> int:
    """What they really play."""
    return updates_within(game, budget) * update_cell_steps(game)


def update_cell_steps(game: Game) -> int:
    """Of one update."""
    return TRAIN_CELLS * _update_slots(game)


def _update_slots(game: Game) -> int:
    pace = game.scenario.slots_per_dcm
    return -(-UPDATE_SLOTS // pace) * pace


def _seen(slot: SlotView, seat_B: NDArray[np.int64]) -> FollowerView:
    """What the one UE of each cell sees, a row a cell."""
    return follower_view(slot).rows(np.arange(len(seat_B)) * slot.coin_BUM.shape[1] + seat_B)


class _Recorder:
    """The followers of a period, one of each cell drawn from the model that learns, with a notebook."""

    def __init__(
        self,
        world: CellBatch,
        model: FollowerModel,
        seat_B: NDArray[np.int64],
        staying: Answers,
        config: FollowConfig,
        rng: np.random.Generator,
        *,
        flips: bool,
    ) -> None:
        self._world, self._model, self._seat_B, self._staying = world, model, seat_B, staying
        self._config, self._rng, self._flips = config, rng, flips
        self.end = world.slot
        """Of the period."""
        self._choices: list[Choices] = []
        self._weights_BU = np.zeros((world.cells, world.ues))
        self._weights_BU[np.arange(world.cells), seat_B] = 1.0 / OWN_UNIT_BITS

    def __call__(self, slot: SlotView) -> NDArray[np.bool_]:
        world, seat_B = self._world, self._seat_B
        sends_BUM, view = self._staying(slot), _seen(slot, seat_B)
        busy = np.flatnonzero(view.busy_N)
        chosen = view.rows(busy)
        allowed_NM = chosen.access_NM != Access.NONE
        tokens_NL = self._model.tokens(chosen)
        logit_NM = np.zeros(allowed_NM.shape, np.float32)
        if len(busy):
            with torch.inference_mode():
                logit_NM = self._model(torch.from_numpy(tokens_NL)).float().numpy()
        uniforms_NM = own_uniforms(slot)[busy, seat_B[busy]]
        bits_NM = allowed_NM & (uniforms_NM < 1.0 / (1.0 + np.exp(-logit_NM.astype(np.float64))))
        sends_BUM[np.arange(world.cells), seat_B] = False
        sends_BUM[busy, seat_B[busy]] = bits_NM
        known_NM, gain_NM = np.zeros(allowed_NM.shape, bool), np.zeros(allowed_NM.shape, np.float32)
        places = busy * world.ues + seat_B[busy]
        if self._flips and len(busy):
            config = self._config
            flips = choose_flips(busy, allowed_NM, config.flips, self._rng)
            rest = self.end - world.slot - 1
            known_NM[flips.choice_K, flips.rbg_K] = True
            gain_NM[flips.choice_K, flips.rbg_K] = flip_gains(
                world, sends_BUM, flips, places, self._weights_BU, rest, 0.0, config.futures, cost=0.0
            )
        rule_NM = (chosen.answer_NM & Answer.RULE) > 0
        when = np.full(len(busy), slot.slot)
        self._choices.append(
            Choices(when, places, tokens_NL, allowed_NM, rule_NM, bits_NM, logit_NM, known_NM, gain_NM)
        )
        return sends_BUM

    def lesson(self) -> Lesson:
        choices = Choices(*(np.concatenate(columns) for columns in zip(*self._choices)))
        nothing = np.zeros(len(choices.slot_N))
        words = no_words(self._model, self._world.scenario.num_rbgs)
        size = self._world.ues / UNIT_UES
        return Lesson(choices, size, nothing, np.zeros((len(nothing), 0), np.float32), nothing, words, np.zeros(0))
