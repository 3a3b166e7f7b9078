"""The faults of a soak: each begins, lasts a while and is over when its function returns."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial
from typing import NamedTuple

from policy.errors import UserMistake
from training.command_line.values import names_in
from xapp.http.rest_client import RestClient, RestError
from xapp.lab.processes import Child
from xapp.soak.e2_proxy import Tampering
from xapp.soak.moody_leader import ENDLESS, GREEDY, HUGE, RAISES, SLOW, WELL
from xapp.soak.soak_lab import SoakLab

Run = Callable[[SoakLab, random.Random], None]
TAMPERED_S = 1.0
FLOODED_S = 0.25
FROZEN_S = 1.0
PLATFORM_S = 1.5
MOOD_S = 4.0
LONG_MOOD_S = 3.0
RUBBISH = b"\xff{{{" * 50
POLICY_TYPE = "20100"


class Fault(NamedTuple):
    run: Run
    is_of_process: bool = False
    """Whoever is meant is killed, frozen or restarted: one at a time."""


def tamper(tampering: Tampering, seconds: float, lab: SoakLab, rng: random.Random) -> None:
    """Tamper with E2 for a while."""
    lab.e2.tampering = tampering
    time.sleep(seconds)
    lab.e2.tampering = Tampering.NONE


def mood(name: str, seconds: float, lab: SoakLab, rng: random.Random) -> None:
    """Put the leader into a mood for a while."""
    lab.mood = name
    time.sleep(seconds)
    lab.mood = WELL


def kill_xapp(lab: SoakLab, rng: random.Random) -> None:
    """Kill the xApp and start it again."""
    assert lab.xapp is not None
    lab.xapp.kill()
    time.sleep(rng.uniform(0.0, 0.5))
    lab.start_xapp()


def restart_xapp(lab: SoakLab, rng: random.Random) -> None:
    """Stop the xApp by SIGTERM and start it again."""
    assert lab.xapp is not None
    lab.xapp.stop()
    lab.exits.append(lab.xapp.exit_code)
    lab.start_xapp()


def kill_gnb(lab: SoakLab, rng: random.Random) -> None:
    """Kill the node and start it again."""
    assert lab.gnb is not None
    lab.gnb.kill()
    lab.start_gnb()


def kill_ric(lab: SoakLab, rng: random.Random) -> None:
    """Kill the whole platform and start it again."""
    assert lab.ric is not None
    lab.ric.kill()
    lab.start_ric()


def freeze(who: str, lab: SoakLab, rng: random.Random) -> None:
    """Let a process stand still for a while."""
    child: Child = getattr(lab, who)
    with suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(FROZEN_S)
        os.kill(child.pid, signal.SIGCONT)


def stall_redis(lab: SoakLab, rng: random.Random) -> None:
    lab.redis.stall(PLATFORM_S)
    time.sleep(PLATFORM_S)


def fill_redis(lab: SoakLab, rng: random.Random) -> None:
    lab.redis.fill(True)
    time.sleep(PLATFORM_S)
    lab.redis.fill(False)


def read_only_redis(lab: SoakLab, rng: random.Random) -> None:
    lab.redis.make_read_only(True)
    time.sleep(PLATFORM_S)
    lab.redis.make_read_only(False)


def spoil_submgr(status: int, body: bytes, lab: SoakLab, rng: random.Random) -> None:
    """Answer whatever the subscription manager is asked so. It is asked again only when something is to be done."""
    lab.submgr.answer = status, body
    time.sleep(PLATFORM_S)
    lab.submgr.answer = None


def policy_storm(lab: SoakLab, rng: random.Random) -> None:
    """Policies come, change and go."""
    client = RestClient("A1 mediator", lab.a1_url, timeout_s=2.0)
    path = ("A1-P", "v2", "policytypes", POLICY_TYPE, "policies")
    with suppress(RestError):
        for k in range(10):
            client.request("PUT", *path, f"storm-{k % 3}", body={"objective": {"alpha": 1.0 + k % 3}})
        for k in range(3):
            client.request("DELETE", *path, f"storm-{k}")


FAULTS: dict[str, Fault] = {
    "e2_delay": Fault(partial(tamper, Tampering.DELAY, TAMPERED_S)),
    "e2_drop": Fault(partial(tamper, Tampering.DROP, TAMPERED_S)),
    "e2_duplicate": Fault(partial(tamper, Tampering.DUPLICATE, TAMPERED_S)),
    "e2_corrupt": Fault(partial(tamper, Tampering.CORRUPT, TAMPERED_S)),
    "e2_reorder": Fault(partial(tamper, Tampering.REORDER, TAMPERED_S)),
    "e2_flood": Fault(partial(tamper, Tampering.FLOOD, FLOODED_S)),
    "e2_forged_report": Fault(partial(tamper, Tampering.FORGED_REPORT, FLOODED_S)),
    "e2_forged_refusal": Fault(partial(tamper, Tampering.FORGED_REFUSAL, FLOODED_S)),
    "redis_stall": Fault(stall_redis),
    "redis_full": Fault(fill_redis),
    "redis_read_only": Fault(read_only_redis),
    "submgr_5xx": Fault(partial(spoil_submgr, 503, b"{}")),
    "submgr_garbage": Fault(partial(spoil_submgr, 200, RUBBISH)),
    "leader_raises": Fault(partial(mood, RAISES, MOOD_S)),
    "leader_slow": Fault(partial(mood, SLOW, LONG_MOOD_S)),
    "leader_endless": Fault(partial(mood, ENDLESS, FLOODED_S)),
    "leader_huge": Fault(partial(mood, HUGE, FLOODED_S)),
    "leader_greedy": Fault(partial(mood, GREEDY, TAMPERED_S)),
    "policy_storm": Fault(policy_storm),
    "xapp_kill": Fault(kill_xapp, True),
    "xapp_restart": Fault(restart_xapp, True),
    "xapp_freeze": Fault(partial(freeze, "xapp"), True),
    "gnb_kill": Fault(kill_gnb, True),
    "gnb_freeze": Fault(partial(freeze, "gnb"), True),
    "ric_kill": Fault(kill_ric, True),
    "ric_freeze": Fault(partial(freeze, "ric"), True),
}
"""By name, as the ledger counts them."""


def chosen_faults(patterns: str) -> dict[str, Fault]:
    """The faults whose names fit one of the comma-separated patterns; all for none. Raises UserMistake."""
    chosen: dict[str, Fault] = {}
    for pattern in names_in(patterns) or ["*"]:
        fitting = {name: fault for name, fault in FAULTS.items() if fnmatchcase(name, pattern)}
        if not fitting:
            raise UserMistake(f"--faults {pattern!r} fits none of {', '.join(FAULTS)}")
        chosen |= fitting
    return chosen
