"""Results as JSON: into a file that is whole or not there, and into a device or a pipe as it is."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

from training.command_line.result_file import check_json_path, write_json


def test_a_pipe_gets_the_result_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    check_json_path(str(pipe))
    write_json(str(pipe), {"rows": [1, 2]})
    reader.join()
    assert json.loads(got[0]) == {"rows": [1, 2]}
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text("old")
    check_json_path(str(file))
    write_json(str(file), {"rows": []})
    assert json.loads(file.read_text()) == {"rows": []}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_link_is_written_through_as_dev_stdout_is(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    link.symlink_to(file)
    check_json_path(str(link))
    write_json(str(link), {"rows": []})
    assert link.is_symlink()
    assert json.loads(file.read_text()) == {"rows": []}
