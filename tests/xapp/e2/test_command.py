"""`stackmac e2`: what decode prints, edited, encodes; a user's mistake costs one line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.allocation import DYNAMIC, IDLE, OPEN, Allocation, LeftoverRule, PeriodicGrant
from xapp.cli import main
from xapp.e2.command import TYPES
from xapp.e2.dcm import messages as dcm
from xapp.e2.rc import messages as rc

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())["vectors"]
TYPE_OF = {
    "E2AP-PDU": "e2ap-pdu",
    "E2SM-KPM-EventTriggerDefinition": "kpm-event-trigger",
    "E2SM-KPM-ActionDefinition": "kpm-action-definition",
    "E2SM-KPM-IndicationHeader": "kpm-indication-header",
    "E2SM-KPM-IndicationMessage": "kpm-indication-message",
    "E2SM-KPM-RANfunction-Description,": "kpm-ran-function",
    "E2SM-RC-ControlHeader": "rc-control-header",
    "E2SM-RC-ControlMessage": "rc-control-message",
    "E2SM-RC-ControlOutcome": "rc-control-outcome",
    "E2SM-RC-RANFunctionDefinition,": "rc-ran-function",
}
"""By the first word of a vector's name."""
E2AP = {v["name"].split()[1]: v["hex"] for v in VECTORS if v["name"].startswith("E2AP-PDU")}
CARRIER = dcm.Carrier.of("00f110000000001", bwp_size_prb=32, rbg_size_prb=4)
EPOCH = 1_700_000_000_123


def control() -> str:
    owner_M = np.array([0, 1, OPEN, DYNAMIC, IDLE, 2, DYNAMIC, 0], np.int16)
    caps_U = np.array([255, 4, 255], np.uint8)
    grants = (PeriodicGrant(1, 1, 20, 3),)
    allocation = Allocation((3, 9, 11), owner_M, LeftoverRule(5, 0.6), grants, np.array([True, False, True]), caps_U)
    return dcm.encode_control(
        allocation,
        instance_epoch=EPOCH,
        decision_id=99,
        based_on_indication_sn=7,
        carrier=CARRIER,
        valid_for_slots=200,
    ).hex()


def indication() -> str:
    applied = dcm.AppliedControl(EPOCH, 99, b"\x80\x40", b"\x00", b"\x3f")
    columns = {"cqi": np.array([7.0, np.nan]), "ul_sinr_db": np.array([-3.3, 12.1])}
    columns["heard_cqi"] = np.array([[9.0, np.nan], [np.nan, 15.0]])
    columns["heard_age_slots"] = np.array([[1.0, np.nan], [np.nan, 12.0]])
    columns["last_outcome"] = np.array([4.0, np.nan])
    return dcm.encode_indication(dcm.Indication((3, 9), 100, 1200, 4, applied, **columns)).hex()


def samples(dialect: str) -> dict[str, str]:
    """Vectors: type and what it is, hexadecimal digits."""
    return {
        f"{TYPE_OF[v['name'].split()[0]]} {v['name'].partition(' ')[2]}": v["hex"]
        for v in VECTORS
        if v["dialect"] == dialect
    }


FLEXRIC = samples("flexric")
SAMPLES = {
    **samples("standard"),
    "dcm-control": control(),
    "dcm-control release": dcm.encode_release(instance_epoch=EPOCH, decision_id=100, carrier=CARRIER).hex(),
    "dcm-indication": indication(),
    "dcm-indication without UEs": dcm.encode_indication(dcm.Indication((), 100, 70, 4)).hex(),
}


class Result(NamedTuple):
    """What a command came to."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def run(*arguments: str, stdin: str = "") -> Result:
    with ExitStack() as replaced:
        out, err = (replaced.enter_context(to(io.StringIO())) for to in (redirect_stdout, redirect_stderr))
        replaced.enter_context(patch("sys.stdin", io.StringIO(stdin)))
        status = main(["e2", *arguments])
    return Result(status, out.getvalue(), err.getvalue())


def decode_json(kind: str, digits: str) -> str:
    result = run("decode", kind, digits, "--json")
    assert result.exit_code == 0, result.stderr
    return result.stdout


def one_line(result: Result, status: int) -> str:
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (status, "", 1), result.output
    return result.stderr


# -- what decode prints, encodes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES)
def test_what_decode_prints_encodes_to_the_same_octets(sample: str):
    kind = sample.split()[0]
    printed = decode_json(kind, SAMPLES[sample])
    assert run("encode", kind, "--json", "-", stdin=printed).stdout == SAMPLES[sample] + "\n"


def test_the_readable_form_names_what_numbers_mean():
    result = run("decode", "e2ap-pdu", E2AP["RICcontrolFailure"])
    assert result.exit_code == 0
    for shown in ("procedureCode: 4 RICcontrol", "- id: 29 RICrequestID", "ricRequest: control-message-invalid"):
        assert shown in result.stdout
    assert "owners: 3, 9, OPEN, DYNAMIC, IDLE, 11, DYNAMIC, 3" in run("decode", "dcm-control", control()).stdout


def test_the_json_of_a_control_is_for_people():
    tree = json.loads(decode_json("dcm-control", control()))
    assert tree["owners"] == [3, 9, "OPEN", "DYNAMIC", "IDLE", 11, "DYNAMIC", 3]
    assert tree["leftover"] == {"class_mask": 5, "contenders": 0.6}
    assert tree["ues"][1] == {"id": 9, "open_allowed": False, "max_rbgs": 4}
    assert tree["ues"][0]["max_rbgs"] is None
    assert tree["periodic_grants"] == [{"ue": 9, "rbg": 1, "period_slots": 20, "phase_slots": 3}]


def test_an_edited_control_says_what_was_edited():
    tree = json.loads(decode_json("dcm-control", control()))
    tree["decision_id"] = 100
    tree["owners"][0] = "OPEN"
    edited = dcm.decode_control(
        bytes.fromhex(run("encode", "dcm-control", "--json", "-", stdin=json.dumps(tree)).stdout)
    )
    assert (edited.decision_id, edited.allocation.owner_M[0]) == (100, OPEN)


def test_an_edited_indication_says_what_was_edited():
    tree = json.loads(decode_json("dcm-indication", indication()))
    assert tree["columns"] == {"cqi": [7, None], "ul_sinr_db": [-3.3, 12.1]}
    tree["columns"]["cqi"][1] = 3
    tree["applied"] = None
    digits = run("encode", "dcm-indication", "--json", "-", stdin=json.dumps(tree)).stdout
    edited = dcm.decode_indication(bytes.fromhex(digits))
    assert (edited.cqi.tolist(), edited.applied) == ([7.0, 3.0], None)


def test_an_edited_pdu_says_what_was_edited(tmp_path: Path):
    edited = decode_json("e2ap-pdu", E2AP["RICcontrolFailure"]).replace("control-message-invalid", "system-not-ready")
    file = tmp_path / "failure.json"
    file.write_text(edited)
    digits = run("encode", "e2ap-pdu", "--json", str(file)).stdout.strip()
    assert "ricRequest: system-not-ready" in run("decode", "e2ap-pdu", digits).stdout


def test_a_bit_string_longer_than_it_says_is_one_line():
    pdu = json.loads(decode_json("e2ap-pdu", E2AP["E2setupRequest"]))
    (node,) = (e for e in pdu["initiatingMessage"]["value"]["protocolIEs"] if e["id"] == 3)
    bits = node["value"]["gNB"]["global-gNB-ID"]["gnb-id"]["gnb-ID"]
    bits |= {"length": 22, "value": "fffffc"}
    run("encode", "e2ap-pdu", "--json", "-", stdin=json.dumps(pdu))
    bits["value"] = "fffffe"
    told = one_line(run("encode", "e2ap-pdu", "--json", "-", stdin=json.dumps(pdu)), 2)
    assert "value 'fffffe' is longer than its 22 bits" in told


@pytest.mark.parametrize("digits", ["08:03:e7", "0803 E7", " 08 03\te7\n", "0x0803e7", "0x08 0x03 0xe7"])
def test_digits_may_be_written_in_many_ways(digits: str):
    expected = run("decode", "kpm-event-trigger", "0803e7").stdout
    assert run("decode", "kpm-event-trigger", digits).stdout == expected
    assert run("decode", "kpm-event-trigger", *digits.split()).stdout == expected
    assert run("decode", "kpm-event-trigger", "-", stdin=digits).stdout == expected


def test_the_documentations_examples_print_what_it_says():
    page = (Path(__file__).parents[3] / "docs" / "e2.md").read_text(encoding="utf-8")
    examples = [
        example for block in page.split("```")[1::2] for example in block.strip().removeprefix("$ ").split("\n$ ")
    ]
    assert len(examples) == 3
    for example in examples:
        command, _, printed = example.partition("\n")
        name, subcommand, *arguments = command.split()
        assert (name, subcommand) == ("stackmac", "e2")
        assert run(*arguments).stdout.strip() == printed.strip(), command


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_truncated_message_is_one_line(sample: str):
    digits = SAMPLES[sample]
    assert one_line(run("decode", sample.split()[0], digits[:-2]), 1).startswith("stackmac e2: ")


@pytest.mark.parametrize("sample", FLEXRIC)
def test_the_other_dialect_is_an_option_of_both(sample: str):
    kind = sample.split()[0]
    decoded = run("decode", kind, FLEXRIC[sample], "--json", "--dialect", "flexric")
    assert decoded.exit_code == 0, decoded.stderr
    encoded = run("encode", kind, "--json", "-", "--dialect", "flexric", stdin=decoded.stdout)
    assert encoded.stdout == FLEXRIC[sample] + "\n"
    assert run("encode", kind, "--json", "-", stdin=decoded.stdout).stdout != encoded.stdout


def test_an_unknown_dialect_is_refused():
    result = run("decode", "kpm-event-trigger", "0803e7", "--dialect", "klingon")
    assert result.exit_code == 2 and "'standard', 'flexric'" in result.output


def test_a_format_that_is_not_read_is_one_line_that_names_it():
    assert "control message format 2 is not supported" in one_line(run("decode", "rc-control-message", "40000100"), 1)


def test_an_edited_rc_control_says_what_was_edited():
    name = next(name for name in SAMPLES if name.startswith("rc-control-message"))
    edited = decode_json("rc-control-message", SAMPLES[name]).replace('"valueInt": 40', '"valueInt": 35')
    digits = run("encode", "rc-control-message", "--json", "-", stdin=edited).stdout.strip()
    assert [quota.max_percent for quota in rc.decode_prb_quotas(bytes.fromhex(digits))] == [35]
    assert "valueInt: 35" in run("decode", "rc-control-message", digits).stdout


@pytest.mark.parametrize("digits", ["0", "xyz", "08:03:e", "0803e7é", "", "0x", "/no/such/file"])
def test_what_is_no_hexadecimal_is_one_line(digits: str):
    assert "hexadecimal digits" in one_line(run("decode", "kpm-event-trigger", digits), 2)


def test_an_empty_file_is_no_message(tmp_path: Path):
    line = one_line(run("decode", "kpm-event-trigger", "-", stdin=""), 2)
    assert "HEX is '', expected an even number of hexadecimal digits, or - for standard input" in line


@pytest.mark.parametrize("command", [("decode", "kpm-nonsense", "00"), ("encode", "kpm-nonsense", "--json", "-")])
def test_an_unknown_type_is_one_line_that_names_the_known(command: tuple[str, ...]):
    line = one_line(run(*command), 2)
    assert all(kind in line for kind in TYPES)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path):
    assert "No such file" in one_line(run("encode", "dcm-control", "--json", str(tmp_path / "none")), 2)
    assert "cannot read" in one_line(run("encode", "dcm-control", "--json", str(tmp_path)), 2)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfd")
    assert "not text" in one_line(run("encode", "dcm-control", "--json", str(tmp_path / "binary")), 2)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "[" * 100_000, "7"])
def test_what_is_no_json_object_is_one_line(text: str):
    assert "JSON" in one_line(run("encode", "dcm-control", "--json", "-", stdin=text), 2)


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("owners", ["OPEN"] * 7 + ["NOBODY"], "'NOBODY', expected a UE id or one of OPEN, DYNAMIC, IDLE"),
        ("owners", ["OPEN"] * 7 + [4], "UE 4 is not in ues"),
        ("owners", ["OPEN"] * 7, "7 RBGs, expected the carrier's 8"),
        ("owners", ["OPEN"] * 7 + [True], "owners: True"),
        ("owners", [], "0 RBGs"),
        ("decision_id", "99", "decision_id: '99', expected int"),
        ("decision_id", -1, "-1"),
        ("decision_id", 1 << 64, "18446744073709551616"),
        ("release", 0, "release: 0, expected bool"),
        ("ues", [{"id": 3, "open_allowed": True, "max_rbgs": 256}], "max_rbgs: 256"),
        ("ues", [{"id": 3, "open_allowed": True}], "max_rbgs is missing"),
        ("leftover", {"class_mask": 7, "contenders": float("nan")}, "contenders is nan"),
        ("periodic_grants", [{"ue": 3, "rbg": 8, "period_slots": 5, "phase_slots": 0}], "expected an RBG 0 to 7"),
        ("periodic_grants", [{"ue": 3, "rbg": 0, "period_slots": 70000, "phase_slots": 0}], "expected a period"),
    ],
)
def test_a_wrong_key_is_one_line_that_names_it(key: str, value: object, names: str):
    tree = json.loads(decode_json("dcm-control", control()))
    tree["periodic_grants"], tree["owners"] = [], ["OPEN"] * 8
    tree[key] = value
    assert names in one_line(run("encode", "dcm-control", "--json", "-", stdin=json.dumps(tree)), 2)


@pytest.mark.parametrize("sample", ["dcm-control", "dcm-indication"])
def test_a_missing_key_is_one_line_that_names_it(sample: str):
    intact = json.loads(decode_json(sample, SAMPLES[sample]))
    for key in intact:
        tree = {k: v for k, v in intact.items() if k != key}
        assert f"{key} is missing" in one_line(run("encode", sample, "--json", "-", stdin=json.dumps(tree)), 2)


@pytest.mark.parametrize("sample", ["e2ap-pdu RICcontrolRequest (108 B)", "dcm-control", "dcm-indication"])
@given(data=st.data())
def test_any_value_anywhere_is_octets_or_one_line(sample: str, data):
    kind = sample.split()[0]
    tree = TYPES[kind].decode(bytes.fromhex(SAMPLES[sample]))
    anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    branch: object = tree
    while True:
        keys = list(branch) if isinstance(branch, dict) else list(range(len(branch)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(branch[key], dict | list) and branch[key] and data.draw(st.booleans()):
            branch = branch[key]
            continue
        branch[key] = data.draw(
            anything | st.lists(anything, max_size=2) | st.dictionaries(st.text(), anything, max_size=1)
        )
        break
    result = run("encode", kind, "--json", "-", stdin=json.dumps(tree))
    if result.exit_code == 0:
        bytes.fromhex(result.stdout)
    else:
        one_line(result, 2)


# -- as a process -----------------------------------------------------------------------------------------------------


def stackmac(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xapp.cli", "e2", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=150, check=False)


def test_the_command_itself_decodes_encodes_and_refuses():
    decoded = stackmac("decode", "e2ap-pdu", E2AP["RICindication"], "--json")
    assert (decoded.returncode, decoded.stderr) == (0, "")
    encoded = stackmac("encode", "e2ap-pdu", "--json", "-", stdin=decoded.stdout)
    assert (encoded.returncode, encoded.stdout.strip()) == (0, E2AP["RICindication"])
    truncated = stackmac("decode", "e2ap-pdu", E2AP["RICindication"][:-2])
    assert (truncated.returncode, truncated.stdout, truncated.stderr.count("\n")) == (1, "", 1)
    unknown = stackmac("decode", "e2ap", "00")
    assert (unknown.returncode, unknown.stdout, unknown.stderr.count("\n")) == (2, "", 1)
