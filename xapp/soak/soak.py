"""The soak itself: faults in random order, each at least once a minute, and somebody who watches what comes of them."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from xapp.a1.policy_model import POLICY_TYPE_ID, make_policy_type
from xapp.http.rest_client import RestClient, RestError
from xapp.lab.options import LabOptions
from xapp.lab.processes import LabError
from xapp.soak.faults import Fault
from xapp.soak.moody_leader import RAISES, WELL
from xapp.soak.options import SoakOptions
from xapp.soak.result import SoakResult, Usage, growth, most, usage_of
from xapp.soak.soak_lab import SoakLab
from xapp.soak.wire_judge import WireJudge

CAP = "cap"
CAP_PERCENT = 40.0
POLICY = {"limits": {"per_ue": {"max_share_percent": CAP_PERCENT}}}
ROUND_S = 60.0
"""Each fault comes once in so long."""
WATCH_S = 0.05
SETTLED_S = 3.0
"""An xApp's growth is counted from so long after its first decision."""
RECOVERY_S = 30.0
RECOVERED_DECISIONS = 10
BETWEEN_DECISIONS, BACK_S = 20, 10.0
"""Between two faults of processes: so many decisions, or so long."""
ASKED_IN_VAIN = 30
"""The most questions to a leader that has only failed for `faults.MOOD_S`: a breaker opens after fewer."""


class Soak:
    """One run. `run` returns the result."""

    def __init__(
        self, options: SoakOptions, faults: Mapping[str, Fault], on_progress: Callable[[float, str], None]
    ) -> None:
        """on_progress: told of the share that is done and of each fault that begins."""
        self._options, self._faults, self._on_progress = options, faults, on_progress
        self._rng = random.Random(options.seed)
        self._result = SoakResult(options.minutes, options.seed, options.control, options.sabotage)
        self._judge = WireJudge(CAP_PERCENT)
        self._over = threading.Event()
        self._failed: list[BaseException] = []
        self._lab: SoakLab
        self._life: _Life | None = None
        self._gnb_totals: Counter[str] = Counter()
        self._gnb_pid, self._gnb_seen = 0, Counter[str]()

    def run(self) -> SoakResult:
        """Raises LabError where the lab cannot be started or a part of it dies of itself."""
        options = LabOptions(seconds=86_400, ues=self._options.ues, control=self._options.control, seed=1)
        with SoakLab(options, self._judge, random.Random(self._options.seed), self._options.sabotage) as lab:
            self._lab = lab
            lab.wait_first_indication()
            self._put_policy()
            watcher = threading.Thread(target=self._guarded, args=(self._watch,), name="soak-watch", daemon=True)
            watcher.start()
            try:
                self._disturb()
                lab.mood = WELL
                self._recover()
            finally:
                self._over.set()
                watcher.join()
            self._end()
        if self._failed:
            raise self._failed[0]
        return self._result

    def _guarded(self, work: Callable[[], None]) -> None:
        """A thread's fault ends the soak."""
        try:
            work()
        except BaseException as error:
            self._failed.append(error)
            self._over.set()

    def _put_policy(self) -> None:
        client = RestClient("A1 mediator", self._lab.a1_url, timeout_s=5.0)
        path = ("A1-P", "v2", "policytypes", str(POLICY_TYPE_ID))
        client.request("PUT", *path, body=make_policy_type())
        client.request("PUT", *path, "policies", CAP, body=POLICY)

    # -- faults -------------------------------------------------------------------------------------------------------

    def _disturb(self) -> None:
        """Two threads, so that what happens to a process happens amid all the rest."""
        until_s = time.monotonic() + self._options.minutes * 60.0
        threads = [
            threading.Thread(
                target=self._guarded,
                args=(partial(self._rounds, of_process, until_s),),
                daemon=True,
            )
            for of_process in (False, True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)

    def _rounds(self, of_process: bool, until_s: float) -> None:
        """Whole rounds until the time is over, each with every fault once; the first is never cut short."""
        chosen = {name: fault for name, fault in self._faults.items() if fault.is_of_process is of_process}
        rng = random.Random(self._rng.random())
        begun_s, first = time.monotonic(), bool(chosen)
        while first or (chosen and time.monotonic() < until_s):
            round_s = time.monotonic()
            for name in rng.sample(sorted(chosen), len(chosen)):
                if self._over.is_set() or not (first or time.monotonic() < until_s):
                    return
                self._strike(name, chosen[name], rng, (time.monotonic() - begun_s) / max(1e-9, until_s - begun_s))
                if of_process:
                    self._wait_until_it_decides()
                left_s = min(until_s, round_s + ROUND_S) - time.monotonic()
                self._over.wait(max(0.0, min(rng.uniform(0.0, 1.0), left_s)))
            first = False

    def _wait_until_it_decides(self) -> None:
        """For a while: what comes next is to meet an xApp at work."""
        xapp = self._lab.xapp
        assert xapp is not None
        before = xapp.status.get("decisions", 0)
        xapp.wait_status(lambda status: status.get("decisions", 0) >= before + BETWEEN_DECISIONS, BACK_S)

    def _strike(self, name: str, fault: Fault, rng: random.Random, share: float) -> None:
        self._on_progress(min(1.0, share), name)
        asked = self._lab.leader_counts().get(f"asked_{RAISES}", 0)
        fault.run(self._lab, rng)
        self._result.faults[name] += 1
        in_vain = self._lab.leader_counts().get(f"asked_{RAISES}", 0) - asked
        if in_vain > ASKED_IN_VAIN:
            self._result.violations["asked_a_failing_leader"] += in_vain - ASKED_IN_VAIN

    # -- watching -----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._over.is_set():
            self._look()
            self._over.wait(WATCH_S)

    def _look(self) -> None:
        """At the xApp of now, and at the gNB's counts of harm."""
        xapp, gnb = self._lab.xapp, self._lab.gnb
        if xapp is not None:
            if self._life is None or self._life.pid != xapp.pid:
                self._close_life()
                self._life = _Life(xapp.pid, self._judge.acks if self._result.xapp_starts else 0)
                self._result.xapp_starts += 1
            self._life.look(xapp.status)
            self._judge.cap_holds = self._life.cap_holds
        if gnb is not None:
            seen = Counter({name: gnb.status.get(name, 0) for name in HARM})
            if gnb.pid != self._gnb_pid:
                self._gnb_totals += self._gnb_seen
                self._gnb_pid, self._gnb_seen = gnb.pid, Counter()
            self._gnb_seen |= seen

    def _close_life(self) -> None:
        """Book what an xApp came to."""
        life, result = self._life, self._result
        if life is None:
            return
        status = life.status
        result.decisions += status.get("decisions", 0)
        result.alarms_raised += status.get("alarms_raised", 0)
        for who, count in status.get("decided_by", {}).items():
            if who.startswith("fallback:"):
                result.fallbacks[who.removeprefix("fallback:")] += count
        believed = status.get("controls_acked", 0) + status.get("releases_acked", 0)
        result.violations["acknowledged_by_nobody"] += max(0, believed - (self._judge.acks - life.acks_before))
        result.lost_policies += life.lost_policies
        if life.most is not None:
            result.xapp_most = most(result.xapp_most, life.most)
        if life.growth is not None:
            result.xapp_growth = most(result.xapp_growth, life.growth)
        self._life = None

    # -- the end ------------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Wait until the model decides again under the policy; not where a broken part has been found out."""
        if self._options.sabotage and self._judge.violations.total():
            self._result.found_out_early = True
            return
        began_s, xapp = time.monotonic(), self._lab.xapp
        assert xapp is not None
        before = _by_model(xapp.status)

        def recovered(status: dict[str, Any]) -> bool:
            return _cap_holds(status) and _by_model(status) >= before + RECOVERED_DECISIONS

        if xapp.wait_status(recovered, RECOVERY_S):
            self._result.recovered_s = round(time.monotonic() - began_s, 1)
        elif not _cap_holds(xapp.status):
            self._result.lost_policies += 1

    def _end(self) -> None:
        """Look for what is left behind, stop the xApp, and look again."""
        lab, result = self._lab, self._result
        assert lab.xapp is not None and lab.gnb is not None
        result.duplicate_subscriptions = self._duplicates()
        lab.xapp.stop()
        lab.exits.append(lab.xapp.exit_code)
        self._look()
        self._close_life()
        status = lab.gnb.stop()
        self._gnb_totals += Counter({name: status.get(name, 0) for name in HARM})
        result.ues_left_limited = status.get("ues_limited", 0)
        result.failed_exits = sum(code != 0 for code in lab.exits)
        result.violations += self._judge.violations + self._gnb_totals
        result.violations["left_limited"] += result.ues_left_limited
        result.violations["over_cap_by_the_model"] += lab.leader_counts().get("over_cap", 0)
        result.controls_judged, result.pdus_tampered_with = self._judge.controls, lab.e2.tampered

    def _duplicates(self) -> int:
        """Subscriptions beyond one for each node and function."""
        with suppress(RestError, ValueError):
            listing = RestClient("submgr", self._lab.submgr_url, timeout_s=5.0).request(
                "GET", "ric", "v1", "subscriptions"
            )
            wanted = len(self._lab.xapp.status.get("subscriptions", ())) if self._lab.xapp is not None else 0
            return max(0, len(listing.json()) - wanted)
        raise LabError("the subscription manager does not say what it holds")


HARM = ("transmissions_outside_grant", "ue_reports_over_quota")
"""What the gNB counts of itself."""


class _Life:
    """One xApp, from its start to its end."""

    def __init__(self, pid: int, acks_before: int) -> None:
        self.pid, self.acks_before = pid, acks_before
        self.status: dict[str, Any] = {}
        self.cap_holds = False
        self.lost_policies = 0
        self.most: Usage | None = None
        self.settled: Usage | None = None
        self.growth: Usage | None = None
        """The most that it held beyond what it had settled at."""
        self._decided_s = 0.0
        """When its first decision was seen."""

    def look(self, status: dict[str, Any]) -> None:
        self.status = status or self.status
        held, self.cap_holds = self.cap_holds, self.cap_holds or _cap_holds(status)
        if held and status and CAP not in status.get("policies", {}):
            self.lost_policies += 1
            self.cap_holds = False
        usage = usage_of(self.pid)
        if usage is None:
            return
        self.most = most(self.most, usage)
        if self.settled is not None:
            self.growth = most(self.growth, growth(self.settled, usage))
        now_s = time.monotonic()
        self._decided_s = self._decided_s or (now_s if status.get("decisions") else 0.0)
        if self.settled is None and self._decided_s and now_s - self._decided_s >= SETTLED_S:
            self.settled = usage


def _by_model(status: dict[str, Any]) -> int:
    return sum(count for who, count in status.get("decided_by", {}).items() if not who.startswith("fallback:"))


def _cap_holds(status: dict[str, Any]) -> bool:
    return bool(status.get("policies", {}).get(CAP) == "ENFORCED")
