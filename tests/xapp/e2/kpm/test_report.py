"""Measurement reports as tables: the octet walk, compiled or not, means what the composed types mean, on any bytes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kpm_readers import COMPILED_CODE, COMPILED_WALK, agree, kinds_and_ids
from mutating import mutations

from xapp.e2.asn1.aper import BitString
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import schema as kpm_schema
from xapp.e2.kpm.compiled_walk import CompiledWalk
from xapp.e2.kpm.json_types import KPM_TYPES
from xapp.e2.kpm.messages import NO_UE, decode_report, decode_report_generic, encode_report
from xapp.e2.kpm.report_reader import use_compiled_walk
from xapp.e2.ue_id.ue_id import EnbUeId, GlobalGnbId, GnbCuUpUeId, GnbDuUeId, GnbUeId, Guami, Gummei, NgEnbDuUeId
from xapp.e2.ue_id.ue_key import own_number

STANDARD, FLEXRIC = Dialect.STANDARD, Dialect.FLEXRIC
DIALECTS = st.sampled_from(Dialect)
MESSAGE = KPM_TYPES["kpm-indication-message"]
NAMES = ("DRB.UEThpUl", "RRU.PrbUsedUl", "CQI")
GUAMI = Guami(b"\x00\xf1\x10", 128, 4, 1)
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


def pytest_generate_tests(metafunc):
    """Each test by either walk, but for those that hold them against each other."""
    if "readers_agree" not in metafunc.function.__name__:
        metafunc.parametrize("reader", [None, COMPILED_WALK], ids=["python", "compiled"], indirect=True)


@pytest.fixture(autouse=True)
def reader(request):
    use_compiled_walk(getattr(request, "param", None))
    yield
    use_compiled_walk(None)


def f3(*ue_reports):
    return MESSAGE.encode(
        {"indicationMessage-formats": {"indicationMessage-Format3": {"ueMeasReportList": list(ue_reports)}}}
    )


def info_list(*names):
    return [{"measType": {"measName": name}, "labelInfoList": [{"measLabel": {"noLabel": "true"}}]} for name in names]


def ue_report(f1ap_id, *values, **more):
    record = [{"noValue": None} if value is None else {"integer": value} for value in values]
    report = {"measData": [{"measRecord": record}]} | more
    return {"ueID": {"gNB-DU-UEID": {"gNB-CU-UE-F1AP-ID": f1ap_id}}, "measReport": report}


def test_vectors_as_tables(vectors):
    du = decode_report(vectors["E2SM-KPM-IndicationMessage F3 2 UEs gNB-DU-UEID (358 B)"].data)
    assert du.ue_keys == (0, 1) and du.granularity_ms == 100 and du.incomplete == 0
    assert du.names[:3] == ("DRB.UEThpUl", "DRB.UEThpDl", "RRU.PrbTotUl") and du.names[5] == "CQI"
    assert du.values[0].tolist() == [16543, 129875, 123796, 55038, 7431, 102186, 199827, 182408]
    gnb = decode_report(
        vectors["E2SM-KPM-IndicationMessage F3 2 UEs gNB-UEID (AMF id, F1AP list, ran-UEID) (392 B)"].data
    )
    assert tuple(map(own_number, gnb.ue_keys)) == (0, 1) and np.array_equal(gnb.values, du.values)
    assert not {*gnb.ue_keys} & {*du.ue_keys}, "an id of another kind is another UE"
    assert gnb.ue_id(1) == GnbUeId(1, GUAMI, (1,), (), b"\0\0\0\0\0\0\0\1")
    bare = decode_report(
        vectors["E2SM-KPM-IndicationMessage F3 2 UEs DU+ran-UEID, no info list (101 B)"].data, du.names
    )
    assert bare.names == du.names and np.array_equal(bare.values, du.values)
    two = decode_report(vectors["E2SM-KPM-IndicationMessage F1 two data items, incompleteFlag (32 B)"].data)
    assert (two.ue_keys, two.names, two.values.tolist(), two.incomplete) == ((NO_UE,), ("DRB.UEThpUl",), [[6.0]], 1)
    assert two.ue_id(0) is None


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


def test_ids_of_two_kinds_with_the_same_numbers_stay_apart():
    ue_ids = [GnbDuUeId(7), GnbCuUpUeId(7), GnbDuUeId(7)]
    report = decode_report(encode_report(ue_ids, NAMES[:1], np.ones((3, 1)), 100))
    assert kinds_and_ids(map(report.ue_id, range(3))) == kinds_and_ids(ue_ids)


@pytest.mark.parametrize("dialect", Dialect)
def test_all_readers_agree_on_every_message_that_can_be_written(dialect, values_of):
    messages = values_of(kpm_schema.INDICATION_MESSAGE[dialect])

    @given(messages, st.sampled_from([(), NAMES[:1], NAMES[:2]]))
    @settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
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


def f2(records, *measurements, **more):
    """Format 2: records of integers, measurements as (name, UEs) or with the keys of an item."""
    data = [
        {"measRecord": [{"noValue": None} if value is None else {"integer": value} for value in record]}
        for record in records
    ]
    items = [{"measType": {"measName": name}, "matchingCond": TEST, **rest} for name, rest in measurements]
    value = {"measData": data, "measCondUEidList": items, **more}
    return MESSAGE.encode({"indicationMessage-formats": {"indicationMessage-Format2": value}})


TEST = [{"matchingCondChoice": {"testCondInfo": {"testType": {"cQI": "true"}}}}]


def ues(*keys):
    return [{"ueID": {"gNB-DU-UEID": {"gNB-CU-UE-F1AP-ID": key}}} for key in keys]


def test_measurements_under_conditions_have_a_value_for_each_ue_that_meets_them():
    message = f2(
        [[5, 6, 7]], ("a", {"matchingUEidList": ues(1, 2)}), ("b", {"matchingUEidList": ues(2)}), granulPeriod=9
    )
    report = decode_report(message)
    assert (report.ue_keys, report.names, report.granularity_ms) == ((1, 2), ("a", "b"), 9)
    assert np.array_equal(report.values, [[5, np.nan], [6, 7]], equal_nan=True)
    assert report.ue_id(1) == GnbDuUeId(2)


def test_measurements_under_conditions_may_have_one_value_for_all():
    report = decode_report(f2([[5, 6]], ("a", {"matchingUEidList": ues(1, 2, 3)}), ("b", {})))
    assert (report.ue_keys, report.names, report.values.tolist()) == ((NO_UE,), ("a", "b"), [[5, 6]])
    assert report.ue_id(0) is None
    nobody = decode_report(f2([[None]], ("a", {})))
    assert nobody.ue_keys == (NO_UE,) and np.isnan(nobody.values).all()


def test_of_several_periods_the_last_and_its_ues_count():
    periods = [{"matchedPerGP": {"oneOrMoreUEmatched": ues(1)}}, {"matchedPerGP": {"oneOrMoreUEmatched": ues(2, 3)}}]
    message = f2([[5], [6, 7]], ("a", {"matchingUEidPerGP": periods}))
    report = decode_report(message)
    assert (report.ue_keys, report.values.tolist()) == ((2, 3), [[6], [7]])


def test_labels_among_the_conditions_are_part_of_the_name():
    label = [{"matchingCondChoice": {"measLabel": {"fiveQI": 9}}}]
    report = decode_report(f2([[5]], ("a", {"matchingCond": label + TEST, "matchingUEidList": ues(1)})))
    assert report.names == ("a{fiveQI=9}",)


def test_values_that_belong_to_nobody_are_refused():
    with pytest.raises(E2DecodeError, match="3 values for 1 measurements of together 2 UEs"):
        decode_report(f2([[5, 6, 7]], ("a", {"matchingUEidList": ues(1, 2)})))


def test_the_format_2_vector(vectors):
    report = decode_report(vectors["E2SM-KPM-IndicationMessage F2 two UEs (44 B)"].data)
    assert (report.ue_keys, report.names, report.values.tolist()) == ((0, 1), ("DRB.UEThpUl",), [[5], [6]])
    assert report.granularity_ms == 100


def test_both_dialects_say_the_same(vectors):
    standard = vectors["E2SM-KPM-IndicationMessage F3 2 UEs gNB-DU-UEID (358 B)"].data
    flexric = next(v.data for v in vectors.values() if v.name.startswith("E2SM-KPM-IndicationMessage F3, FlexRIC"))
    assert agree(flexric, dialect=FLEXRIC) == agree(standard)
    single = next(v.data for v in vectors.values() if v.name.startswith("E2SM-KPM-IndicationMessage F1 with measInfo"))
    report = decode_report(single, (), FLEXRIC)
    assert (report.ue_keys, report.names, report.values.tolist()) == ((NO_UE,), ("DRB.UEThpUl",), [[5]])


def test_no_value_is_nan_and_alignment_recovers():
    message = f3(ue_report(1, None, 5, None), ue_report(2, 1, None, 70_000), ue_report(3, 8, 9, 10))
    report = decode_report(message, NAMES)
    assert np.array_equal(report.values, [[np.nan, 5, np.nan], [1, np.nan, 70_000], [8, 9, 10]], equal_nan=True)


def test_the_last_complete_record_counts_and_the_others_are_counted():
    def record(value, **more):
        return {"measRecord": [{"integer": value}]} | more

    partial = {"incompleteFlag": "true"}
    message = f3(
        ue_report(1, 0, measData=[record(1), record(2), record(3, **partial)], granulPeriod=10),
        ue_report(2, 0, measData=[record(4, **partial), record(5, **partial)], granulPeriod=10),
        ue_report(3, 6, granulPeriod=10),
    )
    report = decode_report(message, NAMES[:1])
    assert np.array_equal(report.values, [[2], [np.nan], [6]], equal_nan=True)
    assert report.incomplete == 3 and report.granularity_ms == 10


def test_ues_with_different_measurements_share_a_table():
    message = f3(
        ue_report(1, 5, 6, measInfoList=info_list("a", "b")),
        ue_report(2, 7, 8, measInfoList=info_list("b", "c")),
        ue_report(3, 9, 10, measInfoList=info_list("a", "b")),
    )
    report = decode_report(message)
    assert report.names == ("a", "b", "c")
    assert np.array_equal(report.values, [[5, 6, np.nan], [np.nan, 7, 8], [9, 10, np.nan]], equal_nan=True)
    agree(message)


def test_labels_tell_columns_of_one_measurement_apart():
    labels = [{"measLabel": {"noLabel": "true"}}, {"measLabel": {"fiveQI": 9, "plmnID": "00f110"}}]
    measurements = [
        {"measType": {"measName": "a"}, "labelInfoList": labels},
        {"measType": {"measID": 17}, "labelInfoList": labels[:1]},
    ]
    message = f3(
        *(ue_report(ue, ue, 2, 3, measInfoList=measurements, granulPeriod=100) for ue in range(4)),
    )
    report = decode_report(message)
    assert report.names == ("a", "a{plmnID=00f110,fiveQI=9}", "#17") and report.values[:, 0].tolist() == [0, 1, 2, 3]
    agree(message)


@pytest.mark.parametrize(
    ("ue_reports", "known_names", "reason"),
    [
        ([ue_report(1, 5)], (), "no measurement list in the report, and none known"),
        ([ue_report(1, 5, 6)], NAMES, "2 values for 3 measurements"),
        ([ue_report(1, 5, 6, measInfoList=info_list("a"))], (), "2 values for 1 measurements"),
    ],
)
def test_reports_that_cannot_be_tables_say_why(ue_reports, known_names, reason):
    with pytest.raises(E2DecodeError, match=reason):
        decode_report(f3(*ue_reports), known_names)


def test_ever_different_measurements_do_not_make_a_huge_table():
    message = f3(*(ue_report(ue, 1, measInfoList=info_list(f"m{ue}")) for ue in range(400)))
    with pytest.raises(E2DecodeError, match="400 different measurements in a report of 400 UEs"):
        decode_report(message)


def test_labels_that_repeat_a_long_name_do_not_fill_the_memory():
    labels = [{"measLabel": {"qCI": 1}}] * 600
    measurements = [{"measType": {"measName": "x" * 600}, "labelInfoList": labels}]
    message = f3(ue_report(1, *[None] * 600, measInfoList=measurements))
    assert len(message) < 5000
    for read in (decode_report, decode_report_generic):
        with pytest.raises(E2DecodeError, match="names of 360000 characters, at most 262144 are kept"):
            read(message)


def test_a_report_of_many_ues_is_fragmented_and_read_back():
    values = np.arange(3000.0).reshape(1000, 3)
    message = encode_report([GnbDuUeId(ue) for ue in range(1000)], NAMES, values, 100)
    assert len(message) > 65536
    report = decode_report(message)
    assert report.ue_keys == tuple(range(1000)) and np.array_equal(report.values, values)


def test_the_walk_is_many_times_less_work_than_the_composed_types():
    values = np.arange(300.0).reshape(100, 3)
    message = encode_report([GnbDuUeId(ue) for ue in range(100)], NAMES, values, 100, reals=NAMES[:1])

    def calls(read):
        count = 0

        def on_event(frame, event, argument):
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(on_event)
        try:
            read(message)
        finally:
            sys.setprofile(None)
        return count

    assert calls(decode_report) < 30 * 100 < calls(decode_report_generic)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (([], NAMES, np.zeros((0, 3)), 100), "1 to 65535 UEs"),
        (([GnbDuUeId(1)], NAMES, np.zeros((1, 2)), 100), r"shape \(1, 2\) for 1 UEs and 3 measurements"),
        (([GnbDuUeId(1)], NAMES, np.full((1, 3), -1.0), 100), r"-1\.0 is outside 0\.\.4294967295"),
        (([GnbDuUeId(1)], NAMES, np.full((1, 3), 2.0**32), 100), r"4294967296\.0 is outside"),
        (([GnbDuUeId(1)], NAMES, np.zeros((1, 3)), 0), "granulPeriod: 0 is outside"),
        (([GnbDuUeId(1)], ("a{min=true}",), np.zeros((1, 1)), 100), "only names without labels"),
        (
            ([GnbUeId(1, GUAMI, global_gnb_id=GlobalGnbId(b"\0\0\0", BitString(1, 22)))], NAMES, np.zeros((1, 3)), 100),
            "an id that ends in a global node id within an octet",
        ),
    ],
)
def test_reports_that_cannot_be_written_say_why(arguments, reason):
    with pytest.raises(E2EncodeError, match=reason):
        encode_report(*arguments)
