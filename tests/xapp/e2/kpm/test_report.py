"""Measurement reports as tables, read by the octet walk, compiled or not; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from counting import calls_of
from kpm_readers import agree, kinds_and_ids
from kpm_reports import GUAMI, NAMES, f3, info_list, ue_report

from xapp.e2.asn1.aper import BitString
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.dialect import Dialect
from xapp.e2.kpm.messages import NO_UE, decode_report, decode_report_generic, encode_report
from xapp.e2.ue_id.ue_id import GlobalGnbId, GnbCuUpUeId, GnbDuUeId, GnbUeId
from xapp.e2.ue_id.ue_key import own_number

pytestmark = pytest.mark.usefixtures("walk")


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


def test_ids_of_two_kinds_with_the_same_numbers_stay_apart():
    ue_ids = [GnbDuUeId(7), GnbCuUpUeId(7), GnbDuUeId(7)]
    report = decode_report(encode_report(ue_ids, NAMES[:1], np.ones((3, 1)), 100))
    assert kinds_and_ids(map(report.ue_id, range(3))) == kinds_and_ids(ue_ids)


def test_both_dialects_say_the_same(vectors):
    standard = vectors["E2SM-KPM-IndicationMessage F3 2 UEs gNB-DU-UEID (358 B)"].data
    flexric = next(v.data for v in vectors.values() if v.name.startswith("E2SM-KPM-IndicationMessage F3, FlexRIC"))
    assert agree(flexric, dialect=Dialect.FLEXRIC) == agree(standard)
    single = next(v.data for v in vectors.values() if v.name.startswith("E2SM-KPM-IndicationMessage F1 with measInfo"))
    report = decode_report(single, (), Dialect.FLEXRIC)
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
    assert calls_of(lambda: decode_report(message)) < 30 * 100 < calls_of(lambda: decode_report_generic(message))


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
