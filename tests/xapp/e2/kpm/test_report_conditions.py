"""Reports of measurements under conditions (format 2) as tables: whose value is whose."""

from __future__ import annotations

import numpy as np
import pytest
from kpm_reports import MESSAGE

from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.kpm.messages import NO_UE, decode_report
from xapp.e2.ue_id.ue_id import GnbDuUeId

pytestmark = pytest.mark.usefixtures("walk")
TEST = [{"matchingCondChoice": {"testCondInfo": {"testType": {"cQI": "true"}}}}]


def f2(records, *measurements, **more):
    """Format 2: records of integers, measurements as (name, UEs) or with the keys of an item."""
    data = [
        {"measRecord": [{"noValue": None} if value is None else {"integer": value} for value in record]}
        for record in records
    ]
    items = [{"measType": {"measName": name}, "matchingCond": TEST, **rest} for name, rest in measurements]
    value = {"measData": data, "measCondUEidList": items, **more}
    return MESSAGE.encode({"indicationMessage-formats": {"indicationMessage-Format2": value}})


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
