"""Shares of slices from intents, the encoder's book of them, and a checker of its own over 10^5 random decisions."""

from __future__ import annotations

import itertools
import os
from functools import partial
from typing import Any

import numpy as np
import pytest
from slice_checker import SliceLimits, shares_of, violations

from policy.allocation import DYNAMIC, Allocation, LeftoverRule
from policy.cell_state import CellState, make_cell_state
from policy.intent import Intent, SliceLimit
from xapp.config.model import parse_controls
from xapp.control.encoder import DecisionContext, SendContext
from xapp.e2.ccc import messages as ccc
from xapp.quotas.allocation_to_quota import Quota, QuotaRules
from xapp.quotas.ccc_encoder import CccEncoder, CccSettings, SliceShare
from xapp.quotas.slice_store import SliceKeeper
from xapp.ric.sdl import SharedStore

NODE, NR_CGI = "gnbd_001_001_00019b_0", "00f110000000011"
CELL = f"{NODE}/{NR_CGI}"
OWN = Quota(5, 90, 3)
DECISIONS = int(os.environ.get("STACKMAC_SLICE_DECISIONS", "5000"))
"""Of the checker, over all seeds; docs/ccc.md has the command for 100 000."""
UES = tuple(range(1, 9))
MEMBERS = {"1": frozenset((1, 2, 5, 6)), "2": frozenset((3, 4, 7, 8))}


def state(slot: int = 0) -> CellState:
    return make_cell_state(CELL, num_rbgs=17, slots_per_dcm=100, slot=slot, ue_ids=UES)


def allocation(rng: np.random.Generator | None = None) -> Allocation:
    owner_M = np.full(17, DYNAMIC, np.int16) if rng is None else rng.integers(-2, len(UES), 17).astype(np.int16)
    return Allocation(UES, owner_M, LeftoverRule(7, 1.2))


def intent(**limits: tuple[float, float]) -> Intent:
    named = {name.removeprefix("s"): shares for name, shares in limits.items()}
    return Intent(slice_limits=tuple(SliceLimit(name, MEMBERS[name], *shares) for name, shares in named.items()))


class Node:
    """The encoder of a node with two slices, and what was sent there."""

    def __init__(self, before: Quota | None = OWN, learns: bool = False, **rules: Any) -> None:
        slices = tuple(SliceShare(name, int(name), "", before) for name in MEMBERS)
        settings = CccSettings("00101", slices, (NR_CGI,), learns)
        self.encoder = CccEncoder(settings, QuotaRules(**rules))
        self.now_s = 0.0
        self.ids = itertools.count(1)
        self.at_node: dict[str, tuple[int, ...]] = dict.fromkeys(MEMBERS, (5, 90, 3))
        self.sent: list[str] = []

    def context(self) -> SendContext:
        return SendContext(1, lambda: next(self.ids), self.now_s)

    def decide(self, wanted: Intent, rng: np.random.Generator | None = None, *, old_values: bool = True) -> None:
        self.encoder.take(CELL, allocation(rng), DecisionContext(state(), wanted), self.now_s)
        self.settle(old_values=old_values)
        self.now_s += 0.1

    def settle(self, *, old_values: bool = True, closing: bool = False) -> None:
        """Send what is due, and have it acknowledged, until nothing is."""
        while True:
            self.encoder.kept(frozenset(self.encoder.to_keep()))
            messages = self.encoder.due(self.context(), closing=closing)
            if not messages:
                return
            (message,) = messages  # one at a time: answers name no control
            ((name, shares),) = shares_of(message.message).items()
            (change,) = ccc.decode_control(message.message)
            before = change.new._replace(ratios=ccc.Ratios(*self.at_node[name]))
            outcome = ccc.StructureOutcome(NR_CGI, True, before if old_values else None, change.new)
            self.at_node[name] = shares
            self.sent.append(message.what)
            assert message.on_outcome is not None and message.on_answer is not None
            message.on_outcome(ccc.encode_outcome([outcome], ""))
            message.on_answer(True, echoed=False, now_s=self.now_s)


def test_limits_become_shares_in_steps_and_are_given_back() -> None:
    node = Node()
    node.decide(intent(s2=(30.0, 50.5)))
    assert node.at_node == {"1": (5, 90, 3), "2": (40, 50, 3)}, "30 % of 17 RBGs are 6, 36 %, a whole step more"
    node.decide(intent(s2=(30.0, 50.5)))
    assert node.sent == ["controls"], "nothing changed"
    node.decide(Intent())
    assert node.at_node["2"] == (5, 90, 3) and node.sent == ["controls", "releases"]
    assert node.encoder.limited == 0


def test_a_floor_alone_keeps_the_nodes_ceiling_and_a_cap_alone_its_floor() -> None:
    node = Node()
    node.decide(intent(s1=(95.0, 100.0)))
    assert node.at_node["1"] == (90, 90, 3)
    node.decide(intent(s1=(0.0, 3.0)))
    assert node.at_node["1"] == (3, 3, 3)


def test_what_is_kept_free_for_a_slice_is_what_the_node_has_taken() -> None:
    node = Node()
    kept_free = partial(node.encoder.kept_free_percent, CELL)
    assert kept_free("2") == 0.0, "nothing is known of it yet"
    node.decide(Intent())
    assert kept_free("2") == 5.0, "the node's own"
    node.decide(intent(s2=(30.0, 50.0)))
    assert (kept_free("1"), kept_free("2")) == (5.0, 40.0)
    assert kept_free("") == kept_free("3") == 0.0, "single UEs and slices that it does not have"


def test_the_rate_holds_and_a_broken_cap_goes_first() -> None:
    node = Node(max_controls_per_s=1)
    node.decide(intent(s1=(30.0, 100.0), s2=(0.0, 20.0)))
    assert node.at_node == {"1": (5, 90, 3), "2": (5, 20, 3)}
    node.now_s += 1.0
    node.decide(intent(s1=(30.0, 100.0), s2=(0.0, 20.0)))
    assert node.at_node["1"] == (40, 90, 3)


def test_what_the_node_says_it_had_is_what_it_gets_back() -> None:
    """The configuration was wrong about it."""
    node = Node(before=Quota(0, 100, 0))
    node.decide(intent(s2=(0.0, 40.0)))
    node.decide(Intent())
    assert node.at_node["2"] == (5, 90, 3)


def test_without_a_baseline_nothing_is_sent_unless_the_node_may_be_asked() -> None:
    node = Node(before=None)
    node.decide(intent(s2=(0.0, 40.0)))
    assert node.sent == []
    asked = Node(before=None, learns=True)
    asked.decide(intent(s2=(0.0, 40.0)))
    assert asked.at_node["2"][1] == 40
    asked.decide(Intent())
    assert asked.at_node["2"] == (5, 90, 3)
    silent = Node(before=None, learns=True)
    silent.decide(intent(s2=(0.0, 40.0)), old_values=False)
    silent.decide(intent(s2=(0.0, 20.0)), old_values=False)
    assert silent.sent == ["controls"] and silent.encoder.mute == ("2",) and silent.encoder.limited == 0


def test_a_slice_that_an_earlier_instance_limited_is_given_back_first() -> None:
    store = SharedStore(environ={})
    own = {"sst": 2, "min_ratio": 5, "max_ratio": 90, "dedicated_ratio": 3}
    controls = parse_controls({"nodes": [{"name": NODE, "slices": [own]}]})
    try:
        first = SliceKeeper(controls, store)
        encoder = first.encoder(NODE, (NR_CGI,))
        encoder.take(CELL, allocation(), DecisionContext(state(), intent(s2=(0.0, 40.0))), 0.0)
        ids = itertools.count(1)
        context = SendContext(1, lambda: next(ids), 0.0)
        assert encoder.due(context) == [], "not before it is kept"
        first.save()
        (control,) = encoder.due(context)
        assert shares_of(control.message)["2"] == (5, 40, 3)
        second = SliceKeeper(controls, store).encoder(NODE, (NR_CGI,))
        (release,) = second.due(context)
        assert (release.what, shares_of(release.message)["2"]) == ("releases", (5, 90, 3))
        assert release.on_answer is not None
        release.on_answer(True, echoed=False, now_s=0.0)
        assert second.limited == 0
    finally:
        store.close()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_decided_no_limit_is_broken(seed: int) -> None:
    """Decisions of random weights: allocations at random, limits that change now and then."""
    rng = np.random.default_rng(seed)
    node = Node(max_controls_per_s=10_000)
    limits: dict[str, tuple[float, float]] = {}
    for _ in range(DECISIONS // 4):
        if rng.random() < 0.05:
            # Whole RBGs: two floors that round up together need no more than the cell has.
            least_1 = int(rng.integers(0, 9)) * 100 / 17
            least_2 = int(rng.integers(0, 8)) * 100 / 17
            most_1, most_2 = (float(rng.uniform(least, 100)) for least in (least_1, least_2))
            limits = {"s1": (least_1, most_1), "s2": (least_2, most_2)}
            limits = {name: shares for name, shares in limits.items() if rng.random() < 0.8}
        node.decide(intent(**limits), rng)
        asked = [SliceLimits(name[1:], *_achievable(shares)) for name, shares in limits.items()]
        assert not violations(asked, node.at_node)  # type: ignore[arg-type]
    node.encoder.give_back(CELL)
    node.settle(closing=True)
    assert node.at_node == {"1": (5, 90, 3), "2": (5, 90, 3)} and node.encoder.limited == 0


def _achievable(shares: tuple[float, float]) -> tuple[float, float]:
    """A cap rounds down to whole RBGs, and is stronger than a floor above that; the node's own ceiling stays."""
    most_rbgs = int(shares[1] * 17 / 100 + 1e-9)
    return min(shares[0], most_rbgs * 100 / 17, 90.0), shares[1]
