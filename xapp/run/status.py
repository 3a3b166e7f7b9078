"""What a running xApp says of itself: its status, its gauges, and its symptom data. Reads only; blocks nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from xapp.a1.enforcement import Enforcement
from xapp.control.decision_record import DecisionLog
from xapp.explain.document import summary
from xapp.leader.circuit_breaker import BreakerState
from xapp.monitoring.process import rss_mb
from xapp.monitoring.symptom_data import versions
from xapp.packaging.descriptor import completed
from xapp.ric.leader_election import Role
from xapp.ric.subscription_state import SubscriptionState
from xapp.run.parts import Parts

SYMPTOM_DECISIONS = 200
"""Newest decisions of each cell in symptom data ..."""
MAX_SYMPTOM_DECISIONS = 2000
"""... and of all cells together."""


RMR_NONE_YET = {"route_tables": 0, "no_route": 0}
"""What an operator looks for, there before the first was counted."""


def status_of(parts: Parts) -> dict[str, Any]:
    """Counters, times, the newest decision of each cell, and what the doctor asks for: GET /ric/v1/status."""
    statuses = parts.cells.subscriptions.statuses()
    policies, targets = parts.policies.statuses(), parts.policies.targets()
    return {
        "name": parts.configuration.name,
        "leader": parts.controls.leader,
        "deadline_ms": parts.controls.deadline_ms,
        **parts.metrics.summary(),
        "pacer": parts.loop.heartbeat.problem,
        "leader_problem": parts.loop.watched_leader.problem,
        "breaker": parts.loop.watched_leader.status(),
        "kpi_guard": parts.kpi_guards.summary(),
        "rss_mb": rss_mb(),
        "cells": parts.loop.last_decisions(),
        "effects": parts.cells.effects(parts.sender.epoch),
        "nodes": {name: node.connected for name, node in parts.watcher.nodes.items()},
        "node_problems": parts.cells.problems(),
        "node_dialects": parts.cells.dialects(),
        "report_problems": parts.cells.report_problems(),
        "node_roles": parts.cells.roles(),
        "node_entries_unmatched": parts.cells.unmatched(),
        "silent_cells": {
            cell: {"silent_s": round(silence.seconds, 1), "evidence": silence.evidence, "text": str(silence)}
            for cell, silence in parts.cells.silences().items()
        },
        "ues_limited": sum(kind.limited for kind in parts.kinds.values()),
        "subscriptions": {"/".join(map(str, status.key)): status.state.value for status in statuses},
        "subscription_errors": {
            "/".join(map(str, status.key)): status.last_error for status in statuses if status.last_error
        },
        "subscriptions_requested": parts.cells.subscriptions.requested,
        "subscriptions_deleted": parts.cells.subscriptions.deleted,
        "instance": parts.leader_election.status(),
        "alarms_raised": parts.alarms.raised,
        "alarms": [
            {"problem": alarm.problem.name.lower(), "what": alarm.what, "more": alarm.more, "since_ms": alarm.since_ms}
            for alarm in parts.alarms.active()
        ],
        "task_failures": {name: failure._asdict() for name, failure in parts.task_runner.failures.items()},
        "sdl_healthy": parts.store.healthy,
        "sdl_takes_writes": parts.store.takes_writes,
        "routes_loaded": parts.transport.ready,
        "rmr_endpoint": f"{parts.endpoint.rmr_host}:{parts.endpoint.rmr_port}",
        "registered": parts.registrar.registered,
        "policies": {name: status.enforcement.value for name, status in policies.items()},
        "policy_reasons": parts.policies.main_reasons(policies, targets),
        "targets": targets,
        "policies_refused": parts.policies.a1.refused,
        "configuration": parts.configuration.status(),
        "rmr": RMR_NONE_YET | parts.transport.counters,
    }


def open_status(status: dict[str, Any]) -> dict[str, Any]:
    """Of status_of what everybody may see: without what somebody needs who would pass for a node, or for us."""
    return {**status, "instance": {name: value for name, value in status["instance"].items() if name != "epoch"}}


def set_gauges(parts: Parts) -> None:
    """Every one of metrics.GAUGES."""
    states = [status.state for status in parts.cells.subscriptions.statuses()]
    configuration = parts.configuration.status()
    policies = [status.enforcement for status in parts.policies.statuses().values()]
    for name, value in {
        "in_control": parts.leader_election.role is Role.CONTROL,
        "registered": parts.registrar.registered,
        "rmr_ready": parts.transport.ready,
        "sdl_healthy": parts.store.healthy,
        "nodes_connected": sum(node.connected for node in parts.watcher.nodes.values()),
        "subscriptions_wanted": len(states),
        "subscriptions_active": states.count(SubscriptionState.ACTIVE),
        "cells": len(parts.receiver.links()),
        "ue_twins": sum(sum(link.tracker.twins.values()) for link in parts.receiver.links()),
        "ues_limited": sum(kind.limited for kind in parts.kinds.values()),
        "quotas_waiting": sum(kind.waiting for kind in parts.kinds.values()),
        "policies": len(policies),
        "policies_not_enforced": policies.count(Enforcement.NOT_ENFORCED),
        "pacer_stands_still": bool(parts.loop.heartbeat.problem),
        "breaker_open": parts.loop.watched_leader.breaker.state is not BreakerState.CLOSED,
        **parts.kpi_guards.counts(),
        "alarms_active": len(parts.alarms.active()),
        "configuration_error": bool(configuration["error"]),
        "restart_needed": len(configuration["restart_needed"]),
    }.items():
        parts.metrics.set_state(name, float(value))


def add_sources(parts: Parts) -> None:
    """Counters that others keep."""
    add = parts.metrics.add_source
    add("rmr_events", "RMR: sent, received, and each kind of drop.", "event", lambda: parts.transport.counters)
    add("sdl_calls", "Calls to the shared data layer, by result.", "result", lambda: parts.store.counters)
    parts.metrics.add_states(
        "alarm", "Conditions that last, by the alarm that they raise.", "problem", parts.alarms.lasting
    )
    add("subscription_events", "What became of subscriptions.", "event", lambda: parts.cells.subscriptions.counters)


def symptom_parts(parts: Parts, log_lines: Callable[[], list[str]]) -> dict[str, Callable[[], Any]]:
    """Name of a file -> what goes into it: GET /ric/v1/symptomdata."""
    return {
        "status.json": lambda: status_of(parts),
        "configuration.json": lambda: completed(parts.configuration.document()),
        "policies.json": parts.policies.rows,
        "decisions.json": lambda: _decision_lines(parts.loop.log),
        "subscriptions.json": lambda: [asdict(status) for status in parts.cells.subscriptions.statuses()],
        "guard.json": parts.kpi_guards.document,
        "nodes.json": lambda: {
            name: {
                "connected": node.connected,
                "functions": [
                    {"id": f.id, "oid": f.oid, "revision": f.revision, "definition": f.definition.hex()}
                    for f in node.functions
                ],
            }
            for name, node in parts.watcher.nodes.items()
        },
        "metrics.txt": parts.metrics.prometheus,
        "log.txt": lambda: iter(log_lines()),
        "versions.json": versions,
    }


def _decision_lines(decisions: DecisionLog) -> Iterator[str]:
    """JSON, one decision a line: the newest of each cell, fewer where cells are many."""
    cells = [kept.cell for kept in decisions.cells()]
    each = max(1, min(SYMPTOM_DECISIONS, MAX_SYMPTOM_DECISIONS // max(1, len(cells))))
    yield "{"
    for number, cell in enumerate(cells):
        yield f"{',' if number else ''} {json.dumps(cell)}: ["
        for place, record in enumerate(decisions.newest(cell, each)):
            yield f"{',' if place else ''}  {json.dumps(summary(record), default=str)}"
        yield " ]"
    yield "}"
