"""Many whole DCMs for teacher forcing at once: what `transcript.teacher_forcing_example` says of each, in a few array
operations where nothing limits the owners and nothing is granted periodically.

Suffixes: B = cells, L = steps, A = actions, U = UEs, M = RBGs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.grammar import FIRST_CONTENDERS, FIRST_MASK, FIRST_UE, Grammar, StepKind
from policy.leader_models.action_features import USAGE_LEVELS, rbg_reports
from policy.leader_models.transcript import NO_TOKEN, TeacherForcingExample, teacher_forcing_example

HEADER = 3
"""Steps before the owners where no periodic grant is possible: class mask, contenders, the end of the grants."""
KEPT_MASKS = 256


def is_plain(grammar: Grammar) -> bool:
    """Nothing is granted periodically and nobody is capped or owed anything: what is legal depends on little."""
    return not grammar.max_grants and not grammar.limits.any


def teacher_forcing_examples(
    grammars: Sequence[Grammar], states: Sequence[CellState], tokens: Sequence[Sequence[int]]
) -> list[TeacherForcingExample]:
    """One for each DCM. Raises GrammarError for tokens that are not of their grammar."""
    found: dict[int, TeacherForcingExample] = {}
    alike: dict[tuple[Any, int, int], list[int]] = {}
    for b, grammar in enumerate(grammars):
        if is_plain(grammar) and len(tokens[b]) == HEADER + grammar.num_rbgs:
            alike.setdefault((grammar.options, grammar.num_rbgs, len(grammar.ue_ids)), []).append(b)
        else:
            found[b] = teacher_forcing_example(grammar, states[b], tokens[b])
    for rows in alike.values():
        grammar = grammars[rows[0]]
        tokens_BL = np.array([tokens[b] for b in rows], np.int64)
        mask_BLA = _masks(grammar, tokens_BL[:, 0] > FIRST_MASK)
        legal_B = ((tokens_BL >= 0) & (tokens_BL < mask_BLA.shape[2])).all(axis=1)
        legal_B[legal_B] = np.take_along_axis(mask_BLA[legal_B], tokens_BL[legal_B, :, None], axis=2).all(axis=(1, 2))
        for b in np.flatnonzero(~legal_B).tolist():
            teacher_forcing_example(grammars[rows[b]], states[rows[b]], tokens[rows[b]])  # raises
        features_BLA = _features(grammar, [states[b] for b in rows], tokens_BL)
        query_L = np.array([*range(HEADER), *(int(StepKind.OWNER) + m for m in range(grammar.num_rbgs))], np.int64)
        previous_BL = np.concatenate((np.full((len(rows), 1), NO_TOKEN, np.int64), tokens_BL[:, :-1]), axis=1)
        for k, b in enumerate(rows):
            found[b] = TeacherForcingExample(query_L, previous_BL[k], features_BLA[k], mask_BLA[k], tokens_BL[k])
    return [found[b] for b in range(len(grammars))]


def _masks(grammar: Grammar, contends_B: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Legal tokens of every step, [B, L, A]. contends_B: the class mask names a class."""
    silent_LA, contending_LA = _masks_of(_Plain(grammar))
    return np.where(contends_B[:, None, None], contending_LA, silent_LA)


class _Plain:
    """A grammar as far as the masks of a plain one depend on it."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._key = (grammar.options, grammar.num_rbgs, len(grammar.ue_ids))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Plain) and other._key == self._key


@lru_cache(maxsize=KEPT_MASKS)
def _masks_of(plain: _Plain) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[L, A] with no class that contends, and with some."""
    found = []
    for first in (FIRST_MASK, FIRST_MASK + 1):
        cursor, masks = plain.grammar.start(), []
        while not cursor.done:
            mask = cursor.mask()
            masks.append(mask)
            wanted = FIRST_CONTENDERS if len(masks) == HEADER - 1 else first
            cursor.advance(wanted if mask[wanted] else int(mask.argmax()))
        found.append(np.array(masks))
    return found[0], found[1]


class _Reports(NamedTuple):
    """The reports of many cells as `rbg_reports` reads those of one."""

    last_outcome_M: NDArray[np.float64]
    last_cqi_UM: NDArray[np.float64]
    last_cqi_age_slots_UM: NDArray[np.float64]
    cqi_U: NDArray[np.float64]


def _features(grammar: Grammar, states: Sequence[CellState], tokens_BL: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Codes of the actions' features in every step, [B, L, A]."""
    cells, ues, num_rbgs = len(states), len(grammar.ue_ids), grammar.num_rbgs
    chosen_BLA = np.zeros((*tokens_BL.shape, grammar.num_actions), np.uint16)
    np.put_along_axis(chosen_BLA, tokens_BL[:, :, None], 1, axis=2)
    usage_BLA = np.cumsum(chosen_BLA, axis=1, dtype=np.uint16) - chosen_BLA
    features_BLA = np.minimum(usage_BLA, USAGE_LEVELS - 1) * np.uint16(2)
    owners_BMA = features_BLA[:, HEADER:]
    preferred_BU = np.array([state.preferred_rbg_U for state in states]).reshape(cells, ues)
    owners_BMA[:, :, FIRST_UE:] += preferred_BU[:, None] == np.arange(num_rbgs)[None, :, None]
    together: Any = _Reports(
        np.concatenate([state.last_outcome_M for state in states]),
        np.concatenate([state.last_cqi_UM for state in states]),
        np.concatenate([state.last_cqi_age_slots_UM for state in states]),
        np.concatenate([state.cqi_U for state in states]),
    )
    reports = rbg_reports(together)
    if reports is not None:
        owners_BMA += reports.outcome_M.reshape(cells, num_rbgs, 1).astype(np.uint16)
        history_MBU = reports.channel_history_MU.reshape(num_rbgs, cells, ues)
        owners_BMA[:, :, FIRST_UE:] += history_MBU.transpose(1, 0, 2).astype(np.uint16)
    return features_BLA
