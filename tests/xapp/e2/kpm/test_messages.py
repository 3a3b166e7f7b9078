"""What the loop says in E2SM-KPM: subscriptions, headers and RAN functions as typed values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapp.e2.asn1.errors import E2EncodeError
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import messages as kpm
from xapp.e2.kpm.json_types import KPM_TYPES
from xapp.e2.ue_id.ue_id import GnbDuUeId, NgEnbDuUeId

NAME = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7A), min_size=1, max_size=150).filter(
    lambda name: not name.startswith("#")
)
CELL = st.integers(0, 2**60 - 1).map("{:015x}".format)
PERIOD_MS = st.integers(1, 2**32 - 1)
STYLE = st.integers(-1, 10)


@given(PERIOD_MS)
def test_event_triggers(period_ms):
    trigger = kpm.EventTrigger(period_ms)
    assert kpm.decode_event_trigger(kpm.encode_event_trigger(trigger)) == trigger


OF_A_LEVEL = kpm.Condition("ul-rSRP", "lessthan", {"valueInt": 1000})
CONDITION = st.sampled_from(
    [
        OF_A_LEVEL,
        kpm.Condition("cQI", "greaterthan", {"valueReal": 2.5}),
        kpm.Condition("sNSSAI", "equal", {"valueOctS": "01000001"}),
        kpm.Condition("isStat", None, {"valueBool": True}),
        kpm.Condition("gBR"),
        kpm.Condition("gBR", or_next=True),
    ]
)
CONDITIONS = st.lists(CONDITION, max_size=3).map(tuple)
UE_ID = st.builds(GnbDuUeId, st.integers(0, 2**32 - 1), st.none()) | st.builds(NgEnbDuUeId, st.integers(0, 2**32 - 1))
CHOSEN_UES = st.one_of(
    st.builds(lambda conditions: {"conditions": conditions}, CONDITIONS),
    st.builds(lambda ue_ids: {"ue_ids": tuple(ue_ids)}, st.lists(UE_ID, max_size=4)),
    st.builds(lambda conditions: {"measurement_conditions": tuple(conditions)}, st.lists(CONDITIONS, max_size=4)),
)


@given(
    STYLE,
    st.lists(NAME, min_size=1, max_size=4).map(tuple),
    PERIOD_MS,
    st.none() | CELL,
    CHOSEN_UES,
    st.sampled_from(Dialect),
)
def test_action_definitions(style, names, granularity_ms, cell, chosen_ues, dialect):
    action = kpm.ActionDefinition(style, names, granularity_ms, cell, **chosen_ues)
    if action.measurement_conditions:
        action = action._replace(measurements=(names * 4)[: len(action.measurement_conditions)])
    again = kpm.decode_action_definition(kpm.encode_action_definition(action, dialect), dialect)
    assert again == action
    assert list(map(type, again.ue_ids)) == list(map(type, action.ue_ids))


def test_the_cell_of_an_action_definition_is_plmn_and_identity():
    action = kpm.ActionDefinition(4, ("CQI",), 100, "00f110000000001", (OF_A_LEVEL,))
    value = KPM_TYPES["kpm-action-definition"].decode(kpm.encode_action_definition(action))
    subscribed = value["actionDefinition-formats"]["actionDefinition-Format4"]["subscriptionInfo"]
    identity = {"pLMNIdentity": "00f110", "nRCellIdentity": "0" * 35 + "1"}
    assert subscribed["cellGlobalID"] == {"nR-CGI": identity}
    lte = action._replace(cell="00f1100abcdef")
    assert kpm.decode_action_definition(kpm.encode_action_definition(lte)) == lte


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cell": "00f110"}, "cell '00f110': 15 hexadecimal digits expected"),
        ({"cell": "00f11000000000g"}, "15 hexadecimal digits expected"),
        ({"cell": 7}, "15 hexadecimal digits expected"),
        ({"measurements": ()}, "measInfoList: 0 is outside 1"),
        ({"measurements": ("a{sUM=true}",)}, "only names without labels"),
        ({"granularity_ms": 0}, "granulPeriod: 0 is outside"),
        ({"conditions": (OF_A_LEVEL,), "ue_ids": (GnbDuUeId(1),)}, "only one of conditions, ue_ids and"),
        ({"measurement_conditions": ((), ())}, "conditions for 2 of 1 measurements"),
        ({"ue_ids": (7,)}, "a UE id expected, not 7"),
        ({"conditions": (kpm.Condition("weight"),)}, "testType: an object with one key of gBR, "),
        ({"conditions": (kpm.Condition("cQI", "about"),)}, "testExpr: one of equal, "),
    ],
)
def test_action_definitions_that_make_no_sense_are_refused(change, reason):
    action = kpm.ActionDefinition(4, ("CQI",), 100)._replace(**change)
    with pytest.raises(E2EncodeError, match=reason):
        kpm.encode_action_definition(action)


@given(st.builds(kpm.IndicationHeader, st.binary(min_size=8, max_size=8), *[st.sampled_from([None, "", "DU"])] * 4))
def test_indication_headers(header):
    assert kpm.decode_indication_header(kpm.encode_indication_header(header)) == header


def test_the_four_octet_time_stamp_of_old_nodes_is_read():
    old = kpm.decode_indication_header(bytes.fromhex("00e8a1b2c3"))
    assert old.start_time.hex() == "e8a1b2c3"
    named = kpm.IndicationHeader(bytes.fromhex("e8a1b2c3"), "v1", "gnb-1", "DU", "x")
    assert kpm.decode_indication_header(kpm.encode_indication_header(named)) == named
    today = kpm.decode_indication_header(bytes.fromhex("00e8a1b2c300000000"))
    assert len(today.start_time) == 8
    with pytest.raises(
        E2EncodeError, match=r"8 octets as hexadecimal text expected \(old nodes: 4\), not '00000000000000'"
    ):
        kpm.encode_indication_header(kpm.IndicationHeader(bytes(7)))


def test_ntp_time_counts_from_1900():
    assert kpm.ntp_time(0.5).hex() == "83aa7e8080000000"
    assert len(kpm.ntp_time(2.0**32)) == 8


def test_ran_functions(vectors):
    data = next(v.data for v in vectors.values() if v.name.startswith("E2SM-KPM-RANfunction-Description"))
    function = kpm.decode_ran_function(data)
    assert function.oid in kpm.KPM_OIDS and function.short_name == "ORAN-E2SM-KPM"
    assert [(style.style, style.action_format, style.message_format) for style in function.report_styles] == [
        (1, 1, 1),
        (4, 4, 3),
        (5, 5, 3),
    ]
    assert "DRB.UEThpUl" in function.report_styles[1].measurements
    assert kpm.encode_ran_function(function) == data
    bare = kpm.RanFunction("KPM", "1.2.3", "nothing yet", instance=-3)
    assert kpm.decode_ran_function(kpm.encode_ran_function(bare)) == bare


def test_subscription_vectors(vectors):
    trigger = vectors["E2SM-KPM-EventTriggerDefinition 1000 ms (3 B)"].data
    assert kpm.decode_event_trigger(trigger) == kpm.EventTrigger(1000)
    names = ("DRB.UEThpUl", "DRB.UEThpDl", "RRU.PrbTotUl")
    for name, expected in {
        "E2SM-KPM-ActionDefinition F1 style 1 (60 B)": kpm.ActionDefinition(1, names, 100),
        "E2SM-KPM-ActionDefinition F2 style 2 (63 B)": kpm.ActionDefinition(2, names, 100, ue_ids=(GnbDuUeId(3),)),
        "E2SM-KPM-ActionDefinition F3 style 3 (31 B)": kpm.ActionDefinition(
            3, names[:1], 100, measurement_conditions=((OF_A_LEVEL,),)
        ),
        "E2SM-KPM-ActionDefinition F4 style 4 (73 B)": kpm.ActionDefinition(4, names, 100, None, (OF_A_LEVEL,)),
        "E2SM-KPM-ActionDefinition F5 style 5 (71 B)": kpm.ActionDefinition(
            5, names, 100, ue_ids=(GnbDuUeId(1), GnbDuUeId(2))
        ),
    }.items():
        assert name.split()[1] == f"F{expected.format}"
        assert kpm.decode_action_definition(vectors[name].data) == expected
        assert kpm.encode_action_definition(expected) == vectors[name].data
