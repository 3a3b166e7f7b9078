"""CCC messages as JSON values: what they are already. Reading and writing both check them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.ccc.messages import read_control, read_control_header, read_outcome, read_ran_function
from xapp.e2.ccc.values import Tree, read_object, write_object

_READERS: dict[str, Callable[[Tree], Any]] = {
    "ccc-control-header": read_control_header,
    "ccc-control-message": read_control,
    "ccc-control-outcome": read_outcome,
    "ccc-ran-function": read_ran_function,
}


def _codec(name: str, read: Callable[[Tree], Any]) -> tuple[Callable[[bytes], Tree], Callable[[Tree], bytes]]:
    def decode(data: bytes) -> Tree:
        tree = read_object(data, name)
        read(tree)
        return tree

    def encode(tree: Tree) -> bytes:
        try:
            read(tree)
        except E2DecodeError as error:
            raise E2EncodeError(str(error)) from None
        return write_object(tree)

    return decode, encode


CCC_TYPES = {name: _codec(name, read) for name, read in _READERS.items()}
"""By name: how bytes become a JSON value, and back."""
