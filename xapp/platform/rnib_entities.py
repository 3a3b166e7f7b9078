"""The R-NIB's protobuf messages: the platform's classes where its library is installed, else the same bytes by ours.

Ours hold the fields that stackmac reads and the lab writes, by the platform's names and numbers; protobuf skips others.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from xapp.platform.libraries import is_missing

PACKAGE = "stackmac.rnib"
"""Not the platform's: one process may have both, in one pool of names."""

STRING, BOOL, UINT32 = (
    FieldDescriptorProto.TYPE_STRING,
    FieldDescriptorProto.TYPE_BOOL,
    FieldDescriptorProto.TYPE_UINT32,
)
CONNECTION_STATUS = (
    "UNKNOWN_CONNECTION_STATUS",
    "CONNECTED",
    "DISCONNECTED",
    "CONNECTED_SETUP_FAILED",
    "CONNECTING",
    "SHUTTING_DOWN",
    "SHUT_DOWN",
)
NODE_TYPE = ("UNKNOWN", "ENB", "GNB")

# A field: its number, and its type or the name of the message or enumeration that it holds.
MESSAGES: dict[str, dict[str, tuple[int, int | str]]] = {
    "GlobalNbId": {"plmn_id": (1, STRING), "nb_id": (2, STRING)},
    "NbIdentity": {
        "inventory_name": (1, STRING),
        "global_nb_id": (2, "GlobalNbId"),
        "connection_status": (3, "ConnectionStatus"),
    },
    "RanFunction": {
        "ran_function_id": (1, UINT32),
        "ran_function_definition": (2, STRING),
        "ran_function_revision": (3, UINT32),
        "ran_function_oid": (4, STRING),
    },
    "Gnb": {"ran_functions": (2, "RanFunction")},
    "NodebInfo": {
        "ran_name": (1, STRING),
        "connection_status": (5, "ConnectionStatus"),
        "global_nb_id": (6, "GlobalNbId"),
        "node_type": (7, "NodeType"),
        "gnb": (9, "Gnb"),
        "associated_e2t_instance_address": (12, STRING),
        "setup_from_network": (13, BOOL),
    },
}
REPEATED = {"ran_functions"}
ENUMS = {"ConnectionStatus": CONNECTION_STATUS, "NodeType": NODE_TYPE}


class Entities(NamedTuple):
    """The message classes of the R-NIB's entities."""

    GlobalNbId: Any
    NbIdentity: Any
    NodebInfo: Any


@cache
def entities() -> Entities:
    """Whichever classes there are."""
    try:
        with warnings.catch_warnings():
            # The platform's generated code is older than the protobuf runtime and says so at every descriptor.
            warnings.simplefilter("ignore", DeprecationWarning)
            from ricxappframe.entities.rnib import nb_identity_pb2, nodeb_info_pb2
    except ImportError as error:
        if not is_missing(error):
            raise
        return own_entities()
    return Entities(nb_identity_pb2.GlobalNbId, nb_identity_pb2.NbIdentity, nodeb_info_pb2.NodebInfo)


@cache
def own_entities() -> Entities:
    """Made from the tables above."""
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import MessageFactory

    pool = DescriptorPool()
    pool.Add(_file())
    make = MessageFactory(pool).GetPrototype
    return Entities(*(make(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in Entities._fields))


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="stackmac/rnib.proto", package=PACKAGE, syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    return file


def _add_field(message: DescriptorProto, name: str, number: int, kind: int | str) -> None:
    label = FieldDescriptorProto.LABEL_REPEATED if name in REPEATED else FieldDescriptorProto.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if isinstance(kind, str):
        field.type = FieldDescriptorProto.TYPE_ENUM if kind in ENUMS else FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"
    else:
        field.type = kind  # type: ignore[assignment]
