"""Writes a recording (xapp.record.file_format) from the loop's threads without ever holding them up: a queue and a
thread.

The queue is bounded: where the disk is too slow, what does not fit is dropped, counted, and leaves a `gap` in the file.
So are the files: at its limit one is put aside as FILE.1 and the recording goes on in a new one, as many as are to be
kept; where that is one alone the recording ends, and says so. The gaps of a recording that was closed in time add up to
what the metrics count as `recording_too_slow` and `recording_error`. A folder that is read-only, removed or full ends
the recording with one line, and nothing else.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from xapp.config.model import Controls
from xapp.control.cell_link import CellLink, ReportSubscription
from xapp.control.decision_record import SentControl
from xapp.control.observer import Batch, Observer
from xapp.monitoring.metrics import Metrics
from xapp.record.file_format import (
    Event,
    attach_event,
    call_event,
    control_entry,
    decided_event,
    header,
    line_of,
    message_event,
)
from xapp.record.part_files import make_way
from xapp.rmr.transport import RmrMessage

log = logging.getLogger(__name__)

MAX_WAITING = 20_000
"""Events that wait to be written: some seconds of many cells."""
MAX_WAITING_BYTES = 128 << 20
"""About what they may hold in memory meanwhile: a message its payload, a decision its states."""
EVENT_BYTES = 1000
"""About what any other event holds."""
DEFAULT_MAX_BYTES = 1 << 30
CLOSE_TIMEOUT_S = 3.0


class _Waiting(NamedTuple):
    """An event on its way to the writer."""

    make: Callable[[], Event]
    size_bytes: int
    """About what it holds in memory."""
    lost_before: int
    """Events dropped since the one before it. Told with the event, not by an entry of its own: for both there may not
    be room, and then the file would say another number than the metrics."""


class Recorder(Observer):
    """Use: `opened` once, then as an observer, then `close`. Raises OSError for a file that cannot be made.

    A file that is there already is kept, as FILE.1; what is no regular file is no place for a recording.
    """

    def __init__(
        self,
        path: Path,
        metrics: Metrics,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        parts: int = 1,
        max_waiting: int = MAX_WAITING,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        open_file: Callable[[Path], BinaryIO] = lambda path: path.open("xb"),
    ) -> None:
        """max_bytes: of a part, of which the newest `parts` are kept."""
        make_way(path, max(parts - 1, 1))
        self._open_file = open_file
        self._file = open_file(path)
        self.path = path
        self._parts = parts
        self._header: Event = {}
        self._part = 0
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(max_waiting)
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._lost = 0
        """Events dropped since the last one that was queued; final once `_closed`."""
        self._closed = False
        """No event is taken any more."""
        self._links: dict[int, tuple[int, CellLink]] = {}
        """Number and link by instance id, of the subscriptions attached now."""
        self._next_link = 1
        self._written = 0
        self._ended = threading.Event()
        """Nothing is written any more: the file is full, or could not be written."""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    # -- the observer: called by the loop's threads ------------------------------------------------------------------

    def opened(self, controls: Controls, instance_epoch: int) -> None:
        event = header(
            leader=controls.leader,
            controls=controls.model_dump(mode="json"),
            instance_epoch=instance_epoch,
            version=version("stackmac"),
            time_s=time.time(),
        )
        self._header = event
        self._put(lambda: event)

    def attached(self, instance_id: int, subscription: ReportSubscription, link: CellLink) -> None:
        number = next((number for number, known in self._links.values() if known is link), 0)
        if not number:
            number, self._next_link = self._next_link, self._next_link + 1
        self._links[instance_id] = (number, link)
        event = attach_event(instance_id, subscription, number, link)  # at once: its target may change
        self._put(lambda: event)

    def detached(self, instance_id: int) -> None:
        self._links.pop(instance_id, None)
        self._put(lambda: {"event": "detach", "instance": instance_id})

    def received(self, message: RmrMessage) -> None:
        self._put(lambda: message_event(message), EVENT_BYTES + len(message.payload))

    def decided(self, batch: Batch) -> None:
        self._put(lambda: decided_event(batch), EVENT_BYTES + sum(record.kept_bytes for record in batch.records))

    def encoder_called(self, kind: str, node: str, call: str, arguments: Mapping[str, Any]) -> None:
        self._put(lambda: call_event(kind, node, call, arguments))

    def found_harm(self, cell: str, verdict: Mapping[str, Any]) -> None:
        self._put(lambda: {"event": "revert", "cell": cell, "verdict": dict(verdict)})

    def entered_standby(self) -> None:
        self._put(lambda: {"event": "stood_back"})

    def released(self, sent: SentControl) -> None:
        self._put(lambda: {"event": "released", **control_entry(sent)})

    # -- the writer ---------------------------------------------------------------------------------------------------

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Write what waits, as far as time allows, and close."""
        give_up_at = time.monotonic() + timeout_s
        with self._lock:
            self._closed = True
        try:
            self._waiting.put(None, timeout=timeout_s)
        except queue.Full:
            self._ended.set()
        self._thread.join(max(0.0, give_up_at - time.monotonic()))

    def _put(self, make: Callable[[], Event], size_bytes: int = EVENT_BYTES) -> None:
        """Queue one event that holds about `size_bytes`; it becomes text in the writer's thread."""
        with self._lock:
            if self._closed or self._ended.is_set():
                return
            try:
                if self._waiting_bytes and self._waiting_bytes + size_bytes > self._max_waiting_bytes:
                    raise queue.Full
                self._waiting.put_nowait(_Waiting(make, size_bytes, self._lost))
                self._waiting_bytes += size_bytes
                self._lost = 0
            except queue.Full:
                self._lost += 1
                self._metrics.drop("recording_too_slow")

    def _run(self) -> None:
        try:
            try:
                while (waiting := self._waiting.get()) is not None:
                    self._write_gap(waiting.lost_before)
                    self._write(waiting.make)
                    with self._lock:
                        self._waiting_bytes -= waiting.size_bytes
                    if self._ended.is_set():
                        return
                    if self._waiting.empty():
                        self._flush()
                self._write_gap(self._lost)
                self._write(lambda: {"event": "end"})
            finally:
                self._file.close()
        except OSError as error:
            self._ended.set()
            self._metrics.drop("recording_failed")
            log.error("recording to %s ended: %s", self.path, error)

    def _flush(self) -> None:
        self._file.flush()
        try:
            links = os.fstat(self._file.fileno()).st_nlink
        except OSError:  # not a file of a disk
            return
        if not links:
            raise OSError(errno.ENOENT, "the file has been removed", str(self.path))

    def _rotate(self) -> None:
        """Go on in a new file, which begins as the first did."""
        self._file.write(line_of({"event": "rotated"}))
        self._file.close()
        make_way(self.path, self._parts - 1)
        self._file = self._open_file(self.path)
        self._part += 1
        line = line_of({**self._header, "part": self._part})
        self._file.write(line)
        self._written = len(line)

    def _write_gap(self, lost: int) -> None:
        if lost:
            self._write(lambda: {"event": "gap", "lost": lost})

    def _write(self, make: Callable[[], Event]) -> None:
        if self._ended.is_set():
            return
        try:
            line = line_of(make())
        except Exception:  # whatever a plug-in decided, recording it must not end the recording
            self._metrics.drop("recording_error")
            log.exception("an event could not be recorded")
            line = line_of({"event": "gap", "lost": 1})
        if self._written + len(line) > self._max_bytes and self._parts > 1:
            self._rotate()
        elif self._written + len(line) > self._max_bytes:
            self._ended.set()
            self._file.write(line_of({"event": "full"}))
            self._metrics.drop("recording_full")
            log.warning("%s is full (%d bytes): nothing more is recorded", self.path, self._written)
            return
        self._file.write(line)
        self._written += len(line)
