"""Operators' policies in the xApp, from the mediator's message to the intent of a decision, and their status."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xapp.a1.enforcement import PoliciesInForce, PolicyStatus
from xapp.a1.mediator_client import A1Policies
from xapp.a1.policy_model import POLICY_TYPE_ID, Policy
from xapp.a1.policy_set import PolicySet
from xapp.a1.standard_types import StandardPolicy, type_names
from xapp.a1.standard_words import main_reason, what_holds
from xapp.config.model import Controls
from xapp.control.cell_link import CellLink
from xapp.monitoring.metrics import Metrics
from xapp.ric.sdl import SharedStore
from xapp.rmr.transport import Transport


class Policies:
    """What A1 brings is in force with the next decision, under the configuration of the time."""

    def __init__(
        self,
        controls: Controls,
        transport: Transport,
        store: SharedStore,
        metrics: Metrics,
        *,
        handler_id: str,
        links: Callable[[], Sequence[CellLink]],
        beside: Callable[[str], Mapping[str, frozenset[int]]] = lambda cell: {},
        link_of: Callable[[str], CellLink | None] = lambda cell: None,
    ) -> None:
        """links: the cells that a status is about. beside, link_of: see PoliciesInForce."""
        self._links = links
        self._type_names = type_names(controls.a1)
        self.on_changed: Callable[[], None] = lambda: None
        """Called when other policies are in force."""
        self._stale_s = controls.stale_after_periods * controls.report_period_ms / 1e3
        self.in_force = PoliciesInForce(
            _configured(PolicySet(), controls),
            beside=beside,
            link_of=link_of,
            target_share_percent=controls.a1.target_share_percent,
        )
        self.a1 = A1Policies(
            transport,
            store,
            metrics,
            handler_id=handler_id,
            on_change=self._on_change,
            query_period_s=controls.a1.query_period_s,
            shared=controls.only_listed_nodes,
            standard_types=type_names(controls.a1),
        )

    def about_slices(self) -> bool:
        """Whether a policy in force has limits of slices that have an S-NSSAI."""
        return self.in_force.policies.about_slices

    def configure(self, controls: Controls) -> None:
        """Another configuration. From any thread."""
        self.in_force.change(lambda known: _configured(known, controls))

    def _on_change(self, policies: Mapping[str, Policy]) -> None:
        self.in_force.change(lambda known: replace(known, policies=policies))
        self.on_changed()

    def statuses(self) -> dict[str, PolicyStatus]:
        """Whether it holds, by policy."""
        return self.in_force.statuses(self._links(), silent_since_s=time.monotonic() - self._stale_s)

    def targets(self) -> list[dict[str, Any]]:
        """What has come of every target, in the cells under control."""
        return self.in_force.targets(self._links())

    def main_reasons(
        self, statuses: Mapping[str, PolicyStatus], targets: Sequence[Mapping[str, Any]]
    ) -> dict[str, str]:
        """Why not, in one line, of each policy that is not enforced."""
        policies, of_policy = self.in_force.policies.policies, _by_policy(targets)
        return {
            name: main_reason(policies[name], status.reasons, of_policy.get(name, []))
            for name, status in statuses.items()
            if status.reasons and name in policies  # not one that went in this very moment
        }

    def rows(self) -> list[dict[str, Any]]:
        """Every policy in force, whether it holds, and if not why: for GET /ric/v1/policies."""
        held, targets, statuses = self.a1.held, self.targets(), self.statuses()
        of_policy = _by_policy(targets)
        type_ids = {name: type_id for type_id, name in self._type_names.items()}
        return [
            {
                "policy_instance_id": name,
                "policy_type_id": type_ids.get(getattr(held[name].policy, "type_name", ""), POLICY_TYPE_ID),
                "enforcement": status.enforcement.value,
                "enforce_reason": status.code.value if status.code is not None else None,
                "reasons": list(status.reasons),
                "holds": what_holds(held[name].policy, status.reasons, of_policy.get(name, [])),
                "cells": list(status.cells),
                "restored": held[name].restored,
                "targets": of_policy.get(name, []),
                "policy": _document(held[name].policy),
            }
            for name, status in statuses.items()
            if name in held  # not one that went in this very moment
        ]


def _by_policy(targets: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in targets:
        rows.setdefault(row["policy"], []).append(row)
    return rows


def _document(policy: Policy) -> dict[str, Any]:
    if isinstance(policy, StandardPolicy):
        return policy.document
    return policy.model_dump(mode="json", exclude_defaults=True)


def _configured(policies: PolicySet, controls: Controls) -> PolicySet:
    a1 = controls.a1
    return replace(
        policies,
        slices=a1.slices,
        report_period_ms=controls.report_period_ms,
        floor_window_periods=a1.floor_window_periods,
        nodes=controls.nodes,
    )
