"""Which slices are limited and what they had before, in shared data; one CCC encoder per node."""

from __future__ import annotations

import re
from typing import Any

from xapp.e2.dialect import Dialect
from xapp.quotas.allocation_to_quota import Quota
from xapp.quotas.ccc_encoder import CccEncoder, CccSettings, KeptSlice, SliceShare
from xapp.quotas.encoder_store import EncoderStore

KEY = "slices/"
"""With the node's name: {"slices": [{cell, sst, sd, before: [min, max, dedicated]}]}."""
_CELL, _SD = re.compile("[0-9a-f]{15}"), re.compile("([0-9a-f]{6})?")


class SliceKeeper(EncoderStore[CccSettings, KeptSlice]):
    key = KEY
    subjects = "slices"
    encoder_type = CccEncoder

    def encoder(self, node: str, form: tuple[str, ...] = (), dialect: Dialect | None = None) -> CccEncoder:
        """The node's. form: NR-CGIs that the function lists."""
        settings = self._controls.node(node)
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
        encoder: CccEncoder = self._encoder(
            node, CccSettings(settings.plmn, slices, form, settings.baseline_from_outcome)
        )
        return encoder

    @staticmethod
    def to_value(kept: KeptSlice) -> dict[str, Any]:
        return {"cell": kept.cell, "sst": kept.sst, "sd": kept.sd, "before": list(kept.before)}

    @staticmethod
    def from_value(value: Any) -> KeptSlice:
        before = Quota(*value["before"])
        cell, sst, sd = value["cell"], value["sst"], value["sd"]
        is_valid = all(isinstance(n, int) for n in (*before, sst)) and all(0 <= n <= 100 for n in before)
        if not (is_valid and 0 <= sst <= 255 and _CELL.fullmatch(cell) and _SD.fullmatch(sd)):
            raise ValueError("not a slice of a cell")
        return KeptSlice(cell, sst, sd, before)
