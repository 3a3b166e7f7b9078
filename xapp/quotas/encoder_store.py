"""One encoder per node, and what it limits in shared data, where the next instance finds it. Everything here may block.

What was sent has no lease: of an xApp that was killed the next one knows here what to give back.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from xapp.config.model import Controls
from xapp.control.observer import Observer
from xapp.e2.asn1.errors import E2EncodeError
from xapp.quotas.allocation_to_quota import QuotaRules
from xapp.quotas.book_encoder import BookEncoder
from xapp.ric.sdl import SharedStore

log = logging.getLogger(__name__)

Settings = TypeVar("Settings")
Kept = TypeVar("Kept")
UNREADABLE = (E2EncodeError, KeyError, TypeError, ValueError, AttributeError, StopIteration)


class EncoderStore(ABC, Generic[Settings, Kept]):
    """Thread safe."""

    key: ClassVar[str]
    """With the node's name: {`subjects`: a list of what `to_value` makes}."""
    subjects: ClassVar[str]
    """What it is that is limited."""
    encoder_type: ClassVar[type[BookEncoder[Any, Any]]]

    def __init__(
        self,
        controls: Controls,
        store: SharedStore,
        *,
        on_change: Callable[[], None] = lambda: None,
        observer: Observer | None = None,
    ) -> None:
        """on_change: called when `save` has something to do; it must not block."""
        self._observer = observer or Observer()
        self._controls = controls
        self._store = store
        self._on_change = on_change
        self._lock = threading.Lock()
        self._encoders: dict[str, BookEncoder[Settings, Kept]] = {}
        self._saved: dict[str, dict[int, Kept]] = {}
        """By node; one that is not here is not known yet: shared data did not answer."""

    @staticmethod
    @abstractmethod
    def to_value(kept: Kept) -> dict[str, Any]:
        """As it is stored."""

    @staticmethod
    @abstractmethod
    def from_value(value: Any) -> Kept:
        """Raises one of UNREADABLE."""

    def _encoder(self, node: str, wanted: Settings) -> Any:
        """The node's, with what an earlier instance left limited. A node that comes back has what it had, but nobody
        knows whether it started over.
        """
        with self._lock:
            known = self._encoders.get(node)
            if known is not None:
                known.use_settings(wanted)
                known.doubt()
                return known
            q = self._controls.quota
            rules = QuotaRules(q.min_share_percent, q.smooth_periods, q.step_percent, q.max_controls_per_s)
            on_call = partial(self._observer.encoder_called, self.encoder_type.service_model, node)
            on_call("new", {"settings": wanted, "rules": rules})
            encoder = self.encoder_type(wanted, rules, on_change=self._on_change, on_call=on_call)
            self._encoders[node] = encoder
            self._recall(node, encoder)
            return encoder

    def enter_standby(self) -> None:
        """Another instance controls: what is kept is its to read and to write, and what was known here is outdated."""
        with self._lock:
            self._encoders.clear()
            self._saved.clear()

    @property
    def limited(self) -> int:
        """UEs or slices of all nodes that may be limited."""
        return sum(encoder.limited for encoder in self._known())

    @property
    def waiting(self) -> int:
        """Controls, of all nodes, that are to be sent and have not been."""
        return sum(encoder.waiting for encoder in self._known())

    def _known(self) -> list[BookEncoder[Settings, Kept]]:
        """Return the encoders without the lock, which `save` may hold for as long as shared data take to answer."""
        return list(self._encoders.values())

    def save(self) -> None:
        """Keep what has changed; what is kept may be limited."""
        with self._lock:
            for node, encoder in self._encoders.items():
                if node not in self._saved and not self._recall(node, encoder):
                    continue
                kept = encoder.to_keep()
                if kept != self._saved[node] and not self._write(node, kept):
                    continue
                self._saved[node] = kept
                encoder.kept(frozenset(kept))

    def save_again(self) -> None:
        """Shared data were lost: keep once more what this instance limits."""
        with self._lock:
            for node in self._saved:
                self._write(node, self._encoders[node].to_keep())

    def _recall(self, node: str, encoder: BookEncoder[Settings, Kept]) -> bool:
        """What an earlier instance left; False = shared data do not answer. Locked."""
        value = self._store.get(self.key + node)
        if not self._store.answered:
            return False
        left_behind = self._read(node, value)
        if left_behind:
            text = "%s: %d %s were left limited by an earlier instance: given back first"
            log.warning(text, node, len(left_behind), self.subjects)
        encoder.restore(left_behind)
        self._saved[node] = encoder.to_keep()
        return True

    def _write(self, node: str, kept: dict[int, Kept]) -> bool:
        if not kept:
            return self._store.delete(self.key + node)
        return self._store.set(self.key + node, {self.subjects: [self.to_value(each) for each in kept.values()]})

    def _read(self, node: str, value: Any) -> list[Kept]:
        """Whatever of it is readable: what was kept may be an older release's, or damaged."""
        entries = value.get(self.subjects) if isinstance(value, dict) else None
        found = []
        for entry in entries if isinstance(entries, list) else ():
            try:
                found.append(self.from_value(entry))
            except UNREADABLE as error:
                text = "%s: one of the limited %s is not readable in shared data: %.60r: %s"
                log.warning(text, node, self.subjects, entry, error)
        return found
