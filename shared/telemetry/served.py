"""A request that a service answers, as a span by the conventions for HTTP servers."""

from __future__ import annotations

from starlette.types import Scope

from shared.telemetry.spans import CURRENT, Recorder, Span, begin
from shared.telemetry.trace_ids import Place


def begin_request(recorder: Recorder, scope: Scope, caller: Place | None) -> Span:
    """The span of a request, from now on the current one."""
    attributes = {
        "http.request.method": scope["method"],
        "url.path": scope["path"],
        "url.scheme": scope.get("scheme", "http"),
    }
    span = begin(recorder, scope["method"], "server", caller, attributes)
    CURRENT.set(span)  # a server runs each request in a context of its own
    return span


def end_request(span: Span, *, route: str, status: int) -> None:
    """Names the span after the route that was chosen; a status of 500 and more is an error of ours."""
    span.name = f"{span.name} {route}"
    span.attributes |= {"http.route": route, "http.response.status_code": status}
    if status >= 500:
        span.fail(str(status))
    span.end()
