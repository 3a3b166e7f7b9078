"""The messages of control style 2 about O-RRMPolicyRatio, the share of a cell that a slice is held to, and what a node
says of itself. Slices are S-NSSAIs of a PLMN; ratios are whole percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.ccc.values import Node, Tree, read_object, write_object

CCC_OIDS = ("1.3.6.1.4.1.53148.1.6.2.4",)
CCC_NAME = "ORAN-E2SM-CCC"
STYLE = 2
"""Cell configuration and control."""
RATIO = "O-RRMPolicyRatio"
RESOURCE_TYPES = ("PRB_UL", "PRB_DL", "PRB")


class SliceOfPlmn(NamedTuple):
    """Whose share it is."""

    plmn: str
    """MCC and MNC, 5 or 6 digits."""
    sst: int
    sd: str = ""
    """6 hex digits; "" = none."""


class Ratios(NamedTuple):
    """Shares of a cell, percent."""

    min_percent: int
    """The slice comes first until it has this much ..."""
    max_percent: int
    """... and never gets more than this."""
    dedicated_percent: int = 0
    """Nobody else may use this, needed or not. A node does not change it while it runs."""


class PolicyRatio(NamedTuple):
    """One O-RRMPolicyRatio."""

    members: tuple[SliceOfPlmn, ...]
    ratios: Ratios
    resource_type: str = "PRB_UL"


class Change(NamedTuple):
    """One structure of a control: what a cell's slices are to be held to."""

    cell: str
    """NR-CGI, 15 hex digits."""
    new: PolicyRatio
    old: PolicyRatio | None = None
    """What the sender takes for in force; None = it does not say."""


class StructureOutcome(NamedTuple):
    """What became of one structure."""

    cell: str
    accepted: bool
    old: PolicyRatio | None
    """In force before."""
    current: PolicyRatio | None
    """In force now, where the node says."""
    cause: str = ""


class RanFunction(NamedTuple):
    """What a node says of its CCC function, as far as it matters here."""

    short_name: str
    oid: str
    description: str
    cells: tuple[str, ...]
    """NR-CGIs of the cells whose O-RRMPolicyRatio can be controlled by style 2."""
    other_structures: tuple[str, ...] = ()
    """Names of all the other structures that it lists."""


# -- headers and controls ---------------------------------------------------------------------------------------------


def encode_control_header(style: int = STYLE) -> bytes:
    return write_object({"controlHeaderFormat": {"ricStyleType": style}})


def decode_control_header(data: bytes) -> int:
    """The style. Raises E2DecodeError."""
    return read_control_header(read_object(data, "ccc-control-header"))


def read_control_header(tree: Tree) -> int:
    return Node(tree, "ccc-control-header").node("controlHeaderFormat").get("ricStyleType", int)


def encode_control(changes: Sequence[Change]) -> bytes:
    """Changes of one cell, or of several, each in a structure of its own."""
    cells: dict[str, list[Tree]] = {}
    for change in changes:
        values = {"newValuesOfAttributes": _values(change.new)}
        # The structure of what was before is mandatory by the service model; who does not know it repeats the new one.
        old = {"oldValuesOfAttributes": _values(change.old or change.new)}
        cells.setdefault(change.cell, []).append({"ranConfigurationStructureName": RATIO, **old, **values})
    controlled = [
        {"cellGlobalId": cell_to_value(cell), "listOfConfigurationStructures": structures}
        for cell, structures in cells.items()
    ]
    return write_object({"controlMessageFormat": {"listOfCellsControlled": controlled}})


def decode_control(data: bytes) -> tuple[Change, ...]:
    """Raises E2DecodeError, also for structures other than O-RRMPolicyRatio."""
    return read_control(read_object(data, "ccc-control-message"))


def read_control(tree: Tree) -> tuple[Change, ...]:
    changes = []
    for cell in Node(tree, "ccc-control-message").node("controlMessageFormat").nodes("listOfCellsControlled"):
        for structure in cell.nodes("listOfConfigurationStructures"):
            _expect_ratio(structure)
            changes.append(
                Change(
                    _cell(cell),
                    _policy(structure.node("newValuesOfAttributes")),
                    _policy(structure.node("oldValuesOfAttributes")) if "oldValuesOfAttributes" in structure else None,
                )
            )
    if not changes:
        raise E2DecodeError("ccc-control-message names no structure, expected one at least")
    return tuple(changes)


# -- outcomes ---------------------------------------------------------------------------------------------------------


def encode_outcome(outcomes: Sequence[StructureOutcome], received_s: str) -> bytes:
    """received_s: when the control came, as the node writes times."""
    cells: dict[str, Tree] = {}
    for outcome in outcomes:
        cell = cells.setdefault(
            outcome.cell,
            {
                "cellGlobalId": cell_to_value(outcome.cell),
                "ranConfigurationStructuresAcceptedList": [],
                "ranConfigurationStructuresFailedList": [],
            },
        )
        structure: Tree = {"ranConfigurationStructureName": RATIO}
        if outcome.old is not None:
            structure["oldValuesOfAttributes"] = _values(outcome.old)
        if outcome.current is not None:
            structure["currentValuesOfAttributes"] = _values(outcome.current)
        if outcome.accepted:
            cell["ranConfigurationStructuresAcceptedList"].append(structure | {"appliedTimestamp": received_s})
        else:
            cell["ranConfigurationStructuresFailedList"].append(structure | {"cause": outcome.cause})
    body = {"receivedTimestamp": received_s, "listOfCellsForControlOutcome": list(cells.values())}
    return write_object({"controlOutcomeFormat": body})


def decode_outcome(data: bytes) -> tuple[StructureOutcome, ...]:
    """Raises E2DecodeError. Structures of other names are passed over."""
    return read_outcome(read_object(data, "ccc-control-outcome"))


def read_outcome(tree: Tree) -> tuple[StructureOutcome, ...]:
    found = []
    body = Node(tree, "ccc-control-outcome").node("controlOutcomeFormat")
    for cell in body.nodes("listOfCellsForControlOutcome"):
        for name, accepted in (("Accepted", True), ("Failed", False)):
            for structure in cell.nodes(f"ranConfigurationStructures{name}List", may_lack=True):
                if structure.tree.get("ranConfigurationStructureName") != RATIO:
                    continue
                old, current = (
                    _policy(structure.node(key)) if key in structure else None
                    for key in ("oldValuesOfAttributes", "currentValuesOfAttributes")
                )
                cause = str(structure.tree.get("cause", ""))[:80]
                found.append(StructureOutcome(_cell(cell), accepted, old, current, cause))
    return tuple(found)


# -- what a node says of itself ---------------------------------------------------------------------------------------


def encode_ran_function(function: RanFunction) -> bytes:
    style = {
        "controlServiceStyleType": STYLE,
        "controlServiceStyleName": "Cell configuration and control",
        "controlServiceHeaderFormatType": 1,
        "controlServiceMessageFormatType": 2,
        "controlServiceControlOutcomeFormatType": 2,
    }
    services = {"controlService": {"listOfSupportedControlStyles": [style]}}
    attributes = ("resourceType", "rRMPolicyMemberList", "rRMPolicyMaxRatio", "rRMPolicyMinRatio")
    ratio = {
        "ranConfigurationStructureName": RATIO,
        "listOfSupportedAttributes": [
            {"attributeName": name, "supportedServices": services} for name in (*attributes, "rRMPolicyDedicatedRatio")
        ],
    }
    return write_object(
        {
            "ranFunctionName": {
                "ranFunctionShortName": function.short_name,
                "ranFunctionServiceModelOID": function.oid,
                "ranFunctionDescription": function.description,
            },
            "listOfCellsForRANFunctionDefinition": [
                {"cellGlobalID": cell_to_value(cell), "listOfSupportedCellLevelRANConfigurationStructures": [ratio]}
                for cell in function.cells
            ],
        }
    )


def decode_ran_function(data: bytes) -> RanFunction:
    """Raises E2DecodeError."""
    return read_ran_function(read_object(data, "ccc-ran-function"))


def read_ran_function(tree: Tree) -> RanFunction:
    function = Node(tree, "ccc-ran-function")
    name = function.node("ranFunctionName")
    cells, others = [], dict[str, None]()
    for node_level in function.nodes("listOfSupportedNodeLevelConfigurationStructures", may_lack=True):
        others[node_level.get("ranConfigurationStructureName", str)] = None
    for cell in function.nodes("listOfCellsForRANFunctionDefinition", may_lack=True):
        for structure in cell.nodes("listOfSupportedCellLevelRANConfigurationStructures"):
            if structure.get("ranConfigurationStructureName", str) != RATIO:
                others[structure.tree["ranConfigurationStructureName"]] = None
            elif any(STYLE in _control_styles(each) for each in structure.nodes("listOfSupportedAttributes")):
                cells.append(_cell(cell))
    return RanFunction(
        name.get("ranFunctionShortName", str),
        name.get("ranFunctionServiceModelOID", str),
        str(name.tree.get("ranFunctionDescription", "")),
        tuple(dict.fromkeys(cells)),
        tuple(others),
    )


def _control_styles(attribute: Node) -> set[int]:
    services = attribute.node("supportedServices")
    if "controlService" not in services:
        return set()
    styles = services.node("controlService").nodes("listOfSupportedControlStyles")
    return {style.get("controlServiceStyleType", int) for style in styles}


# -- parts ------------------------------------------------------------------------------------------------------------


def _expect_ratio(structure: Node) -> None:
    name = structure.get("ranConfigurationStructureName", str)
    if name != RATIO:
        raise E2DecodeError(f"{structure.path}: the structure {name[:40]!r} is not supported, expected {RATIO}")


def _values(policy: PolicyRatio) -> Tree:
    members = []
    for member in policy.members:
        snssai: Tree = {"sst": member.sst} | ({"sd": member.sd} if member.sd else {})
        members.append({"plmnId": _plmn_to_value(member.plmn), "snssai": snssai})
    return {
        "ranConfigurationStructure": {
            "resourceType": policy.resource_type,
            "rRMPolicyMemberList": members,
            "rRMPolicyMaxRatio": policy.ratios.max_percent,
            "rRMPolicyMinRatio": policy.ratios.min_percent,
            "rRMPolicyDedicatedRatio": policy.ratios.dedicated_percent,
        }
    }


def _policy(values: Node) -> PolicyRatio:
    structure = values.node("ranConfigurationStructure")
    resource_type = structure.get("resourceType", str)
    if resource_type not in RESOURCE_TYPES:
        expected = ", ".join(RESOURCE_TYPES)
        raise E2DecodeError(f"{structure.path}.resourceType is {resource_type[:40]!r}, expected one of {expected}")
    members = structure.nodes("rRMPolicyMemberList")
    if not members:
        raise E2DecodeError(f"{structure.path}.rRMPolicyMemberList is empty, expected one member at least")
    ratios = Ratios(*(structure.number(f"rRMPolicy{name}Ratio", 100) for name in ("Min", "Max", "Dedicated")))
    return PolicyRatio(tuple(_member(member) for member in members), ratios, resource_type)


def _member(member: Node) -> SliceOfPlmn:
    snssai = member.node("snssai")
    sd = snssai.get("sd", str).lower() if "sd" in snssai else ""
    if sd and (len(sd) != 6 or not _is_hex(sd)):
        raise E2DecodeError(f"{snssai.path}.sd is {sd[:40]!r}, expected 6 hex digits")
    return SliceOfPlmn(_plmn(member.node("plmnId")), snssai.number("sst", 255), sd)


def _plmn(node: Node) -> str:
    mcc, mnc = node.get("mcc", str), node.get("mnc", str)
    if not (len(mcc) == 3 and len(mnc) in (2, 3) and (mcc + mnc).isascii() and (mcc + mnc).isdigit()):
        raise E2DecodeError(f"{node.path} is {mcc[:10]!r}, {mnc[:10]!r}, expected 3 and 2 or 3 digits")
    return mcc + mnc


def _plmn_to_value(plmn: str) -> Tree:
    return {"mcc": plmn[:3], "mnc": plmn[3:]}


def _cell(node: Node) -> str:
    # The published schema has both spellings.
    place = node.node("cellGlobalId", "cellGlobalID")
    identity = place.get("nRCellIdentity", str).lower()
    if len(identity) != 9 or not _is_hex(identity):
        raise E2DecodeError(f"{place.path}.nRCellIdentity is {identity[:40]!r}, expected 9 hex digits")
    digits = f"{_plmn(place.node('plmnIdentity'))}f"
    return "".join(digits[place] for place in (1, 0, 5, 2, 4, 3)) + identity


def cell_to_value(cell: str) -> Tree:
    """An NR-CGI, 15 hex digits, as JSON."""
    mcc, mnc = cell[1] + cell[0] + cell[3], cell[5] + cell[4] + cell[2].strip("f")
    return {"plmnIdentity": {"mcc": mcc, "mnc": mnc}, "nRCellIdentity": cell[6:]}


def _is_hex(text: str) -> bool:
    return text.isascii() and all(character in "0123456789abcdef" for character in text)
