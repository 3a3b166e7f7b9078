"""`python -m xapp.soak.sabotage PART run ...`: the xApp with one part swapped for a broken one.

A soak that cannot tell this xApp from a whole one proves nothing. There is no switch in what `stackmac run` loads: the
part is replaced from outside, before the command begins.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from typing import Any

from policy.allocation import Allocation
from policy.intent import Intent


def break_guard() -> None:
    """Let every allocation pass as it was proposed."""
    import xapp.control.control_loop as control_loop

    def blind(proposal: Allocation, state: Any, intent: Any) -> tuple[Allocation, tuple[str, ...]]:
        return proposal, ()

    control_loop.guard = blind  # type: ignore[assignment]


def break_grammar() -> None:
    """Let the leader speak as if no policy limited anybody."""
    from policy.engine.leader import EngineLeader

    decide = EngineLeader.decide

    def unlimited(self: EngineLeader, states: Any, intents: Any, expired: Any) -> Any:
        return decide(self, states, [Intent()] * len(states), expired)

    EngineLeader.decide = unlimited  # type: ignore[method-assign]


def break_dedupe() -> None:
    """Take every report for a newer one, whatever its number."""
    from xapp.control.report_sequence import ReportSequence

    def believe(self: ReportSequence, sn: int | None) -> bool:
        self.last = sn
        return True

    ReportSequence.take = believe  # type: ignore[method-assign]


def break_ack() -> None:
    """Take the newest control for obeyed whenever a report comes: nobody has to acknowledge anything."""
    from xapp.control.sender import ControlSender

    send = ControlSender._send

    def believe(self: ControlSender, target: Any, message: Any) -> Any:
        sent = send(self, target, message)
        self._metrics.count(f"{message.what}_acked")
        return sent

    ControlSender._send = believe  # type: ignore[method-assign]


def break_release() -> None:
    """Leave cells and UEs as they are, at every stop and start."""
    from xapp.control.sender import ControlSender

    ControlSender.release_all = lambda self: None  # type: ignore[method-assign]
    ControlSender.release = lambda self, cell, outcome=None: False  # type: ignore[method-assign]


def break_breaker() -> None:
    """Ask the leader whatever became of the last answers."""
    from xapp.leader.circuit_breaker import CircuitBreaker

    CircuitBreaker.may_ask = lambda self, now_s: True  # type: ignore[method-assign]


SABOTAGES: dict[str, Callable[[], None]] = {
    "guard": break_guard,
    "grammar": break_grammar,
    "dedupe": break_dedupe,
    "ack": break_ack,
    "release": break_release,
    "breaker": break_breaker,
}


def main() -> None:
    """Break the part that the first word names, and run the command that the others are."""
    program, part, *command = sys.argv
    SABOTAGES[part]()
    sys.argv = [program, *command]
    runpy.run_module("xapp.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
