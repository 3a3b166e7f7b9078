"""What a warm start learns from: states met while playing, the teacher's answer to each, and followers at work.

A cell is led by the teacher, by the student itself (so that it also learns what to do where it ends up), and now and
then by a random legal DCM. Whoever leads, the label is the teacher's answer. Suffixes: B cells, U seats, M RBGs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import Allocation
from policy.cell_state import COLUMNS, RBG_COLUMNS, CellState
from policy.follower import Answer, FollowerView
from policy.grammar import Grammar, GrammarOptions, compile_grammar
from policy.intent import Intent
from policy.leader_models.leader_network import LeaderNetwork
from policy.leader_models.transcript import TeacherForcingExample, teacher_forcing_example
from policy.prompt.compact import Prompts
from training.imitation.teachers import Teacher
from training.simulator.cell import CellBatch
from training.simulator.learned_followers import follower_view
from training.simulator.scenario import Scenario

CELLS = 16
"""Cells played side by side."""
MAX_WARM_UP_SLOTS = 200
"""Recording begins up to this many slots after the start, so that not all states are of a cell's first moments."""
RANDOM_SHARE = 0.1
"""Share of decisions that are a random legal DCM."""
INTENT_SHARE = 0.25
"""Share of decisions under an intent other than the default."""
MISSING_SHARE = 0.1
"""Share of states in which some columns are not reported."""
MISSING_COLUMN = 0.25
"""Share of columns that are not reported in such a state."""
FOLLOWER_SLOTS = 2
"""Slots per decision, at most, in which the followers are watched."""


class LeaderExample(NamedTuple):
    """One state's prompt (of a text model one block, as long as it is) and the teacher's DCM."""

    blocks_PT: NDArray[np.int64]
    steps: TeacherForcingExample


class FollowerExamples(NamedTuple):
    """UEs with something to send, what they saw, and what they sent."""

    view: FollowerView
    sends_NM: NDArray[np.bool_]


class Collected(NamedTuple):
    """What one round of collecting brought."""

    leader: list[LeaderExample]
    followers: list[FollowerExamples]
    unspeakable: int
    """Answers of the teacher that the grammar has no DCM for: left out."""


KEPT_CLASSES = (Collected, LeaderExample, FollowerExamples, TeacherForcingExample, FollowerView)
"""What is collected is made of these: for training.frozen_round."""


@dataclass(frozen=True, slots=True)
class Collector:
    """Plays scenarios and writes down what happens. `ue_counts` are drawn from for each world."""

    scenarios: tuple[Scenario, ...]
    ue_counts: tuple[int, ...]
    teacher: Teacher
    options: GrammarOptions

    def collect(
        self, student: LeaderNetwork, student_share: float, examples: int, rng: np.random.Generator
    ) -> Collected:
        """About `examples` states from as many worlds as there are scenarios; depends on the arguments alone.

        student_share: share of the cells that the student leads.
        """
        collected = Collected([], [], 0)
        per_world = -(-examples // len(self.scenarios))
        for scenario in self.scenarios:
            ues = int(rng.choice(self.ue_counts))
            world = CellBatch(scenario, CELLS, ues, int(rng.integers(2**31)))
            part = self._play(world, student, student_share, -(-per_world // CELLS), rng)
            collected = Collected(
                collected.leader + part.leader,
                collected.followers + part.followers,
                collected.unspeakable + part.unspeakable,
            )
        return collected

    def _play(
        self, world: CellBatch, student: LeaderNetwork, student_share: float, periods: int, rng: np.random.Generator
    ) -> Collected:
        slots_per_dcm = world.scenario.slots_per_dcm
        world.play(None, slots_per_dcm * int(rng.integers(0, max(1, MAX_WARM_UP_SLOTS // slots_per_dcm) + 1)))
        student_B = rng.random(CELLS) < student_share
        upcoming: list[list[Allocation]] = []
        leader: list[LeaderExample] = []
        followers: list[FollowerExamples] = []
        unspeakable = 0
        for _ in range(periods):
            states = [with_gaps(s, rng) for s in world.observe()]
            intents = [random_intent(s, rng) for s in states]
            grammars = [compile_grammar(s, i, self.options) for s, i in zip(states, intents)]
            answers = self.teacher.answers(world, states, intents)
            prompts = student.layout.encode(states, intents)
            for b, (state, grammar, answer) in enumerate(zip(states, grammars, answers)):
                tokens = grammar.tokens(answer)
                if tokens is None:
                    unspeakable += 1
                else:
                    is_text = not isinstance(prompts, Prompts)
                    blocks_PT = np.array([prompts[b]]) if is_text else prompts.tokens_NT[prompts.cell_N == b]
                    leader.append(LeaderExample(blocks_PT, teacher_forcing_example(grammar, state, tokens)))
            upcoming.append(self._led(student, student_B, states, intents, grammars, answers, rng))
            lead = world.scenario.control_lead_periods
            allocations = upcoming.pop(0) if len(upcoming) > lead else None
            followers += _watch(world, allocations, slots_per_dcm, rng)
        return Collected(leader, followers, unspeakable)

    def _led(
        self,
        student: LeaderNetwork,
        student_B: NDArray[np.bool_],
        states: Sequence[CellState],
        intents: Sequence[Intent],
        grammars: Sequence[Grammar],
        answers: Sequence[Allocation],
        rng: np.random.Generator,
    ) -> list[Allocation]:
        """What is played: the teacher's answers, but for the student's cells and random decisions."""
        played = list(answers)
        rows: list[int] = np.flatnonzero(student_B).tolist()
        if rows:
            decoded = student.decode([states[b] for b in rows], [intents[b] for b in rows], [grammars[b] for b in rows])
            for b, dcm in zip(rows, decoded):
                played[b] = dcm.allocation
        for b in np.flatnonzero(rng.random(len(played)) < RANDOM_SHARE).tolist():
            played[b] = random_allocation(grammars[b], rng)
        return played


def random_allocation(grammar: Grammar, rng: np.random.Generator) -> Allocation:
    """A legal DCM, each token drawn evenly."""
    cursor = grammar.start()
    while not cursor.done:
        cursor.advance(int(rng.choice(np.flatnonzero(cursor.mask()))))
    return cursor.allocation()


def prompts_of(examples: Sequence[LeaderExample]) -> Prompts:
    """A batch of examples, as PromptLayout.encode would have returned it."""
    sizes = np.array([len(e.blocks_PT) for e in examples])
    return Prompts(
        np.concatenate([e.blocks_PT for e in examples]),
        np.repeat(np.arange(len(examples)), sizes),
        np.concatenate([np.arange(size) for size in sizes]),
        sizes - 1,
    )


def best_response(
    world: CellBatch, allocations: Sequence[Allocation | None] | None
) -> tuple[FollowerView, NDArray[np.bool_]]:
    """Play one slot by the best-response rule: what the UEs saw, one row a seat, and what they sent [B, U, M]."""
    slot = world.begin_slot(allocations)
    seen = follower_view(slot)
    sends_BUM = (slot.answer_BUM & Answer.RULE) > 0
    world.finish_slot(sends_BUM)
    return seen, sends_BUM


def _watch(
    world: CellBatch, allocations: Sequence[Allocation | None] | None, slots: int, rng: np.random.Generator
) -> list[FollowerExamples]:
    """Play a period; in some of its slots write down what the followers see and do."""
    chosen = sorted(rng.choice(slots, size=min(FOLLOWER_SLOTS, slots), replace=False).tolist())
    examples = []
    first = world.slot
    for slot in chosen:
        if first + slot > world.slot:
            world.play(allocations, first + slot - world.slot)
        view, sends_BUM = best_response(world, allocations)
        busy = np.flatnonzero(view.busy_N)
        if len(busy):
            examples.append(FollowerExamples(view.rows(busy), sends_BUM.reshape(view.access_NM.shape)[busy]))
    if first + slots > world.slot:
        world.play(allocations, first + slots - world.slot)
    return examples


def with_gaps(state: CellState, rng: np.random.Generator) -> CellState:
    """A MISSING_SHARE of states as they would be seen with some columns not reported."""
    if rng.random() >= MISSING_SHARE:
        return state
    gone: dict[str, Any] = {
        c: np.full_like(getattr(state, c), np.nan) for c in (*COLUMNS, *RBG_COLUMNS) if rng.random() < MISSING_COLUMN
    }
    return replace(state, **gone)


def random_intent(state: CellState, rng: np.random.Generator) -> Intent:
    """The default, but for an INTENT_SHARE of states."""
    if rng.random() >= INTENT_SHARE or not state.num_ues:
        return Intent()
    alpha = float(rng.choice([0.0, 0.5, 1.0, 2.0, 4.0]))
    ues = [int(u) for u in rng.permutation(state.ue_ids)]
    caps = {u: float(rng.integers(0, 80)) for u in ues[: int(rng.integers(0, 3))]}
    floors = {u: float(rng.integers(1, 30)) for u in ues[2 : 2 + int(rng.integers(0, 3))]}
    return Intent(alpha=alpha, max_share_percent=caps, min_share_percent=floors)
