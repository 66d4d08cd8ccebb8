"""The chassis of every app: errors as problem+json, request ids, one log line a request, health, metrics."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from uuid import uuid4

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import logs
from shared.contracts import MAX_BODY_BYTES
from shared.errors import Invalid, MusterError, TooLarge
from shared.server.auth import bearer_check, page_check
from shared.server.metrics import CONTENT_TYPE, ServiceMetrics
from shared.strict_json import json_pointer
from shared.version import revision

PROBLEM = "application/problem+json"
PROBLEM_BASE = "urn:muster:problem:"
DRAINED_BYTES = 8_000_000  # read and dropped before a 413, or ordinary clients see a reset instead of the answer
GONE = 499  # in logs and metrics: the client left before an answer
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)

_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_QUIET = frozenset({("/health", 200), ("/ready", 200), ("/metrics", 200), ("/register_agent", 200)})  # once a second

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]
ErrorForm = Callable[[MusterError], Response]


class Stopping:
    """Set once the service was told to stop; open streams and waiting callers look at it."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self._limits: set[asyncio.Timeout] = set()

    def begin(self) -> None:
        self.event.set()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(0)

    @asynccontextmanager
    async def limited(self, seconds: float | None) -> AsyncIterator[None]:
        """Raises `TimeoutError` after so many seconds (None: never), and at once when the service stops."""
        async with asyncio.timeout(0 if self else seconds) as limit:
            self._limits.add(limit)
            try:
                yield
            finally:
                self._limits.discard(limit)

    def __bool__(self) -> bool:
        return self.event.is_set()


def make_service(
    *,
    name: str,
    version: str,
    lifespan: Lifespan,
    ready: Callable[[], str | None],
    health: Callable[[], Mapping[str, Any]] = dict,
    api_key: str | None = None,
    metrics: ServiceMetrics | None = None,
    body_limit: int = MAX_BODY_BYTES,
    now: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """A FastAPI app with everything that all services share.

    `ready` returns what is missing, or None; it may look only at what the service itself opened. `app.state.stopping`
    is a `Stopping`, `app.state.body_limit` how many bytes a body may have; `app.state.error_forms` maps a path's prefix
    to how errors look below it, where that is not problem+json.
    """
    metrics = metrics or ServiceMetrics()
    started = now()
    app = FastAPI(title=f"Muster {name}", version=version, lifespan=lifespan, redirect_slashes=False)
    app.state.stopping = Stopping()
    app.state.body_limit = body_limit
    forms: dict[str, ErrorForm] = {}
    app.state.error_forms = forms
    app.add_middleware(
        _Edge, name=name, api_key=api_key, metrics=metrics, body_limit=body_limit, error_forms=forms, now=now
    )
    for kind in (MusterError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _as_problem)

    @app.get("/health", tags=["service"])
    async def get_health() -> dict[str, Any]:
        """Liveness: the event loop responds."""
        return {
            "status": "healthy",
            "name": name,
            "version": version,
            "revision": revision(),
            "timestamp": int(time.time()),
            "uptime_seconds": round(now() - started, 3),
            **health(),
        }

    @app.get("/ready", tags=["service"])
    async def get_ready() -> Response:
        """200 once this service has opened what it needs; 503 with what is missing."""
        missing = "stopping" if app.state.stopping else ready()
        body = {"status": "not ready", "missing": missing} if missing else {"status": "ready"}
        said = body | {"name": name, "timestamp": int(time.time())}
        return Response(json.dumps(said), 503 if missing else 200, media_type="application/json")

    @app.get("/metrics", tags=["service"])
    async def get_metrics() -> Response:
        """Prometheus text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return app


def problem(error: MusterError, *, instance: str) -> Response:
    """An error as `application/problem+json` (RFC 9457)."""
    body = {
        "type": PROBLEM_BASE + error.type,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        **error.members,
    }
    return Response(json.dumps(body), error.status, headers=error.headers, media_type=PROBLEM)


def _answered(error: MusterError, path: str, forms: Mapping[str, ErrorForm]) -> Response:
    """An error in the form that its path has."""
    form = next((form for prefix, form in forms.items() if path.startswith(prefix)), None)
    return form(error) if form else problem(error, instance=path)


class Internal(MusterError):
    """An unexpected exception; the traceback is in the log under the request's id."""

    def __init__(self) -> None:
        super().__init__("Internal error; search the log for this X-Request-ID.")


def _http_error(exc: HTTPException) -> MusterError:
    error = MusterError(str(exc.detail), headers=exc.headers)
    error.status = exc.status_code
    error.type = {404: "not_found", 405: "method_not_allowed"}.get(exc.status_code, "http_error")
    error.title = str(exc.detail)
    return error


async def _as_problem(request: Request, exc: Exception) -> Response:
    if isinstance(exc, MusterError):
        error: MusterError = exc
    elif isinstance(exc, RequestValidationError):
        errors = [{"pointer": json_pointer(e["loc"]), "detail": str(e["msg"])} for e in exc.errors()]
        error = Invalid(f"{errors[0]['pointer']}: {errors[0]['detail']}", errors)
    else:
        assert isinstance(exc, HTTPException)
        error = _http_error(exc)
    return _answered(error, request.url.path, request.app.state.error_forms)


class _Edge:
    """Request id, trace, body limit, key, counters, and the log line of every request."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        name: str,
        api_key: str | None,
        metrics: ServiceMetrics,
        body_limit: int,
        error_forms: Mapping[str, ErrorForm],
        now: Callable[[], float],
    ) -> None:
        self._app = app
        self._check = bearer_check(api_key)
        self._open = api_key is None
        self._metrics = metrics
        self._limit = body_limit
        self._error_forms = error_forms
        self._now = now
        self._counted = lru_cache(200)(metrics.requests.labels)
        self._log = logs.get().bind()  # a lazy proxy looks its methods up at every call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {k: v.decode("latin-1") for k, v in scope["headers"]}
        wished = headers.get(b"x-request-id", "")
        request_id = wished if _SAFE_ID.match(wished) else uuid4().hex
        trace = headers.get(b"traceparent", "")
        token = traceparent.set(trace if _TRACEPARENT.match(trace) else None)
        began, status = self._now(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])  # may be an enum, which logs would show as one
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                try:
                    self._check(scope["path"], headers.get(b"authorization"))
                    if self._open:
                        page_check(scope["method"], scope["path"], headers)
                    await _refuse_large(headers.get(b"content-length"), self._limit, receive)
                    await self._app(scope, receive, sent)
                except MusterError as error:
                    await _answered(error, scope["path"], self._error_forms)(scope, receive, sent)
                except ClientDisconnect:
                    pass  # nobody is there to be answered
                except Exception as exc:  # a bug of ours costs one answer
                    self._log.error("request.broke", exc_info=exc)
                    if status:  # half an answer cannot be taken back: the server cuts the connection
                        raise
                    await _answered(Internal(), scope["path"], self._error_forms)(scope, receive, sent)
            finally:
                seconds = self._now() - began
                traceparent.reset(token)
                self._counted(scope["method"], str(status or GONE)).inc()
                self._metrics.seconds.observe(seconds)
                say = self._log.debug if (scope["path"], status) in _QUIET else self._log.info
                say(
                    "request.done",
                    method=scope["method"],
                    path=scope["path"],
                    status=status or GONE,
                    ms=round(seconds * 1000, 1),
                )


async def _refuse_large(content_length: str | None, limit: int, receive: Receive) -> None:
    if content_length is None or not content_length.isdigit() or int(content_length) <= limit:
        return
    dropped, more = 0, int(content_length) <= DRAINED_BYTES
    while more and dropped <= DRAINED_BYTES:
        message = await receive()
        dropped += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
    raise TooLarge(f"The body has {content_length} bytes; the limit is {limit}.")
