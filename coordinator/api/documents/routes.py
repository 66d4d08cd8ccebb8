"""The routes of uploaded documents: they are sent, listed, and removed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from coordinator.access.guard import caller_of
from coordinator.api.dependencies import OpenServices
from coordinator.api.documents.answers import DocumentPage, RemovedDocument, StoredDocuments
from coordinator.api.documents.changes import (
    answer_stored,
    list_readers,
    remove_document,
    store_document,
    view_document,
)
from coordinator.api.documents.form import TYPE, read_fields
from shared.errors import BadRequest

router = APIRouter(prefix="/documents", tags=["documents"])
BINARY = {"type": "string", "format": "binary"}
BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": BINARY}}}}
FORM_SCHEMA = {"type": "object", "properties": {"file": BINARY}, "required": ["file"]}
FORM = {"requestBody": {"required": True, "content": {TYPE: {"schema": FORM_SCHEMA}}}}
STORED: dict[int | str, dict[str, Any]] = {200: {"model": StoredDocuments}, 201: {"model": StoredDocuments}}


@router.get("", response_model=None, responses={200: {"model": DocumentPage}})
async def list_documents(services: OpenServices) -> dict[str, Any]:
    """Every document by name, what there is room for, and which researchers search them."""
    held, limits = await services.uploads.look(), services.uploads.settings
    return {
        "documents": [view_document(one) for one in held.documents],
        "bytes": held.bytes,
        "free_bytes": held.free_bytes,
        "limits": {
            "document_bytes": limits.upload_bytes,
            "bytes": limits.uploads_bytes,
            "documents": limits.uploads_files,
        },
        "trouble": held.trouble,
        "searched_by": list_readers(held, services),
    }


@router.post("", openapi_extra=FORM, response_model=None, responses=STORED)
async def send_documents(request: Request, services: OpenServices, replace: bool = False) -> Response:
    """Takes the files of a form. One that is refused ends the request; those before it stay."""
    caller, stored = caller_of(request.scope), []
    async for field in read_fields(request):
        if field.filename is not None:
            stored.append(await store_document(field.filename, field.chunks, services, caller, replace=replace))
    if not stored:
        raise BadRequest("The form has no file. Send one as curl -F file=@notes.pdf does.")
    return answer_stored(stored)


@router.put("/{name:path}", openapi_extra=BODY, response_model=None, responses=STORED)
async def put_document(name: str, request: Request, services: OpenServices, replace: bool = False) -> Response:
    """Takes the body as a document of this name."""
    said = request.headers.get("content-length", "")
    length = int(said) if said.isdigit() else None
    stored = store_document(name, request.stream(), services, caller_of(request.scope), length=length, replace=replace)
    return answer_stored([await stored])


@router.delete("/{name:path}", response_model=RemovedDocument)
async def delete_document(name: str, request: Request, services: OpenServices) -> dict[str, str]:
    """Removes a document; what cites it says that it is gone."""
    return {"name": await remove_document(name, services, caller_of(request.scope)), "status": "removed"}
