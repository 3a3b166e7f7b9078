"""The elements of one E2AP message as pycrate holds them, and those that several messages share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.e2ap.cause import Cause
from xapp.e2.e2ap.elements import PduKind, Procedure, RicRequestId
from xapp.e2.e2ap.pycrate_codec import Value


class Element(NamedTuple):
    """One information element: its id, what to do where it is not known, its type's name, its value."""

    id: int
    criticality: str
    name: str
    value: Value

    def tree(self) -> dict[str, Any]:
        return {"id": self.id, "criticality": self.criticality, "value": (self.name, self.value)}


class Elements:
    """The elements of a received message, by id."""

    def __init__(self, elements: Iterable[dict[str, Any]], path: str) -> None:
        self.path = path
        self._by_id: dict[int, Value] = {}
        for element in elements:
            name, value = element["value"]
            if name.startswith("_unk_"):
                if element["criticality"] == "reject":
                    raise E2DecodeError(f"element {element['id']} is not known and must not be ignored", path=path)
                continue
            if element["id"] in self._by_id:
                raise E2DecodeError(f"element {element['id']} ({name}) is given twice", path=path)
            self._by_id[element["id"]] = value

    def __contains__(self, element: int) -> bool:
        return element in self._by_id

    def get(self, element: int, name: str) -> Value:
        if element not in self._by_id:
            raise E2DecodeError(f"{name} is missing", path=self.path)
        return self._by_id[element]

    def items(self, element: int, name: str = "") -> list[Value]:
        """The items of a list of elements; a list with a `name` is mandatory."""
        return known_items(self.get(element, name) if name else self._by_id.get(element, ()))

    # The elements that several messages share.

    def request_id(self) -> RicRequestId:
        value = self.get(29, "RICrequestID")
        return RicRequestId(value["ricRequestorID"], value["ricInstanceID"])

    def function_id(self) -> int:
        return int(self.get(5, "RANfunctionID"))

    def transaction_id(self) -> int:
        return int(self.get(49, "TransactionID"))

    def cause(self) -> Cause:
        return cause(self.get(1, "Cause"))


def cause(value: Value) -> Cause:
    group, name = value
    return Cause(group, name.replace("_ext_", "extension-"))


def cause_value(cause: Cause) -> Value:
    return cause.group, cause.value.replace("extension-", "_ext_")


def cause_element(cause: Cause, criticality: str = "reject") -> Element:
    return Element(1, criticality, "Cause", cause_value(cause))


def request_id_element(request_id: RicRequestId) -> Element:
    requestor, instance = request_id
    return Element(29, "reject", "RICrequestID", {"ricRequestorID": requestor, "ricInstanceID": instance})


def function_id_element(function_id: int) -> Element:
    return Element(5, "reject", "RANfunctionID", function_id)


def transaction_element(transaction_id: int) -> Element:
    return Element(49, "reject", "TransactionID", transaction_id)


def list_element(element: int, name: str, items: Iterable[Element]) -> Element:
    return Element(element, "reject", name, [item.tree() for item in items])


def known_items(listed: Iterable[dict[str, Any]]) -> list[Value]:
    """The values in a list of elements of one type; those of types that nobody knows are skipped."""
    values = (item["value"] for item in listed)
    return [value for name, value in values if not name.startswith("_unk_")]


class Codec(NamedTuple):
    """How one message looks and is read and written."""

    name: str
    kind: PduKind
    procedure: Procedure
    read: Callable[[Elements], Any]
    write: Callable[[Any], list[Element]]
    criticality: str = "reject"
