"""A leader's answer: whatever it is, it is a decision of known types and sizes, or one counted reason, and soon."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from deciding import Deciding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import PATIENCE_S, wait_for

from policy.allocation import IDLE, Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import CellState, make_cell_state
from policy.guard import guard
from policy.intent import Intent
from policy.leader import Decision, LeaderNotReady
from policy.schedulers.schedulers import SCHEDULERS
from xapp.control.leader_thread import Answer, Worker
from xapp.leader.answer_check import MAX_GRANTS, MAX_STRANGERS, MAX_TOKENS
from xapp.monitoring.process import rss_mb

STATE = make_cell_state("n/c", num_rbgs=6, slots_per_dcm=1, slot=0, ue_ids=(1, 2), cqi_U=[9.0, 9.0])
ENOUGH_MB = 64
"""More than a few decisions take."""


class Endless:
    """An iterable without an end; each turn of it takes memory from whoever keeps its items."""

    def __iter__(self) -> Iterator[PeriodicGrant]:
        return (PeriodicGrant(0, 0, 5, number % 5) for number in itertools.count())

    def __len__(self) -> int:
        return 1


class NeverTwoAlike(list[Any]):
    """A list that says another length whenever it is asked."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        return iter(Endless())


class BadName(str):
    def __hash__(self) -> int:
        raise RuntimeError("no hash")


def decision(**fields: Any) -> Decision:
    """One that is right but for these fields: of the allocation, or of the decision."""
    owners = np.full(STATE.num_rbgs, IDLE, np.int16)
    mine = {"tokens", "log_probs", "decided_by", "reason"}
    allocation: dict[str, Any] = {"ue_ids": STATE.ue_ids, "owner_M": owners}
    allocation |= {name: value for name, value in fields.items() if name not in mine}
    return Decision(
        Allocation(**allocation), **{"decided_by": "model", **{n: v for n, v in fields.items() if n in mine}}
    )


def without_init(**fields: Any) -> Decision:
    """The same, with what an allocation's constructor would not take."""
    made = decision()
    for name, value in fields.items():
        object.__setattr__(made.allocation, name, value)
    return made


HARMFUL: dict[str, Callable[[], Decision]] = {
    "an endless iterable of grants": lambda: decision(periodic_grants=Endless()),
    "an endless iterator of grants": lambda: decision(periodic_grants=iter(Endless())),
    "200 000 grants": lambda: decision(periodic_grants=(PeriodicGrant(0, 0, 5, 0),) * 200_000),
    "one grant too many": lambda: decision(periodic_grants=(PeriodicGrant(0, 0, 5, 0),) * (MAX_GRANTS + 1)),
    "an endless grant": lambda: decision(periodic_grants=(itertools.count(),)),
    "a grant of text": lambda: decision(periodic_grants=(("a", "b", "c", "d"),)),
    "a grant at NaN": lambda: decision(periodic_grants=((0, 0, float("nan"), 0),)),
    "endless UEs": lambda: without_init(ue_ids=itertools.count()),
    "100 000 UEs": lambda: without_init(ue_ids=tuple(range(100_000))),
    "UEs of text": lambda: without_init(ue_ids=("1", "2")),
    "a UE of 10 000 digits": lambda: without_init(ue_ids=(1, 10**10_000)),
    "no UEs at all": lambda: without_init(ue_ids=None),
    "too few owners": lambda: decision(owner_M=np.zeros(5, np.int16)),
    "a million owners": lambda: decision(owner_M=np.zeros(1_000_000, np.int16)),
    "owners in two dimensions": lambda: decision(owner_M=np.zeros((6, 6), np.int16)),
    "owners that are objects": lambda: decision(owner_M=np.array([Endless()] * 6, object)),
    "owners of text": lambda: decision(owner_M=np.array(["a"] * 6)),
    "owners that are NaN": lambda: decision(owner_M=np.full(6, np.nan)),
    "owners that do not fit": lambda: decision(owner_M=np.full(6, 1 << 40)),
    "endless owners": lambda: decision(owner_M=Endless()),
    "no allocation": lambda: Decision(None),  # type: ignore[arg-type]
    "an endless leftover rule": lambda: decision(leftover=itertools.count()),
    "a leftover rule of NaN": lambda: decision(leftover=LeftoverRule(7, float("nan"))),
    "caps of others": lambda: decision(max_rbgs_U=np.ones(3, np.uint8)),
    "caps above what there is": lambda: decision(max_rbgs_U=np.array([300, 300])),
    "permissions of others": lambda: decision(open_allowed_U=np.ones(1, bool)),
    "endless tokens": lambda: decision(tokens=itertools.count()),
    "too many tokens": lambda: decision(tokens=(1,) * (MAX_TOKENS + 1)),
    "tokens that are NaN": lambda: decision(tokens=(float("nan"),)),
    "a token below 0": lambda: decision(tokens=(-1,)),
    "log-probabilities of NaN": lambda: decision(tokens=(1, 2), log_probs=np.array([-1.0, np.nan])),
    "log-probabilities of -inf": lambda: decision(tokens=(1,), log_probs=np.array([-np.inf])),
    "log-probabilities above 0": lambda: decision(tokens=(1,), log_probs=np.array([0.5])),
    "log-probabilities of others": lambda: decision(tokens=(1,), log_probs=np.zeros(3)),
    "an unknown decided_by": lambda: decision(decided_by="somebody"),
    "a decided_by of a megabyte": lambda: decision(decided_by="x" * (1 << 20)),
    "a decided_by that is no text": lambda: decision(decided_by=Endless()),
    "a decided_by that fails": lambda: decision(decided_by=BadName("model")),
    "a fallback that is none": lambda: decision(decided_by="fallback:late"),
    "an unknown reason": lambda: decision(reason="because"),
}


class Plugin:
    """Answers for each cell as the test says."""

    name = "plug-in"

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer

    def decide(self, states: Sequence[CellState], *_: Any) -> list[Decision]:
        return [self.answer() for _ in states]


def ask(answer: Callable[[], Any], errors: list[str] | None = None) -> Answer:
    worker = Worker(Plugin(answer), on_late=lambda: None, on_error=(errors if errors is not None else []).append)
    try:
        return worker.ask([STATE], [Intent()], time.monotonic() + PATIENCE_S)
    finally:
        worker.close()


@pytest.mark.parametrize("harm", HARMFUL)
def test_a_harmful_answer_is_one_counted_reason(harm: str) -> None:
    errors: list[str] = []
    answer = ask(HARMFUL[harm], errors)
    assert (answer.decisions, answer.reason) == (None, "malformed")
    assert len(errors) == 1 and len(errors[0]) < 500 and "\n" not in errors[0]


@pytest.mark.parametrize("answer", [NeverTwoAlike(), itertools.count(), "x" * 100_000, [Endless()]])
def test_what_is_no_list_of_decisions_is_not_read_on(answer: Any) -> None:
    class Whole(Plugin):
        def decide(self, *_: Any) -> Any:
            return answer

    worker = Worker(Whole(decision), on_late=lambda: None, on_error=lambda text: None)
    found = worker.ask([STATE], [Intent()], time.monotonic() + PATIENCE_S)
    worker.close()
    assert found.decisions is None and found.reason in ("error", "wrong_count")


@pytest.mark.parametrize("harm", ["an endless iterable of grants", "200 000 grants", "an unknown decided_by"])
def test_the_radio_gets_its_control_from_the_fallback_whatever_a_leader_answers(
    make: Callable[..., Deciding], harm: str
) -> None:
    """On the wire, through the whole loop."""
    deciding = make(Plugin(HARMFUL[harm]))
    before_mb = rss_mb() or 0.0
    for sn in range(1, 6):
        owners = deciding.decided(sn).allocation.owner_M.tolist()
        assert all(owner >= 0 for owner in owners), "proportional fair's"
    wait_for(lambda: deciding.metrics["decisions"] == 5)
    assert deciding.decided_by == {"fallback:malformed": 5}
    assert (rss_mb() or 0.0) < before_mb + ENOUGH_MB


def test_what_a_leader_does_to_its_answer_later_changes_nothing() -> None:
    kept: list[Decision] = []

    def answer() -> Decision:
        kept.append(decision())
        return kept[-1]

    found = ask(answer).decisions
    assert found is not None
    kept[0].allocation.owner_M[:] = 1
    object.__setattr__(kept[0].allocation, "ue_ids", Endless())
    assert found[0].allocation.owner_M.tolist() == [IDLE] * 6
    assert found[0].allocation.ue_ids == STATE.ue_ids


def test_a_decision_that_names_nobody_is_the_leaders() -> None:
    found = ask(lambda: decision(decided_by="")).decisions
    assert found is not None and found[0].decided_by == "plug-in"


@pytest.mark.parametrize(("said", "reason"), [("compiling", "compiling"), ("x" * 1000, "not_ready"), (7, "not_ready")])
def test_what_a_leader_says_that_is_not_ready_is_one_of_few_words(said: Any, reason: str) -> None:
    def answer() -> Decision:
        raise LeaderNotReady(said)

    assert ask(answer).reason == reason


def test_an_error_that_cannot_be_described_is_an_error() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def answer() -> Decision:
        raise Unspeakable

    errors: list[str] = []
    assert ask(answer, errors).reason == "error"
    assert errors == ["Unspeakable: (it cannot say what)"]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_right_answer_comes_through_as_it_was(name: str) -> None:
    (meant,) = SCHEDULERS[name].decide([STATE], [Intent()], lambda: False)
    found = ask(lambda: meant).decisions
    assert found is not None
    assert found[0].decided_by == name
    assert guard(found[0].allocation, STATE, Intent()).changes == ()
    assert found[0].allocation.owner_M.tolist() == meant.allocation.owner_M.tolist()
    assert found[0].allocation.leftover == meant.allocation.leftover
    assert found[0].allocation.max_rbgs_U.tolist() == meant.allocation.max_rbgs_U.tolist()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(Endless())
anything = st.recursive(
    scalars | st.builds(np.array, st.lists(st.floats(), max_size=8)),
    lambda inner: st.lists(inner, max_size=7),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["ue_ids", "owner_M", "leftover", "periodic_grants", "open_allowed_U", "max_rbgs_U"]), anything
    ),
    st.fixed_dictionaries({}, optional=dict.fromkeys(("tokens", "log_probs", "decided_by", "reason"), anything)),
)
def test_any_answer_is_a_reason_or_something_that_the_guard_can_read(
    allocation: dict[str, Any], rest: dict[str, Any]
) -> None:
    made = without_init(**allocation)
    for name, value in rest.items():
        object.__setattr__(made, name, value)
    answer = ask(lambda: made)
    if answer.decisions is None:
        assert answer.reason == "malformed"
        return
    (found,) = answer.decisions
    changes = guard(found.allocation, STATE, Intent()).changes
    assert not any("unreadable" in change for change in changes)
    assert len(found.allocation.ue_ids) <= STATE.num_ues + MAX_STRANGERS
