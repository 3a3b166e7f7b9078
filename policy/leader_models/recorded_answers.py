"""What a bundle answered to some states when it was written: a loaded one must answer the same, or it is not trusted.

Weights can be finite and absurd, or not those that were measured: no checksum tells. The states and the tokens stand in
bundle.json, as `answers`. Bundles of before have none: they are asked about a standard state, and must at least be sure
of something (finite log-probabilities).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.bundle_files import DESCRIPTION, BundleError
from policy.cell_state import COLUMNS, RBG_COLUMNS, CellState, make_cell_state
from policy.intent import Intent
from policy.leader import Leader, never_expires

ANSWERS = "answers"
"""The entry of bundle.json."""
RECORDED = 4
"""Answers that a bundle keeps, if it gives as many that count."""
TRIED = 10
"""States that it is asked about for them."""
LEAST_MARGIN = 0.02
"""Nats from each chosen token to the next best: no rounding of another processor turns that round."""
MAX_ANSWERS, MAX_UES = 64, 64
NUM_RBGS = 6
CELL = "recorded/answer"


class Answer(NamedTuple):
    """A DCM as a leader decoded it."""

    tokens: tuple[int, ...]
    log_probs: NDArray[np.float64] | None
    margin: float = np.inf
    """Nats between the least sure token and its best alternative."""


class RecordedAnswer(NamedTuple):
    state: CellState
    tokens: tuple[int, ...]


def made_up_state(number: int, slots_per_dcm: int) -> CellState:
    """A cell with a bit of everything, the same for the same arguments; of more UEs the higher the number is."""
    rng = np.random.default_rng((number, slots_per_dcm))
    ues = 2 + number % 7
    columns: dict[str, NDArray[Any]] = {
        "traffic_class_U": rng.integers(0, 3, ues),
        "buffer_bits_U": rng.choice([0.0, 500.0, 2000.0, 9000.0], ues),
        "inflight_bits_U": rng.choice([0.0, 500.0], ues),
        "cqi_U": rng.integers(3, 16, ues),
        "preferred_rbg_U": rng.integers(0, NUM_RBGS, ues),
        "head_delay_slots_U": rng.integers(0, 12, ues),
        "served_bits_per_slot_U": rng.integers(20, 900, ues),
        "long_served_bits_per_slot_U": rng.integers(20, 900, ues),
        "slots_since_served_U": rng.integers(1, 30, ues),
        "cqi_mean_U": rng.integers(3, 16, ues),
        "deadline_slots_U": rng.choice([8.0, 20.0], ues),
        "arrival_period_slots_U": rng.integers(10, 26, ues),
        "arrival_phase_slots_U": rng.integers(0, 10, ues),
        "packet_bits_U": np.full(ues, 1000.0),
        "age_slots_U": rng.integers(2, 9, ues),
    }
    return make_cell_state(
        CELL, num_rbgs=NUM_RBGS, slots_per_dcm=slots_per_dcm, slot=0, ue_ids=tuple(range(1, ues + 1)), **columns
    )


def record(answer: Callable[[CellState], Answer], slots_per_dcm: Iterable[int]) -> list[dict[str, Any]]:
    """What is to be kept of a leader: answers that no rounding changes, as many for each K. Empty where it is never
    sure enough, or sure of nothing.
    """
    documents: list[dict[str, Any]] = []
    counts = sorted(set(slots_per_dcm))
    for k in counts:
        kept = 0
        for number in range(TRIED):
            state = made_up_state(number, k)
            given = answer(state)
            if given.margin >= LEAST_MARGIN and _is_sure(given.log_probs):
                documents.append({**_state_document(state), "tokens": list(given.tokens)})
                kept += 1
                if kept * len(counts) >= RECORDED:
                    break
    return documents


def check(leader: Leader, description: Mapping[str, Any], where: object) -> None:
    """Ask a bundle's leader what it was asked then. Raises BundleError with one line where it answers something else.

    where: the bundle, for that line.
    """
    recorded = read(description, where)
    states = [each.state for each in recorded] or [made_up_state(0, _least_slots(description))]
    for number, state in enumerate(states):
        try:
            (decision,) = leader.decide([state], [Intent()], never_expires)
        except Exception as error:  # whatever its weights or sizes make of a state
            line = " ".join(str(error).split())[:200]
            raise BundleError(f"{where}: it cannot answer a state of its own: {type(error).__name__}: {line}") from None
        if not _is_sure(decision.log_probs):
            raise BundleError(f"{where}: its log-probabilities are not finite: its weights are absurd")
        if recorded and tuple(decision.tokens) != recorded[number].tokens:
            raise BundleError(
                f"{where}: to recorded state {number + 1} of {len(states)} it answers {_shown(decision.tokens)},"
                f" expected {_shown(recorded[number].tokens)}"
            )


def read(description: Mapping[str, Any], where: object) -> list[RecordedAnswer]:
    """The answers in a bundle's description; [] of a bundle of before. Raises BundleError."""
    documents = description.get(ANSWERS, [])
    try:
        if not isinstance(documents, list) or len(documents) > MAX_ANSWERS:
            raise ValueError(f"expected a list of at most {MAX_ANSWERS}")
        return [RecordedAnswer(_state(each), tuple(int(token) for token in each["tokens"])) for each in documents]
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        line = " ".join(str(error).split())[:200]
        raise BundleError(f"{where}/{DESCRIPTION}: {ANSWERS}: {type(error).__name__}: {line}") from None


def _state_document(state: CellState) -> dict[str, Any]:
    """What was not reported is left out; whole numbers only."""
    columns = {name: getattr(state, name) for name in (*COLUMNS, *RBG_COLUMNS)}
    return {
        "num_rbgs": state.num_rbgs,
        "slots_per_dcm": state.slots_per_dcm,
        "ue_ids": list(state.ue_ids),
        "columns": {
            name: [int(value) for value in column]
            for name, column in columns.items()
            if column.ndim == 1 and np.isfinite(column).all()
        },
    }


def _state(document: Mapping[str, Any]) -> CellState:
    num_rbgs, slots_per_dcm = int(document["num_rbgs"]), int(document["slots_per_dcm"])
    ue_ids = tuple(int(ue) for ue in document["ue_ids"])
    if not 1 <= num_rbgs <= 18 or not 1 <= slots_per_dcm <= 1_000_000 or len(ue_ids) > MAX_UES:
        raise ValueError(f"a state of {num_rbgs} RBGs, {len(ue_ids)} UEs and K = {slots_per_dcm}")
    columns = document["columns"]
    return make_cell_state(CELL, num_rbgs=num_rbgs, slots_per_dcm=slots_per_dcm, slot=0, ue_ids=ue_ids, **columns)


def _least_slots(description: Mapping[str, Any]) -> int:
    """The smallest K that the bundle is for."""
    return int(description["slots_per_dcm"][0])


def _is_sure(log_probs: NDArray[np.float64] | None) -> bool:
    return log_probs is not None and len(log_probs) > 0 and bool(np.isfinite(log_probs).all())


def _shown(tokens: Sequence[int]) -> str:
    return " ".join(map(str, tokens[:12])) + (" ..." if len(tokens) > 12 else "")
