"""The console's style, scripts and icon, served under addresses that change with their content."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Response

from shared.errors import NotFound
from shared.rendering import PALETTE

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@router.get("/console/static/{name}")
async def get_asset(name: str) -> Response:
    """A file of the console: everybody may have it, also who has not logged in."""
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(read(name), headers=headers, media_type=TYPES[Path(name).suffix])


def address(base: str, name: str) -> str:
    """Where a file is, as a page names it."""
    return f"{base}/console/static/{name}?{hashlib.sha256(read(name)).hexdigest()[:12]}"


@cache
def read(name: str) -> bytes:
    """A file's content, the style below the palette that it shares with reports; raises `NotFound`."""
    known = {path.name: path for path in FOLDER.iterdir() if path.suffix in TYPES}
    if name not in known:
        raise NotFound("There is no such file.")
    content = known[name].read_bytes()
    return PALETTE.read_bytes() + content if name == "console.css" else content
