"""What a running xApp says of itself: its status, its gauges, and its symptom data. Reads only; blocks nowhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from xapp.a1.enforcement import Enforcement
from xapp.explain.document import summary
from xapp.monitoring.symptom_data import versions
from xapp.packaging.descriptor import completed
from xapp.ric.subscription_state import SubscriptionState
from xapp.ric.succession import Role

if TYPE_CHECKING:
    from xapp.run.app import App

SYMPTOM_DECISIONS = 200
"""Newest decisions of each cell in symptom data."""


def status_of(app: App) -> dict[str, Any]:
    """Counters, times, the newest decision of each cell, and what the doctor asks for: GET /ric/v1/status."""
    statuses = app.subscriptions.statuses()
    return {
        "name": app.configuration.name,
        "leader": app.controls.leader,
        "deadline_ms": app.controls.deadline_ms,
        **app.metrics.summary(),
        "cells": app.loop.last_decisions(),
        "effects": app.cells.effects(app.sender.epoch),
        "nodes": {name: node.connected for name, node in app.watcher.nodes.items()},
        "node_problems": app.cells.problems(),
        "ues_limited": app.quotas.limited,
        "subscriptions": {"/".join(map(str, status.key)): status.state.value for status in statuses},
        "subscription_errors": {
            "/".join(map(str, status.key)): status.last_error for status in statuses if status.last_error
        },
        "instance": app.succession.status(),
        "alarms": [
            {"problem": alarm.problem.name.lower(), "what": alarm.what, "more": alarm.more, "since_ms": alarm.since_ms}
            for alarm in app.alarms.active()
        ],
        "sdl_healthy": app.store.healthy,
        "routes_loaded": app.transport.ready,
        "rmr_endpoint": f"{app.endpoint.rmr_host}:{app.endpoint.rmr_port}",
        "registered": app.registrar.registered,
        "policies": app.policies.status(),
        "configuration": app.configuration.status(),
        "rmr": app.transport.counters,
    }


def set_gauges(app: App) -> None:
    """Every one of metrics.GAUGES."""
    states = [status.state for status in app.subscriptions.statuses()]
    configuration, policies = app.configuration.status(), list(app.policies.status().values())
    for name, value in {
        "in_control": app.succession.role is Role.CONTROL,
        "registered": app.registrar.registered,
        "rmr_ready": app.transport.ready,
        "sdl_healthy": app.store.healthy,
        "nodes_connected": sum(node.connected for node in app.watcher.nodes.values()),
        "subscriptions_wanted": len(states),
        "subscriptions_active": states.count(SubscriptionState.ACTIVE),
        "cells": len(app.intake.links()),
        "ues_limited": app.quotas.limited,
        "quotas_waiting": app.quotas.waiting,
        "policies": len(policies),
        "policies_not_enforced": policies.count(Enforcement.NOT_ENFORCED.value),
        "alarms_active": len(app.alarms.active()),
        "configuration_error": bool(configuration["error"]),
        "restart_needed": len(configuration["restart_needed"]),
    }.items():
        app.metrics.set_state(name, float(value))


def add_sources(app: App) -> None:
    """Counters that others keep."""
    add = app.metrics.add_source
    add("rmr_events", "RMR: sent, received, and each kind of drop.", "event", lambda: app.transport.counters)
    add("sdl_calls", "Calls to the shared data layer, by result.", "result", lambda: app.store.counters)
    add("subscription_events", "What became of subscriptions.", "event", lambda: app.subscriptions.counters)


def symptom_parts(app: App, log_lines: Callable[[], list[str]]) -> dict[str, Callable[[], Any]]:
    """Name of a file -> what goes into it: GET /ric/v1/symptomdata."""
    return {
        "status.json": lambda: status_of(app),
        "configuration.json": lambda: completed(app.configuration.document()),
        "policies.json": app.policies.rows,
        "decisions.json": lambda: {
            kept.cell: [summary(record) for record in app.loop.log.newest(kept.cell, SYMPTOM_DECISIONS)]
            for kept in app.loop.log.cells()
        },
        "subscriptions.json": lambda: [asdict(status) for status in app.subscriptions.statuses()],
        "nodes.json": lambda: {
            name: {
                "connected": node.connected,
                "functions": [
                    {"id": f.id, "oid": f.oid, "revision": f.revision, "definition": f.definition.hex()}
                    for f in node.functions
                ],
            }
            for name, node in app.watcher.nodes.items()
        },
        "metrics.txt": app.metrics.prometheus,
        "log.txt": lambda: "\n".join(log_lines()),
        "versions.json": versions,
    }
