"""A period played by learning followers, and everything that learning from it takes.

Bits are drawn with the UEs' own uniforms, so a recording is a deterministic function of world, plan, weights and rng,
and rng chooses nothing but the bits that are flipped. Only UEs that have something to send and somewhere to send it
have a choice; the others are skipped.
Suffixes: T slots, B cells, U seats, M RBGs, N choices (a UE in a slot), L tokens, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from policy.allocation import Allocation
from policy.follower import UCM_TOKENS, Access, Answer, FollowerModel, FollowerPolicy, FollowerView
from training.critic import Critic, follower_features
from training.following.branching import Flips, choose_flips, flip_gains
from training.following.config import RecordingConfig
from training.rewards import SERVED_UNIT_BITS, agreement, cell_reward, costs, served_weights
from training.simulator.cell import CellBatch, SlotView
from training.simulator.learned_followers import follower_view, own_uniforms, word_uniforms
from training.simulator.plan import Plan
from training.simulator.state import SERVED

NEED_EDGES = np.array([100.0, 200.0, 350.0, 500.0, 750.0, 1000.0, 2000.0])
"""Bits a slot at which the next word begins, before words have learned anything better."""


class FollowerTeam(NamedTuple):
    """The followers' shared model, its critic, and what it began as."""

    model: FollowerModel
    critic: Critic | None = None
    """Only where the objective needs one."""
    reference: FollowerModel | None = None
    """`kl` only."""
    speaks: bool = False
    """Reports carry a word, for a leader that reads it."""


class Drawn(NamedTuple):
    """What some UEs drew from their model, a row each."""

    tokens_NL: NDArray[np.int64]
    allowed_NM: NDArray[np.bool_]
    bits_NM: NDArray[np.bool_]
    logit_NM: NDArray[np.float32]
    """Logits of sending."""


def draw_bits(model: FollowerModel, view: FollowerView, uniforms_NM: NDArray[np.float64]) -> Drawn:
    """Every bit by its own uniform: it is set with the model's probability of sending, where the DCM allows it."""
    allowed_NM = view.access_NM != Access.NONE
    tokens_NL = model.tokens(view)
    logit_NM = np.zeros(allowed_NM.shape, np.float32)
    if len(tokens_NL):
        with torch.inference_mode():
            tokens = torch.from_numpy(tokens_NL).to(model.send.weight.device)
            logit_NM = model(tokens).float().cpu().numpy()
    bits_NM = allowed_NM & (uniforms_NM < 1.0 / (1.0 + np.exp(-logit_NM.astype(np.float64))))
    return Drawn(tokens_NL, allowed_NM, bits_NM, logit_NM)


class Choices(NamedTuple):
    """What UEs saw and did, a row each."""

    slot_N: NDArray[np.int64]
    """Counted from the batch's first."""
    seat_N: NDArray[np.int64]
    """cell x seats + seat."""
    tokens_NL: NDArray[np.int64]
    allowed_NM: NDArray[np.bool_]
    rule_NM: NDArray[np.bool_]
    """What the hand-written rule would have sent on."""
    bits_NM: NDArray[np.bool_]
    logit_NM: NDArray[np.float32]
    """Logits of sending, from the followers that played."""
    known_NM: NDArray[np.bool_]
    """Which bits were flipped in a branch."""
    gain_NM: NDArray[np.float32]
    """What the flip would have added to the bit's value."""

    def rows(self, chosen: NDArray[np.int64]) -> Choices:
        columns: list[Any] = [column[chosen] for column in self]
        return Choices(*columns)


Rows = TypeVar("Rows", Choices, "Words")


def one_under_another(parts: Sequence[Rows]) -> Rows:
    """Rows of several parts. Raises ValueError for none."""
    columns: list[Any] = [np.concatenate(columns) for columns in zip(*parts)]
    return type(parts[0])(*columns)


class Words(NamedTuple):
    """What UEs' reports named, a row each."""

    slot_N: NDArray[np.int64]
    """At whose start the report was made, counted from the batch's first."""
    seat_N: NDArray[np.int64]
    tokens_NL: NDArray[np.int64]
    word_N: NDArray[np.int64]
    logit_NW: NDArray[np.float32]
    need_N: NDArray[np.int64]
    """The word that names how many bits a slot the UE needs: what words mean at first."""

    def rows(self, chosen: NDArray[np.int64]) -> Words:
        columns: list[Any] = [column[chosen] for column in self]
        return Words(*columns)


class FollowerBatch(NamedTuple):
    """One world's slots in order. Batches of the same world that follow each other can be joined."""

    choices: Choices
    words: Words
    reward_TBU: NDArray[np.float64]
    """Each UE's reward (training.rewards)."""
    cell_reward_TB: NDArray[np.float64]
    ue_id_TBU: NDArray[np.int64]
    """Who sat there; 0 = nobody."""
    features_TBUF: NDArray[np.float32]
    """What the critic reads; no slots where nobody asks it."""

    @property
    def slots(self) -> int:
        return len(self.reward_TBU)


def play_period(
    world: CellBatch,
    plan: Sequence[Allocation | None] | Plan | None,
    slots: int,
    team: FollowerTeam,
    config: RecordingConfig,
    rng: np.random.Generator,
) -> FollowerBatch:
    """Play `slots` slots under one plan, every bit drawn, and write down what the followers may learn from.

    Some bits are flipped in branches of the world, if the config says so: training.following.branching.
    """
    recorder = _Recorder(world, slots, team, config, rng)
    world.play(plan, slots, recorder)
    return recorder.batch()


def join(batches: Sequence[FollowerBatch]) -> FollowerBatch:
    """Periods of one world, one after another. Raises ValueError for none."""
    starts = np.cumsum([0, *(b.slots for b in batches)])[:-1]
    all_choices = [b.choices._replace(slot_N=b.choices.slot_N + start) for b, start in zip(batches, starts.tolist())]
    all_words = [b.words._replace(slot_N=b.words.slot_N + start) for b, start in zip(batches, starts.tolist())]
    choices, words = one_under_another(all_choices), one_under_another(all_words)
    return FollowerBatch(choices, words, *(np.concatenate(columns) for columns in zip(*(b[2:] for b in batches))))


class _Recorder:
    """The followers of a period, which record what they see and do."""

    def __init__(
        self, world: CellBatch, slots: int, team: FollowerTeam, config: RecordingConfig, rng: np.random.Generator
    ) -> None:
        self._world, self._team, self._config, self._rng = world, team, config, rng
        self.speaks = team.speaks
        self._words: list[Words] = [no_words(team.model, world.scenario.num_rbgs)]
        self._end = world.slot + slots
        self._first = world.slot
        self._choices: list[Choices] = []
        self._own_BU: list[NDArray[np.float64]] = []
        self._weights_BU: list[NDArray[np.float64]] = []
        self._served_BU: list[NDArray[np.float64]] = []
        self._events_BE: list[NDArray[np.int64]] = []
        self._ids_BU: list[NDArray[np.int64]] = []
        self._features: list[NDArray[np.float32]] = []

    def __call__(self, slot: SlotView) -> NDArray[np.bool_]:
        world, state = self._world, self._world.state
        shape = slot.cqi_BUM.shape
        view = follower_view(slot)
        busy = np.flatnonzero(view.busy_N)
        sends_BUM = np.zeros(shape, bool)
        chosen = view.rows(busy)
        drawn = draw_bits(self._team.model, chosen, own_uniforms(slot).reshape(-1, shape[2])[busy])
        allowed_NM, bits_NM = drawn.allowed_NM, drawn.bits_NM
        sends_BUM.reshape(-1, shape[2])[busy] = bits_NM
        weights_BU = served_weights(state, np.ones(world.cells))
        known_NM, gain_NM = np.zeros(allowed_NM.shape, bool), np.zeros(allowed_NM.shape, np.float32)
        if self._config.flips_a_slot and len(busy):
            flips = choose_flips(busy // shape[1], allowed_NM, self._config.flips_a_slot, self._rng)
            known_NM[flips.choice_K, flips.rbg_K] = True
            gain_NM[flips.choice_K, flips.rbg_K] = self._gains(flips, busy, sends_BUM, weights_BU, chosen, bits_NM)
        rule_NM = (chosen.answer_NM & Answer.RULE) > 0
        self._choices.append(
            Choices(
                np.full(len(busy), slot.slot - self._first),
                busy,
                drawn.tokens_NL,
                allowed_NM,
                rule_NM,
                bits_NM,
                drawn.logit_NM,
                known_NM,
                gain_NM,
            )
        )
        own_BU = -costs(state, sends_BUM)
        backlogged_BU = view.busy_N.reshape(own_BU.shape)
        agrees_BU = agreement(slot.entitlement_BUM, slot.answer_BUM, sends_BUM)
        self._own_BU.append(own_BU + self._config.consistency * agrees_BU * backlogged_BU)
        self._weights_BU.append(weights_BU)
        self._ids_BU.append(state.ue_id_BU.copy())
        if self._team.critic is not None:
            self._features.append(follower_features(view).reshape(*shape[:2], -1))
        self._count()
        return sends_BUM

    def _gains(
        self,
        flips: Flips,
        busy: NDArray[np.int64],
        sends_BUM: NDArray[np.bool_],
        weights_BU: NDArray[np.float64],
        chosen: FollowerView,
        bits_NM: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """What each flip adds: to the team in a branch, and to the UE's agreement with its DCM."""
        config, k = self._config, flips.choice_K
        rest = self._end - self._world.slot - 1
        gain_K = flip_gains(self._world, sends_BUM, flips, busy, weights_BU, rest, config.own_share, config.futures)
        if config.consistency:
            flipped_KM = bits_NM[k].copy()
            flipped_KM[np.arange(len(k)), flips.rbg_K] ^= True
            access_KM, answer_KM = chosen.access_NM[k], chosen.answer_NM[k]
            change_K = agreement(access_KM, answer_KM, flipped_KM) - agreement(access_KM, answer_KM, bits_NM[k])
            gain_K = gain_K + config.consistency * change_K / self._world.ues
        return gain_K

    def words(self, slot: SlotView) -> NDArray[np.int8]:
        """The word of each UE, [B, U], drawn with the UEs' own uniforms as LearnedFollowers does."""
        model, view = self._team.model, follower_view(slot)
        reporting = np.flatnonzero(view.buffer_bits_N > 0)
        word_N = FollowerPolicy(model).words(view, word_uniforms(slot).reshape(-1))
        if not len(reporting):
            return word_N.astype(np.int8).reshape(slot.present_BU.shape)
        chosen = view.rows(reporting)
        tokens_NL = model.tokens(chosen)
        with torch.inference_mode():
            logits = model.ucm_logits(torch.from_numpy(tokens_NL).to(model.send.weight.device)).float().cpu().numpy()
        need_N = np.searchsorted(NEED_EDGES, chosen.buffer_bits_N / np.maximum(chosen.slack_slots_N, 1), side="right")
        slot_N = np.full(len(reporting), slot.slot - self._first)
        self._words.append(Words(slot_N, reporting, tokens_NL, word_N[reporting], logits, need_N))
        return word_N.astype(np.int8).reshape(slot.present_BU.shape)

    def _count(self) -> None:
        state = self._world.state
        self._served_BU.append(state.counters_BUC[:, :, SERVED].copy())
        self._events_BE.append(state.events_BE.copy())

    def batch(self) -> FollowerBatch:
        """To be called once the period is over."""
        self._count()
        served_TBU = np.diff(np.stack(self._served_BU), axis=0)
        events_TBE = np.diff(np.stack(self._events_BE), axis=0)
        cell_TB = cell_reward(np.stack(self._weights_BU), served_TBU, events_TBE, self._world.scenario.num_rbgs)
        reward_TBU = served_TBU / SERVED_UNIT_BITS + np.stack(self._own_BU)
        reward_TBU = reward_TBU + self._config.team_share * cell_TB[:, :, None]
        features = np.stack(self._features) if self._features else np.zeros((0, *reward_TBU.shape[1:], 0), np.float32)
        choices, words = one_under_another(self._choices), one_under_another(self._words)
        return FollowerBatch(choices, words, reward_TBU, cell_TB, np.stack(self._ids_BU), features)


def no_words(model: FollowerModel, num_rbgs: int) -> Words:
    """The words of followers that report none."""
    none, length = np.zeros(0, np.int64), model.layout.header_fields + num_rbgs * len(model.layout.rbg)
    tokens_NL, logit_NW = np.zeros((0, length), np.int64), np.zeros((0, UCM_TOKENS), np.float32)
    return Words(none, none, tokens_NL, none, logit_NW, none)
