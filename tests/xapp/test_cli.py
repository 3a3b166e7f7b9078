"""The command line as people meet it: overview, help, and one line for a mistake."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from xapp import cli
from xapp.packaging.descriptor import FOLDER


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = cli.main(args)
    out, err = capsys.readouterr()
    return status, out, err


def test_without_a_command_there_is_an_overview(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys)
    assert (status, err) == (2, "")
    for name in cli.COMMANDS:
        assert re.search(rf"^  {name} +\w", out, re.MULTILINE)
    for word in ("--help", "-h", "help"):
        assert run(capsys, word) == (0, out, "")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--version")
    assert status == 0
    assert re.fullmatch(r"stackmac \d+\.\d+\.\d+\n", out)


def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "runn\nforged")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "runn" in err and "run, " in err


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], name: str) -> None:
    status, out, err = run(capsys, name, "--help")
    assert (status, err) == (0, "")
    assert f"Usage: stackmac {name}" in out


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("ric", "--e2-port", "65536"), ("'--e2-port'", "'65536'", "0 to 65535")),
        (("ric", "--rmr-port", "-1"), ("'--rmr-port'", "'-1'", "0 to 65535")),
        (("lab", "--cells", "0"), ("'--cells'", "'0'", "1")),
        (("lab", "--ues", "many"), ("'--ues'", "'many'", "integer")),
        (("gnb", "--period-ms", "0"), ("'--period-ms'", "'0'", "greater than or equal to 1")),
        (("ric", "--e2-port", "1\n2"), ("'--e2-port'", "'1\\n2'")),
        (("lab", "--cells", "9" * 400), ("'--cells'", "...'")),
        (("run",), ("--config",)),
        (("run", "--config", "/no/such/file"), ("/no/such/file",)),
        (("lab", "--no-such-option"), ("--no-such-option",)),
        (("e2", "decode", "nothing", "00"), ("nothing", "e2ap-pdu")),
        (("explain", "--url", "foo"), ("--url is 'foo'", "http://HOST:PORT")),
        (("explain", "--url", ""), ("--url is ''", "http://HOST:PORT")),
        (("doctor", "--url", "foo"), ("--url is 'foo'", "http://HOST:PORT")),
        (("intent", "put", "x", "--delete", "--url", "foo"), ("--url is 'foo'", "http://HOST:PORT")),
        (("intent", "put", "/", "--delete", "--url", "http://a1:1"), ("'/'", "--id")),
        (("replay", "--leader", "nosuch", "/no/such/file"), ("unknown leader 'nosuch'", "proportional_fair")),
        (("bench", "kpm", "--json", "/no/such/file"), ("--json /no/such/file", "No such file")),
        (("tune", "--json", "/no/such/file", "--scenarios", "mix"), ("--json /no/such/file", "No such file")),
        (("gnb", "--k", "1" + "0" * 30), ("'--k'", "0 to 10240")),
        (("train", "--scenario", "mix", "--out", "x", "--seed", "1" + "0" * 30), ("'--seed'", "1099511627776")),
        (("train", "--scenario", "mix", "--out", "x", "--ues", "201"), ("'201'", "1 to 200")),
        (("evaluate", "--scenario", "mix", "--ues", "9" * 5000), ("--ues", "1 to 200")),
        (("intent", "show", "x", "--cell", "00f110000000011"), ("--cell is '00f110000000011'", "RAN name/15 hex")),
        (("ric", "--a1-form", "x"), ("ric: Invalid value for '--a1-form': 'x' is not one of 'go', 'python'",)),
        (("ric", "--write-routes", "/no/routes"), ("ric: /no/routes: No such file or directory",)),
        (("results", "merge", "/no/file"), ("results: /no/file: No such file or directory",)),
        (("guard",), ("guard: Missing command, expected one of show, reset; --help says what each does",)),
        (("intent",), ("expected one of validate, show, put",)),
        (("e2",), ("expected one of decode, encode",)),
        (("results", "draw"), ("No such command 'draw', expected one of merge, figure",)),
        (("train", "--scenario", "mix", "--out", "x", "--no-bf16"), ("train: --no-bf16 without --base-model: it",)),
        (("train", "--scenario", "mix", "--out", "x", "--bf16"), ("train: --bf16 without --base-model: it",)),
    ],
)
def test_a_mistake_is_one_line_with_option_value_and_range(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    status, out, err = run(capsys, *args)
    assert (status, out) == (2, "")
    assert err.startswith(f"stackmac {args[0]}: ")
    assert err.count("\n") == 1
    assert len(err) < 400
    for part in parts:
        assert part in err


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ("lab --world-seed 5", "--worlds"),
        ("gnb --bundle DIR", "--followers learned"),
        ("gnb --bundle DIR --followers rule", "--followers learned"),
        ("guard-lab --settled 5", "--swap-for"),
        ("guard-lab --announced", "--swap-for"),
        ("run --config {config} --record-parts 2", "--record"),
        ("run --config {config} --record-max-mb 2", "--record"),
        ("intent show {policy} --token-file x", "--url"),
        ("explain --record x --token-file x", "--url"),
        ("bench kpm --leaders bundled", "decision, loop or capacity"),
        ("train --scenario mix --out x --lora-rank 4", "--base-model"),
        ("train --scenario mix --out x --bf16", "--base-model"),
        ("train --scenario mix --out x --objective token --sharpness 9", "--objective regression"),
        ("train --scenario mix --out x --follower-lr 0.1", "--roles follower"),
        ("train --scenario mix --out x --roles follower --leader-lr 0.1", "--roles leader"),
        ("train --scenario mix --out x --no-alternate", "--roles leader,follower"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    capsys: pytest.CaptureFixture[str], words: str, needed: str
) -> None:
    files = {"config": FOLDER / "config-file.json", "policy": FOLDER / "examples" / "gold-slice.json"}
    status, out, err = run(capsys, *words.format(**files).split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f" without {needed}: it would have no effect" in err


def test_a_recording_and_an_address_are_not_asked_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "explain", "--record", "x", "--url", "http://127.0.0.1:1")
    assert (status, err) == (
        2, "stackmac explain: --url http://127.0.0.1:1 with --record x: expected one of the two\n"
    )  # fmt: skip


def test_train_says_what_it_does_where_nothing_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "train", "--help")
    told = " ".join(out.split())
    for option, default in (("--epochs", "2"), ("--leader-lr", "0.001"), ("--roles", "leader"), ("--updates", "300")):
        assert re.search(rf"{option} [^-]*\[default: \({default}\)", told), option


@pytest.mark.parametrize("columns", ["20", "80", "200"])
@pytest.mark.parametrize("is_terminal", ["0", "1"])
def test_names_of_scenarios_are_whole_at_any_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str, is_terminal: str
) -> None:
    from training.simulator.scenario import SCENARIOS

    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TTY_COMPATIBLE", is_terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    status, out, _ = run(capsys, "scenarios")
    lines = re.sub(r"\x1b\[\d*m", "", out).splitlines()[1:]
    rows = [line.split() for line in lines if not line.startswith(" ")]
    named = {row[0]: row[1] for row in rows if row[0] != "scenario"}  # a narrow header has more than one line
    assert (status, named) == (0, {name: scenario.hash for name, scenario in SCENARIOS.items()})
    if is_terminal == "0":
        assert len(lines) == len(SCENARIOS)  # a pipe gets a row a line


def test_help_and_a_decoder_start_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from xapp.cli import main; main(['run', '--help']); main(['e2', '--help']);"
        "heavy = {'torch', 'transformers', 'numba'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr


def test_the_console_script_exits_with_the_status_and_without_a_trace_back() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xapp.cli", "lab", "--cells", "0"],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
