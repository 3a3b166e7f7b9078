"""Running stackmac needs neither torch nor transformers, in any of its processes; what needs them says so in one line.

Both are refused to every process that is started here, as if they were not installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from xapp.cli import COMMANDS
from xapp.lab.lab import Lab
from xapp.lab.options import LabOptions

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
PERIOD_MS = 200

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


def stackmac(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xapp.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def output_of(*arguments: str) -> str:
    done = stackmac(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_torch_is_refused_here() -> None:
    for name in ("torch", "transformers"):
        done = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, text=True)
        assert f"No module named '{name}'" in done.stderr


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a lab whose replays were compared too."""
    folder = tmp_path_factory.mktemp("lab")
    words = ["--seconds", "2", "--ues", "4", "--period-ms", str(PERIOD_MS), "--k", "1"]
    words += ["--compare", "node_scheduler", "--worlds", "2"]
    output_of("lab", *words, "--record", str(folder / "run.rec"), "--json", str(folder / "lab.json"))
    result = json.loads((folder / "lab.json").read_text())
    assert result["decided_by"].keys() == {"model"}
    assert result["compare"].keys() == {"bundled", "node_scheduler"} and len(result["margins"]) == 1
    return folder / "run.rec"


def test_the_lab_is_led_by_the_model_and_its_recording_replays(recording: Path) -> None:
    assert output_of("replay", str(recording)).startswith("the same: ")


def test_a_recording_is_explained_with_the_models_odds(recording: Path) -> None:
    document = json.loads(output_of("explain", "--record", str(recording), "--json"))
    odds = document["odds"]
    assert odds["computed"] and odds["log_probs_equal"] and len(odds["steps"]) > 6


def test_a_running_xapp_explains_itself_and_the_doctor_examines_it() -> None:
    with Lab(LabOptions(ues=3, seconds=60, period_ms=PERIOD_MS)) as lab:
        assert lab.xapp is not None
        lab.wait_first_indication()
        assert lab.xapp.wait_status(lambda status: status.get("decided_by", {}).get("model", 0) > 2, 60.0)
        document = json.loads(output_of("explain", "--url", lab.xapp_url, "--json"))
        config = str(lab.config)
        examined = stackmac("doctor", "--config", config, "--url", lab.xapp_url, "--seconds", "1", "--json")
    assert document["odds"]["log_probs_equal"]
    assert len(json.loads(examined.stdout)["findings"]) > 5, examined.stderr


DEMO = """
import sys
from xapp.lab import comparison
comparison.MARGIN_SLOTS = 200  # of thousands, which take seconds to compute
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


def test_policies_are_checked_and_compiled() -> None:
    example = str(ROOT / "descriptors" / "examples" / "gold-slice.json")
    assert "gold" in output_of("intent", "validate", example) + output_of("intent", "show", example)


def test_messages_are_decoded() -> None:
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]
    pdu = next(vector["hex"] for vector in vectors if vector["name"].startswith("E2AP-PDU"))
    document = output_of("e2", "decode", "e2ap-pdu", pdu, "--json")
    assert json.loads(document)


KEPT = sorted((ROOT / "docs" / "results").glob("*.json"))


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_figures_are_made_again(file: Path, tmp_path: Path) -> None:
    """Also those of experiments that train, and from the values that are kept: to the byte."""
    output_of("results", "figure", str(file), "--out", str(tmp_path))
    assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_a_leader_of_ones_own_is_measured_beside_rules_and_results_are_merged(tmp_path: Path) -> None:
    whole, *shards = (str(tmp_path / name) for name in ("whole.json", "1.json", "2.json"))
    words = "evaluate --scenario mix --bundle my_leader:LongestQueue --against node_idle,proportional_fair_smart"
    small = f"{words} --cells 2 --ues 3 --slots 10 --jobs 2 --seeds".split()
    for number, file in enumerate(shards):
        output_of(*small, "1", "--first-seed", str(700_001 + number), "--json", file)
    output_of("results", "merge", *shards, "--json", whole)
    rows = json.loads(Path(whole).read_text())["rows"]
    assert {row["player"] for row in rows} == {"my_leader:LongestQueue", "node_idle", "proportional_fair_smart"}


def test_the_kpi_guards_lab_plays_the_shipped_leader(tmp_path: Path) -> None:
    result = tmp_path / "found.json"
    words = "guard-lab --worlds 2 --ues 3 --seconds 2 --swap-for harmful_idle --settled 1 --cost --jobs 2"
    output_of(*words.split(), "--json", str(result))
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
ASKED = """
import contextlib, io, json, sys
from xapp.cli import main
answers = []
for command in sys.argv[1:]:
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        status = main(command.split())
    answers.append((status, said.getvalue()))
print(json.dumps(answers))
"""


def answers_to(commands: Sequence[str]) -> list[tuple[str, int, str]]:
    """Each command, its exit status, and what it says on stderr."""
    asked = [sys.executable, "-c", ASKED, *commands]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return [(command, *answer) for command, answer in zip(commands, json.loads(done.stdout), strict=True)]


def test_every_command_has_help() -> None:
    commands = [f"{name} --help" for name in (*COMMANDS, "bench training")]
    assert [answer for answer in answers_to(commands) if answer[1:] != (0, "")] == []


def test_what_needs_torch_says_so_in_one_line(tmp_path: Path) -> None:
    commands = [command.format(out=tmp_path / "out") for command in NEEDS_TORCH]
    for command, status, said in answers_to(commands):
        assert (status, said.count("\n")) == (2, 1), (command, said)
        assert "torch is not installed; to add it: pip install torch transformers" in said, command
