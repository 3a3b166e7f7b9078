"""E2SM-CCC: what is written reads the same, published examples are read, what is wrong is one error with its path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutating import mutations

from xapp.cli import main
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.ccc import messages as ccc
from xapp.e2.ccc.json_types import CCC_TYPES

PERCENT = st.integers(0, 100)
PLMNS = st.sampled_from(("00101", "310410", "99970"))
SDS = st.one_of(st.just(""), st.integers(0, 2**24 - 1).map(lambda value: f"{value:06x}"))
SLICES = st.builds(ccc.SliceOfPlmn, PLMNS, st.integers(0, 255), SDS)
RATIOS = st.builds(ccc.Ratios, PERCENT, PERCENT, PERCENT)
POLICIES = st.builds(
    ccc.PolicyRatio, st.lists(SLICES, min_size=1, max_size=4).map(tuple), RATIOS, st.sampled_from(ccc.RESOURCE_TYPES)
)
CELLS = st.tuples(st.sampled_from(("00f110", "130014")), st.integers(0, 2**36 - 1)).map(lambda c: f"{c[0]}{c[1]:09x}")
CHANGES = st.lists(st.builds(ccc.Change, CELLS, POLICIES, POLICIES), min_size=1, max_size=5)


@given(CHANGES)
def test_a_control_reads_as_it_was_written(changes: list[ccc.Change]) -> None:
    """Structures of one cell stand together: their order within it holds."""
    read = ccc.decode_control(ccc.encode_control(changes))
    assert sorted(read) == sorted(changes)
    for cell in {change.cell for change in changes}:
        assert [c for c in read if c.cell == cell] == [c for c in changes if c.cell == cell]


@settings(max_examples=40)
@given(st.lists(st.builds(ccc.StructureOutcome, CELLS, st.booleans(), POLICIES, POLICIES, st.just("")), max_size=3))
def test_an_outcome_reads_as_it_was_written(outcomes: list[ccc.StructureOutcome]) -> None:
    assert sorted(ccc.decode_outcome(ccc.encode_outcome(outcomes, "2026-11-30T00:00:00Z"))) == sorted(outcomes)


def test_what_ocudu_reads_is_what_is_written() -> None:
    """Every field that OCUDU's reader insists on, by its published names."""
    member = ccc.SliceOfPlmn("00101", 1, "00000a")
    change = ccc.Change("00f110000019b01", ccc.PolicyRatio((member,), ccc.Ratios(10, 60)))
    tree = json.loads(ccc.encode_control([change]))
    (cell,) = tree["controlMessageFormat"]["listOfCellsControlled"]
    assert cell["cellGlobalId"] == {"plmnIdentity": {"mcc": "001", "mnc": "01"}, "nRCellIdentity": "000019b01"}
    (structure,) = cell["listOfConfigurationStructures"]
    assert structure["ranConfigurationStructureName"] == "O-RRMPolicyRatio"
    assert structure["newValuesOfAttributes"] == {
        "ranConfigurationStructure": {
            "resourceType": "PRB_UL",
            "rRMPolicyMemberList": [{"plmnId": {"mcc": "001", "mnc": "01"}, "snssai": {"sst": 1, "sd": "00000a"}}],
            "rRMPolicyMaxRatio": 60,
            "rRMPolicyMinRatio": 10,
            "rRMPolicyDedicatedRatio": 0,
        }
    }
    assert json.loads(ccc.encode_control_header()) == {"controlHeaderFormat": {"ricStyleType": 2}}


def test_a_ran_function_names_the_cells_whose_ratios_can_be_controlled() -> None:
    function = ccc.RanFunction("ORAN-E2SM-CCC", ccc.CCC_OIDS[0], "CCC", ("00f110000000011", "130014000000012"))
    data = ccc.encode_ran_function(function)
    assert ccc.decode_ran_function(data) == function
    tree = json.loads(data)
    (attributes, *_) = tree["listOfCellsForRANFunctionDefinition"]
    (structure,) = attributes["listOfSupportedCellLevelRANConfigurationStructures"]
    structure["ranConfigurationStructureName"] = "O-NRCellDU"
    other = ccc.decode_ran_function(json.dumps(tree).encode())
    assert (other.cells, other.other_structures) == (("130014000000012",), ("O-NRCellDU",))


def changed(**values: Any) -> bytes:
    member = ccc.SliceOfPlmn("00101", 1)
    tree = json.loads(ccc.encode_control([ccc.Change("00f110000000011", ccc.PolicyRatio((member,), ccc.Ratios(0, 9)))]))
    structure = tree["controlMessageFormat"]["listOfCellsControlled"][0]["listOfConfigurationStructures"][0]
    for name, value in values.items():
        structure["newValuesOfAttributes"]["ranConfigurationStructure"][name] = value
    return json.dumps(tree).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff", "ccc-control-message is not JSON"),
        (b"[]", "is a JSON list, expected an object"),
        (b"[" * 100_000, "is not JSON"),
        (b"{}", "controlMessageFormat is missing, expected an object"),
        (b" " * 300_000, "300000 octets, expected at most 262144"),
        (changed(rRMPolicyMaxRatio=101), "rRMPolicyMaxRatio is 101, expected 0 to 100"),
        (changed(rRMPolicyMinRatio=True), "rRMPolicyMinRatio is True, expected a whole number"),
        (changed(resourceType="RRC"), "resourceType is 'RRC', expected one of PRB_UL, PRB_DL, PRB"),
        (changed(rRMPolicyMemberList=[]), "rRMPolicyMemberList is empty"),
        (changed(rRMPolicyMemberList=[{}] * 65), "has 65 items, expected at most 64"),
        (changed(rRMPolicyMemberList=[{"snssai": {"sst": 1, "sd": "xyz"}}]), "sd is 'xyz', expected 6 hex digits"),
    ],
)
def test_what_is_wrong_is_one_error_that_says_where(data: bytes, reason: str) -> None:
    with pytest.raises(E2DecodeError) as raised:
        ccc.decode_control(data)
    assert reason in str(raised.value) and "\n" not in str(raised.value)


@given(CHANGES, st.data())
@settings(max_examples=60)
def test_damaged_messages_are_read_or_refused(changes: list[ccc.Change], data: st.DataObject) -> None:
    octets = data.draw(mutations(ccc.encode_control(changes)))
    for decode, _ in CCC_TYPES.values():
        try:
            decode(octets)
        except E2DecodeError as error:
            assert "\n" not in str(error)


def test_the_command_line_reads_and_writes_them(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    octets = changed(rRMPolicyMaxRatio=42)
    assert main(["e2", "decode", "ccc-control-message", octets.hex()]) == 0
    assert "rRMPolicyMaxRatio: 42" in capsys.readouterr().out
    assert main(["e2", "decode", "--json", "ccc-control-message", octets.hex()]) == 0
    file = tmp_path / "control.json"
    file.write_text(capsys.readouterr().out)
    assert main(["e2", "encode", "ccc-control-message", "--json", str(file)]) == 0
    assert ccc.decode_control(bytes.fromhex(capsys.readouterr().out.strip())) == ccc.decode_control(octets)
    file.write_text("{}")
    assert main(["e2", "encode", "ccc-control-message", "--json", str(file)]) == 2
    assert "controlMessageFormat is missing" in capsys.readouterr().err
