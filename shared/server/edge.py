"""The outermost layer of every service: request id, trace, key, body limit, counters and one log line a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from uuid import uuid4

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import logs
from shared.errors import MusterError, TooLarge
from shared.server.auth import Check, check_page
from shared.server.intake import REFUSED
from shared.server.metrics import QUIET, UNTIMED, ServiceMetrics
from shared.server.problems import ErrorForm, Internal, render_error
from shared.telemetry.served import begin_request, end_request
from shared.telemetry.spans import Recorder
from shared.telemetry.trace_ids import read_header

DRAINED_BYTES = 8_000_000  # read and dropped before a 413, or ordinary clients see a reset instead of the answer
HEAD_ONLY = "muster.head"  # in the scope of a GET that is a HEAD for the client
GONE = 499  # in logs and metrics: the client left before an answer
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)

SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_QUIET = frozenset({("/health", 200), ("/ready", 200), ("/metrics", 200), ("/register_agent", 200)})  # once a second


class Edge:
    """ASGI middleware; an exception inside costs one answer, never the service."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        check: Check | None,
        base: str,
        metrics: ServiceMetrics,
        body_limit: int,
        large_bodies: Mapping[str, int],
        error_forms: Mapping[str, ErrorForm],
        now: Callable[[], float],
        recorder: Recorder | None = None,
    ) -> None:
        self._app = app
        self._check = check
        self._base = base
        self._metrics = metrics
        self._limit = body_limit
        self._large = large_bodies
        self._error_forms = error_forms
        self._now = now
        self._recorder = recorder
        self._log = logs.get().bind()  # a lazy proxy looks its methods up at every call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if self._base:
            scope, send = _below(self._base, scope, send)
        if method == "HEAD":
            scope, send = {**scope, "method": "GET", HEAD_ONLY: True}, _without_body(send)
        headers = {k: v.decode("latin-1") for k, v in scope["headers"]}
        wished = headers.get(b"x-request-id", "")
        request_id = wished if SAFE_ID.match(wished) else uuid4().hex
        header = headers.get(b"traceparent")
        caller, span = read_header(header), None
        if self._recorder is not None and scope["path"] not in UNTIMED:
            span = begin_request(self._recorder, scope, caller)
        token = traceparent.set(span.header if span is not None else header if caller is not None else None)
        began, status = self._now(), 0
        told = {"request_id": request_id}
        if (place := span.place if span is not None else caller) is not None:
            told |= {"trace_id": place.trace_id, "span_id": place.span_id}

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])  # may be an enum, which logs would show as one
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        bound = structlog.contextvars.bind_contextvars(**told)
        try:
            try:
                if (refusal := scope.get(REFUSED)) is not None:
                    raise refusal
                if self._check is None or self._check(scope, headers):
                    check_page(scope["method"], scope["path"], headers)
                length = headers.get(b"content-length", "")
                if length.isdigit() and int(length) > self._limit:
                    await _refuse_large(int(length), self._find_limit(scope["path"]), receive)
                await self._app(scope, receive, send_marked)
            except MusterError as error:
                await render_error(error, scope["path"], self._error_forms)(scope, receive, send_marked)
            except ClientDisconnect:
                pass  # the client is gone
            except Exception as exc:  # a bug costs one answer
                self._log.error("request.broke", exc_info=exc)
                if status:  # half an answer cannot be taken back: the server cuts the connection
                    raise
                await render_error(Internal(), scope["path"], self._error_forms)(scope, receive, send_marked)
        finally:
            seconds = self._now() - began
            traceparent.reset(token)
            self._metrics.count(scope, status or GONE, seconds)
            quiet = (scope["path"], status) in _QUIET or (QUIET in scope and status == 200)
            if span is not None and QUIET not in scope:
                end_request(span, route=self._metrics.find_template(scope), status=status or GONE)
            say = self._log.debug if quiet else self._log.info
            say(
                "request.done",
                method=method,
                path=scope["path"],
                status=status or GONE,
                ms=round(seconds * 1000, 1),
            )
            structlog.contextvars.reset_contextvars(**bound)

    def _find_limit(self, path: str) -> int:
        """How large a body may be for this path."""
        return next((limit for start, limit in self._large.items() if path.startswith(start)), self._limit)


def _below(base: str, scope: Scope, send: Send) -> tuple[Scope, Send]:
    """A request without the base path, should it still have it, and its answer with it in Location.

    `/docs` and `/openapi.json` find it in `root_path`.
    """
    scope = {**scope, "root_path": base}
    if scope["path"].startswith(f"{base}/"):
        raw = scope.get("raw_path") or scope["path"].encode()
        scope |= {"path": scope["path"][len(base) :], "raw_path": raw[len(base) :]}

    async def send_below(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                (name, base.encode() + value if name.lower() == b"location" and value.startswith(b"/") else value)
                for name, value in message["headers"]
            ]
        await send(message)

    return scope, send_below


def _without_body(send: Send) -> Send:
    """An answer to HEAD: that to GET without its body, which is not waited for (RFC 9110, section 9.3.2)."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_head


async def _refuse_large(length: int, limit: int, receive: Receive) -> None:
    if length <= limit:
        return
    dropped, more = 0, length <= DRAINED_BYTES
    while more and dropped <= DRAINED_BYTES:
        message = await receive()
        dropped += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
    raise TooLarge(f"The request body is larger than the limit of {limit:,} bytes.")
