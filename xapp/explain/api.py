"""GET /ric/v1/decisions: the decisions that were kept, and each one explained. Bounded in size and in work."""

from __future__ import annotations

import threading
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request

from xapp.control.decision_record import MAX_KEPT, DecisionLog, DecisionRecord
from xapp.explain.document import DECISIONS, explain, summary
from xapp.http.access import is_trusted

MAX_LISTED = 1000


def decision_router(log: DecisionLog) -> APIRouter:
    """Make the routes. They run in the server's threads; one explanation is worked out at a time."""
    router = APIRouter()
    one_at_a_time = threading.Lock()

    @router.get(DECISIONS)
    def cells() -> dict[str, Any]:
        return {"cells": [kept._asdict() for kept in log.cells()]}

    @router.get(DECISIONS + "/{cell:path}")
    def decisions(
        request: Request,
        cell: str,
        record_id: Annotated[int | None, Query(alias="id", ge=0, le=2**63)] = None,
        limit: Annotated[int | None, Query(ge=1, le=MAX_LISTED)] = None,
        ue: Annotated[int | None, Query(ge=0, le=2**64)] = None,
    ) -> dict[str, Any]:
        """The newest decision of a cell, or that with an id, explained; with `limit` a list of the newest ones. The
        messages themselves, which hold the epoch, are for who may see it.
        """
        if limit is not None:
            return {"cell": cell, "decisions": [summary(record) for record in _known(log, cell, limit)]}
        record = _known(log, cell, 1)[0] if record_id is None else _found(log, cell, record_id)
        earlier = [other for other in log.newest(cell, MAX_KEPT) if other.id < record.id]
        with one_at_a_time:
            document = explain(record, earlier, None if ue is None else (ue,))
        if not is_trusted(request):
            for message in document["control"]["messages"]:
                del message["pdu"]
        return document

    return router


def _known(log: DecisionLog, cell: str, limit: int) -> list[DecisionRecord]:
    records = log.newest(cell, limit)
    if not records:
        known = ", ".join(kept.cell for kept in log.cells()) or "none so far"
        raise HTTPException(404, f"no decision about cell {cell!r}; cells with decisions: {known}")
    return records


def _found(log: DecisionLog, cell: str, record_id: int) -> DecisionRecord:
    newest = _known(log, cell, 1)[0]
    record = log.get(cell, record_id)
    if record is None:
        (kept,) = (kept for kept in log.cells() if kept.cell == cell)
        raise HTTPException(
            404, f"no decision {record_id} about {cell}: kept are {kept.oldest_id} to {newest.id}, older ones are gone"
        )
    return record
