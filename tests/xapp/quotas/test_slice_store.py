"""What the next instance must know of slices is kept, and kept again when it has changed."""

from __future__ import annotations

from contextlib import closing

import pytest

from xapp.config.model import Controls
from xapp.quotas.allocation_to_quota import Quota
from xapp.quotas.ccc_encoder import KeptSlice
from xapp.quotas.slice_store import KEY, SliceKeeper
from xapp.ric.sdl import SharedStore

NODE, CELL = "gnbd_001_001_00019b_0", "00f110000000011"


def test_ratios_that_the_first_answer_told_take_the_place_of_those_that_were_assumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(SharedStore(environ={})) as store:
        keeper = SliceKeeper(Controls(), store)
        encoder = keeper.encoder(NODE)
        for before in (Quota(0, 100, 0), Quota(10, 60, 5)):
            kept = {1: KeptSlice(CELL, 1, "", before)}
            monkeypatch.setattr(encoder, "to_keep", lambda kept=kept: kept)
            keeper.save()
            (entry,) = store.get(KEY + NODE)["slices"]
            assert entry["before"] == list(before)
