"""The game of one cell as a PettingZoo ParallelEnv, for learners that are not ours.

Agents: `leader`, and `ue_<id>` for each UE that is there. A UE that leaves is terminated; whoever takes its seat is
another agent. The episode's end truncates all the others.

**One slot is two steps.** The game is a Stackelberg game: in every slot the leader moves first, and the UEs answer the
DCM of this very slot. A ParallelEnv asks everybody at once, so a slot in one step would show the UEs the DCM of the
slot before: a game of simultaneous moves, with another equilibrium. An AEC environment keeps the order, but makes the
UEs, which do move at once, take turns. So the steps alternate: in the leader's step it decides the DCM, in the UEs'
step they send and the slot is played. Every observation says whose turn it is. Whoever is not at turn has the no-op as
its only unmasked action (leader: all IDLE, level 0; UE: all zeros); what it does is not read and may be left out. All
rewards and all coming and going fall on the UEs' step; the leader's step pays 0. Hence a discount of gamma a slot is
sqrt(gamma) a step.

Actions, with `action_mask` in each observation, as the action space's `sample(mask)` takes it:
- leader, MultiDiscrete: per RBG the seat of the owner (0 .. U-1), U = OPEN or U+1 = IDLE; then the level of
  policy.grammar.CONTENDERS. A seat that nobody is in counts as IDLE.
- UE, MultiBinary: per RBG whether it sends. What the DCM does not entitle it to is masked: if asked for all the same,
  it is not sent, and costs as in the rewards below.

Rewards of a slot are the trainer's (training.rewards):
- leader: (1/n) sum_i w_i served_i - .5 collided RBGs / M - .1 wasted / M, w_i = 1 / (R_i + 100), R_i = what seat i was
  served on average so far: to first order the change of the utility that evaluation reports.
- UE: served / 1000 - .5 collided - .1 wasted - .1 (RBGs asked for that are not its to use) + .3 of the leader's reward,
  in transmissions of its own; wasted = carried nothing whatever the others did (no data, or no rate at that power).
  In training nobody can ask for what is not its to use; all else is the same.

The leader sees what the shipped leaders see: every column of a CellState, per UE, per RBG, and per UE and RBG.

Suffixes: U seats (fixed; a seat holds one UE after another), M RBGs, C columns of a CellState.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from policy.allocation import IDLE, OPEN
from policy.cell_state import COLUMNS, MAX_LAST_CQI_AGE, NUM_OUTCOMES, CellState
from policy.cqi import snr_to_cqi
from policy.grammar import CONTENDERS
from training.environments.game import SlotAccount, check_counts, own_costs_U, scenario_of, ue_rewards_U
from training.environments.rbg_picture import RbgPicture
from training.simulator import core
from training.simulator.cell import CellBatch, SlotView
from training.simulator.plan import owner_plan
from training.simulator.scenario import MAX_SEED, Scenario
from training.simulator.state import make_constants
from training.simulator.world import CHUNK_SLOTS, draw_presence

LEADER = "leader"
LEADERS_TURN, FOLLOWERS_TURN = 0, 1
"""Values of `turn` in every observation."""

OWN_FIELDS = ("buffer_bits", "head_delay_slots", "deadline_slots", "probability")
"""Fields of a UE's observation `own`; the last is p of the leftover rule."""

UNKNOWN = -1.0
"""Stands in the leader's `columns` for what was not reported, and for an empty seat (NaN does not equal itself)."""
FREE_BIT = 2
"""Entry of a MultiBinary's mask where either value may be taken; 0 = only 0."""

OUTSIDE_COST = 0.1
"""Of an RBG asked for that is not the UE's to use."""

Observation = dict[str, Any]
Info = dict[str, Any]


class UplinkParallelEnv(ParallelEnv[str, Observation, NDArray[Any]]):
    """One cell of `ues` seats, `episode_slots` slots (twice as many steps) an episode.

    `possible_agents` are the agents of the episode, known at reset because comings and goings are drawn with the world;
    where UEs come and go it differs from world to world.
    """

    metadata = {"name": "stackmac_uplink_v1", "render_modes": ["rgb_array"]}

    def __init__(
        self,
        scenario: Scenario | str = "mix",
        ues: int = 4,
        episode_slots: int = 100,
        *,
        render_mode: str | None = None,
    ) -> None:
        """scenario: one, its name, or FILE.toml. render_mode: None or rgb_array.

        Raises ValueError for counts below 1 and for scenarios in which a decision governs several slots.
        """
        self.scenario = scenario_of(scenario)
        check_counts(ues, episode_slots, render_mode)
        if self.scenario.slots_per_dcm != 1:
            raise ValueError(
                f"scenario {self.scenario.name} decides every {self.scenario.slots_per_dcm} slots, expected K = 1"
            )
        self.ues, self.episode_slots, self.render_mode = ues, episode_slots, render_mode
        self._picture = RbgPicture(self.scenario.num_rbgs)
        self.possible_agents = _agents_of(ues)
        self.agents: list[str] = []
        self._seeds: np.random.Generator | None = None
        self._spaces: dict[str, tuple[spaces.Dict, spaces.Space[Any]]] = {}
        self.cell: CellBatch
        """The episode's world, there from the first reset on: to measure, and at the leader's turn to branch."""
        self._seen: CellState
        self._view: SlotView | None = None

    # ---- the contract ----

    def observation_space(self, agent: str) -> spaces.Dict:
        return self._spaces_of(agent)[0]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return self._spaces_of(agent)[1]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, Info]]:
        """Begin an episode, at the leader's turn. No options are known.

        seed: the episode plays that world, the same one as CellBatch(scenario, 1, ues, seed), and later resets without
        a seed play worlds drawn from it; the leader's info names the world. ValueError for a seed out of range.
        """
        seeds = self._seeds or np.random.default_rng()
        world = int(seeds.integers(MAX_SEED)) if seed is None else seed
        self.cell = CellBatch(self.scenario, 1, self.ues, world)
        self._seeds = seeds if seed is None else np.random.default_rng(seed)
        self._view = None
        self._seen = self.cell.observe()[0]
        self._picture = RbgPicture(self.scenario.num_rbgs)
        newest = newest_ue(self.scenario, self.ues, world, self.episode_slots)
        self.possible_agents = _agents_of(newest)
        self.agents = _agents_of(self.ues)
        return {agent: self._observe(agent) for agent in self.agents}, self._infos(self.agents)

    def step(
        self, actions: dict[str, NDArray[Any]]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Info]]:
        """The turn of one side. Raises ValueError for an action that is missing or not in its space."""
        if not self.agents:
            raise RuntimeError("no episode is under way: reset is due")
        before = self.agents
        rewards = dict.fromkeys(before, 0.0)
        terminations = dict.fromkeys(before, False)
        truncated = False
        if self._view is None:
            self._decide(self._action(LEADER, actions))
        else:
            rewards.update(self._send(actions))
            truncated = self.cell.slot >= self.episode_slots
            here = [LEADER, *(f"ue_{ue}" for ue in self._seen.ue_ids)]
            terminations = {agent: agent not in here for agent in before}
            newcomers = [agent for agent in here if agent not in before and not truncated]
            rewards.update(dict.fromkeys(newcomers, 0.0))
            terminations.update(dict.fromkeys(newcomers, False))
            self.agents = [] if truncated else here
        return (
            {agent: self._observe(agent) for agent in rewards},
            rewards,
            terminations,
            {agent: truncated and not terminations[agent] for agent in rewards},
            self._infos(list(rewards)),
        )

    def render(self) -> NDArray[np.uint8] | None:
        """The RBG grid of the last slots (training.environments.rbg_picture); None without a render mode."""
        return None if self.render_mode is None else self._picture.pixels()

    # ---- the two halves of a slot ----

    def _action(self, agent: str, actions: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
        if agent not in actions:
            raise ValueError(f"it is the turn of {agent}, and its action is missing")
        action = np.asarray(actions[agent])
        if not self.action_space(agent).contains(action):
            raise ValueError(f"action {action} of {agent} is not in {self.action_space(agent)}")
        return action.astype(np.int64)

    def _decide(self, action: NDArray[np.int64]) -> None:
        owner_M, level = action[:-1], int(action[-1])
        seated_M = (owner_M < self.ues) & self.cell.state.present_BU[0, np.minimum(owner_M, self.ues - 1)]
        owner_M = np.where(seated_M, owner_M, np.where(owner_M == self.ues, OPEN, IDLE))
        self._view = self.cell.begin_slot(owner_plan(owner_M[None].astype(np.int16), self.ues, CONTENDERS[level]))

    def _send(self, actions: dict[str, NDArray[Any]]) -> dict[str, float]:
        """Play the slot; the reward of everybody who was in it."""
        assert self._view is not None
        asked_UM = np.zeros((self.ues, self.scenario.num_rbgs), bool)
        seats = {agent: self._seat(agent) for agent in self.agents if agent != LEADER}
        for agent, seat in seats.items():
            asked_UM[seat] = self._action(agent, actions) == 1
        sends_UM = asked_UM & (self._view.entitlement_BUM[0] != core.NONE)
        outside_U = (asked_UM & ~sends_UM).sum(axis=1)
        open_M = (self._view.entitlement_BUM[0] == core.CONTEND).any(axis=0)
        self._picture.add_slot(sends_UM, open_M)
        account, costs_U = SlotAccount(self.cell), own_costs_U(self.cell, sends_UM)

        self.cell.finish_slot(sends_UM[None])
        self._view = None
        self._seen = self.cell.observe()[0]

        leader = account.paid()
        follower_U = ue_rewards_U(account.served_U(), costs_U, leader) - OUTSIDE_COST * outside_U
        return {LEADER: float(leader)} | {agent: float(follower_U[seat]) for agent, seat in seats.items()}

    # ---- what they see ----

    def _seat(self, agent: str) -> int | None:
        """Where the UE sits; None = it is gone."""
        found = np.flatnonzero(self.cell.state.ue_id_BU[0] == int(agent.removeprefix("ue_")))
        return int(found[0]) if len(found) else None

    def _turn(self) -> int:
        return LEADERS_TURN if self._view is None else FOLLOWERS_TURN

    def _infos(self, agents: list[str]) -> dict[str, Info]:
        infos: dict[str, Info] = {agent: {} for agent in agents}
        infos[LEADER] = {"world_seed": self.cell.seed, "slot": self.cell.slot}
        return infos

    def _observe(self, agent: str) -> Observation:
        return self._leader_observation() if agent == LEADER else self._follower_observation(self._seat(agent))

    def _leader_observation(self) -> Observation:
        """What a base station knows (reports D slots old), a row per seat; the same in both steps of a slot."""
        state, num_rbgs = self.cell.state, self.scenario.num_rbgs
        seat_of = {int(ue): seat for seat, ue in enumerate(state.ue_id_BU[0]) if ue > 0}
        columns_UC = np.full((self.ues, len(COLUMNS)), UNKNOWN, np.float32)
        rows = [seat_of[ue] for ue in self._seen.ue_ids]
        columns_UC[rows] = np.nan_to_num(np.stack([getattr(self._seen, name) for name in COLUMNS], axis=1), nan=UNKNOWN)
        per_rbg_UM = np.full((2, self.ues, num_rbgs), UNKNOWN, np.float32)
        per_rbg_UM[0, rows] = np.nan_to_num(self._seen.last_cqi_UM, nan=UNKNOWN)
        per_rbg_UM[1, rows] = np.nan_to_num(self._seen.last_cqi_age_slots_UM, nan=UNKNOWN)
        at_turn = self._view is None
        idle = np.zeros(self.ues + 2, np.int8)
        idle[-1] = 1
        owners = np.concatenate([state.present_BU[0], [True, True]]).astype(np.int8) if at_turn else idle
        levels = np.ones(len(CONTENDERS), np.int8)
        levels[1:] = at_turn
        return {
            "turn": self._turn(),
            "ue_ids": state.ue_id_BU[0].copy(),
            "columns": columns_UC,
            "last_cqi": per_rbg_UM[0],
            "last_cqi_age_slots": per_rbg_UM[1],
            "last_outcome": np.nan_to_num(self._seen.last_outcome_M, nan=UNKNOWN).astype(np.float32),
            "action_mask": (*(owners.copy() for _ in range(num_rbgs)), levels),
        }

    def _follower_observation(self, seat: int | None) -> Observation:
        """A UE's own state, fresh; in the UEs' step also what this slot's DCM says. All 0 once it is gone."""
        num_rbgs, state, view = self.scenario.num_rbgs, self.cell.state, self._view
        own = np.zeros(len(OWN_FIELDS), np.float32)
        cqi_M, access_M = np.zeros(num_rbgs, np.int8), np.zeros(num_rbgs, np.int8)
        coin_M = np.zeros(num_rbgs, np.float32)
        if seat is not None:
            head = state.head_BUD1[0, seat, self.cell.slot % state.head_BUD1.shape[2]]
            own[:3] = state.queue_BU[0, seat], head, self.cell.rules.profiles.deadline_slots[state.profile_BU[0, seat]]
            cqi_M = snr_to_cqi(state.gain_BUM[0, seat]).astype(np.int8)
            if view is not None:
                own[3] = view.probability_B[0]
                access_M, coin_M = view.entitlement_BUM[0, seat].copy(), view.coin_BUM[0, seat].copy()
        return {
            "turn": self._turn(),
            "own": own,
            "cqi": cqi_M,
            "access": access_M,
            "coin": coin_M,
            "action_mask": np.where(access_M == core.NONE, 0, FREE_BIT).astype(np.int8),
        }

    def _spaces_of(self, agent: str) -> tuple[spaces.Dict, spaces.Space[Any]]:
        """One pair per agent, for good: each has its own random numbers."""
        if agent not in self._spaces:
            self._spaces[agent] = self._leader_spaces() if agent == LEADER else self._follower_spaces()
        return self._spaces[agent]

    def _leader_spaces(self) -> tuple[spaces.Dict, spaces.Space[Any]]:
        choices = [self.ues + 2] * self.scenario.num_rbgs + [len(CONTENDERS)]
        observation = {
            "turn": spaces.Discrete(2),
            "ue_ids": spaces.Box(0, MAX_SEED, (self.ues,), np.int64),
            "columns": spaces.Box(UNKNOWN, np.inf, (self.ues, len(COLUMNS)), np.float32),
            "last_cqi": spaces.Box(UNKNOWN, 15, (self.ues, self.scenario.num_rbgs), np.float32),
            "last_cqi_age_slots": spaces.Box(UNKNOWN, MAX_LAST_CQI_AGE, (self.ues, self.scenario.num_rbgs), np.float32),
            "last_outcome": spaces.Box(UNKNOWN, NUM_OUTCOMES - 1, (self.scenario.num_rbgs,), np.float32),
            "action_mask": spaces.Tuple([spaces.MultiBinary(n) for n in choices]),
        }
        return spaces.Dict(observation), spaces.MultiDiscrete(choices)

    def _follower_spaces(self) -> tuple[spaces.Dict, spaces.Space[Any]]:
        num_rbgs = self.scenario.num_rbgs
        per_rbg = (num_rbgs,)
        observation = {
            "turn": spaces.Discrete(2),
            "own": spaces.Box(0.0, np.inf, (len(OWN_FIELDS),), np.float32),
            "cqi": spaces.Box(0, 15, per_rbg, np.int8),
            "access": spaces.Box(core.NONE, core.OWN, per_rbg, np.int8),
            "coin": spaces.Box(0.0, 1.0, per_rbg, np.float32),
            "action_mask": spaces.Box(0, FREE_BIT, per_rbg, np.int8),
        }
        return spaces.Dict(observation), spaces.MultiBinary(num_rbgs)


def _agents_of(newest: int) -> list[str]:
    """The leader and the UEs 1 .. newest."""
    return [LEADER, *(f"ue_{ue}" for ue in range(1, newest + 1))]


def newest_ue(scenario: Scenario, ues: int, seed: int, slots: int) -> int:
    """Highest UE id that is in the cell in any of the first `slots` slots, whatever is played.

    The presence rule of slot_step.step_world, over the same draws.
    """
    p = make_constants(scenario)
    present_U, newest = np.ones(ues, bool), ues
    if p.p_leave == 0:
        return newest
    for slot in range(slots - 1):
        if slot % CHUNK_SLOTS == 0:
            draw_TU = draw_presence(seed, 1, ues, slot // CHUNK_SLOTS)[0]
        draw_U = draw_TU[slot % CHUNK_SLOTS]
        changes_U = draw_U < np.where(present_U, p.p_leave, p.p_come)
        changes_U[: p.residents] = False
        newest += int((changes_U & ~present_U).sum())
        present_U ^= changes_U
    return newest
