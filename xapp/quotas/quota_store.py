"""Which UEs are under quotas, kept in shared data where the next instance finds it; one RC encoder per node.

A quota has no lease: of an xApp that was killed the next one knows here whom to release. Everything here may block.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from xapp.config.model import Controls
from xapp.control.observer import Observer
from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.asn1.errors import E2EncodeError
from xapp.e2.dialect import Dialect
from xapp.e2.rc import messages as rc
from xapp.e2.ue_id.ue_id import UeId, ue_id_from_value, ue_id_to_value, write_ue_id
from xapp.quotas.allocation_to_quota import QuotaRules
from xapp.quotas.rc_encoder import RcEncoder, RcSettings
from xapp.ric.sdl import SharedStore

log = logging.getLogger(__name__)

KEY = "quota/"
"""With the node's name: {"ues": [UEID as xapp.e2.ue_id.ue_id writes it as JSON]}."""

FIRST_FORM = rc.QuotaForm()


class QuotaKeeper:
    """Thread safe."""

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
        self._encoders: dict[str, RcEncoder] = {}
        self._saved: dict[str, frozenset[int]] = {}
        """By node; one that is not here is not known yet: shared data did not answer."""

    def encoder(
        self, node: str, form: rc.QuotaForm = FIRST_FORM, dialect: Dialect | None = Dialect.STANDARD
    ) -> RcEncoder:
        """The node's, with the UEs that an earlier instance left under quotas. A node that comes back has what it had,
        but nobody knows whether it started over.

        dialect: None = not known yet, see RcSettings.
        """
        with self._lock:
            q, settings = self._controls.quota, self._controls.node(node)
            rules = QuotaRules(q.min_share_percent, q.smooth_periods, q.step_percent, q.max_controls_per_s)
            sd = int(settings.sd, 16) if settings.sd else None
            slice_ = RcSettings(settings.plmn_octets, settings.sst, sd, dialect, form)
            known = self._encoders.get(node)
            if known is not None:
                known.use_settings(slice_)
                known.doubt()
                return known
            on_call = partial(self._observer.encoder_called, RcEncoder.service_model, node)
            on_call("new", {"settings": slice_, "rules": rules})
            encoder = self._encoders[node] = RcEncoder(slice_, rules, on_change=self._on_change, on_call=on_call)
            self._recall(node, encoder)
            return encoder

    def enter_standby(self) -> None:
        """Another instance controls: what is kept is its to read and to write, and what was known here is outdated."""
        with self._lock:
            self._encoders.clear()
            self._saved.clear()

    @property
    def limited(self) -> int:
        """UEs of all nodes that may be under a quota."""
        return sum(encoder.limited for encoder in self._known())

    @property
    def waiting(self) -> int:
        """Quotas, of all nodes, that are to change and have not been sent."""
        return sum(encoder.waiting for encoder in self._known())

    def _known(self) -> list[RcEncoder]:
        """Return the encoders without the lock, which `save` may hold for as long as shared data take to answer."""
        return list(self._encoders.values())

    def save(self) -> None:
        """Keep what has changed; UEs may be limited once they are kept."""
        with self._lock:
            for node, encoder in self._encoders.items():
                if node not in self._saved and not self._recall(node, encoder):
                    continue
                ues = encoder.to_keep()
                if ues.keys() != self._saved[node] and not self._write(node, ues):
                    continue
                self._saved[node] = frozenset(ues)
                encoder.kept(self._saved[node])

    def save_again(self) -> None:
        """Shared data were lost: keep once more whom this instance limits."""
        with self._lock:
            for node in self._saved:
                self._write(node, self._encoders[node].to_keep())

    def _recall(self, node: str, encoder: RcEncoder) -> bool:
        """What an earlier instance left; False = shared data do not answer. Locked."""
        value = self._store.get(KEY + node)
        if not self._store.answered:
            return False
        left_behind = _read(node, value)
        if left_behind:
            log.warning(
                "%s: %d UEs were left under quotas by an earlier instance: released first", node, len(left_behind)
            )
        encoder.restore(left_behind)
        self._saved[node] = frozenset(encoder.to_keep())
        return True

    def _write(self, node: str, ues: dict[int, UeId]) -> bool:
        if not ues:
            return self._store.delete(KEY + node)
        return self._store.set(KEY + node, {"ues": [ue_id_to_value(ue_id) for ue_id in ues.values()]})


def _read(node: str, value: Any) -> list[UeId]:
    """Whatever of it is readable: what was kept may be an older release's, or damaged."""
    entries = value.get("ues") if isinstance(value, dict) else None
    ues = []
    for entry in entries if isinstance(entries, list) else ():
        try:
            ue_id = ue_id_from_value(entry)
            write_ue_id(BitWriter(), ue_id)  # what cannot be written would fail in every control from now on
            ues.append(ue_id)
        except (E2EncodeError, KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
            log.warning("%s: a UE under quota is not readable in shared data: %.60r: %s", node, entry, error)
    return ues
