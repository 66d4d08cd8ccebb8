"""The page that shows a service's OpenAPI document, to read and to try: Swagger UI, served from here and not a CDN."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI, Request, Response

from shared.errors import NotFound

TYPES = {".js": "text/javascript", ".css": "text/css", ".png": "image/png"}
# Swagger UI sets styles by script; nothing may be loaded, and nothing asked, that is not this service's.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_START = "start.js"
_SCRIPT = b"""SwaggerUIBundle({
  url: document.currentScript.dataset.document,
  dom_id: "#docs",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  tryItOutEnabled: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{files}/favicon-32x32.png">
<link rel="stylesheet" href="{files}/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="{files}/swagger-ui-bundle.js"></script>
<script src="{files}/start.js" data-document='{document}'></script>
</body>
</html>
"""


def show_docs(app: FastAPI) -> None:
    """Adds `/docs`, and its files below it; the document itself is FastAPI's `/openapi.json`."""

    @app.get("/docs", include_in_schema=False)
    async def get_docs(request: Request) -> Response:
        base = str(request.scope.get("root_path", ""))
        return make_page(app.title, files=f"{base}/docs", document=f"{base}/openapi.json")

    @app.get("/docs/{name}", include_in_schema=False)
    async def get_docs_file(name: str) -> Response:
        return make_file(name)


def make_page(title: str, *, files: str, document: str) -> Response:
    """The page; `files` is where its files are, and `document` the OpenAPI document."""
    text = _PAGE.format(title=escape(title), files=escape(files), document=escape(document))
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(text, headers=headers, media_type="text/html")


def make_file(name: str) -> Response:
    """One of its files; raises `NotFound`."""
    headers = {"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(_read(name), headers=headers, media_type=TYPES[Path(name).suffix])


@cache
def _read(name: str) -> bytes:
    if name == _START:
        return _SCRIPT
    spec = find_spec("fastapi_swagger")  # its files are used, and nothing of it is imported
    assert spec is not None
    assert spec.origin is not None
    files = {path.name: path for path in (Path(spec.origin).parent / "resources").iterdir() if path.suffix in TYPES}
    if name not in files:
        raise NotFound("There is no such file.")
    return files[name].read_bytes()
