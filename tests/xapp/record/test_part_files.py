"""Recordings in parts: what is no regular file is left alone, and a rotated set is played or says what is missing."""

from __future__ import annotations

import errno
import logging
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xapp_process import PATIENCE_S, Running, command, write

from policy.schedulers.schedulers import SCHEDULERS
from xapp.cli import main
from xapp.config.model import Controls
from xapp.monitoring.metrics import Metrics
from xapp.record.file_format import Recording, RecordingError
from xapp.record.part_files import make_way, older
from xapp.record.recorder import Recorder
from xapp.record.replay import Replay

LEADER = SCHEDULERS["proportional_fair"]
PART_BYTES = 9_000
DECISIONS = 40


def make_socket(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(str(path))


OTHER_THINGS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "link to a device": lambda path: path.symlink_to("/dev/null"),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
}
if os.geteuid() == 0:  # nobody else makes them
    OTHER_THINGS["device"] = lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))


@pytest.mark.parametrize("what", OTHER_THINGS)
def test_record_refuses_what_is_no_regular_or_new_file_and_leaves_it_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    path = tmp_path / "recording"
    OTHER_THINGS[what](path)
    before = path.lstat()
    config = write(tmp_path)
    assert main(["run", "--config", str(config), "--record", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--record {path}: there is something else than a regular file" in line
    with pytest.raises(OSError, match="something else than a regular file"):
        Recorder(path, Metrics())
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["config-file.json", "recording"]


@given(st.integers(1, 5), st.sets(st.integers(0, 7)))
def test_what_is_there_moves_one_place_on_and_no_more_than_are_kept(
    tmp_path_factory: pytest.TempPathFactory, keep: int, there: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    names = [folder / "rec", *(folder / f"rec.{number}" for number in range(1, 9))]
    for number in there:
        names[number].write_text(str(number))
    make_way(names[0], keep)
    assert not names[0].exists()
    in_a_row = next(number for number in range(9) if number not in there)
    for number in range(1, 9):
        moved = number - 1 if number <= min(in_a_row, keep) else number
        assert names[number].exists() == (moved in there)
        assert not names[number].exists() or names[number].read_text() == str(moved)
    assert [older(name) for name in names[:-1]] == names[1:]


def record(make_cell: Any, path: Path, parts: int, decisions: int = DECISIONS) -> Metrics:
    metrics = Metrics()
    recorder = Recorder(path, metrics, max_bytes=PART_BYTES, parts=parts)
    recorder.opened(Controls(leader="proportional_fair"), 1)
    cell = make_cell(LEADER, recorder)
    for sn in range(1, decisions + 1):
        cell.decide(sn)
    recorder.close()
    return metrics


def files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_recordings_rotate_and_a_replay_reads_the_whole_set(make_cell: Any, tmp_path: Path) -> None:
    path = tmp_path / "rec"
    metrics = record(make_cell, path, parts=100)
    assert metrics.summary()["dropped"] == {}
    assert len(files(tmp_path)) > 5
    assert all(entry.stat().st_size <= PART_BYTES + 50 for entry in tmp_path.iterdir())
    with Recording(path) as recording:
        result = Replay(recording, LEADER).run()
    assert (result.decisions, result.difference, result.ended_early) == (DECISIONS, "", "")
    with Recording(tmp_path / "rec.1") as recording:
        result = Replay(recording, LEADER).run()
    assert 0 < result.decisions < DECISIONS
    assert "rec.1 is not the last part" in result.ended_early


def test_of_a_set_that_has_lost_its_beginning_a_replay_says_what_is_missing(
    make_cell: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rec"
    record(make_cell, path, parts=3)
    assert files(tmp_path) == ["rec", "rec.1", "rec.2"]
    assert main(["replay", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{path} begins with part" in line and "plays from part 1 only" in line
    assert f"{tmp_path / 'rec.3'}, is missing" in line


def test_a_part_of_another_recording_is_told(make_cell: Any, tmp_path: Path) -> None:
    path = tmp_path / "rec"
    record(make_cell, path, parts=100)
    shutil.copy(tmp_path / "rec.3", tmp_path / "rec.2")
    with pytest.raises(RecordingError, match=r"rec\.2, is of another recording"):
        Recording(path)


def test_a_recording_of_an_earlier_run_moves_on(make_cell: Any, tmp_path: Path) -> None:
    path = tmp_path / "rec"
    record(make_cell, path, parts=4, decisions=2)
    record(make_cell, path, parts=4, decisions=3)
    for name, decisions in (("rec", 3), ("rec.1", 2)):
        with Recording(tmp_path / name) as recording:
            assert Replay(recording, LEADER).run().decisions == decisions


def broken_by(path: Path, how: str) -> Callable[[Path], BinaryIO]:
    """Opens the first part as it should be; what becomes of the folder meanwhile."""
    opened: list[Path] = []

    def open_file(name: Path) -> BinaryIO:
        if opened and how == "read-only":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(name))
        opened.append(name)
        return name.open("xb")

    return open_file


@pytest.mark.parametrize("how", ["read-only", "removed"])
def test_a_folder_that_is_read_only_or_removed_costs_one_line_and_never_the_loop(
    make_cell: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    metrics = Metrics()
    recorder = Recorder(
        folder / "rec", metrics, max_bytes=PART_BYTES, parts=3, open_file=broken_by(folder / "rec", how)
    )
    recorder.opened(Controls(leader="proportional_fair"), 1)
    cell = make_cell(LEADER, recorder)
    if how == "removed":
        shutil.rmtree(folder)
    with caplog.at_level(logging.WARNING):
        for sn in range(1, DECISIONS + 1):
            assert cell.decide(sn).outcome.controls
        recorder.close()
    assert metrics.summary()["dropped"] == {"recording_failed": 1}
    (line,) = [entry for entry in caplog.messages if "recording" in entry]
    assert "ended" in line and "\n" not in line


def test_a_full_folder_costs_one_line_and_the_xapp_lives_on(tmp_path: Path) -> None:
    """The kernel refuses to write more than some bytes into any file of the process."""
    path = tmp_path / "rec"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    process = subprocess.Popen(
        command(write(tmp_path), "--json-lines", "--record", str(path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # cut bytecode would break whoever imports it next
    )
    try:
        running = Running.__new__(Running)
        running.process = process
        ready, _ = running.line(), running.line()
        url = f"http://127.0.0.1:{ready['http_port']}/ric/v1/health/alive"
        assert httpx.get(url, trust_env=False, timeout=PATIENCE_S).status_code == 200
        _, final, log = running.stop(signal.SIGTERM)
        assert (process.returncode, final["dropped"].get("recording_failed")) == (0, 1)
        lines = [line for line in log.splitlines() if "recording" in line]
        assert len(lines) == 1 and os.strerror(errno.EFBIG) in lines[0]
        assert path.stat().st_size <= 500
    finally:
        process.kill()
        process.wait(PATIENCE_S)
