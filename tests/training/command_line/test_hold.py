"""One process at a time works in a folder or at a file; who was killed holds nobody up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from training.baselines.own_table import keep, table_beside
from training.command_line.hold import InUse, hold_file, hold_folder
from training.simulator.scenario import make_scenario
from xapp.cli import main

HOLDER = """
import sys
from pathlib import Path
from training.command_line.hold import hold_file, hold_folder
with hold_folder(Path(sys.argv[2])) if sys.argv[1] == "folder" else hold_file(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(kind: str, what: Path) -> Iterator[subprocess.Popen[str]]:
    """One that holds `what` until it is told or killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind, str(what)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_second_process_is_refused_by_the_firsts_name_and_a_killed_one_is_no_longer_there(
    tmp_path: Path, kind: str
) -> None:
    what = tmp_path / "it"
    with another_process(kind, what) as process:
        with pytest.raises(InUse) as refused, hold_folder(what) if kind == "folder" else hold_file(str(what)):
            pass
        words = f"{what}: process {process.pid} (-c {kind}) works there: wait until it is done, or choose another "
        assert str(refused.value) == words + ("directory" if kind == "folder" else "file")
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = [path.name for path in tmp_path.rglob(".*lock")]
    assert left == [".lock" if kind == "folder" else ".it.lock"]  # as a power cut leaves it
    with hold_folder(what) if kind == "folder" else hold_file(str(what)):
        pass
    assert not list(tmp_path.rglob(".*lock"))


def test_one_that_ends_leaves_nothing_and_a_folder_in_which_nothing_was_made_goes_with_it(tmp_path: Path) -> None:
    with another_process("folder", tmp_path / "deep" / "out") as process:
        assert (tmp_path / "deep" / "out").is_dir()
        process.communicate("")
    assert not (tmp_path / "deep" / "out").exists()
    with hold_folder(tmp_path / "kept"):
        (tmp_path / "kept" / "log.jsonl").write_text("")
    assert os.listdir(tmp_path / "kept") == ["log.jsonl"]


def test_standard_output_is_nobodys() -> None:
    with hold_file("-"), hold_file("-"), hold_file(""):
        pass


def test_who_waits_goes_on_when_the_other_is_done(tmp_path: Path) -> None:
    done: list[str] = []

    def wait() -> None:
        with hold_file(str(tmp_path / "it"), wait=True):
            done.append("second")

    second = threading.Thread(target=wait)
    with hold_file(str(tmp_path / "it")):
        second.start()
        done.append("first")
    second.join(timeout=10)
    assert done == ["first", "second"] and not list(tmp_path.iterdir())


def test_a_table_that_many_write_at_once_has_everybodys_rows(tmp_path: Path) -> None:
    file, scenario = str(tmp_path / "own.toml"), make_scenario("mix")
    writers = [
        threading.Thread(target=keep, args=(file, scenario, "round_robin", ues, SimpleNamespace(contenders=ues / 8)))
        for ues in range(1, 25)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=30)
    assert json.loads(table_beside(file).read_text())[scenario.hash]["round_robin"] == {
        str(ues): ues / 8 for ues in range(1, 25)
    }
    assert os.listdir(tmp_path) == ["own.tuned.json"]


TINY = ["--scenario", "mix", "--ues", "2"]


@pytest.mark.parametrize(
    "words",
    [
        ["warm-start", *TINY, "--steps", "1", "--out"],
        ["train", *TINY, "--updates", "1", "--out"],
        ["train-followers", *TINY, "--from", "BUNDLE", "--updates", "1", "--out"],
        ["experiment", "dictator", "--budget", "smoke", "--out"],
    ],
    ids=lambda words: words[0],
)
def test_a_second_run_in_the_same_directory_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    from policy.shipped import shipped_bundle

    words = [str(shipped_bundle(1)) if word == "BUNDLE" else word for word in words]
    with hold_folder(tmp_path / "run"):
        assert main([*words, str(tmp_path / "run")]) == 2
        assert os.listdir(tmp_path / "run") == [".lock"]
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(f"stackmac {words[0]}: {tmp_path / 'run'}: process {os.getpid()} (")


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", *TINY, "--seeds", "1", "--cells", "1", "--slots", "2", "--against", "node_idle", "--jobs", "1"],
        ["guard-lab", "--worlds", "1", "--seconds", "1"],
        ["tune", "--scenarios", "mix", "--players", "round_robin_smart", "--ues", "2", "--cells", "8"],
    ],
    ids=lambda words: words[0],
)
def test_a_second_measurement_of_the_same_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with hold_file(str(tmp_path / "it.json")):
        assert main([*words, "--json", str(tmp_path / "it.json")]) == 2
        assert os.listdir(tmp_path) == [".it.json.lock"]
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(f"stackmac {words[0]}: {tmp_path / 'it.json'}: process {os.getpid()} (")
