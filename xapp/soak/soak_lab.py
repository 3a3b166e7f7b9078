"""The lab, wired through proxies, with a Redis of its own and a leader that has moods."""

from __future__ import annotations

import json
import os
import random
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from xapp.lab.lab import Lab, free_port
from xapp.lab.options import LabOptions
from xapp.lab.processes import Child
from xapp.soak.e2_proxy import E2Proxy
from xapp.soak.moody_leader import LEADER_VARIABLE, MOOD_VARIABLE, WELL
from xapp.soak.platform_faults import FaultyHttp, FaultyRedis
from xapp.soak.wire_judge import WireJudge

MOODY = "xapp.soak.moody_leader:MoodyLeader"
SABOTAGED = "xapp.soak.sabotage"
BREAKER = {"window_s": 2.0, "fewest": 5, "open_s": 1.0, "trial_decisions": 3}
"""Quick enough that a mood of seconds opens it."""
LEADER_LIMITS = {"give_up_s": 2.0}


class SoakLab(Lab):
    """`sabotage`: names the part of the xApp that is replaced by a broken one; empty = none."""

    def __init__(self, options: LabOptions, judge: WireJudge, rng: random.Random, sabotage: str) -> None:
        super().__init__(options)
        self.judge, self._rng, self._sabotage = judge, rng, sabotage
        self._parts = ExitStack()
        self._own_ports: dict[str, Any] = {}
        """Where the RIC really listens."""
        self.e2: E2Proxy
        self.submgr: FaultyHttp
        self.redis = FaultyRedis(free_port(), Path(self._folder.name))
        self._parts.callback(self.redis.close)
        self._leads = "bundled" if self.options.control == "dcm" else "fair_caps"
        self.mood = WELL
        self._xapp_ports = (free_port(), free_port())
        """Every xApp has the same, as behind a service of Kubernetes."""
        self.exits: list[int | None] = []
        """Status of each xApp that was asked to end."""

    @property
    def mood(self) -> str:
        return self._mood_file.read_text()

    @mood.setter
    def mood(self, mood: str) -> None:
        self._mood_file.write_text(mood)

    @property
    def _mood_file(self) -> Path:
        return Path(self._folder.name) / "mood"

    def leader_counts(self) -> dict[str, int]:
        """What the leaders of all xApps said of themselves."""
        total: dict[str, int] = {}
        for file in Path(self._folder.name).glob("mood.*.counts"):
            for name, count in json.loads(file.read_text()).items():
                total[name] = total.get(name, 0) + count
        return total

    def start_ric(self) -> None:
        first = not self._own_ports
        self._ric_ports = self._own_ports
        super().start_ric()
        self._own_ports = self._ric_ports
        if first:
            self.e2 = E2Proxy(self._own_ports["e2_port"], self._rng, self.judge.see)
            self.submgr = FaultyHttp(self._own_ports["submgr_port"])
            self._parts.callback(self.submgr.close)
            self._parts.callback(self.e2.close)
        self._ric_ports = {**self._own_ports, "e2_port": self.e2.port, "submgr_port": self.submgr.port}

    @property
    def submgr_url(self) -> str:
        """The subscription manager itself."""
        return f"http://127.0.0.1:{self._own_ports['submgr_port']}"

    def descriptor(self) -> dict[str, Any]:
        descriptor = super().descriptor()
        for interface, port in zip(("rmr", "http"), self._xapp_ports):
            descriptor["controls"][interface]["port"] = port
        descriptor["controls"] |= {"leader": MOODY, "breaker": BREAKER, "leader_limits": LEADER_LIMITS}
        return descriptor

    def _xapp_env(self, route_port: int) -> dict[str, str]:
        return super()._xapp_env(route_port) | {
            "DBAAS_SERVICE_HOST": "127.0.0.1",
            "DBAAS_SERVICE_PORT": str(self.redis.port),
            MOOD_VARIABLE: str(self._mood_file),
            LEADER_VARIABLE: self._leads,
        }

    def start_xapp(self, *, leader: str = "", wait: bool = True) -> None:
        self.judge.cap_holds = False
        if not self._sabotage:
            super().start_xapp(leader=leader, wait=wait)
            return
        run = ["run", "--config", str(self.config)]
        env = self._xapp_env(self._route_port)
        self.xapp = Child("run", run, env=env, program=(SABOTAGED, self._sabotage))
        if wait:
            self._wait_xapp()

    def __exit__(self, *_: object) -> None:
        for child in (self.xapp, self.gnb, self.ric):
            if child is not None and child.running:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGCONT)  # one that stands still would not be stopped
        super().__exit__()
        self._parts.close()
