"""A leader's answer, read once and made anew: what the pacer sees is of known types, shapes and sizes.

A leader may return anything: an iterator without an end, a list that is changed later, numbers that are none. All of it
is read here, in the leader's own thread, up to a bound, into objects of our own. What such an answer would do to the
radio is not judged here: that is the guard's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy.allocation import Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import CellState
from policy.leader import Decision
from policy.schedulers.schedulers import SCHEDULERS
from policy.shipped import EXPIRED

MODEL = "model"
"""Who decided, of every language model."""
PLUG_IN = "plug-in"
"""The name of a leader that has none that could be used."""
MAX_STRANGERS = 64
"""UEs that an answer may name beyond those that the leader was asked about; the guard strikes them out."""
MAX_GRANTS = 256
"""Periodic grants of one cell."""
MAX_TOKENS = 1024
"""Of one DCM: two header tokens, two a periodic grant, one that ends these, one an RBG."""
MAX_NAME_CHARACTERS = 64
_TOO_LARGE = 1 << 128
"""For a number of a UE, or a token."""
MOST_LIKELY = 1e-3
"""A log-probability is at most 0; rounding may put it so far above."""
REASONS = frozenset(("", EXPIRED))
"""What a leader may say of why it did not decide as usual."""


class MalformedAnswer(Exception):
    """An answer that is not what the contract says; one short line of our own words."""


class AnswerCheck:
    """Of one leader, whose name is read once."""

    def __init__(self, leader_name: object) -> None:
        self.name = _name(leader_name)
        self._names = frozenset((MODEL, *SCHEDULERS, self.name))

    def checked(self, answer: list[Any], states: Sequence[CellState]) -> list[Decision]:
        """An answer of the right length made anew. Raises MalformedAnswer; a hostile one may raise anything else."""
        return [self._decision(given, state) for given, state in zip(list.__iter__(answer), states, strict=True)]

    def _decision(self, given: Decision, state: CellState) -> Decision:
        tokens = _integers(given.tokens, "tokens", MAX_TOKENS)
        allocation = given.allocation
        if not isinstance(allocation, Allocation):
            raise MalformedAnswer(f"allocation is a {_type_of(allocation)}, expected an Allocation")
        return Decision(
            _allocation(allocation, state),
            tokens,
            _log_probs(given.log_probs, len(tokens)),
            self._who(given.decided_by),
            _one_of(given.reason, REASONS, "reason"),
        )

    def _who(self, decided_by: object) -> str:
        """A closed set, as it is a label of metrics. A decision that names nobody is the leader's."""
        return _one_of(decided_by, self._names, "decided_by") if decided_by != "" else self.name


def is_list_of_decisions(answer: object) -> bool:
    """Whether an answer is what `Leader.decide` returns, as far as types go."""
    return isinstance(answer, list) and all(isinstance(each, Decision) for each in list.__iter__(answer))


def _allocation(given: Allocation, state: CellState) -> Allocation:
    known = given.ue_ids is state.ue_ids
    ue_ids = state.ue_ids if known else _integers(given.ue_ids, "ue_ids", state.num_ues + MAX_STRANGERS, signed=True)
    ues = len(ue_ids)
    leftover = _numbers(given.leftover, "leftover", 2)
    return Allocation(
        ue_ids,
        _column(given.owner_M, "owner_M", state.num_rbgs, np.int16),
        LeftoverRule(leftover[0], leftover[1]),  # type: ignore[arg-type]  # a mask that is no integer is the guard's
        tuple(_grant(grant) for grant in _bounded(given.periodic_grants, "periodic_grants", MAX_GRANTS)),
        _column(given.open_allowed_U, "open_allowed_U", ues, np.bool_),
        _column(given.max_rbgs_U, "max_rbgs_U", ues, np.uint8),
    )


def _grant(given: object) -> PeriodicGrant:
    ue, rbg, period, phase = _numbers(given, "a periodic grant", 4)
    return PeriodicGrant(ue, rbg, period, phase)  # type: ignore[arg-type]  # as above


def _log_probs(given: object, tokens: int) -> NDArray[np.float64] | None:
    if given is None:
        return None
    log_probs = _array(given, "log_probs", tokens).astype(np.float64)
    if not np.isfinite(log_probs).all():
        raise MalformedAnswer("log_probs holds a value that is not finite")
    if (log_probs > MOST_LIKELY).any():
        raise MalformedAnswer(f"log_probs holds {log_probs.max():g}, expected at most 0")
    return log_probs


def _column(given: object, name: str, length: int, kind: type[Any]) -> NDArray[Any]:
    """A copy as a column of that kind, which all of it fits into."""
    if type(given) is np.ndarray and given.dtype == kind and given.shape == (length,):
        return given.copy()
    column, limits = _array(given, name, length), np.iinfo(np.uint8 if kind is np.bool_ else kind)
    if column.dtype.kind == "f" and not (column == np.floor(column)).all():
        raise MalformedAnswer(f"{name} holds a number that is not whole")
    if column.size and column.dtype.kind != "b" and not (limits.min <= column.min() and column.max() <= limits.max):
        raise MalformedAnswer(f"{name} holds {column.min()} to {column.max()}, expected {limits.min} to {limits.max}")
    return column.astype(kind)


def _array(given: object, name: str, length: int) -> NDArray[Any]:
    """A copy of a column of numbers of that length."""
    if not isinstance(given, np.ndarray):
        return np.array(_numbers(given, name, length), np.float64)
    column: NDArray[Any] = np.array(np.ndarray.view(given, np.ndarray))
    if column.shape != (length,) or column.dtype.kind not in "biuf":
        raise MalformedAnswer(f"{name} is {column.dtype} {list(column.shape)[:4]}, expected {length} numbers")
    return column


def _numbers(given: object, name: str, length: int) -> tuple[float | int, ...]:
    """That many finite numbers."""
    items = _bounded(given, name, length)
    if len(items) != length or not all(isinstance(item, Real) for item in items):
        raise MalformedAnswer(f"{name} is not {length} numbers")
    return tuple(_number(item, name) for item in items)


def _number(item: Any, name: str) -> float | int:
    if isinstance(item, Integral) and int(item).bit_length() < 63:
        return int(item)
    number = float(item) if not isinstance(item, Integral) else np.inf
    if not np.isfinite(number):
        raise MalformedAnswer(f"{name} holds a number that is not finite")
    return number


def _integers(given: object, name: str, most: int, *, signed: bool = False) -> tuple[int, ...]:
    items = _bounded(given, name, most)
    if any(type(item) is not int and not isinstance(item, Integral) for item in items):
        raise MalformedAnswer(f"{name} holds something that is no integer")
    numbers = tuple(map(int, items))
    if numbers and (min(numbers) < (-_TOO_LARGE if signed else 0) or max(numbers) > _TOO_LARGE):
        raise MalformedAnswer(f"{name} holds an integer that is too large or below 0")
    return numbers


def _bounded(given: object, name: str, most: int) -> list[Any]:
    """Its items, of which not one more than needed is read."""
    if type(given) is not tuple and not isinstance(given, Iterable):
        raise MalformedAnswer(f"{name} is a {_type_of(given)}, expected a sequence")
    items = list(islice(iter(given), most + 1))
    if len(items) > most:
        raise MalformedAnswer(f"{name} holds more than {most}")
    return items


def _one_of(given: object, known: frozenset[str], name: str) -> str:
    if type(given) is not str or given not in known:
        shown = repr(given[:MAX_NAME_CHARACTERS]) if type(given) is str else f"a {_type_of(given)}"
        raise MalformedAnswer(f"{name} is {shown}, expected one of {', '.join(sorted(filter(None, known)))}")
    return given


def _name(given: object) -> str:
    """Fit for a metric's label, and not to be taken for a fallback."""
    if type(given) is not str or not 0 < len(given) <= MAX_NAME_CHARACTERS or given.startswith("fallback"):
        return PLUG_IN
    return given if given.isprintable() else PLUG_IN


def _type_of(given: object) -> str:
    return type(given).__name__[:MAX_NAME_CHARACTERS]
