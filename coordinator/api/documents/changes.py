"""Changes of the uploaded documents, for the API and the console alike: each is written into the audit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import Response
from pydantic_core import to_json

from coordinator.access.caller import Caller
from coordinator.agents.folders import get_folder
from coordinator.api import pagination
from coordinator.api.dependencies import Services
from coordinator.uploads.folder import Holdings, Outcome, Uploaded
from shared.contracts import AgentStatus


async def store_document(
    name: str,
    chunks: AsyncIterator[bytes],
    services: Services,
    caller: Caller,
    *,
    length: int | None = None,
    replace: bool = False,
) -> tuple[Uploaded, Outcome]:
    """Takes a document in; raises what `Uploads.store` raises."""
    stored, outcome = await services.uploads.store(name, chunks, length=length, sent_by=caller.key, replace=replace)
    if outcome is not Outcome.UNCHANGED:
        services.audit.write(f"document_{outcome}", caller, name=stored.name, bytes=stored.bytes)
    return stored, outcome


async def remove_document(name: str, services: Services, caller: Caller) -> str:
    """Removes a document and returns its name; raises what `Uploads.remove` raises."""
    removed = await services.uploads.remove(name)
    services.audit.write("document_removed", caller, name=removed)
    return removed


def view_document(one: Uploaded) -> dict[str, Any]:
    """A document for programs."""
    return {"name": one.name, "bytes": one.bytes, "sent_at": pagination.utc(one.sent_at), "sent_by": one.sent_by}


def answer_stored(stored: Sequence[tuple[Uploaded, Outcome]]) -> Response:
    """What became of each; 201 where something is new."""
    shown = [view_document(one) | {"status": outcome} for one, outcome in stored]
    new = any(outcome is Outcome.STORED for _, outcome in stored)
    return Response(to_json({"documents": shown}), 201 if new else 200, media_type="application/json")


def list_readers(held: Holdings, services: Services) -> list[str]:
    """The healthy researchers that look into the folder of uploads, by id."""
    known = services.agents.registry.list_all()
    alive = [one for one in known if one.status is AgentStatus.HEALTHY and "folder" in one.registration.metadata]
    folders = {one.id: get_folder(one.registration) for one in alive}
    return sorted(id for id, folder in folders.items() if folder and held.place and folder.uploads == held.place)
