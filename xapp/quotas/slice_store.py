"""Which slices are limited and what they had before, kept in shared data where the next instance finds it; one CCC
encoder per node. A ratio has no lease. Everything here may block.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from xapp.config.model import Controls
from xapp.control.observer import Observer
from xapp.e2.dialect import Dialect
from xapp.quotas.allocation_to_quota import Quota, QuotaRules
from xapp.quotas.ccc_encoder import CccEncoder, CccSettings, KeptSlice, SliceShare
from xapp.ric.sdl import SharedStore

log = logging.getLogger(__name__)

KEY = "slices/"
"""With the node's name: {"slices": [{cell, sst, sd, before: [min, max, dedicated]}]}."""
_CELL, _SD = re.compile("[0-9a-f]{15}"), re.compile("([0-9a-f]{6})?")


class SliceKeeper:
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
        self._encoders: dict[str, CccEncoder] = {}
        self._saved: dict[str, dict[int, KeptSlice]] = {}
        """By node; one that is not here is not known yet: shared data did not answer."""

    def encoder(self, node: str, form: tuple[str, ...] = (), dialect: Dialect | None = None) -> CccEncoder:
        """The node's, with the slices that an earlier instance left limited. form: NR-CGIs that the function lists."""
        with self._lock:
            q, settings = self._controls.quota, self._controls.node(node)
            rules = QuotaRules(q.min_share_percent, q.smooth_periods, q.step_percent, q.max_controls_per_s)
            slices = tuple(
                SliceShare(
                    each.name,
                    each.sst,
                    each.sd.lower(),
                    None
                    if each.min_ratio is None or each.max_ratio is None
                    else Quota(each.min_ratio, each.max_ratio, each.dedicated_ratio),
                )
                for each in settings.slices
            )
            wanted = CccSettings(settings.plmn, slices, form, settings.baseline_from_outcome)
            known = self._encoders.get(node)
            if known is not None:
                known.use_settings(wanted)
                known.doubt()
                return known
            on_call = partial(self._observer.encoder_called, CccEncoder.service_model, node)
            on_call("new", {"settings": wanted, "rules": rules})
            encoder = self._encoders[node] = CccEncoder(wanted, rules, on_change=self._on_change, on_call=on_call)
            self._recall(node, encoder)
            return encoder

    def enter_standby(self) -> None:
        """Another instance controls: what is kept is its to read and to write, and what was known here is outdated."""
        with self._lock:
            self._encoders.clear()
            self._saved.clear()

    @property
    def limited(self) -> int:
        """Slices of all nodes that may be limited."""
        return sum(encoder.limited for encoder in list(self._encoders.values()))

    @property
    def waiting(self) -> int:
        """Shares, of all nodes, that are to change and have not been sent."""
        return sum(encoder.waiting for encoder in list(self._encoders.values()))

    def save(self) -> None:
        """Keep what has changed; slices may be limited once they are kept."""
        with self._lock:
            for node, encoder in self._encoders.items():
                if node not in self._saved and not self._recall(node, encoder):
                    continue
                slices = encoder.to_keep()
                if slices != self._saved[node] and not self._write(node, slices):
                    continue
                self._saved[node] = slices
                encoder.kept(frozenset(slices))

    def save_again(self) -> None:
        """Shared data were lost: keep once more what this instance limits."""
        with self._lock:
            for node in self._saved:
                self._write(node, self._encoders[node].to_keep())

    def _recall(self, node: str, encoder: CccEncoder) -> bool:
        """What an earlier instance left; False = shared data do not answer. Locked."""
        value = self._store.get(KEY + node)
        if not self._store.answered:
            return False
        left_behind = _read(node, value)
        if left_behind:
            log.warning("%s: %d slices were left limited by an earlier instance: given back", node, len(left_behind))
        encoder.restore(left_behind)
        self._saved[node] = encoder.to_keep()
        return True

    def _write(self, node: str, slices: dict[int, KeptSlice]) -> bool:
        if not slices:
            return self._store.delete(KEY + node)
        return self._store.set(KEY + node, {"slices": [slice_to_value(each) for each in slices.values()]})


def slice_to_value(kept: KeptSlice) -> dict[str, Any]:
    return {"cell": kept.cell, "sst": kept.sst, "sd": kept.sd, "before": list(kept.before)}


def slice_from_value(value: Any) -> KeptSlice:
    """Raises KeyError, TypeError or ValueError."""
    before = Quota(*value["before"])
    cell, sst, sd = value["cell"], value["sst"], value["sd"]
    is_valid = all(isinstance(n, int) for n in (*before, sst)) and all(0 <= n <= 100 for n in before)
    if not (is_valid and 0 <= sst <= 255 and _CELL.fullmatch(cell) and _SD.fullmatch(sd)):
        raise ValueError("not a slice of a cell")
    return KeptSlice(cell, sst, sd, before)


def _read(node: str, value: Any) -> list[KeptSlice]:
    """Whatever of it is readable: what was kept may be an older release's, or damaged."""
    entries = value.get("slices") if isinstance(value, dict) else None
    slices = []
    for entry in entries if isinstance(entries, list) else ():
        try:
            slices.append(slice_from_value(entry))
        except (KeyError, TypeError, ValueError) as error:
            log.warning("%s: a limited slice is not readable in shared data: %.60r: %s", node, entry, error)
    return slices
