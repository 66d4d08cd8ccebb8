"""`GET /audit`: who was refused, who used which key, and who withdrew an agent."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from coordinator.api import pagination
from coordinator.api.answers import AuditPage
from coordinator.api.dependencies import OpenServices
from coordinator.journal import sql
from coordinator.journal.events import TaskEvent

router = APIRouter()


@router.get("/audit", tags=["service"], response_model=None, responses={200: {"model": AuditPage}})
async def list_entries(
    services: OpenServices,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> dict[str, Any]:
    """What the audit has, newest first; `before` is the `id` of the last entry of the page before."""
    rows = await services.store.read(sql.AUDIT, {"before": before, "limit": limit})
    events = [TaskEvent(*row) for row in rows]
    entries = [{"id": e.id, "type": e.type, "at": pagination.utc(e.at), **e.fields} for e in events]
    return {"entries": entries}
