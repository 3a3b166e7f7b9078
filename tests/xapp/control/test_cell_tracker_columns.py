"""The tracker works on whole columns; what comes of reports is what they come to UE by UE."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tracker_checker import PlainTracker
from tracking import CELL, header, tracker

from policy.cell_state import COLUMNS, RBG_COLUMNS, CellState
from xapp.control.columns.compiled_code import columns_code
from xapp.control.columns.histories import Elapsed, Histories
from xapp.control.columns.indication_columns import bounds_of, take_compiled, use_compiled_columns
from xapp.e2.dcm import messages as dcm
from xapp.e2.kpm.report_reader import NO_UE, KpmReport

RBGS = 3
NUMBERS = st.sampled_from(
    [0.0, 0.25, 1.0, 2.0, 7.0, 14.0, 15.0, 16.0, 1835.0, -1.0, 1e6, 1e14, np.nan, np.inf, -np.inf]
)
UES = st.sets(st.integers(0, 6)).map(lambda ues: tuple(sorted(ues)))
MEASURED = ("DRB.UEThpUl", "RRU.PrbTotUl", "CQI", "x")


@st.composite
def indications(draw: st.DrawFn) -> tuple[int, dcm.Indication]:
    """Slots gone by since the one before (fewer than 0: the node starts over), and the indication."""
    ues = draw(UES)

    def column(*shape: int) -> np.ndarray:
        count = int(np.prod(shape))
        return np.array(draw(st.lists(NUMBERS, min_size=count, max_size=count)), float).reshape(shape)

    columns = {name: column(len(ues)) for name in draw(st.sets(st.sampled_from(dcm.INDICATION_COLUMNS)))}
    if draw(st.booleans()):  # as nodes usually report
        served = st.lists(st.floats(0, 1e6), min_size=len(ues), max_size=len(ues))
        columns |= {"served_bits": np.array(draw(served)), "cqi": np.arange(len(ues)) % 15.5}
    rbgs = draw(st.sampled_from([0, RBGS, RBGS + 1]))
    per_rbg = {"heard_cqi": column(len(ues), rbgs), "heard_age_slots": column(len(ues), rbgs)}
    k, delay = draw(st.integers(1, 4)), draw(st.integers(0, 5))
    gone_by = draw(st.sampled_from([0, 1, 2, 5, 90, -1000]))
    return gone_by, dcm.Indication(ues, k, 0, delay, **columns, **per_rbg, last_outcome=column(rbgs))


@st.composite
def kpm_reports(draw: st.DrawFn) -> tuple[KpmReport, frozenset[int]]:
    """A report, and the UEs of it that count for another cell."""
    ues = tuple(draw(st.lists(st.integers(0, 8) | st.just(NO_UE) | st.just((5 << 41) + 3), max_size=7)))
    names = draw(st.permutations(MEASURED).flatmap(lambda order: st.integers(1, 4).map(lambda n: tuple(order[:n]))))
    values = draw(st.lists(NUMBERS, min_size=len(ues) * len(names), max_size=len(ues) * len(names)))
    table = np.array(values, float).reshape(len(ues), len(names))
    elsewhere = draw(st.sampled_from([frozenset[int](), frozenset({1, 2})]))
    return KpmReport(ues, names, table, 100, 0, b"", ()), elsewhere


def same(one: CellState | None, other: CellState | None) -> None:
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    for name in ("cell", "num_rbgs", "slots_per_dcm", "slot", "ue_ids"):
        assert getattr(one, name) == getattr(other, name), name
    for name in (*COLUMNS, *RBG_COLUMNS):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.fixture(params=[None, columns_code(may_compile=True)], ids=["numpy", "compiled"])
def columns(request: pytest.FixtureRequest) -> Iterator[None]:
    use_compiled_columns(request.param)
    yield
    use_compiled_columns(None)


@pytest.mark.usefixtures("columns")
@given(st.booleans(), st.lists(indications() | kpm_reports(), max_size=8))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_are_what_they_come_to_ue_by_ue(has_dcm: bool, reports: list) -> None:
    tracked = tracker(num_rbgs=RBGS, has_dcm=has_dcm)
    plain = PlainTracker(CELL, num_rbgs=RBGS, report_period_ms=100, has_dcm=has_dcm)
    later = []
    slot = 1000
    for sn, (first, second) in enumerate(reports):
        if isinstance(second, dcm.Indication):
            if not has_dcm:
                continue
            slot = max(0, slot + first)
            tracked.on_dcm(sn, header(slot), second)
            plain.on_dcm(header(slot), second)
        else:
            tracked.on_kpm(sn, first, second)
            plain.on_kpm(first, second, tracked.measurements)
        expected = plain.state()
        state = tracked.state()
        same(state, expected)
        later.append((tracked.state_maker(), expected))
        if state is not None:
            for name in COLUMNS:
                getattr(state, name)[:] = -5.0  # what somebody does to one state is not in another
    for make_state, expected in later:
        same(make_state() if make_state is not None else None, expected)


def test_no_report_waits_for_a_compiler_whichever_ues_come_and_go() -> None:
    """Compiled code is of arguments of one type and layout; it is there, or it is not asked."""
    code = columns_code(may_compile=True)
    compiled_for = len(code.overloads)
    asked: list[int] = []

    def run(*arguments: object) -> int:
        found: int = code(*arguments)
        asked.append(found)
        return found

    use_compiled_columns(run)
    try:
        tracked = tracker(num_rbgs=RBGS, has_kpm=False)
        for sn, ues in enumerate(((1, 2, 3), (1, 2, 3), (2, 3), (2,), (), (2, 4, 5), (1, 2, 3, 4, 5), (1, 5))):
            known = {"served_bits": np.ones(len(ues), np.float32), "cqi": np.arange(len(ues))}
            assert tracked.on_dcm(sn, header(sn), dcm.Indication(ues, 1, sn, 4, **known))
    finally:
        use_compiled_columns(None)
    assert len(asked) == 7, "all but the one about nobody"
    assert all(asked)
    assert len(code.overloads) == compiled_for


def test_the_usual_indication_is_taken_by_compiled_code_and_no_other() -> None:
    use_compiled_columns(columns_code(may_compile=True))
    try:
        ues = (1, 2)
        known, elapsed = Histories().of(ues), Elapsed(3, 2, 4)

        def is_taken(**columns: list[float]) -> bool:
            indication = dcm.Indication(ues, 2, 0, 4, **{name: np.array(each) for name, each in columns.items()})
            return take_compiled(indication, 10, bounds_of(RBGS), known, elapsed) is not None

        assert is_taken(served_bits=[1.0, 2.0], cqi=[0.0, 15.0])
        assert not is_taken(served_bits=[1.0, 2.0], cqi=[0.0, np.nan])
        assert not is_taken(served_bits=[-1.0, 2.0], cqi=[0.0, 15.0])
        assert not is_taken()
    finally:
        use_compiled_columns(None)
