"""The xApp's life cycle: what is started in which order, and a stop that leaves no trace.

Everything that may block (HTTP, SDL, DNS) is a task of the task runner; the decision path never waits for it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from policy.leader import Leader
from xapp.a1.api import policy_router
from xapp.config.live import Configuration
from xapp.config.model import Controls
from xapp.control.observer import Observer
from xapp.explain.api import decision_router
from xapp.http.routes import build_app
from xapp.http.server import BackgroundServer, listen
from xapp.http.token_file import ServedToken
from xapp.kpi_guard.api import guard_router
from xapp.monitoring.metrics import Metrics
from xapp.monitoring.symptom_data import SymptomData
from xapp.packaging.descriptor import completed
from xapp.ric.leader_election import Role
from xapp.run.parts import Parts, wire
from xapp.run.periodic_tasks import PeriodicTasks
from xapp.run.status import add_sources, open_status, status_of, symptom_parts
from xapp.run.stop_budget import OTHERS_S, OWN_S, Deadline

log = logging.getLogger(__name__)

CONFIG_TYPE = "json"
MAX_LAST_CONTROL_S = 1.0
"""The longest time that a stopping xApp leaves its last control in force."""
RELEASE_ANSWER_S = 1.5
"""How long a stopping xApp waits for the nodes to acknowledge its releases."""
TASKS_STOP_S = 1.0
"""How long a stopping xApp waits for a request of its task runner to come back."""
LEAVE_S = 0.5
"""Of what is left for others, kept for the last word in shared data: the next instance need not wait for this one."""


class App:
    """One running xApp. `start` raises OSError for a port that cannot be bound, UserMistake for RMR_* and a token."""

    def __init__(
        self,
        controls: Controls | Configuration,
        leader: Leader,
        *,
        observer: Observer | None = None,
        log_lines: Callable[[], list[str]] = list,
        renew_leader: Callable[[], Leader] | None = None,
    ) -> None:
        """Controls alone never change; a Configuration follows its file. observer: who records. log_lines: the newest
        ones, for symptom data. renew_leader: makes a leader in the place of one that did not return.
        """
        self._log_lines = log_lines
        self.configuration = controls if isinstance(controls, Configuration) else Configuration(controls)
        self.metrics = Metrics()
        self._leader, self._renew_leader = leader, renew_leader
        self.observer = observer or Observer()

    def start(self, on_begin: Callable[[], None] = lambda: None) -> None:
        """Open the endpoints and begin; returns once HTTP answers. on_begin: called right before anything begins that
        `stop` would have to give back.
        """
        with ExitStack() as opened:
            self._open(opened)
            on_begin()
            opened.pop_all()
        PeriodicTasks(self.parts).add()
        self.parts.receiver.start()
        self.parts.loop.start()
        self.parts.task_runner.start()

    def _open(self, opened: ExitStack) -> None:
        """What was opened before something failed is closed again."""
        http = self.configuration.controls.http
        self._token = ServedToken(Path(http.token_file)) if http.token_file else None
        listener = listen(http.bind_host, http.port)
        opened.callback(listener.close)
        self.parts: Parts = wire(
            self.configuration,
            self._leader,
            self.metrics,
            self.observer,
            http_port=listener.getsockname()[1],
            opened=opened,
            renew_leader=self._renew_leader,
        )
        add_sources(self.parts)
        self.server = BackgroundServer(self._routes(), listener=listener)
        opened.callback(self.server.close)
        if not self.server.wait_started():
            raise OSError(f"no HTTP server on {http.bind_host}:{self.server.port}")

    def _routes(self) -> FastAPI:
        parts = self.parts
        routes = build_app(
            ready=self.ready,
            config=self._config,
            metrics=self.metrics.prometheus,
            status=self.status,
            open_status=open_status,
            symptoms=SymptomData(symptom_parts(parts, self._log_lines)).newest,
            on_notification=parts.cells.subscriptions.on_notification,
            problem=lambda: parts.loop.heartbeat.problem,
            token=self._token,
        )
        routes.include_router(decision_router(parts.loop.log))
        routes.include_router(policy_router(parts.policies.rows))
        routes.include_router(guard_router(parts.kpi_guards))
        return routes

    def stop(self) -> None:
        """Stop deciding, give every cell back, unsubscribe, close. Others get OTHERS_S to answer, all together; a step
        that fails is logged, and the next is made.
        """
        parts, others = self.parts, Deadline(OTHERS_S)
        self._attempt(
            parts.loop.close,
            lambda: self._give_back(others),
            lambda: parts.task_runner.stop(others.left_s(TASKS_STOP_S)),
            lambda: self._let_go(others),
            self._close,
        )

    def _close(self) -> None:
        """What is this process's own, side by side: each may take its time under load."""
        parts, own = self.parts, Deadline(OWN_S)
        threads = (
            self._begin("close RMR", parts.receiver.close, parts.alarm_line.close, parts.transport.close),
            self._begin("close HTTP", self.server.close),
        )
        for thread in threads:
            thread.join(own.left_s())

    def _attempt(self, *steps: Callable[[], object]) -> None:
        for step in steps:
            try:
                step()
            except Exception:  # whatever it was: the steps after it matter as much
                self.metrics.drop("stop_error")
                log.exception("a step of the stop failed")

    def _give_back(self, others: Deadline) -> None:
        """Every cell, and wait for the nodes' answers."""
        sender = self.parts.sender
        # The last control takes effect at a period boundary; its own release must not overtake it.
        time.sleep(min(MAX_LAST_CONTROL_S, 2 * self.parts.controls.report_period_ms / 1e3))
        sender.release_all()
        answers = Deadline(others.left_s(RELEASE_ANSWER_S))
        while sender.unfinished and answers.left_s():
            time.sleep(0.01)
            sender.pump()  # what was being sent when all was released has to be given back, too; nobody else asks

    def _let_go(self, others: Deadline) -> None:
        """Tell the platform and shared data, none of whom waits for another. In threads: the time-outs of HTTP and
        Redis do not cover DNS.
        """
        parts, until_leave_s = self.parts, others.left_s() - LEAVE_S
        threads = (
            self._begin("unsubscribe", lambda: parts.cells.subscriptions.close(until_leave_s)),
            self._begin("deregister", parts.alarms.clear_all, lambda: parts.registrar.deregister(until_leave_s)),
            self._begin("withdraw", parts.save_quotas, self._withdraw),
        )
        for thread in threads:
            thread.join(others.left_s() - LEAVE_S)
        # Not before: the next instance takes over what is left of the subscriptions.
        self._begin("leave", parts.leader_election.leave).join(others.left_s())
        parts.store.close(others.left_s())
        if parts.policy_store is not parts.store:
            parts.policy_store.close(others.left_s())

    def _withdraw(self) -> None:
        if self.parts.leader_election.role is Role.CONTROL:
            self.parts.sdl_documents.withdraw()

    def _begin(self, name: str, *steps: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=self._attempt, args=steps, name=name, daemon=True)
        thread.start()
        return thread

    def ready(self) -> tuple[bool, str]:
        """Whether the xApp can do its work, else why not: for GET /ric/v1/health/ready."""
        if problem := self.parts.loop.heartbeat.problem:
            return False, problem
        if not self.parts.transport.ready:
            return False, "no route table"
        if not self.parts.store.healthy:
            return False, "shared data layer does not answer"
        role = self.parts.leader_election.role
        if self.parts.leader_election.is_refused:
            return False, "a node refused this instance's epoch: it stands by, and will come back"
        if role is not Role.CONTROL:
            return False, f"another instance controls ({role.value})"
        return True, ""

    def status(self) -> dict[str, Any]:
        """Return what `status_of` says."""
        return status_of(self.parts)

    def _config(self) -> list[dict[str, Any]]:
        """The shape that appmgr asks for: the whole descriptor, as text."""
        metadata = {"xappName": self.configuration.name, "configType": CONFIG_TYPE}
        return [{"metadata": metadata, "config": json.dumps(completed(self.configuration.document()))}]
