"""The recorder holds nobody up, and what it could not write is told: in the file as in the metrics."""

from __future__ import annotations

import io
import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest

from policy.schedulers.schedulers import SCHEDULERS
from xapp.cli import main
from xapp.config.model import Controls
from xapp.control.observer import Batch
from xapp.monitoring.metrics import Metrics
from xapp.record.file_format import Event, Recording
from xapp.record.recorder import EVENT_BYTES, Recorder
from xapp.record.replay import Replay

PATIENCE_S = 30.0
each_bound = pytest.mark.parametrize("most", [{"max_waiting": 10}, {"max_waiting_bytes": 10 * EVENT_BYTES}])


class SlowDisk(io.BytesIO):
    """Takes no more lines than it was told to; keeps what was written when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.content = b""
        self._changed = threading.Condition()
        self._begun = 0
        self._allowed = 0.0

    def write(self, data: Any) -> int:
        with self._changed:
            self._begun += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._begun <= self._allowed, PATIENCE_S)
        return super().write(data)

    def take(self, lines: float = math.inf) -> None:
        """So many more; all that come, if nothing else is said."""
        with self._changed:
            self._allowed += lines
            self._changed.notify_all()

    def wait_for_line(self, number: int) -> None:
        """Until the writer has come to this line, and so has no other before it."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._begun >= number, PATIENCE_S)

    def close(self) -> None:
        self.content = self.getvalue()
        super().close()

    def events(self) -> list[Event]:
        return [json.loads(line) for line in self.content.splitlines()]


def too_slow(metrics: Metrics) -> int:
    """What the metrics say is lost."""
    return int(metrics.summary()["dropped"].get("recording_too_slow", 0))


def gaps(events: list[Event]) -> list[int]:
    """What the file says is lost."""
    return [event["lost"] for event in events if event["event"] == "gap"]


def test_a_folder_is_no_place_for_a_recording_and_stays_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError, match="folder"):
        Recorder(folder, Metrics())
    assert main(["run", "--config", str(tmp_path / "none"), "--record", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--record" in line and "is a directory" in line
    assert list(tmp_path.iterdir()) == [folder]


@each_bound
def test_a_slow_disk_costs_events_neither_time_nor_memory(path: Path, most: dict[str, int]) -> None:
    disk, metrics = SlowDisk(), Metrics()
    recorder = Recorder(path, metrics, open_file=lambda _: disk, **most)  # type: ignore[arg-type]
    recorder.opened(Controls(), 1)
    disk.wait_for_line(1)  # a writer that takes it when the queue is full already makes room for one, and a second gap
    for _ in range(100):
        recorder.decided(Batch([], [], "", []))
    lost = too_slow(metrics)
    assert lost in (90, 91)  # one that is being written takes memory, but no place in the queue
    disk.take()
    before = -1
    while lost > before:  # until there is room again
        before = lost
        recorder.detached(1)
        lost = too_slow(metrics)
    recorder.close()
    events = disk.events()
    assert [event["event"] for event in events][-3:] == ["gap", "detach", "end"]
    assert gaps(events) == [lost]


@each_bound
def test_room_for_one_entry_takes_an_event_and_what_was_lost_before_it(path: Path, most: dict[str, int]) -> None:
    disk, metrics = SlowDisk(), Metrics()
    recorder = Recorder(path, metrics, open_file=lambda _: disk, **most)  # type: ignore[arg-type]
    recorder.opened(Controls(), 1)
    disk.wait_for_line(1)
    for _ in range(15):
        recorder.detached(1)
    lost = too_slow(metrics)
    assert lost in (5, 6)  # one that is being written takes memory, but no place in the queue
    disk.take(1)
    disk.wait_for_line(2)
    recorder.detached(1)
    assert too_slow(metrics) == lost
    recorder.detached(1)
    disk.take()
    recorder.close()
    events = disk.events()
    assert [event["event"] for event in events][-4:] == ["gap", "detach", "gap", "end"]
    assert (gaps(events), too_slow(metrics)) == ([lost, 1], lost + 1)


def test_whichever_threads_tell_it_every_event_is_written_or_counted_as_lost(path: Path) -> None:
    disk, metrics = SlowDisk(), Metrics()
    recorder = Recorder(path, metrics, open_file=lambda _: disk, max_waiting=3)

    def tell(count: int = 500) -> None:
        for _ in range(count):
            recorder.detached(1)

    tell(10)
    assert too_slow(metrics) >= 6
    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        disk.take(1)  # so that room comes and goes
    disk.take()
    recorder.close()
    events = disk.events()
    lost = sum(gaps(events))
    assert lost == too_slow(metrics)
    assert sum(event["event"] == "detach" for event in events) + lost == 10 + 4 * 500
    assert events[-1]["event"] == "end"


def test_a_recording_ends_at_its_limit(make_cell: Any, path: Path) -> None:
    metrics = Metrics()
    recorder = Recorder(path, metrics, max_bytes=6000)
    recorder.opened(Controls(leader="proportional_fair"), 1)
    cell = make_cell(SCHEDULERS["proportional_fair"], recorder)
    for sn in range(1, 20):
        cell.decide(sn)
    recorder.close()
    assert path.stat().st_size < 6100
    assert metrics.summary()["dropped"] == {"recording_full": 1}
    with Recording(path) as recording:
        result = Replay(recording, SCHEDULERS["proportional_fair"]).run()
    assert 0 < result.decisions < 10 and "full" in result.ended_early


def test_a_disk_that_fails_ends_the_recording_not_the_loop(make_cell: Any, path: Path) -> None:
    class Broken(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError("no space left")

    metrics = Metrics()
    recorder = Recorder(path, metrics, open_file=lambda _: Broken())
    recorder.opened(Controls(), 1)
    cell = make_cell(SCHEDULERS["proportional_fair"], recorder)
    for sn in range(1, 4):
        assert cell.decide(sn).outcome.controls
    recorder.close()
    assert metrics.summary()["dropped"] == {"recording_failed": 1}


def test_a_recording_that_is_there_is_kept_beside_the_new_one(path: Path) -> None:
    for content in ("first", "second"):
        path.write_text(content)
        Recorder(path, Metrics()).close()
        assert path.with_name("recording.1").read_text() == content
    with pytest.raises(OSError):
        Recorder(path / "no folder", Metrics())
