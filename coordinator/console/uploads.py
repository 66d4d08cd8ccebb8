"""The documents on the first page: what is there, and the forms that send and remove some."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from coordinator.access.scopes import Scope
from coordinator.api.dependencies import OpenServices, Services
from coordinator.api.documents.changes import answer_stored, list_readers, remove_document, store_document
from coordinator.api.documents.form import read_fields
from coordinator.console.visitor import Reader, Visitor, check_token, read_form
from coordinator.uploads.folder import Outcome, Uploaded
from shared.documents.types import SUFFIXES
from shared.errors import BadRequest, MusterError

router = APIRouter(prefix="/console/documents", include_in_schema=False)
SHOWN = 20  # documents, the latest
ENDINGS = ",".join(sorted(ending for ending in SUFFIXES if ending))


async def look(services: Services) -> dict[str, Any] | None:
    """What the first page shows of documents; None where uploads are off."""
    if not services.uploads.on:
        return None
    held = await services.uploads.look()
    return {
        "latest": sorted(held.documents, key=lambda one: one.sent_at, reverse=True)[:SHOWN],
        "count": len(held.documents),
        "bytes": held.bytes,
        "limits": services.uploads.settings,
        "trouble": held.trouble,
        "searched": bool(list_readers(held, services)),
        "endings": ENDINGS,
    }


@router.post("")
async def send(request: Request, services: OpenServices, visitor: Reader) -> Response:
    """Takes the files of the form. A script gets JSON; without one, the first page comes again."""
    visitor.need(Scope.UPLOAD)
    scripted = "application/json" in request.headers.get("accept", "")
    try:
        stored = [one async for one in _store(request, services, visitor)]
        if not stored:
            raise BadRequest("Choose a document first.")
    except MusterError as error:
        if not scripted:
            raise
        return JSONResponse({"detail": error.detail}, error.status, headers=error.headers)
    if not scripted:
        return RedirectResponse("/console/", 303)
    return answer_stored(stored)


@router.post("/remove")
async def remove(request: Request, services: OpenServices, visitor: Reader) -> Response:
    """Removes a document."""
    visitor.need(Scope.UPLOAD)
    form = await read_form(request)
    check_token(form, visitor.token)
    await remove_document(form.get("name", ""), services, visitor.caller)
    return RedirectResponse("/console/", 303)


async def _store(request: Request, services: Services, visitor: Visitor) -> AsyncIterator[tuple[Uploaded, Outcome]]:
    """The form's other fields come first, and one of them is its token."""
    given: dict[str, str] = {}
    async for field in read_fields(request):
        if field.filename is None:
            given[field.name] = await field.text()
            continue
        check_token(given, visitor.token)
        replace = given.get("replace") == "true"
        yield await store_document(field.filename, field.chunks, services, visitor.caller, replace=replace)
