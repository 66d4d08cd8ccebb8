"""The API's documentation for people who have logged in: a browser has no key to send for `/docs`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from coordinator.api.dependencies import OpenServices
from coordinator.console.visitor import Reader
from shared.server.docs_page import make_file, make_page

router = APIRouter(prefix="/console", include_in_schema=False)


@router.get("/docs")
async def get_docs(request: Request, services: OpenServices, visitor: Reader) -> Response:
    """Swagger UI; what is tried there needs the key itself, under Authorize."""
    home = f"{services.settings.base_path}/console"
    return make_page(request.app.title, files=f"{home}/docs", document=f"{home}/openapi.json")


@router.get("/docs/{name}")
async def get_docs_file(name: str) -> Response:
    """Its files, which everybody may have."""
    return make_file(name)


@router.get("/openapi.json")
async def get_document(request: Request, services: OpenServices, visitor: Reader) -> Response:
    """The document that `/openapi.json` shows, with the path at which the coordinator appears."""
    return JSONResponse(request.app.openapi() | {"servers": [{"url": services.settings.base_path or "/"}]})
