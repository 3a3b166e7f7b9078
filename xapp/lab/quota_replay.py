"""A gNB of today in the simulator: a leader's decisions become quotas, and the node's own scheduler plays under them.

The live path without E2: the same quotas (xapp.quotas.allocation_to_quota), the same book of what is sent when, the
same MAC rule. A quota is in force from the period that begins with its report; live it is so a few slots later.
"""

from __future__ import annotations

from policy.guard import guard
from policy.intent import Intent
from policy.leader import Leader, never_expires
from policy.observation import FULL, make_profile, observed
from policy.time_scales import SLOT_MS
from training.replay import Worlds
from training.simulator.cell import CellBatch
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import Scenario
from xapp.lab.gnb.quota_table import QuotaTable
from xapp.lab.gnb.ran_functions import make_carriers
from xapp.quotas.allocation_to_quota import CellQuotas, QuotaRules
from xapp.quotas.quota_book import QuotaBook

WITHOUT_END = 10_000
"""Controls that may be sent at a time: the rate limit is what counts."""


class _Cell:
    """What xApp and node keep of one cell; each cell is a node of its own."""

    def __init__(self, scenario: Scenario, rules: QuotaRules) -> None:
        self.quotas, self.book = CellQuotas(rules), QuotaBook(rules)
        self.table = QuotaTable(make_carriers(1, 1, scenario.num_rbgs)[0])


def replay_under_quotas(
    scenario: Scenario,
    leader: Leader,
    worlds: Worlds,
    *,
    rules: QuotaRules | None = None,
    intent: Intent | None = None,
) -> list[CellMetrics]:
    """Metrics of each cell after its periods. Raises ValueError for an unknown profile."""
    rules, intent, profile = rules or QuotaRules(), intent or Intent(), make_profile(worlds.get("observe", FULL))
    cells, followers = worlds["cells"], worlds.get("followers", "best_response")
    batch = CellBatch(scenario, cells, worlds["ues"], worlds["seed"])
    nodes = [_Cell(scenario, rules) for _ in range(cells)]
    for period in range(worlds["periods"]):
        now_s = period * scenario.slots_per_dcm * SLOT_MS / 1e3
        states = [observed(state, profile) for state in batch.observe()]
        decisions = leader.decide(states, [intent] * cells, never_expires)
        allocations = []
        for node, state, decision in zip(nodes, states, decisions, strict=True):
            allocation, _ = guard(decision.allocation, state, intent)
            node.book.want(state.cell, node.quotas.update(allocation, state, intent), now_s)
            node.book.kept(node.book.to_keep())
            node.table.keep(state.ue_ids)
            for order in node.book.due(now_s, WITHOUT_END):
                there = order.ue in state.ue_ids
                if there:
                    node.table.set(order.ue, order.quota, batch.slot)
                node.book.on_answer(order.ue, there, now_s)
            allocations.append(node.table.allocation(state.ue_ids, scenario.node_contenders))
        batch.play(allocations, scenario.slots_per_dcm, followers)
    return batch.metrics()
