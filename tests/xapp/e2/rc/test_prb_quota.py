"""PRB quotas as RC control messages: written from pieces, read by the composed types."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapp.e2.asn1 import schema
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.dialect import Dialect
from xapp.e2.rc import schema as rc_schema
from xapp.e2.rc.prb_quota import PrbQuota, decode_prb_quotas, encode_prb_quotas

PERCENT = st.integers(0, 100)
QUOTA = st.builds(
    PrbQuota,
    st.binary(min_size=3, max_size=3),
    st.integers(0, 255),
    st.none() | st.integers(0, 2**24 - 1),
    PERCENT,
    PERCENT,
    PERCENT,
)
ONE = PrbQuota(b"\x00\xf1\x10", 1, 1, 5, 40, 100)
KIND = rc_schema.CONTROL_MESSAGE[Dialect.STANDARD]
ITEMS = ("ranP-Choice-List", "ranParameter-List", "list-of-ranParameter")
FIELDS = ("ranP-Choice-Structure", "ranParameter-Structure", "sequence-of-ranParameters")


def message(*quotas: PrbQuota) -> dict:
    return schema.decode(KIND, encode_prb_quotas(quotas), "rc")


def parameters(value: dict) -> list:
    return value["ric-controlMessage-formats"]["controlMessage-Format1"]["ranP-List"]


def at(parameters: list, *path: int | str) -> list:
    """The parameters of a structure: ids lead into structures, (id of a list) the list's first item."""
    for step in path:
        value = next(each["ranParameter-valueType"] for each in parameters if each["ranParameter-ID"] == step)
        keys = ITEMS if ITEMS[0] in value else FIELDS
        for key in keys:
            value = value[key]
        parameters = value[0]["sequence-of-ranParameters"] if keys is ITEMS else value
    return parameters


def decode(value: dict) -> tuple[PrbQuota, ...]:
    return decode_prb_quotas(schema.encode(KIND, value, "rc"))


def test_the_vector(vectors):
    vector = next(v for v in vectors.values() if v.name.startswith("E2SM-RC-ControlMessage"))
    for dialect in Dialect:
        assert decode_prb_quotas(vector.data, dialect) == (ONE,)
    assert encode_prb_quotas((ONE,)) == vector.data


@given(st.lists(QUOTA, min_size=1, max_size=3))
def test_quotas_come_back_and_are_what_the_composed_types_write(quotas):
    data = encode_prb_quotas(quotas)
    assert decode_prb_quotas(data) == tuple(quotas)
    for kind in rc_schema.CONTROL_MESSAGE.values():
        assert schema.encode(kind, schema.decode(kind, data, "rc"), "rc") == data


def test_the_older_form_without_the_ids_2_and_6_is_read():
    value = message(ONE, ONE._replace(sd=None))
    items = parameters(value)[0]["ranParameter-valueType"]
    for key in ITEMS:
        items = items[key]
    for item in items:
        group = at(item["sequence-of-ranParameters"], 2)
        item["sequence-of-ranParameters"] = group
        members = at(group, 3)[0]["ranParameter-valueType"]
        for key in ITEMS:
            members = members[key]
        members[0]["sequence-of-ranParameters"] = at(members[0]["sequence-of-ranParameters"], 6)
    assert decode(value) == (ONE, ONE._replace(sd=None))


def test_an_item_with_two_members_is_a_quota_for_each():
    value = message(ONE)
    members = at(parameters(value), 1, 2, 3)[0]["ranParameter-valueType"]
    for key in ITEMS:
        members = members[key]
    other = copy.deepcopy(members[0])
    at(other["sequence-of-ranParameters"], 6, 8)[0]["ranParameter-valueType"] = octets("02")
    members.append(other)
    assert decode(value) == (ONE, ONE._replace(sst=2))


def octets(text: str) -> dict:
    return {"ranP-Choice-ElementTrue": {"ranParameter-value": {"valueOctS": text}}}


@pytest.mark.parametrize(
    ("path", "parameter", "new", "reason"),
    [
        ((), 1, None, r"RAN parameter 1 \(RRM Policy Ratio List\): a list expected"),
        ((), 1, octets("00"), r"parameter 1 .* a list expected"),
        ((1,), 2, octets("00"), r"parameter 2 \(RRM Policy Ratio Group\): a structure expected"),
        ((1, 2), 3, None, r"parameter 3 \(RRM Policy\): a structure expected"),
        ((1, 2, 3), 5, None, r"parameter 5 \(RRM Policy Member List\): a list expected"),
        ((1, 2, 3, 5, 6), 7, octets("00f1"), r"parameter 7 \(PLMN Identity\): 3 octets expected"),
        ((1, 2, 3, 5, 6), 8, None, r"parameter 8 \(S-NSSAI\): a structure expected"),
        ((1, 2, 3, 5, 6, 8), 9, octets(""), r"parameter 9 \(SST\): 1 octets expected"),
        ((1, 2, 3, 5, 6, 8), 10, octets("01"), r"parameter 10 \(SD\): 3 octets expected"),
        ((1, 2), 11, None, r"parameter 11 \(Min PRB Policy Ratio\): an integer 0 to 100 expected"),
        ((1, 2), 12, {"ranP-Choice-ElementFalse": {}}, r"parameter 12 \(Max .*\): an integer 0 to 100 expected"),
        (
            (1, 2),
            13,
            {"ranP-Choice-ElementFalse": {"ranParameter-value": {"valueInt": 101}}},
            r"parameter 13 \(Dedicated .*\): an integer 0 to 100 expected",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named(path, parameter, new, reason):
    value = message(ONE)
    siblings = at(parameters(value), *path)
    index = next(i for i, each in enumerate(siblings) if each["ranParameter-ID"] == parameter)
    if new is not None:
        siblings[index]["ranParameter-valueType"] = new
    elif len(siblings) > 1:
        del siblings[index]
    else:
        siblings[index]["ranParameter-ID"] = 99
    with pytest.raises(E2DecodeError, match=f"rc-control-message: RAN {reason.removeprefix('RAN ')}"):
        decode(value)


def test_a_parameter_twice_is_refused():
    value = message(ONE)
    group = at(parameters(value), 1, 2)
    group.append(copy.deepcopy(group[-1]))
    with pytest.raises(E2DecodeError, match="a RAN parameter twice among 5"):
        decode(value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"plmn": b"\x00\xf1"}, "plmn b'.*', 3 octets expected"),
        ({"plmn": "00f110"}, "plmn '00f110', 3 octets expected"),
        ({"sst": 256}, "sst 256, an integer 0 to 255 expected"),
        ({"sst": "1"}, "sst '1', an integer 0 to 255 expected"),
        ({"sd": 2**24}, "sd 16777216, an integer 0 to 16777215 expected"),
        ({"sd": b"\0\0\1"}, "sd b'.*', an integer"),
        ({"min_percent": -1}, "min_percent -1, an integer 0 to 100 expected"),
        ({"max_percent": 101}, "max_percent 101, an integer 0 to 100 expected"),
        ({"dedicated_percent": 40.5}, "dedicated_percent 40.5, an integer 0 to 100 expected"),
    ],
)
def test_quotas_that_make_no_sense_are_refused(change, reason):
    with pytest.raises(E2EncodeError, match=f"rc-control-message: {reason}"):
        encode_prb_quotas((ONE._replace(**change),))


def test_a_message_has_a_quota():
    with pytest.raises(E2EncodeError, match="0 quotas, 1 to 65535 expected"):
        encode_prb_quotas(())
