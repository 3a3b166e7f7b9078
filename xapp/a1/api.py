"""GET /ric/v1/policies: the policies in force, whether each holds, and if not why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from xapp.a1.running_targets import POLICIES


def policy_router(policies: Callable[[], list[dict[str, Any]]]) -> APIRouter:
    """policies() = one entry per policy, as App.policies gives it."""
    router = APIRouter()

    @router.get(POLICIES)
    def all_policies() -> list[dict[str, Any]]:
        return policies()

    return router
