"""Every reader of measurement reports makes the same of any bytes; compiled code reads the usual ones alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kpm_readers import COMPILED_CODE, agree, kinds_and_ids
from kpm_reports import GUAMI, MESSAGE, NAMES, f3, info_list, ue_report
from mutating import mutations

from xapp.e2.dialect import Dialect
from xapp.e2.kpm import schema as kpm_schema
from xapp.e2.kpm.compiled_walk import CompiledWalk
from xapp.e2.kpm.messages import decode_report, encode_report
from xapp.e2.kpm.report_reader import use_compiled_walk
from xapp.e2.ue_id.ue_id import EnbUeId, GnbCuUpUeId, GnbDuUeId, GnbUeId, Guami, Gummei, NgEnbDuUeId

STANDARD, FLEXRIC = Dialect.STANDARD, Dialect.FLEXRIC
DIALECTS = st.sampled_from(Dialect)
RAN_UEID = st.none() | st.binary(min_size=8, max_size=8)
UINT32 = st.integers(0, 2**32 - 1)
UE_IDS = st.one_of(
    st.builds(GnbDuUeId, UINT32, RAN_UEID),
    st.builds(GnbCuUpUeId, UINT32, RAN_UEID),
    st.builds(NgEnbDuUeId, UINT32),
    st.builds(
        EnbUeId,
        UINT32,
        st.just(Gummei(b"\x00\xf1\x10", b"\0\1", 2)),
        *[st.none() | st.integers(0, 4095)] * 2,
        st.none(),
    ),
    st.builds(
        GnbUeId,
        st.integers(0, 2**40 - 1),
        st.just(GUAMI),
        st.lists(UINT32, max_size=3).map(tuple),
        st.lists(UINT32, max_size=1).map(tuple),
        RAN_UEID,
        st.none() | UINT32,
        st.none(),
    ),
)


@pytest.fixture(autouse=True)
def _python_again() -> Iterator[None]:
    """Whatever walk a test uses."""
    yield
    use_compiled_walk(None)


@given(
    st.lists(UE_IDS, min_size=1, max_size=5),
    st.sets(st.sampled_from(NAMES)),
    st.booleans(),
    st.sampled_from([1, 100, 256, 70_000, 2**32 - 1]),
    st.randoms(use_true_random=False),
    DIALECTS,
)
@settings(max_examples=150)
def test_what_a_node_writes_is_read_back(ue_ids, reals, with_names, granularity_ms, random, dialect):
    def number(name):
        choices = [np.nan, 0.0, 255.0, 256.0, 65535.0, 65536.0, 2.0**24, 2.0**32 - 1]
        choices += [-1.5, 1e-30, 1234.5, np.inf] if name in reals else []
        return random.choice(choices)

    values = np.array([[number(name) for name in NAMES] for _ in ue_ids])
    message = encode_report(ue_ids, NAMES, values, granularity_ms, reals=reals, with_names=with_names, dialect=dialect)
    report = decode_report(message, NAMES, dialect)
    for column in (NAMES.index(name) for name in reals):
        values[:, column] = values[:, column].astype(np.float32)
    assert np.array_equal(report.values, values, equal_nan=True)
    assert report.names == NAMES and report.granularity_ms == granularity_ms and report.incomplete == 0
    assert kinds_and_ids(map(report.ue_id, range(len(ue_ids)))) == kinds_and_ids(ue_ids)
    assert MESSAGE.encode(MESSAGE.decode(message, dialect), dialect) == message
    agree(message, dialect=dialect)


@pytest.mark.parametrize("dialect", Dialect)
def test_all_readers_agree_on_every_message_that_can_be_written(dialect, values_of):
    messages = values_of(kpm_schema.INDICATION_MESSAGE[dialect])

    @given(messages, st.sampled_from([(), NAMES[:1], NAMES[:2]]))
    @settings(suppress_health_check=[HealthCheck.too_slow])
    def check(value, known_names):
        agree(MESSAGE.encode(value, dialect), known_names, dialect)

    check()


def test_all_readers_agree_on_every_vector_however_it_is_damaged(vectors):
    messages = [(v.data, v.dialect) for v in vectors.values() if v.name.startswith("E2SM-KPM-IndicationMessage")]
    assert len(messages) > 5

    @given(st.sampled_from(messages), st.sampled_from([(), NAMES]), st.data())
    @settings(max_examples=200)
    def check(vector, names, data):
        message, _ = vector
        for dialect in Dialect:
            agree(message, names, dialect)
            agree(data.draw(mutations(message)), names, dialect)

    check()


def test_all_readers_agree_on_damaged_messages(vectors):
    gnb_ids = [GnbUeId(3, GUAMI, (9,), (), b"\0" * 8), GnbUeId(2**39, GUAMI)]
    values = np.array([[1234.5, 300, np.nan], [-0.1, 7, 15]])
    samples = [
        vectors["E2SM-KPM-IndicationMessage F3 2 UEs DU+ran-UEID, no info list (101 B)"].data,
        vectors["E2SM-KPM-IndicationMessage F2 two UEs (44 B)"].data,
        f3(ue_report(1, 5, None, 7), ue_report(2, None, None, None), ue_report(3, 70_000, 2**32 - 1, 300)),
        *(encode_report(gnb_ids, NAMES, values, 100, reals=NAMES[:1], dialect=dialect) for dialect in Dialect),
    ]
    for data in samples:
        dialect = FLEXRIC if data[0] == 0x20 else STANDARD
        names = tuple(f"m{i}" for i in range(8)) if len(data) == 101 else NAMES
        assert agree(data, names, dialect) != "refused"
        for end in range(len(data)):
            assert agree(data[:end], names, dialect) == "refused"
        for bit in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << (bit % 8)
            agree(bytes(flipped), names, dialect)


@st.composite
def crowds(draw):
    """Long reports: UEs of a few forms, in runs and mixed."""
    same = {"measInfoList": info_list("a", "b"), "granulPeriod": draw(st.sampled_from([1, 257, 70_000]))}
    other = {"measInfoList": info_list("b", "c")}
    forms = draw(
        st.lists(st.sampled_from([same, other, {}, {"granulPeriod": 9}, {"granulPeriod": 300}]), min_size=1, max_size=3)
    )
    values = st.none() | st.sampled_from([0, 255, 256, 65_535, 65_536, 2**24, 2**32 - 1])
    guami = {"pLMNIdentity": "00f110", "aMFRegionID": "0" * 8, "aMFSetID": "0" * 10}
    reports = []
    for _ in range(draw(st.integers(1, 5))):
        form, is_gnb = draw(st.sampled_from(forms)), draw(st.booleans())
        for _ in range(draw(st.integers(1, 20))):
            report = ue_report(draw(UINT32), draw(values), draw(values), **form)
            if is_gnb:
                ran_ueid = draw(st.none() | st.sampled_from(["00" * 8, "00000000ffffffff", "01" * 8]))
                amf = guami | {"aMFPointer": draw(st.sampled_from(["1" * 6, "0" * 6]))}
                gnb = {"amf-UE-NGAP-ID": draw(st.integers(0, 2**40 - 1)), "guami": amf}
                report["ueID"] = {"gNB-UEID": gnb | ({"ran-UEID": ran_ueid} if ran_ueid else {})}
            reports.append(report)
    return f3(*reports)


@given(crowds(), st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_all_readers_agree_on_crowds(message, data):
    agree(message, ("a", "b"))
    agree(data.draw(mutations(message)), ("a", "b"))


@pytest.mark.parametrize("with_names", [True, False])
@pytest.mark.parametrize(
    "make_id",
    [
        GnbDuUeId,
        GnbCuUpUeId,
        lambda ue: GnbUeId(ue, GUAMI),
        lambda ue: GnbUeId(ue, GUAMI, (ue,)),
        lambda ue: GnbUeId(7, GUAMI, (), (), ue.to_bytes(8, "big")),
        lambda ue: GnbUeId(ue, GUAMI, (ue,), (), ue.to_bytes(8, "big")),
    ],
)
def test_usual_reports_are_read_by_compiled_code_alone(make_id, with_names):
    """All but one UE of the first report that a node sends."""
    read = []

    def counting(*arguments):
        read.append(COMPILED_CODE(*arguments))
        return read[-1]

    rng = np.random.default_rng(1)
    values = rng.integers(0, 2**20, (50, 3)) + np.array([0.5, 0, 0])
    values[rng.random(values.shape) < 0.3] = np.nan
    message = encode_report(
        [make_id(ue * 300) for ue in range(50)], NAMES, values, 100, reals=NAMES[:1], with_names=with_names
    )
    use_compiled_walk(CompiledWalk(counting))
    for first in (1, 0):
        read.clear()
        report = decode_report(message, NAMES)
        assert np.array_equal(report.values, values.astype(np.float32), equal_nan=True)
        assert [ues for ues, _ in read] == [50 - first]
    agree(message, NAMES)


def test_ues_of_several_amfs_may_be_mixed():
    """Of reports whose every UE is at another AMF than the one before Python reads a few, and soon none."""
    amfs = [Guami(b"\x00\xf1\x10", 128, 4, pointer) for pointer in range(3)]
    ids = [GnbUeId(ue, amfs[ue % 3], (), (), (ue + (ue % 2 << 50)).to_bytes(8, "big")) for ue in range(60)]
    message = encode_report(ids, NAMES, np.ones((60, 3)), 100)
    read = []

    def counting(*arguments):
        read.append(COMPILED_CODE(*arguments))
        return read[-1]

    use_compiled_walk(CompiledWalk(counting))
    for _ in range(3):
        read.clear()
        report = decode_report(message)
        assert len({key >> 40 for key in report.ue_keys}) == 6  # the high octets of ran-UEIDs count, too
        assert kinds_and_ids(map(report.ue_id, range(60))) == kinds_and_ids(ids)
    assert [ues for ues, _ in read] == [60]
    agree(message)


@given(st.binary(max_size=300), st.booleans(), DIALECTS)
@settings(max_examples=500)
def test_all_readers_agree_on_any_bytes(data, headed, dialect):
    if headed and dialect is FLEXRIC:
        data = b"\x20" + data
    elif headed and len(data) < 128:  # past the outermost lengths, where it gets interesting
        data = b"\x40\x00" + bytes([len(data)]) + data
    agree(data, dialect=dialect)
