"""The R-NIB's messages as the platform's library has them, and as stackmac has them without it: the same bytes."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from xapp.platform.rnib_entities import CONNECTION_STATUS, MESSAGES, NODE_TYPE, Entities, entities, own_entities


def fill(made: Entities) -> tuple[Any, Any]:
    identity = made.NbIdentity(
        inventory_name="gnb_1", global_nb_id=made.GlobalNbId(plmn_id="00F110", nb_id="0101"), connection_status=2
    )
    info = made.NodebInfo(
        ran_name="gnb_1",
        connection_status=1,
        global_nb_id=identity.global_nb_id,
        node_type=2,
        setup_from_network=True,
        associated_e2t_instance_address="e2term:38000",
    )
    info.gnb.ran_functions.add(
        ran_function_id=147, ran_function_definition="20c0", ran_function_revision=300, ran_function_oid="1.3.6"
    )
    info.gnb.ran_functions.add(ran_function_id=0)
    return identity, info


def test_both_write_the_same_bytes_and_the_same_json() -> None:
    assert entities() is not own_entities()
    for platform, ours in zip(fill(entities()), fill(own_entities())):
        assert ours.SerializeToString() == platform.SerializeToString()
        assert MessageToDict(ours) == MessageToDict(platform)
        assert type(ours).FromString(platform.SerializeToString()) == ours


def test_fields_that_ours_do_not_have_are_skipped() -> None:
    info = entities().NodebInfo(ran_name="gnb_1", ip="10.0.0.1", port=38000)
    info.gnb.served_nr_cells.add()
    info.gnb.ran_functions.add(ran_function_id=2)
    read = own_entities().NodebInfo.FromString(info.SerializeToString())
    assert read.ran_name == "gnb_1"
    assert [function.ran_function_id for function in read.gnb.ran_functions] == [2]


def test_names_and_numbers_are_the_platforms() -> None:
    info = entities().NodebInfo.DESCRIPTOR
    messages = {
        "NodebInfo": info,
        "NbIdentity": entities().NbIdentity.DESCRIPTOR,
        "GlobalNbId": entities().GlobalNbId.DESCRIPTOR,
        "Gnb": info.fields_by_name["gnb"].message_type,
        "RanFunction": info.fields_by_name["gnb"].message_type.fields_by_name["ran_functions"].message_type,
    }
    for name, fields in MESSAGES.items():
        for field, (number, kind) in fields.items():
            theirs = messages[name].fields_by_name[field]
            assert theirs.number == number
            assert isinstance(kind, str) or theirs.type == kind
    for field, ours in (("connection_status", CONNECTION_STATUS), ("node_type", NODE_TYPE)):
        assert [(value.name, value.number) for value in info.fields_by_name[field].enum_type.values] == [
            (value, number) for number, value in enumerate(ours)
        ]


def test_without_the_platforms_library_ours_step_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "ricxappframe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ricxappframe", None)
    assert entities.__wrapped__() is own_entities()
