"""GET /ric/v1/guard: what the KPI guard has found. POST /ric/v1/guard/reset/CELL: an operator says that all is well."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request

from xapp.http.access import HOW_TO, is_trusted
from xapp.kpi_guard.guards import GUARD, RESET, KpiGuards


def guard_router(guards: KpiGuards) -> APIRouter:
    """Make the routes. They run in the server's threads."""
    router = APIRouter()

    @router.get(GUARD)
    def show() -> dict[str, Any]:
        return guards.document()

    @router.post(RESET + "/{cell:path}")
    def reset(request: Request, cell: str) -> dict[str, Any]:
        """Only for who may: it lets a leader decide that was found to do harm."""
        if not is_trusted(request):
            raise HTTPException(403, f"only from this host: {HOW_TO}")
        if not guards.reset(cell):
            known = ", ".join(guards.document()["cells"]) or "none so far"
            raise HTTPException(404, f"no guard of cell {cell!r}; cells that are guarded: {known}")
        return {"cell": cell, **guards.document()["cells"][cell]}

    return router
