"""What 256 maximal policies cost: `python -m tests.benchmarks.policies`.

Once for every change of them, and for a decision about 32 UEs that have just come; beside it the same under one policy.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "shared"))
from many_policies import cell, maximal

from xapp.a1.enforcement import PoliciesInForce
from xapp.a1.mediator_client import MAX_POLICIES
from xapp.a1.policy_set import PolicySet

DECISIONS = 200


def main() -> None:
    for count in (1, MAX_POLICIES):
        policies = {f"p{number:03d}": maximal(number) for number in range(count)}
        in_force = PoliciesInForce()
        in_force.intent_for(cell(0))
        started_s = time.perf_counter()
        in_force.change(lambda known, new=policies: PolicySet(new))  # type: ignore[misc]
        change_ms = (time.perf_counter() - started_s) * 1e3
        took_ms = []
        for first_ue in range(DECISIONS):
            state, started_s = cell(first_ue), time.perf_counter()
            in_force.intent_for(state)
            took_ms.append((time.perf_counter() - started_s) * 1e3)
        p50, p99 = statistics.median(took_ms), statistics.quantiles(took_ms, n=100)[98]
        print(f"{count} policies: a change {change_ms:.0f} ms; a decision's intent p50 {p50:.2f} ms, p99 {p99:.2f} ms")


if __name__ == "__main__":
    main()
