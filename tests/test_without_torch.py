"""Running stackmac needs neither torch nor transformers, in any of its processes; what needs them says so in one line.

Both are refused to every process that is started here, as if they were not installed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from xapp.cli import COMMANDS
from xapp.lab.demo import AGAINST

ROOT = Path(__file__).parents[1]
REFUSED = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refused())
"""
VECTORS = ROOT / "tests" / "xapp" / "e2" / "vectors.json"

pytestmark = pytest.mark.timeout(900)  # whoever is first compiles simulator and decision


@pytest.fixture(scope="module", autouse=True)
def _without_torch(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Children find a sitecustomize that refuses it, and the code of the shipped bundles compiled."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "sitecustomize.py").write_text(REFUSED, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT), str(ROOT / "examples")]))
        done = subprocess.run([sys.executable, "-m", "policy.engine"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        yield


ASKED = """
import contextlib, io, json, sys
from xapp.cli import main
answers = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(io.StringIO()) as errors:
        status = main(words)
    answers.append((status, output.getvalue(), errors.getvalue()))
print(json.dumps(answers))
"""


COARSELY = """
import matplotlib.backends.backend_agg
import matplotlib.figure
from training.experiments import figure
made = matplotlib.figure.Figure
matplotlib.figure.Figure = lambda layout, **arguments: made(**arguments)
figure.SAVED[".png"]["dpi"] = 30
"""
"""Figures without their layout, which takes most of the time."""


class Answer(NamedTuple):
    """What a command ended with."""

    status: int
    output: str
    errors: str


def answers_to(*commands: Sequence[str], before: str = "") -> list[Answer]:
    """Of commands that one process is given, one after the other. before: what it does first."""
    asked = [sys.executable, "-c", before + ASKED, json.dumps(commands)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return [Answer(*answer) for answer in json.loads(done.stdout)]


def outputs_of(*commands: Sequence[str], before: str = "") -> list[str]:
    """The same, of commands that succeed."""
    answers = answers_to(*commands, before=before)
    for command, answer in zip(commands, answers, strict=True):
        assert answer.status == 0, (command, answer.errors)
    return [answer.output for answer in answers]


def test_torch_is_refused_here() -> None:
    for name in ("torch", "transformers"):
        done = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, text=True)
        assert f"No module named '{name}'" in done.stderr


def test_a_lab_says_where_it_is_and_is_led_by_the_model_that_explains_itself_and_its_recording_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the lab keeps its xApp's configuration
    recording, result = tmp_path / "run.rec", tmp_path / "lab.json"
    words = ["--seconds", "300", "--ues", "4", "--period-ms", "200", "--k", "1", "--record", str(recording)]
    command = [sys.executable, "-m", "xapp.cli", "lab", *words, "--json", str(result)]
    lab = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert lab.stdout is not None
        # A script is told the addresses at the beginning.
        (xapp, url, *_), (a1, a1_url, *_) = (lab.stdout.readline().split() for _ in range(2))
        assert (xapp, a1) == ("xApp", "A1")
        with urllib.request.urlopen(f"{a1_url}/A1-P/v2/policytypes", timeout=30.0) as answer:
            json.load(answer)

        def decided() -> bool:
            with urllib.request.urlopen(f"{url}/ric/v1/status", timeout=30.0) as answer:
                return bool(json.load(answer).get("decided_by", {}).get("model", 0) > 2)

        give_up_at = time.monotonic() + 60.0
        while not decided():
            assert time.monotonic() < give_up_at, "no decision of the model's"
            time.sleep(0.2)
        (config,) = tmp_path.glob("stackmac-lab-*/config-file.json")
        explained, examined = answers_to(
            ["explain", "--url", url, "--json"],
            ["doctor", "--config", str(config), "--url", url, "--seconds", "1", "--json"],
        )
        lab.send_signal(signal.SIGINT)
        output, errors = lab.communicate(timeout=60.0)
    finally:
        lab.kill()
        lab.communicate()
    assert lab.returncode == 130, errors
    assert "Traceback" not in errors
    assert output.startswith("indications") and "http://" not in output and "decisions" in output
    assert not list(tmp_path.glob("stackmac-lab-*"))
    assert json.loads(explained.output)["odds"]["log_probs_equal"], explained.errors
    assert len(json.loads(examined.output)["findings"]) > 5, examined.errors
    summary = json.loads(result.read_text())
    assert summary["interrupted"] and summary["xapp_exit_status"] == 0
    assert summary["decided_by"].keys() == {"model"}
    replayed, document = outputs_of(["replay", str(recording)], ["explain", "--record", str(recording), "--json"])
    assert replayed.startswith("the same: ")
    odds = json.loads(document)["odds"]
    assert odds["computed"] and odds["log_probs_equal"] and len(odds["steps"]) > 6


DEMO = """
import sys
from xapp.lab import comparison
comparison.MARGIN_SLOTS = 25  # of thousands, which take seconds to compute
from xapp.cli import main
sys.exit(main(["demo", "--seconds", "1", "--json", sys.argv[1]]))
"""


def test_the_demo_plays_both_acts(tmp_path: Path) -> None:
    result = tmp_path / "demo.json"
    done = subprocess.run([sys.executable, "-c", DEMO, str(result)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    acts = json.loads(result.read_text())
    # "late" and "busy" are the machine's: it may be busy.
    assert [set(act["decided_by"]) - {"fallback:late", "fallback:busy"} for act in acts] == [{"model"}] * 2
    for act in acts:
        assert act["compare"].keys() == {"bundled", *AGAINST} and len(act["margins"]) == len(AGAINST)


def test_policies_are_checked_and_compiled_and_messages_are_decoded() -> None:
    example = str(ROOT / "descriptors" / "examples" / "gold-slice.json")
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]
    pdu = next(vector["hex"] for vector in vectors if vector["name"].startswith("E2AP-PDU"))
    valid, shown, decoded = outputs_of(
        ["intent", "validate", example], ["intent", "show", example], ["e2", "decode", "e2ap-pdu", pdu, "--json"]
    )
    assert "gold" in valid + shown
    assert json.loads(decoded)


def test_figures_are_made_again_by_an_older_processor_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of experiments that train, and from the values that are kept: to the byte."""
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "X86_V4")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    kept = sorted((ROOT / "docs" / "results").glob("*.json"))
    assert kept
    commands = [["results", "figure", str(file), "--out", str(tmp_path / file.stem)] for file in kept]
    outputs_of(*commands, before=COARSELY)
    for file in kept:
        assert (tmp_path / file.stem / file.name).read_bytes() == file.read_bytes(), file.name
        made = tmp_path / file.stem / file.stem
        assert made.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert made.with_suffix(".svg").exists()


def test_a_leader_of_ones_own_is_measured_beside_rules_and_results_are_merged(tmp_path: Path) -> None:
    whole, *shards = (str(tmp_path / name) for name in ("whole.json", "1.json", "2.json"))
    words = "evaluate --scenario mix --bundle my_leader:LongestQueue --against node_idle,proportional_fair_smart"
    small = f"{words} --cells 2 --ues 3 --slots 10 --jobs 2 --seeds 1 --first-seed".split()
    outputs_of(
        *([*small, str(700_001 + number), "--json", file] for number, file in enumerate(shards)),
        ["results", "merge", *shards, "--json", whole],
    )
    rows = json.loads(Path(whole).read_text())["rows"]
    assert {row["player"] for row in rows} == {"my_leader:LongestQueue", "node_idle", "proportional_fair_smart"}


def test_the_kpi_guards_lab_plays_the_shipped_leader(tmp_path: Path) -> None:
    result = tmp_path / "found.json"
    words = "guard-lab --worlds 2 --ues 3 --seconds 2 --swap-for harmful_idle --settled 1 --cost --jobs 2"
    outputs_of([*words.split(), "--json", str(result)])
    assert len(json.loads(result.read_text())["values"]["guarded"]) == 2


NEEDS_TORCH = (
    "warm-start --scenario mix --out {out}",
    "train --scenario mix --out {out}",
    "train-followers --scenario mix --from bundled --out {out}",
    "evaluate --scenario mix --cells 1 --seeds 1",
    "exploit --scenario mix",
    "bench training",
    "lab --followers learned --seconds 1",
    "gnb --followers learned",
)


def test_every_command_has_help() -> None:
    commands = [[*name.split(), "--help"] for name in (*COMMANDS, "bench training")]
    for command, answer in zip(commands, answers_to(*commands), strict=True):
        assert (answer.status, answer.errors) == (0, ""), command


def test_what_needs_torch_says_so_in_one_line(tmp_path: Path) -> None:
    commands = [command.format(out=tmp_path / "out").split() for command in NEEDS_TORCH]
    for command, (status, _, errors) in zip(commands, answers_to(*commands), strict=True):
        assert (status, errors.count("\n")) == (2, 1), (command, errors)
        assert "torch is not installed; to add it: pip install torch transformers" in errors, command
