"""dcm_pb2.py is generated and committed: it must say what dcm.proto says, without needing the generator here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from xapp.e2.dcm import dcm_pb2

PROTO = Path(dcm_pb2.__file__).with_name("dcm.proto").read_text()
REGENERATE = (
    "dcm.proto and dcm_pb2.py differ: python -m grpc_tools.protoc -I. --python_out=. xapp/e2/dcm/dcm.proto "
    "(grpcio-tools 1.49 to 1.65: later ones need a newer protobuf than ricxappframe allows)"
)
FIELD = re.compile(r"(repeated\s+)?(\w+)\s+(\w+)\s*=\s*(\d+)\s*;")
ENUM_VALUE = re.compile(r"(\w+)\s*=\s*(\d+)\s*;")

Fields = dict[str, set[tuple[object, ...]]]


def described_by_proto(text: str) -> Fields:
    """message or enum name -> its fields (label, type, name, number) or values (name, number)."""
    text = re.sub(r"//[^\n]*", "", text)
    described: Fields = {}
    for kind, name, body in re.findall(r"\b(message|enum)\s+(\w+)\s*\{([^{}]*)\}", text):
        pattern = FIELD if kind == "message" else ENUM_VALUE
        rest = pattern.sub("", body).strip()
        assert not rest, f"this parser does not understand {rest!r} in {name}"
        described[name] = {
            (bool(found[0]), *found[1:3], int(found[3])) if kind == "message" else (found[0], int(found[1]))
            for found in pattern.findall(body)
        }
    described["package"] = {tuple(re.findall(r"\bpackage\s+([\w.]+);", text))}
    return described


def described_by_generated() -> Fields:
    file = FileDescriptorProto.FromString(dcm_pb2.DESCRIPTOR.serialized_pb)
    described: Fields = {"package": {(file.package,)}}
    for message in file.message_type:
        described[message.name] = {
            (field.label == FieldDescriptorProto.LABEL_REPEATED, type_name(field), field.name, field.number)
            for field in message.field
        }
    for enum in file.enum_type:
        described[enum.name] = {(value.name, value.number) for value in enum.value}
    return described


def type_name(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return field.type_name.rsplit(".", 1)[-1]
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def test_the_generated_module_says_what_the_proto_says():
    assert described_by_proto(PROTO) == described_by_generated(), REGENERATE


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("uint64 decision_id = 2;", "uint64 decision_id = 20;"),
        ("uint64 decision_id = 2;", "uint32 decision_id = 2;"),
        ("bytes ucm = 18;", ""),
        ("repeated Carrier cells", "Carrier cells"),
        ("OUTCOME_MALFORMED = 7;", "OUTCOME_MALFORMED = 8;"),
        ("stackmac.dcm.v1", "stackmac.dcm.v2"),
        ("message ControlHeader", "message ControlHead"),
    ],
)
def test_any_change_of_the_proto_is_noticed(was: str, becomes: str):
    assert was in PROTO
    assert described_by_proto(PROTO.replace(was, becomes)) != described_by_generated()
