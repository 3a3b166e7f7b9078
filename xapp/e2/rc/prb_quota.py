"""What share of the PRBs a slice may have: E2SM-RC style 2 (radio resource allocation), action 6, message format 1.

The parameters nest as the specification lists them, here by their ids:

    1 LIST > 2 STRUCT > { 3 STRUCT > 5 LIST > 6 STRUCT > { 7 PLMN, 8 STRUCT > { 9 SST, 10 SD } }, 11, 12, 13 percent }

2 and 6 say no more than the LIST they are in: some nodes need them, others fall over them, so that which is written is
what the node lists (layout.py); both are read. The control's header names a UE, and the shares are for that UE: of
the N_PRB of its cell it gets at most floor(max_percent * N_PRB / 100) in one grant.

Every octet of this message is aligned, so that it is put together from pieces; for reading there is schema.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from xapp.e2.asn1 import schema
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.dialect import Dialect
from xapp.e2.rc import schema as rc_schema

PATH = "rc-control-message"
MAX_QUOTAS = 65535
MAX_PERCENT = 100
QUOTA_LIST, QUOTA, POLICY, MEMBER_LIST, MEMBER, PLMN, S_NSSAI, SST, SD, MIN, MAX, DEDICATED = 1, 2, 3, *range(5, 14)
PARAMETER_NAMES = {
    QUOTA_LIST: "RRM Policy Ratio List",
    QUOTA: "RRM Policy Ratio Group",
    POLICY: "RRM Policy",
    MEMBER_LIST: "RRM Policy Member List",
    MEMBER: "RRM Policy Member",
    PLMN: "PLMN Identity",
    S_NSSAI: "S-NSSAI",
    SST: "SST",
    SD: "SD",
    MIN: "Min PRB Policy Ratio",
    MAX: "Max PRB Policy Ratio",
    DEDICATED: "Dedicated PRB Policy Ratio",
}
"""RAN parameters of the action, under the specification's names."""


class PrbQuota(NamedTuple):
    """Shares of the PRBs for a slice, in whole percent."""

    plmn: bytes
    """3 octets."""
    sst: int
    """Slice/service type, 0-255."""
    sd: int | None
    """Slice differentiator of 24 bits, where the slice has one."""
    min_percent: int
    max_percent: int
    dedicated_percent: int = 100


# -- writing ----------------------------------------------------------------------------------------------------------

# A parameter in a structure: extension bit, the id's extension bit, 2 bits of its octets - 1, padding, the id - 1; then
# extension bit, 2 bits of kind (element, element, structure, list), extension bit and what the kind begins with.
_LIST = b"\x60"  # and the list's extension bit; 2 octets of items - 1
_STRUCTURE = b"\x44"  # and the structure's extension bit, items present; 2 octets of items - 1
_ITEM = b"\x40"  # a structure as an item of a list
_OCTETS = b"\x2a\x00"  # element without key flag, value present, octet string; length
_INTEGER = b"\x28\x80"  # the same, integer; length


def _count(n: int) -> bytes:
    return (n - 1).to_bytes(2, "big")


def _head(parameter: int) -> bytes:
    return bytes((0, parameter - 1))


_START = b"\0\0\1" + _head(QUOTA_LIST) + _LIST  # extension bits, one parameter (SIZE 0.. counts from 0); items - 1


def _to_plmn(group: bytes, member: bytes) -> bytes:
    """From an item's start to its PLMN. group, member: the heads of 2 and 6, empty where they are left out."""
    policy = _head(POLICY) + _STRUCTURE + _count(1) + _head(MEMBER_LIST) + _LIST + _count(1)
    return b"".join(
        (_ITEM, group, _count(4), policy, _ITEM, member, _count(2), _head(PLMN), _OCTETS, b"\x03"),
    )


_TO_PLMN = {
    True: _to_plmn(*(_count(1) + _head(each) + _STRUCTURE for each in (QUOTA, MEMBER))),
    False: _to_plmn(b"", b""),
}
"""By whether 2 and 6 are written."""
_TO_SST = {
    has_sd: _head(S_NSSAI) + _STRUCTURE + _count(1 + has_sd) + _head(SST) + _OCTETS + b"\x01"
    for has_sd in (False, True)
}
_TO_SD = _head(SD) + _OCTETS + b"\x03"
_TO_MIN, _TO_MAX, _TO_DEDICATED = (_head(each) + _INTEGER + b"\x01" for each in (MIN, MAX, DEDICATED))


def encode_prb_quotas(quotas: Sequence[PrbQuota], *, wrapped: bool = True) -> bytes:
    """A control message, the same octets in both dialects. wrapped: with 2 and 6. Raises E2EncodeError."""
    if not 1 <= len(quotas) <= MAX_QUOTAS:
        raise E2EncodeError(f"{PATH}: {len(quotas)} quotas, 1 to {MAX_QUOTAS} expected")
    return b"".join([_START, _count(len(quotas)), *(_item(quota, wrapped) for quota in quotas)])


def _item(quota: PrbQuota, wrapped: bool) -> bytes:
    if not isinstance(quota.plmn, bytes) or len(quota.plmn) != 3:
        raise E2EncodeError(f"{PATH}: plmn {quota.plmn!r}, 3 octets expected")
    try:
        shares = bytes((quota.min_percent, quota.max_percent, quota.dedicated_percent))
        sst = bytes((quota.sst,))
        slice_octets = sst if quota.sd is None else sst + _TO_SD + quota.sd.to_bytes(3, "big")
    except (TypeError, ValueError, OverflowError, AttributeError):
        _refuse(quota)
    if max(shares) > MAX_PERCENT:
        _refuse(quota)
    return b"".join(
        (
            _TO_PLMN[wrapped],
            quota.plmn,
            _TO_SST[quota.sd is not None],
            slice_octets,
            _TO_MIN,
            shares[:1],
            _TO_MAX,
            shares[1:2],
            _TO_DEDICATED,
            shares[2:],
        )
    )


def _refuse(quota: PrbQuota) -> NoReturn:
    ranges = {"sst": 255, "sd": 2**24 - 1, "min_percent": 100, "max_percent": 100, "dedicated_percent": 100}
    for field, largest in ranges.items():
        value = getattr(quota, field)
        if value is None and field == "sd":
            continue
        if not isinstance(value, int) or not 0 <= value <= largest:
            raise E2EncodeError(f"{PATH}: {field} {value!r}, an integer 0 to {largest} expected")
    raise E2EncodeError(f"{PATH}: {quota!r} cannot be written")


# -- reading ----------------------------------------------------------------------------------------------------------


def decode_prb_quotas(data: bytes, dialect: Dialect = Dialect.STANDARD) -> tuple[PrbQuota, ...]:
    """The quotas of a control message; an item with several members is one for each. Raises E2DecodeError."""
    value = schema.decode(rc_schema.CONTROL_MESSAGE[dialect], data, PATH)
    parameters = value["ric-controlMessage-formats"]["controlMessage-Format1"]["ranP-List"]
    return tuple(quota for item in _items(_by_id(parameters), QUOTA_LIST) for quota in _quotas(item))


Parameters = Mapping[int, Mapping[str, Any]]
"""Decoded RAN parameters of one structure: value type by id."""


def _quotas(item: Parameters) -> Iterator[PrbQuota]:
    group = _structure(item, QUOTA) if QUOTA in item else item
    shares = [_percent(group, each) for each in (MIN, MAX, DEDICATED)]
    for outer in _items(_structure(group, POLICY), MEMBER_LIST):
        member = _structure(outer, MEMBER) if MEMBER in outer else outer
        slice_id = _structure(member, S_NSSAI)
        yield PrbQuota(
            _octets(member, PLMN, 3),
            _octets(slice_id, SST, 1)[0],
            int.from_bytes(_octets(slice_id, SD, 3), "big") if SD in slice_id else None,
            *shares,
        )


def _by_id(parameters: Sequence[Mapping[str, Any]]) -> Parameters:
    found = {each["ranParameter-ID"]: each["ranParameter-valueType"] for each in parameters}
    if len(found) < len(parameters):
        raise E2DecodeError(f"a RAN parameter twice among {len(parameters)}", path=PATH)
    return found


def _fail(parameter: int, expected: str) -> NoReturn:
    raise E2DecodeError(f"RAN parameter {parameter} ({PARAMETER_NAMES[parameter]}): {expected} expected", path=PATH)


def _structure(parameters: Parameters, parameter: int) -> Parameters:
    try:
        fields = parameters[parameter]["ranP-Choice-Structure"]["ranParameter-Structure"]
    except KeyError:
        _fail(parameter, "a structure")
    return _by_id(fields.get("sequence-of-ranParameters", ()))


def _items(parameters: Parameters, parameter: int) -> Iterator[Parameters]:
    try:
        items = parameters[parameter]["ranP-Choice-List"]["ranParameter-List"]["list-of-ranParameter"]
    except KeyError:
        _fail(parameter, "a list")
    for each in items:
        yield _by_id(each.get("sequence-of-ranParameters", ()))


def _element(parameters: Parameters, parameter: int, kind: str, expected: str) -> Any:
    try:
        ((choice, element),) = parameters[parameter].items()
        if not choice.startswith("ranP-Choice-Element"):
            _fail(parameter, expected)
        return element["ranParameter-value"][kind]
    except KeyError:
        _fail(parameter, expected)


def _octets(parameters: Parameters, parameter: int, size: int) -> bytes:
    octets = bytes.fromhex(_element(parameters, parameter, "valueOctS", f"{size} octets"))
    if len(octets) != size:
        _fail(parameter, f"{size} octets")
    return octets


def _percent(parameters: Parameters, parameter: int) -> int:
    percent: int = _element(parameters, parameter, "valueInt", f"an integer 0 to {MAX_PERCENT}")
    if not 0 <= percent <= MAX_PERCENT:
        _fail(parameter, f"an integer 0 to {MAX_PERCENT}")
    return percent
