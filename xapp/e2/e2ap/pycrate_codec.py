"""Any E2AP PDU through pycrate's compiled ASN.1: as pycrate's value, or as JSON by the JSON Encoding Rules (X.697).

pycrate's objects are global and keep the last value, so one lock serves all; 0.2 ms a PDU. Importing it takes 0.1 s and
happens at the first use.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.e2ap.elements import check_envelope

Value = Any
"""pycrate's notation: CHOICE and open type = (name, value), SEQUENCE = dict, BIT STRING = (number, bits).

An element that the compiled E2AP does not know has the name `_unk_004` and its octets for a value.
"""

_lock = threading.Lock()


def decode_value(pdu: bytes) -> Value:
    """Decode a value. Raises E2DecodeError."""
    check_envelope(pdu)
    with _asn1(_decode_error) as asn1:
        asn1.from_aper(pdu)
        return asn1.get_val()


def encode_value(value: Value) -> bytes:
    """Encode a value. Raises E2EncodeError."""
    with _asn1(_encode_error) as asn1:
        asn1.set_val(value)
        encoded: bytes = asn1.to_aper()
        return encoded


def decode_json(pdu: bytes) -> dict[str, Any]:
    """The PDU as JSON: CHOICE = {name: value}, OCTET STRING = hex digits. Raises E2DecodeError."""
    check_envelope(pdu)
    with _asn1(_decode_error) as asn1:
        asn1.from_aper(pdu)
        # Of a few extensions pycrate knows no JSON form, and says so by a TypeError.
        text = asn1.to_jer()
    tree: dict[str, Any] = _in_order(json.loads(text))
    return tree


def encode_json(tree: dict[str, Any]) -> bytes:
    """The inverse of `decode_json`. Raises E2EncodeError."""
    with _asn1(_encode_error) as asn1:
        _check_bit_strings(tree)
        asn1.from_jer(json.dumps(tree))
        encoded: bytes = asn1.to_aper()
        return encoded


def _check_bit_strings(tree: Any) -> None:
    """Refuse what pycrate would cut off without a word: bits beyond the length that a BIT STRING says it has."""
    for branch in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        _check_bit_strings(branch)
    if not isinstance(tree, dict) or tree.keys() != {"length", "value"}:
        return
    length, value = tree["length"], tree["value"]
    if isinstance(length, int) and 0 <= length < 4 * len(value) and int(value, 16) % (1 << 4 * len(value) - length):
        raise ValueError(f"value {value[:40]!r} is longer than its {length} bits, expected zeros after them")


def with_names(tree: Any) -> Any:
    """A `decode_json` tree for reading only: elements and procedures by id and name."""
    from pycrate_asn1dir import E2AP

    constants = [(c._typeref.called[1], c._val, name[3:].replace("_", "-")) for name, c in _ids(E2AP)]
    elements = {number: name for kind, number, name in constants if kind == "ProtocolIE-ID"}
    procedures = {number: name for kind, number, name in constants if kind == "ProcedureCode"}

    def named(branch: Any) -> Any:
        if isinstance(branch, list):
            return [named(item) for item in branch]
        if not isinstance(branch, dict):
            return branch
        shown = {key: named(value) for key, value in branch.items()}
        if {"id", "criticality"} <= branch.keys():
            shown["id"] = f"{branch['id']} {elements.get(branch['id'], '(unknown)')}"
        if {"procedureCode", "criticality"} <= branch.keys():
            shown["procedureCode"] = f"{branch['procedureCode']} {procedures.get(branch['procedureCode'], '(unknown)')}"
        return shown

    return named(tree)


def _ids(module: Any) -> list[tuple[str, Any]]:
    return [(name, constant) for name, constant in vars(module.E2AP_Constants).items() if name.startswith("id_")]


@cache
def _pdu() -> Any:
    from pycrate_asn1dir import E2AP
    from pycrate_asn1rt.codecs import ASN1CodecPER

    read_fragments = ASN1CodecPER.decode_fragbytes.__func__

    def decode_fragbytes(codec: Any, char: Any, length: int, bits: bool = False) -> Any:
        # pycrate 0.8.1 counts the octets of the last fragment as bits, and misreads whatever follows the fragments.
        fragments = read_fragments(codec, char, length, bits)
        if not bits:
            codec._off[-1] = -(-codec._off[-1] // 8) * 8
        return fragments

    ASN1CodecPER.decode_fragbytes = classmethod(decode_fragbytes)
    return E2AP.E2AP_PDU_Descriptions.E2AP_PDU


@contextmanager
def _asn1(to_error: Callable[[str], Exception]) -> Iterator[Any]:
    """pycrate's E2AP-PDU, ours alone. It raises whatever its parts happen to raise: all of that becomes one error."""
    with _lock:
        pdu = _pdu()
        try:
            yield pdu
        except Exception as error:
            from pycrate_asn1rt.codecs import ASN1CodecPER

            ASN1CodecPER._off.clear()  # its stack of offsets, which an exception leaves as it was
            raise to_error(" ".join(str(error).split())[:200] or type(error).__name__) from None


def _decode_error(reason: str) -> E2DecodeError:
    return E2DecodeError(reason, path="E2AP-PDU")


def _encode_error(reason: str) -> E2EncodeError:
    return E2EncodeError(f"not an E2AP-PDU: {reason}")


def _in_order(tree: Any) -> Any:
    """Keys as E2AP writes them: what it is first, its value last; pycrate's JSON is in alphabetical order."""
    if isinstance(tree, list):
        return [_in_order(item) for item in tree]
    if isinstance(tree, dict):
        keys = sorted(tree, key=lambda key: (key == "value", key not in ("id", "procedureCode"), key))
        return {key: _in_order(tree[key]) for key in keys}
    return tree
