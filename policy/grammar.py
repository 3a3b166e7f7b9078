"""The Protocol Action Grammar: which token may come next in a DCM.

Compiled from what is alive and allowed, so an operator's hard limits hold by construction, whatever the weights say.
A DCM, in tokens:

    class mask, contenders, { UE, RBG }* (periodic grants, ascending), END_GRANTS, then one owner for each RBG

The rules, for UE u with G(u) = RBGs that it has periodic grants on and O(u) = RBGs that it owns:
- at most cap(u) RBGs in O(u) and G(u) together;
- at least floor(u) RBGs in O(u) on which nobody has a periodic grant (a grant takes its RBG away in its slots);
- the same two for a slice, its members' numbers added up;
- an RBG left DYNAMIC goes to who is still owed one when all owners are said (policy.schedulers.greedy.pay_floors), so
  that a leader needs to name nobody for a floor;
- two periodic grants share an RBG only if their slots never meet; period and phase are those of the UE's arrivals;
- the owners that GrammarOptions allows. Two exceptions keep the promise of a mask that is never empty: IDLE is legal
  where OPEN and DYNAMIC are not and no uncapped UE could take every RBG; who is owed RBGs by a floor may own them.

Each set of grants has one spelling, and class mask 0 is followed by contenders 0. Suffixes: U = UEs, M = RBGs,
A = actions (tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from policy.allocation import DYNAMIC, IDLE, OPEN, Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import ALL_CLASSES, CellState
from policy.intent import Intent
from policy.limits import Limits, compile_limits, held_rbgs
from policy.remaining_limits import RemainingLimits
from policy.schedulers.estimate import estimate
from policy.schedulers.greedy import pay_floors
from policy.schedulers.periodic_grants import MAX_GRANTS, is_slot_pattern

CONTENDERS = (0.0, 0.6, 1.2, 2.4, 4.8, 9.6, 64.0)
"""Levels of the leftover rule's c. The last one lets everybody send, in any cell."""
MAX_RBGS = 18
"""RBGs of the largest carrier (TS 38.214), and so of the token table."""

OPEN_TOKEN = 0
DYNAMIC_TOKEN = 1
IDLE_TOKEN = 2
END_GRANTS = 3
FIRST_MASK = 4
FIRST_CONTENDERS = FIRST_MASK + ALL_CLASSES + 1
FIRST_RBG = FIRST_CONTENDERS + len(CONTENDERS)
FIRST_UE = FIRST_RBG + MAX_RBGS
"""37: UE row u is token FIRST_UE + u."""

OWNER_OF_TOKEN = {OPEN_TOKEN: OPEN, DYNAMIC_TOKEN: DYNAMIC, IDLE_TOKEN: IDLE}
TOKEN_OF_OWNER = {owner: token for token, owner in OWNER_OF_TOKEN.items()}

MaskA = NDArray[np.bool_]


class GrammarError(ValueError):
    """A token that the grammar does not allow, or a cell that is too large for it."""


class StepKind(IntEnum):
    """What the next token of a DCM decides."""

    MASK = 0
    CONTENDERS = 1
    GRANT_UE = 2
    """The UE of the next periodic grant, or END_GRANTS."""
    GRANT_RBG = 3
    OWNER = 4
    DONE = 5


@dataclass(frozen=True, slots=True)
class GrammarOptions:
    """What a DCM may hold at an operating point. All fields are plain values: a bundle stores them as JSON."""

    allow_ue_grants: bool = True
    allow_open: bool = True
    allow_dynamic: bool = True
    allow_idle: bool = True
    allow_contention: bool = True
    """False = the leftover rule is always "leave unused"."""
    max_periodic_grants: int = 0

    def __post_init__(self) -> None:
        if self.max_periodic_grants < 0:
            raise ValueError(f"max_periodic_grants is {self.max_periodic_grants}, expected 0 or more")


PAPER = GrammarOptions(allow_dynamic=False)
"""K <= 5, the paper's game: the leader beside the node names every RBG's owner."""
LAB = GrammarOptions(max_periodic_grants=MAX_GRANTS)
"""K >= 10, a RIC's period: mostly DYNAMIC, leftover rules per class, periodic grants."""


class Grammar:
    """All DCMs of one cell that are legal at one instant. Immutable; make as many cursors as needed."""

    def __init__(self, state: CellState, limits: Limits, options: GrammarOptions) -> None:
        num_rbgs, count = state.num_rbgs, state.num_ues
        if not 1 <= num_rbgs <= MAX_RBGS:
            raise GrammarError(f"num_rbgs is {num_rbgs}, expected 1 to {MAX_RBGS}")
        self.options = options
        self.limits = limits
        self.state = state
        """What floors that are left owed are paid by."""
        self.ue_ids = state.ue_ids
        self.num_rbgs = num_rbgs
        self.num_actions = FIRST_UE + count

        self._remaining = RemainingLimits(limits)
        """The limits before anything is given; never changed."""
        self._total_floor = self._remaining.total_owed
        self._periods, self._free_UM = self._grantable(state)
        eligible = int(self._free_UM.any(axis=1).sum()) if self._periods is not None else 0
        self.max_grants = min(options.max_periodic_grants, eligible * num_rbgs)
        self.max_tokens = 2 + 2 * self.max_grants + 1 + num_rbgs
        """Tokens of the longest DCM."""
        self._precompute_masks()

    def _grantable(self, state: CellState) -> tuple[NDArray[np.int64] | None, MaskA]:
        """Arrival (period, phase) per UE as [2, U], and the (UE, RBG) pairs that a first periodic grant may name."""
        free_UM = np.zeros((state.num_ues, self.num_rbgs), bool)
        if self.options.max_periodic_grants == 0 or self._total_floor >= self.num_rbgs:
            return None, free_UM
        period_U, phase_U = state.arrival_period_slots_U, state.arrival_phase_slots_U
        known_U = np.array([is_slot_pattern(*pattern) for pattern in zip(period_U.tolist(), phase_U.tolist())], bool)
        room_U = np.array([self._remaining.may_hold(ue) for ue in range(state.num_ues)], bool)
        free_UM[known_U & room_U] = True
        return np.where(known_U, np.stack([period_U, phase_U]), 1).astype(np.int64), free_UM

    def _precompute_masks(self) -> None:
        options = self.options
        self._header_masks = self._empty_mask()
        self._header_masks[FIRST_MASK : FIRST_CONTENDERS if options.allow_contention else FIRST_MASK + 1] = True
        self._no_contenders = self._empty_mask()
        self._no_contenders[FIRST_CONTENDERS] = True
        self._any_contenders = self._empty_mask()
        self._any_contenders[FIRST_CONTENDERS:FIRST_RBG] = True
        self._end_grants = self._empty_mask()
        self._end_grants[END_GRANTS] = True
        # Owners of an RBG without, with periodic grants; and those left when floors are tight.
        self._clean = self._empty_mask()
        self._clean[[OPEN_TOKEN, DYNAMIC_TOKEN]] = options.allow_open, options.allow_dynamic
        sure_owner = options.allow_open or options.allow_dynamic
        sure_owner |= options.allow_ue_grants and not bool(self.limits.capped_U.all())
        self._clean[IDLE_TOKEN] = options.allow_idle or not sure_owner
        self._granted = self._clean.copy()
        self._owed = self._empty_mask()
        self._owed[DYNAMIC_TOKEN] = options.allow_dynamic
        for ue in range(len(self.ue_ids)):
            self._offer_ue(self._remaining, ue, self._clean, self._granted, self._owed)

    def _offer_ue(self, remaining: RemainingLimits, ue: int, clean: MaskA, granted: MaskA, owed: MaskA) -> None:
        """Write down whether `ue` may own an RBG without, with periodic grants, and when floors are tight."""
        pays, free = remaining.pays(ue), self.options.allow_ue_grants
        clean[FIRST_UE + ue] = pays or (free and remaining.may_own(ue))
        granted[FIRST_UE + ue] = free and remaining.may_hold(ue)
        owed[FIRST_UE + ue] = pays

    def _empty_mask(self) -> MaskA:
        return np.zeros(self.num_actions, bool)

    def start(self) -> Cursor:
        """A cursor before the first token."""
        return Cursor(self)

    def allocation(self, tokens: Sequence[int]) -> Allocation:
        """What a whole DCM means. Raises GrammarError for one that is illegal or not complete."""
        cursor = self.start()
        for token in tokens:
            cursor.advance(int(token))
        return cursor.allocation()

    def tokens(self, allocation: Allocation) -> tuple[int, ...] | None:
        """The tokens of `allocation`, its contenders at the nearest level; None if the grammar has no DCM for it."""
        if allocation.ue_ids != self.ue_ids or len(allocation.owner_M) != self.num_rbgs:
            return None
        count = len(self.ue_ids)
        if (allocation.owner_M >= count).any() or any(not 0 <= g.ue < count for g in allocation.periodic_grants):
            return None
        held_U = held_rbgs(count, allocation.owner_M, allocation.periodic_grants)
        if not np.array_equal(allocation.max_rbgs_U, self.limits.max_rbgs_for(held_U)):
            return None
        if not np.array_equal(allocation.open_allowed_U, self.limits.open_allowed_U):
            return None
        class_mask, contenders = allocation.leftover
        if not 0 <= class_mask <= ALL_CLASSES:
            return None
        if contenders == 0 and not self.options.allow_contention:
            class_mask = 0  # nobody contends: any mask means the same
        level = min(range(len(CONTENDERS)), key=lambda k: abs(CONTENDERS[k] - contenders)) if class_mask else 0
        tokens = [FIRST_MASK + class_mask, FIRST_CONTENDERS + level]
        for grant in sorted(allocation.periodic_grants):
            if self._periods is None:
                return None
            if (grant.period_slots, grant.phase_slots) != tuple(self._periods[:, grant.ue]):
                return None
            tokens += [FIRST_UE + grant.ue, FIRST_RBG + grant.rbg]
        tokens.append(END_GRANTS)
        tokens += [TOKEN_OF_OWNER.get(owner, FIRST_UE + owner) for owner in allocation.owner_M.tolist()]
        cursor = self.start()
        try:
            for token in tokens:
                cursor.advance(token)
        except GrammarError:
            return None
        return tuple(tokens)


class Cursor:
    """One DCM in the making."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self.step_kind = StepKind.MASK
        self.rbg = -1
        """The RBG that the next token gives an owner; -1 before the owners."""
        self.tokens: list[int] = []
        self._mask = grammar._header_masks
        self._grants: list[tuple[int, int]] = []
        """(UE row, RBG) of the periodic grants so far."""

    @property
    def done(self) -> bool:
        return self.step_kind is StepKind.DONE

    def mask(self) -> MaskA:
        """Tokens that may come next, bool [A], the caller's to keep. All False only when done."""
        return self._mask.copy()

    def advance(self, token: int) -> None:
        """Append `token`. Raises GrammarError, and stays where it is, if it is not legal here."""
        if not 0 <= token < self._grammar.num_actions or not self._mask[token]:
            raise GrammarError(f"token {token} is not legal as {self.step_kind.name.lower()} after {self.tokens}")
        self.tokens.append(token)
        kind = self.step_kind
        if kind is StepKind.OWNER:
            self._take_owner(token)
        elif kind is StepKind.MASK:
            self.step_kind = StepKind.CONTENDERS
            self._mask = self._grammar._any_contenders if token > FIRST_MASK else self._grammar._no_contenders
        elif kind is StepKind.CONTENDERS:
            self._begin_grants()
        elif kind is StepKind.GRANT_RBG:
            self._take_grant(token - FIRST_RBG)
        elif token == END_GRANTS:
            self._begin_owners()
        else:
            self._begin_grant(token - FIRST_UE)

    def allocation(self) -> Allocation:
        """What the tokens mean. Raises GrammarError before the DCM is complete."""
        if not self.done:
            raise GrammarError(
                f"incomplete DCM: expected a token for {self.step_kind.name.lower()} after {self.tokens}"
            )
        grammar, limits = self._grammar, self._grammar.limits
        grants: tuple[PeriodicGrant, ...] = ()
        if self._grants and grammar._periods is not None:
            periods = grammar._periods.T.tolist()
            grants = tuple(PeriodicGrant(ue, rbg, *periods[ue]) for ue, rbg in self._grants)
        leftover = LeftoverRule(self.tokens[0] - FIRST_MASK, CONTENDERS[self.tokens[1] - FIRST_CONTENDERS])
        owner_M = owners_of(self.tokens[-grammar.num_rbgs :], grammar.state, limits, grants)
        return limits.allocation(grammar.ue_ids, owner_M, leftover, grants)

    # Periodic grants ---------------------------------------------------------------------------------------------

    def _begin_grants(self) -> None:
        self._remaining = self._grammar._remaining.copy()
        self._clean_left = self._grammar.num_rbgs
        """RBGs without a periodic grant that may still pay a floor: without an owner, or DYNAMIC."""
        if self._grammar.max_grants:
            self._free_UM = self._grammar._free_UM.copy()
        self._offer_grant()

    def _offer_grant(self) -> None:
        grammar = self._grammar
        self.step_kind = StepKind.GRANT_UE
        self._mask = grammar._end_grants
        if len(self._grants) < grammar.max_grants:
            self._mask = grammar._end_grants.copy()
            self._mask[FIRST_UE:] = self._free_UM.any(axis=1)

    def _begin_grant(self, ue: int) -> None:
        self.step_kind = StepKind.GRANT_RBG
        self._mask = self._grammar._empty_mask()
        self._mask[FIRST_RBG : FIRST_RBG + self._grammar.num_rbgs] = self._free_UM[ue]

    def _take_grant(self, rbg: int) -> None:
        grammar, free_UM = self._grammar, self._free_UM
        ue = self.tokens[-2] - FIRST_UE
        if all(rbg != granted for _, granted in self._grants):
            self._clean_left -= 1
        self._grants.append((ue, rbg))
        self._remaining.hold(ue)
        assert grammar._periods is not None
        period_U, phase_U = grammar._periods
        meets_U = (phase_U - phase_U[ue]) % np.gcd(period_U, period_U[ue]) == 0
        free_UM[meets_U, rbg] = False
        free_UM[:ue] = False
        free_UM[ue, : rbg + 1] = False
        for peer in self._remaining.peers(ue):
            if not self._remaining.may_hold(peer):
                free_UM[peer] = False
        if self._clean_left <= grammar._total_floor:  # the rest is needed for floors: share RBGs already granted
            shared = np.zeros(grammar.num_rbgs, bool)
            shared[[granted for _, granted in self._grants]] = True
            free_UM &= shared
        self._offer_grant()

    # Owners ------------------------------------------------------------------------------------------------------

    def _begin_owners(self) -> None:
        grammar = self._grammar
        self.step_kind = StepKind.OWNER
        self._clean_mask = grammar._clean.copy()
        self._granted_mask = grammar._granted.copy()
        self._owed_mask = grammar._owed.copy()
        self._granted_rbgs: dict[int, list[int]] = {}
        for ue, rbg in self._grants:
            self._granted_rbgs.setdefault(rbg, []).append(ue)
            self._update_ue(ue)
        self._offer_owner(0)

    def _offer_owner(self, rbg: int) -> None:
        grammar = self._grammar
        if rbg == grammar.num_rbgs:
            self.step_kind, self.rbg, self._mask = StepKind.DONE, -1, grammar._empty_mask()
            return
        self.rbg = rbg
        grantees = self._granted_rbgs.get(rbg) if self._grants else None
        if grantees is not None:
            self._mask = self._granted_mask
            if grammar.options.allow_ue_grants:
                self._mask = self._mask.copy()
                for ue in grantees:  # owning what one is granted adds nothing to one's count
                    self._mask[FIRST_UE + ue] = True
        elif self._clean_left == self._remaining.total_owed:
            self._mask = self._owed_mask
        else:
            self._mask = self._clean_mask

    def _take_owner(self, token: int) -> None:
        rbg = self.rbg
        grantees = self._granted_rbgs.get(rbg) if self._grants else None
        if grantees is None and token != DYNAMIC_TOKEN:
            self._clean_left -= 1
        if token >= FIRST_UE:
            ue = token - FIRST_UE
            if grantees is None:
                self._remaining.own(ue)
            elif ue not in grantees:
                self._remaining.hold(ue)
            self._update_ue(ue)
        self._offer_owner(rbg + 1)

    def _update_ue(self, ue: int) -> None:
        """Bring the three owner masks up to date with one UE's counts."""
        for peer in self._remaining.peers(ue):
            self._grammar._offer_ue(self._remaining, peer, self._clean_mask, self._granted_mask, self._owed_mask)


def owners_of(
    tokens: Sequence[int], state: CellState, limits: Limits, grants: tuple[PeriodicGrant, ...]
) -> NDArray[np.int16]:
    """Whom each RBG goes to, [M], by the tokens of its owners: floors that they leave owed are paid where they say
    DYNAMIC."""
    owner_M = np.array([OWNER_OF_TOKEN.get(token, token - FIRST_UE) for token in tokens], np.int16)
    if limits.needed and DYNAMIC_TOKEN in tokens:
        return pay_floors(estimate(state), limits, owner_M, DYNAMIC, grants)
    return owner_M


def compile_grammar(state: CellState, intent: Intent, options: GrammarOptions) -> Grammar:
    """The grammar of `state`'s cell under an operator's intent. Raises GrammarError for a cell of more than 18 RBGs."""
    return Grammar(state, compile_limits(state, intent), options)
