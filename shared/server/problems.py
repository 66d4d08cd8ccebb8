"""Errors as answers: `application/problem+json` (RFC 9457), or the form that a protocol has for the paths below it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from shared.errors import Invalid, MusterError
from shared.strict_json import json_pointer

PROBLEM = "application/problem+json"
PROBLEM_BASE = "urn:muster:problem:"
HANDLED = (MusterError, RequestValidationError, HTTPException)  # what `handle_error` takes

ErrorForm = Callable[[MusterError], Response]


class Internal(MusterError):
    """An unexpected exception; the traceback is in the log under the request's id."""

    def __init__(self) -> None:
        super().__init__("Internal error; search the log for this X-Request-ID.")


def render_error(error: MusterError, path: str, forms: Mapping[str, ErrorForm]) -> Response:
    """An error in the form of its path; `forms` maps a path's prefix to a form that is not problem+json."""
    form = next((form for prefix, form in forms.items() if path.startswith(prefix)), None)
    return form(error) if form else render_problem(error, instance=path)


def render_problem(error: MusterError, *, instance: str) -> Response:
    """An error as `application/problem+json`, with each member on a line of its own: people read errors."""
    body = {
        "type": PROBLEM_BASE + error.type,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        **error.members,
    }
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in body.items())
    return Response(f"{{\n{lines}\n}}\n", error.status, headers=error.headers, media_type=PROBLEM)


async def handle_error(request: Request, exc: Exception, *, forms: Mapping[str, ErrorForm]) -> Response:
    """The answer to one of `HANDLED`, as FastAPI's exception handlers give it."""
    return render_error(_name(exc), request.url.path, forms)


def _name(exc: Exception) -> MusterError:
    """FastAPI's and Starlette's errors as Muster's."""
    if isinstance(exc, MusterError):
        return exc
    if isinstance(exc, RequestValidationError):
        errors = [{"pointer": json_pointer(e["loc"]), "detail": str(e["msg"])} for e in exc.errors()]
        return Invalid(f"{errors[0]['pointer']}: {errors[0]['detail']}", errors)
    assert isinstance(exc, HTTPException)
    headers = dict(exc.headers or {})
    if "GET" in headers.get("Allow", "").split(", ") and "HEAD" not in headers["Allow"]:
        headers["Allow"] += ", HEAD"  # see Edge
    error = MusterError(str(exc.detail), headers=headers)
    error.status = exc.status_code
    error.type = {404: "not_found", 405: "method_not_allowed"}.get(exc.status_code, "http_error")
    error.title = str(exc.detail)
    return error
