"""DCM's messages beside named alternatives, all of them in turn in one run, by processor time of one thread.

Whole messages against the same content as JSON; the fields alone, without what columns become, against protobuf.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from xapp.bench.decision_path import allocation, control_bytes, indication
from xapp.bench.in_turn import Case, in_turn
from xapp.e2.dcm import dcm_pb2
from xapp.e2.dcm import messages as dcm
from xapp.e2.dcm.compiled_code import indication_walk_code
from xapp.e2.dcm.compiled_indication import CompiledIndications
from xapp.e2.dcm.flat_message import FlatMessage
from xapp.e2.dcm.indication import compiled_indications, use_compiled_indications

UES = (8, 100)
NUM_RBGS = 17


class Comparison(NamedTuple):
    what: str
    ours: Callable[[], object]
    alternative: str
    theirs: Callable[[], object]


def dcm_cases(rng: np.random.Generator, seconds: float, at_least: int, at_most: int) -> Iterator[Case]:
    """Indications read and controls written."""
    try:
        for ues in UES:
            for what, ours, alternative, theirs in (*comparisons(rng, ues), *field_comparisons(rng, ues)):
                found = in_turn({"ours": ours, alternative: theirs}, seconds, at_least, at_most)
                params = {"ues": ues, "rbgs": NUM_RBGS}
                yield Case(f"{what}, {ues} UEs", params, found["ours"], alternative, found[alternative].median_us)
    finally:
        use_compiled_indications(None)


def comparisons(rng: np.random.Generator, ues: int) -> Iterator[Comparison]:
    """Of whole messages."""
    message = dcm.encode_indication(indication(rng, ues=ues, k=100, num_rbgs=NUM_RBGS))
    decoded = dcm.decode_indication(message)
    compiled = compiled_indications(indication_walk_code(may_compile=True))

    def read_by(reader: CompiledIndications | None) -> dcm.Indication:
        use_compiled_indications(reader)
        return dcm.decode_indication(message)

    columns = {name: getattr(decoded, name).tolist() for name in dcm.INDICATION_COLUMNS}
    text = json.dumps({"ue_ids": decoded.ue_ids, **columns})
    chosen = allocation(rng, ues=ues, num_rbgs=NUM_RBGS)

    def read_json() -> dict[str, Any]:
        return {name: np.array(column) for name, column in json.loads(text).items()}

    def write_json() -> bytes:
        tree = {
            "ue_ids": chosen.ue_ids,
            "owners": chosen.owner_M.tolist(),
            "leftover": chosen.leftover,
            "open_allowed": chosen.open_allowed_U.tolist(),
            "max_rbgs": chosen.max_rbgs_U.tolist(),
        }
        return json.dumps(tree).encode()

    if not np.array_equal(dcm.columns_of(read_by(compiled)), dcm.columns_of(read_by(None)), equal_nan=True):
        raise RuntimeError("an indication says something else by compiled code")
    yield Comparison("read an indication", lambda: read_by(compiled), "in Python", lambda: read_by(None))
    yield Comparison("read an indication", lambda: read_by(compiled), "the same as JSON", read_json)
    yield Comparison("write a control", lambda: control_bytes(chosen), "the same as JSON", write_json)


def field_comparisons(rng: np.random.Generator, ues: int) -> Iterator[Comparison]:
    """Of what protobuf does: octets to fields, fields to octets. Raises RuntimeError if it is not the same."""
    message = dcm.encode_indication(indication(rng, ues=ues, k=100, num_rbgs=NUM_RBGS))
    control = control_bytes(allocation(rng, ues=ues, num_rbgs=NUM_RBGS))
    flat_indication, flat_control = FlatMessage(dcm_pb2.Indication), FlatMessage(dcm_pb2.Control)
    fields = _fields_of(dcm_pb2.Control.FromString(control))
    octets = fields | {"carrier": fields["carrier"].SerializeToString()}

    def read_by_protobuf() -> Any:
        return dcm_pb2.Indication.FromString(message)

    def write_by_protobuf() -> Any:
        return dcm_pb2.Control(**fields).SerializeToString()

    read = vars(flat_indication.read(message) or object)
    if not _fields_of(read_by_protobuf()).items() <= read.items():
        raise RuntimeError("an indication's fields are others than protobuf reads")
    if not flat_control.write(**octets) == write_by_protobuf() == control:
        raise RuntimeError("a control's octets are others than protobuf writes")
    yield Comparison("the fields of an indication", lambda: flat_indication.read(message), "protobuf", read_by_protobuf)
    yield Comparison("the fields of a control", lambda: flat_control.write(**octets), "protobuf", write_by_protobuf)


def _fields_of(message: Any) -> dict[str, Any]:
    """Those that are not the default."""
    return {field.name: value for field, value in message.ListFields()}
