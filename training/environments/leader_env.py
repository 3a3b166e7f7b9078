"""The leader's side of the game as a Gymnasium environment: one agent, followers by their rule, flat observations.

A step is one DCM: the period's K slots. **Actions**, MultiDiscrete: per RBG the seat of the owner (0 .. U-1), U = OPEN
or U+1 = IDLE; then the level of policy.grammar.CONTENDERS. `action_masks()` says what may be chosen, as sb3-contrib's
MaskablePPO asks for it: a seat that nobody is in may not; asked for all the same it counts as IDLE.

**Observations** are what the shipped leaders read, between 0 and 1: the levels of the prompt's fields
(policy.prompt.compact), of the cell, then of each seat; then what is known of each UE on each RBG, and of each RBG. 0 =
not known, or an empty seat. **Reward**: the trainer's, a slot (training.rewards). At an episode's end `info` has
`utility`, what evaluation reports.
Suffixes: U seats, M RBGs.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from policy.allocation import IDLE, OPEN, Allocation, LeftoverRule
from policy.cell_state import MAX_LAST_CQI_AGE, NUM_OUTCOMES, CellState
from policy.grammar import CONTENDERS
from policy.intent import Intent
from policy.prompt.compact import PromptLayout
from training.environments.game import SlotAccount, check_counts, scenario_of
from training.environments.rbg_picture import RbgPicture
from training.simulator import core
from training.simulator.cell import CellBatch
from training.simulator.plan import owner_plan
from training.simulator.scenario import MAX_SEED, SLOW_LEADER_SLOTS, Scenario

FOLLOWERS = ("best_response", "obey")
MAX_CQI = 15
LAYOUT = PromptLayout()


class UplinkLeaderEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.int64]]):
    """One cell of `ues` seats, episodes of `episode_slots` slots."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        scenario: Scenario | str = "mix",
        ues: int = 4,
        episode_slots: int = 100,
        *,
        followers: str = "best_response",
        render_mode: str | None = None,
    ) -> None:
        """scenario: one, its name, or FILE.toml. Raises ValueError for what cannot be, and where a decision arrives
        only in the period after (K from 10 on)."""
        self.scenario = scenario_of(scenario)
        check_counts(ues, episode_slots, render_mode)
        if followers not in FOLLOWERS:
            raise ValueError(f"followers is {followers!r}, expected one of {', '.join(FOLLOWERS)}")
        if self.scenario.slots_per_dcm >= SLOW_LEADER_SLOTS:
            raise ValueError(
                f"scenario {self.scenario.name} decides every {self.scenario.slots_per_dcm} slots, "
                f"expected fewer than {SLOW_LEADER_SLOTS}"
            )
        self.ues, self.episode_slots, self.followers, self.render_mode = ues, episode_slots, followers, render_mode
        num_rbgs = self.scenario.num_rbgs
        self.action_space = spaces.MultiDiscrete(action_choices(ues, num_rbgs))
        size = LAYOUT.block_tokens * (ues + 1) + 2 * ues * num_rbgs + num_rbgs
        self.observation_space = spaces.Box(0.0, 1.0, (size,), np.float32)
        self.cell: CellBatch
        """The episode's world, there from the first reset on."""
        self._picture = RbgPicture(num_rbgs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode. No options are known.

        seed: the episode plays that world, and later resets without a seed play worlds drawn from it.
        """
        super().reset(seed=seed)
        world = int(self.np_random.integers(MAX_SEED)) if seed is None else seed
        self.cell = CellBatch(self.scenario, 1, self.ues, world)
        self._picture = RbgPicture(self.scenario.num_rbgs)
        return self._observation(), {"world_seed": world, "slot": 0}

    def action_masks(self) -> NDArray[np.bool_]:
        """Which values of each choice may be taken, one choice after another."""
        per_rbg = np.concatenate([self.cell.state.present_BU[0], [True, True]])
        return np.concatenate([np.tile(per_rbg, self.scenario.num_rbgs), np.ones(len(CONTENDERS), bool)])

    def step(self, action: NDArray[np.int64]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Play a period under the action. Raises ValueError for an action that is not in its space."""
        action = np.asarray(action)
        if not self.action_space.contains(action):
            raise ValueError(f"action {action} is not in {self.action_space}")
        cell, slots = self.cell, self.scenario.slots_per_dcm
        owner_M, level = action[:-1].astype(np.int64), int(action[-1])
        seated_M = (owner_M < self.ues) & cell.state.present_BU[0, np.minimum(owner_M, self.ues - 1)]
        owner_M = np.where(seated_M, owner_M, np.where(owner_M == self.ues, OPEN, IDLE))
        plan = owner_plan(owner_M[None].astype(np.int16), self.ues, CONTENDERS[level])
        account = SlotAccount(cell)
        if self.render_mode is None:
            cell.play(plan, slots, self.followers)  # type: ignore[arg-type]
        else:
            for _ in range(slots):
                self._play_seen(plan)
        truncated = cell.slot >= self.episode_slots
        info: dict[str, Any] = {"world_seed": cell.seed, "slot": cell.slot}
        if truncated:
            info["utility"] = cell.metrics()[0].utility
        return self._observation(), account.paid() / slots, False, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """The RBG grid of the last slots (training.environments.rbg_picture); None without a render mode."""
        return None if self.render_mode is None else self._picture.pixels()

    def _play_seen(self, plan: Any) -> None:
        """A slot, and what was sent in it: the same as `play` makes of it."""
        view = self.cell.begin_slot(plan)
        bit = core.ANSWER_RULE if self.followers == "best_response" else core.ANSWER_OWN
        sends_BUM = (view.answer_BUM & bit) != 0
        if self.followers == "obey":
            sends_BUM = (view.entitlement_BUM == core.OWN) & view.present_BU[:, :, None]
        self._picture.add_slot(sends_BUM[0], (view.entitlement_BUM[0] == core.CONTEND).any(axis=0))
        self.cell.finish_slot(sends_BUM)

    def _observation(self) -> NDArray[np.float32]:
        (seen,) = self.cell.observe()
        return flat_observation(seen, self.cell.state.ue_id_BU[0])


def action_choices(ues: int, num_rbgs: int) -> list[int]:
    """How many values each choice of an action has, [M+1]: the owner of each RBG, then the level of contention."""
    return [ues + 2] * num_rbgs + [len(CONTENDERS)]


def allocation_of(seen: CellState, action: NDArray[np.int64]) -> Allocation:
    """What an action means in a cell whose UEs sit in the order of their rows: for leaders that learned here."""
    owner_M, level = np.asarray(action[:-1], np.int64), int(action[-1])
    owner_M = np.where(owner_M < seen.num_ues, owner_M, np.where(owner_M == seen.num_ues, OPEN, IDLE))
    return Allocation(seen.ue_ids, owner_M.astype(np.int16), LeftoverRule(contenders=CONTENDERS[level]))


def flat_observation(seen: CellState, id_U: NDArray[np.int64]) -> NDArray[np.float32]:
    """What a leader sees, seat by seat, as in the module's docstring. id_U: who sits where, 0 = nobody."""
    seats, num_rbgs = len(id_U), seen.num_rbgs
    seat_of = {int(ue): seat for seat, ue in enumerate(id_U) if ue > 0}
    rows = [seat_of[ue] for ue in seen.ue_ids]
    tokens_NT = LAYOUT.encode([seen], [Intent()]).tokens_NT
    sizes = [[field.size for field in fields] for fields in (LAYOUT.cell_fields, LAYOUT.ue_fields)]
    firsts = np.cumsum([0, *sizes[0], *sizes[1]])[:-1].reshape(2, -1)
    most = np.array(sizes) - 1
    blocks = np.zeros((seats + 1, LAYOUT.block_tokens))
    blocks[0] = (tokens_NT[0] - firsts[0]) / most[0]
    blocks[1 + np.array(rows, np.int64)] = (tokens_NT[1:] - firsts[1]) / most[1]
    per_rbg = np.zeros((2, seats, num_rbgs))
    per_rbg[0, rows] = (seen.last_cqi_UM + 1) / (MAX_CQI + 1)
    per_rbg[1, rows] = seen.last_cqi_age_slots_UM / MAX_LAST_CQI_AGE
    outcome_M = (seen.last_outcome_M + 1) / NUM_OUTCOMES
    flat = np.concatenate([blocks.ravel(), per_rbg.ravel(), outcome_M])
    return np.nan_to_num(flat).astype(np.float32)
