"""Saying one cell's DCM under its grammar: policy.grammar and policy.leader_models.decoding, compiled.

Suffixes: U = UEs of the cell, M = its RBGs, A = actions (tokens), L = steps, G = periodic grants.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.engine.jit import kernel
from policy.engine.memory import FIRST_UE_ROW, MAX_ROWS, NUM_RBGS, NUM_UES, SURE_OWNER, Cells, Memory
from policy.engine.prefill import FAR_BELOW
from policy.engine.remaining import (
    Books,
    CellLimits,
    hold,
    limits_of,
    may_hold,
    offer_peers,
    offer_ue,
    open_books,
    own,
)
from policy.engine.simd import LANES
from policy.engine.sizes import Sizes
from policy.engine.steps import choose, run_steps
from policy.engine.weights import Weights
from policy.grammar import (
    DYNAMIC_TOKEN,
    END_GRANTS,
    FIRST_CONTENDERS,
    FIRST_MASK,
    FIRST_RBG,
    FIRST_UE,
    IDLE_TOKEN,
    OPEN_TOKEN,
    StepKind,
)
from policy.leader_models.action_features import FEATURE_CODES, USAGE_LEVELS
from policy.schedulers.periodic_grants import MAX_PERIOD_SLOTS

MASK, CONTENDERS, GRANT_UE, GRANT_RBG, OWNER = (int(kind) for kind in list(StepKind)[:5])
PERIOD_ROW, PHASE_ROW, PREFERRED_ROW = 13, 14, 6
"""In tables.UE_COLUMNS."""
MOST_USAGE = USAGE_LEVELS - 1
LITTLE_TRUST, SOME_TRUST = 1, 3
"""RBGs whose owner is guessed before a guess was right, and at first."""


class Options(NamedTuple):
    """policy.grammar.GrammarOptions as numbers."""

    ue_grants: int
    open: int
    dynamic: int
    idle: int
    contention: int
    max_grants: int


class Grants(NamedTuple):
    """Periodic grants so far, and what may still be granted."""

    ue_G: NDArray[np.int64]
    rbg_G: NDArray[np.int64]
    granted_M: NDArray[np.int64]
    """How many each RBG has."""
    free_UM: NDArray[np.bool_]
    period_U: NDArray[np.int64]
    phase_U: NDArray[np.int64]


class Owners(NamedTuple):
    """Who may own an RBG without, with periodic grants, and when floors are tight."""

    clean_A: NDArray[np.bool_]
    granted_A: NDArray[np.bool_]
    owed_A: NDArray[np.bool_]


@kernel
def greatest_divisor(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


@kernel
def open_grants(cells: Cells, lim: CellLimits, left: Books, first_ue: int, rbgs: int, options: Options) -> Grants:
    """What a first periodic grant may name."""
    ues = len(lim.cap_U)
    period_U, phase_U = np.ones(ues, np.int64), np.ones(ues, np.int64)
    free_UM = np.zeros((ues, rbgs), np.bool_)
    eligible = 0
    if options.max_grants > 0 and left.total_owed[0] < rbgs:
        for ue in range(ues):
            period, phase = cells.ues_CN[PERIOD_ROW, first_ue + ue], cells.ues_CN[PHASE_ROW, first_ue + ue]
            # Comparisons with NaN are false: an unknown period or phase is not eligible.
            if not (1.0 <= period <= MAX_PERIOD_SLOTS and 0.0 <= phase < period):
                continue
            if math.floor(period) != period or math.floor(phase) != phase:
                continue
            period_U[ue], phase_U[ue] = int(period), int(phase)
            if may_hold(lim, left, ue):
                eligible += 1
                free_UM[ue, :] = True
    most = min(options.max_grants, eligible * rbgs)
    return Grants(
        np.empty(most, np.int64), np.empty(most, np.int64), np.zeros(rbgs, np.int64), free_UM, period_U, phase_U
    )


@kernel
def take_grant(
    lim: CellLimits, left: Books, grants: Grants, count: int, ue: int, rbg: int, clean_left: int, floors: int
) -> int:
    """Note a periodic grant; RBGs that are then left without one. floors: RBGs that all floors take."""
    if not grants.granted_M[rbg]:
        clean_left -= 1
    grants.granted_M[rbg] += 1
    grants.ue_G[count], grants.rbg_G[count] = ue, rbg
    hold(lim, left, ue)
    period, phase, free_UM = grants.period_U[ue], grants.phase_U[ue], grants.free_UM
    for other in range(len(lim.cap_U)):
        if (grants.phase_U[other] - phase) % greatest_divisor(grants.period_U[other], period) == 0:
            free_UM[other, rbg] = False
    free_UM[:ue, :] = False
    free_UM[ue, : rbg + 1] = False
    row = lim.slice_U[ue]
    for peer in range(len(lim.cap_U)):
        if (peer == ue or (row >= 0 and lim.slice_U[peer] == row)) and not may_hold(lim, left, peer):
            free_UM[peer, :] = False
    if clean_left <= floors:  # the rest is needed for floors: share RBGs already granted
        for m in range(len(grants.granted_M)):
            if not grants.granted_M[m]:
                free_UM[:, m] = False
    return clean_left


@kernel
def has_grant(grants: Grants, count: int, ue: int, rbg: int) -> bool:
    for g in range(count):  # noqa: SIM110
        if grants.rbg_G[g] == rbg and grants.ue_G[g] == ue:
            return True
    return False


@kernel
def legal_header(kind: int, first: int, contention: int, legal: Any) -> int:
    """Tokens of the class mask or of the contenders into `legal`; how many. first: the DCM's first token."""
    count = 0
    if kind == MASK:
        low, end = FIRST_MASK, FIRST_CONTENDERS if contention else FIRST_MASK + 1
    else:
        low, end = FIRST_CONTENDERS, FIRST_RBG if first > FIRST_MASK else FIRST_CONTENDERS + 1
    for token in range(low, end):
        legal[count] = token
        count += 1
    return count


@kernel
def legal_grant(kind: int, grants: Grants, given: int, ue: int, legal: Any) -> int:
    """Tokens of the next periodic grant into `legal`: its UE or END_GRANTS, or the RBG of `ue`; how many."""
    rbgs = len(grants.granted_M)
    count = 0
    if kind == GRANT_RBG:
        for rbg in range(rbgs):
            if grants.free_UM[ue, rbg]:
                legal[count] = FIRST_RBG + rbg
                count += 1
        return count
    legal[0], count = END_GRANTS, 1
    if given < len(grants.ue_G):
        for other in range(len(grants.period_U)):
            for rbg in range(rbgs):
                if grants.free_UM[other, rbg]:
                    legal[count] = FIRST_UE + other
                    count += 1
                    break
    return count


@kernel
def legal_owner(
    left: Books, owners: Owners, grants: Grants, given: int, rbg: int, clean_left: int, ue_grants: int, legal: Any
) -> int:
    """Tokens of an RBG's owner into `legal`; how many."""
    granted = grants.granted_M[rbg] > 0
    mask_A = owners.granted_A if granted else (owners.owed_A if clean_left == left.total_owed[0] else owners.clean_A)
    count = 0
    for token in range(len(mask_A)):
        allowed = mask_A[token]
        if granted and ue_grants and not allowed and token >= FIRST_UE:
            # Owning what one is granted adds nothing to one's count.
            allowed = has_grant(grants, given, token - FIRST_UE, rbg)
        if allowed:
            legal[count] = token
            count += 1
    return count


@kernel
def take_owner(
    lim: CellLimits, left: Books, owners: Owners, grants: Grants, given: int, rbg: int, token: int, clean_left: int
) -> int:
    """Note an RBG's owner; RBGs without a grant that may then still pay a floor: without an owner, or DYNAMIC."""
    granted = grants.granted_M[rbg] > 0
    if not granted and token != DYNAMIC_TOKEN:
        clean_left -= 1
    if token >= FIRST_UE:
        ue = token - FIRST_UE
        if not granted:
            own(lim, left, ue)
        elif not has_grant(grants, given, ue, rbg):
            hold(lim, left, ue)
        offer_peers(lim, left, ue, owners.clean_A, owners.granted_A, owners.owed_A)
    return clean_left


@kernel
def action_features_of(
    cells: Cells, m: Memory, first_ue: int, kind: int, rbg: int, named: int, usage_A: Any, legal: Any, count: int,
    features_A: Any,
) -> None:  # fmt: skip
    """Features of the actions legal[:count], their outcome aside. named: the UE whose grant's RBG is asked."""
    for i in range(count):
        token = legal[i]
        features = 2 * min(usage_A[token], MOST_USAGE)
        if kind == OWNER and token >= FIRST_UE:
            ue = first_ue + token - FIRST_UE
            features += 1 if cells.ues_CN[PREFERRED_ROW, ue] == rbg else 0
            features += FEATURE_CODES * m.channel_history_NM[ue, rbg]
        elif kind == GRANT_RBG:
            features += 1 if cells.ues_CN[PREFERRED_ROW, first_ue + named] == token - FIRST_RBG else 0
        features_A[token] = features


@kernel
def decode_dcm(
    net: Sizes, w: Weights, m: Memory, cells: Cells, options: Options, b: int, first_block: int, size: int, sampled: int
) -> int:
    """One cell's DCM and its log-probabilities into `cells`; how many tokens. size: keys of all blocks."""
    numbers = cells.numbers_BC[b]
    rbgs, ues, first_ue = numbers[NUM_RBGS], numbers[NUM_UES], numbers[FIRST_UE_ROW]
    tokens, log_probs, uniforms = cells.tokens_BL[b], cells.log_probs_BL[b], cells.uniforms_BL[b]
    first_key, keys = show_blocks(m, first_block, ues + 1, w.positions)
    room = len(m.steps_kv) // (net.layers * 2 * net.hidden)

    lim = limits_of(cells, b, options.ue_grants)
    left = open_books(lim)
    floors = left.total_owed[0]
    grants = open_grants(cells, lim, left, first_ue, rbgs, options)
    actions = FIRST_UE + ues
    clean_A = np.zeros(actions, np.bool_)
    clean_A[OPEN_TOKEN], clean_A[DYNAMIC_TOKEN] = options.open != 0, options.dynamic != 0
    clean_A[IDLE_TOKEN] = options.idle != 0 or not numbers[SURE_OWNER]
    owners = Owners(clean_A, clean_A.copy(), np.zeros(actions, np.bool_))
    owners.owed_A[DYNAMIC_TOKEN] = options.dynamic != 0
    for ue in range(ues):
        offer_ue(lim, left, ue, owners.clean_A, owners.granted_A, owners.owed_A)

    legal, usage_A, features_A = (
        np.zeros(actions, np.int64),
        np.zeros(actions, np.int64),
        np.zeros(actions, np.int64),
    )
    scores, weights = np.empty(actions + LANES, np.float32), np.empty(actions + LANES, np.float32)
    asked, outcomes = np.empty(len(tokens), np.int64), np.empty(len(tokens), np.int64)
    kind, rbg, n, given, read, clean_left = MASK, 0, 0, 0, 0, rbgs
    first_answer, guessed_to, guess, last_owner, trust = 0, 0, DYNAMIC_TOKEN, DYNAMIC_TOKEN, SOME_TRUST
    while True:
        named = tokens[n - 1] - FIRST_UE if kind == GRANT_RBG else 0
        if kind == OWNER:
            count = legal_owner(left, owners, grants, given, rbg, clean_left, options.ue_grants, legal)
        elif kind in (MASK, CONTENDERS):
            count = legal_header(kind, tokens[0], options.contention, legal)
        else:
            count = legal_grant(kind, grants, given, named, legal)
        asked[n] = kind + rbg if kind == OWNER else kind
        outcomes[n] = m.outcome_BM[b, rbg] if kind == OWNER else 0

        token, log_prob = legal[0], 0.0
        if count > 1:
            if n >= guessed_to:
                # Steps without a choice before this one were put off: now they are read together, and with them steps
                # after it, in which the owner of the RBG before is guessed.
                while n - read >= MAX_ROWS:
                    run_steps(
                        net, w, m, size, first_key, keys, room, first_block, asked, outcomes, tokens, read, MAX_ROWS, 1
                    )  # fmt: skip
                    read += MAX_ROWS
                ahead = 0
                if kind == OWNER and options.dynamic:
                    guess = last_owner
                    ahead = min(trust, MAX_ROWS - 1 - (n - read), rbgs - 1 - rbg)
                    for i in range(1, ahead + 1):
                        tokens[n + i - 1] = guess
                        asked[n + i], outcomes[n + i] = kind + rbg + i, m.outcome_BM[b, rbg + i]
                run_steps(
                    net, w, m, size, first_key, keys, room, first_block, asked, outcomes, tokens, read,
                    n + 1 + ahead - read, 1 + ahead,
                )  # fmt: skip
                first_answer, guessed_to = n, n + 1 + ahead
                read = guessed_to
            action_features_of(cells, m, first_ue, kind, rbg, named, usage_A, legal, count, features_A)
            uniform = uniforms[n] if sampled else -1.0
            token, log_prob = choose(
                net, w, m, n - first_answer, first_block, features_A, legal, count, uniform, scores, weights
            )  # fmt: skip
        if kind == OWNER:
            if n + 1 < guessed_to and token != guess:
                # What was read beyond it began with another word.
                read = guessed_to = n + 1
                trust = LITTLE_TRUST
            elif token == last_owner:
                trust = min(2 * trust, MAX_ROWS)
            if token < FIRST_UE:
                last_owner = token
        tokens[n], log_probs[n] = token, log_prob
        usage_A[token] += 1
        n += 1

        if kind == MASK:
            kind = CONTENDERS
        elif kind == CONTENDERS:
            kind = GRANT_UE
        elif kind == GRANT_RBG:
            clean_left = take_grant(lim, left, grants, given, named, token - FIRST_RBG, clean_left, floors)
            given += 1
            kind = GRANT_UE
        elif kind == OWNER:
            clean_left = take_owner(lim, left, owners, grants, given, rbg, token, clean_left)
            rbg += 1
            if rbg == rbgs:
                return n
        elif token == END_GRANTS:
            kind = OWNER
            for g in range(given):
                offer_peers(lim, left, grants.ue_G[g], owners.clean_A, owners.granted_A, owners.owed_A)
        else:
            kind = GRANT_RBG


@kernel
def show_blocks(m: Memory, first_block: int, blocks: int, positions: int) -> Any:
    """Let the cell's steps see its own blocks alone: (first key, keys) of the groups that they are in."""
    first_group, end_group = first_block // LANES, (first_block + blocks - 1) // LANES + 1
    k = 0
    for group in range(first_group, end_group):
        for _ in range(positions):
            for lane in range(LANES):
                block = group * LANES + lane
                mine = first_block <= block < first_block + blocks
                m.mask[k] = np.float32(0.0) if mine else FAR_BELOW
                k += 1
    return first_group * positions * LANES, k
