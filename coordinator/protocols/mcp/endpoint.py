"""MCP on `/mcp`: the SDK is loaded with the first request, and its sessions run in a separate task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.access import hosts
from coordinator.protocols.chat import CoordinatorFace
from coordinator.protocols.mcp.scope_keys import GONE, TRACE
from shared.errors import MusterError
from shared.protocols.mounting import Host
from shared.server.app import Stopping
from shared.server.edge import traceparent

PATHS = ("/mcp", "/mcp/")
INVALID_REQUEST, INTERNAL_ERROR = -32600, -32603  # JSON-RPC's own codes


def mount(host: Host) -> None:
    """Adds the endpoint to the coordinator; loads nothing."""
    endpoint = _Endpoint(CoordinatorFace(host.app.get_opened))
    host.app.router.routes.extend(Route(path, endpoint, include_in_schema=False) for path in PATHS)
    host.app.openings.append(endpoint.open)
    host.app.error_forms[PATHS[0]] = _answer_error


class _Endpoint:
    def __init__(self, face: CoordinatorFace) -> None:
        self._face = face
        self._sessions: _Sessions | None = None
        self._names: frozenset[str] = frozenset()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        settings = self._face.get_services().settings
        self._names = hosts.list_allowed_names(settings.public_url, settings.allowed_hosts, settings.mcp_allowed_hosts)
        self._sessions = _Sessions(self._face)
        try:
            yield
        finally:
            await self._sessions.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services = self._face.get_services()
        headers = [(name, value.strip()) for name, value in scope["headers"]]  # blanks around a value are no part of it
        said = {name: value.decode("latin-1") for name, value in headers}
        hosts.check(said.get(b"host"), said.get(b"origin"), names=self._names)
        assert self._sessions is not None
        handler = await self._sessions.get_handler()
        gone, begun = asyncio.Event(), False
        hears = _end_at_stop(receive, services.stopping) if scope["method"] == "GET" else receive

        async def receive_noting() -> Message:
            message = await hears()
            if message["type"] == "http.disconnect":
                gone.set()
            return message

        async def send_noting(message: Message) -> None:
            nonlocal begun
            begun = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        await handler({**scope, "headers": headers, TRACE: traceparent.get(), GONE: gone}, receive_noting, send_noting)
        if begun:  # a stream that was ended by the stop, or by a hang-up, which makes this a no-op
            await send({"type": "http.response.body", "body": b""})


class _Sessions:
    """The SDK's session manager: made on first use, entered and left by one task, as its task group demands."""

    def __init__(self, face: CoordinatorFace) -> None:
        self._face = face
        self._stop = asyncio.Event()
        self._ready: asyncio.Future[ASGIApp] | None = None
        self._owner: asyncio.Task[None] | None = None

    async def get_handler(self) -> ASGIApp:
        """What serves requests; the first callers all wait for the same start."""
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._owner = asyncio.create_task(self._run(self._ready), name="mcp")
        return await asyncio.shield(self._ready)

    async def close(self) -> None:
        """Ends every session and every call."""
        self._stop.set()
        if self._owner is not None:
            await self._owner

    async def _run(self, ready: asyncio.Future[ASGIApp]) -> None:
        try:
            served = await asyncio.to_thread(_load, self._face)
            async with served() as handler:
                ready.set_result(handler)
                await self._stop.wait()
        except Exception as exc:  # who waits for the start is told, and the next request tries again
            if ready.done():
                raise
            ready.set_exception(exc)
        finally:
            self._ready = None


def _load(face: CoordinatorFace) -> Callable[[], AbstractAsyncContextManager[ASGIApp]]:
    from coordinator.protocols.mcp.server import make_serving  # 1.5 s of imports, and 25 MB

    return make_serving(face)


def _answer_error(error: MusterError) -> Response:
    """An error before the SDK was reached, as JSON-RPC: clients show its message, where they hide another body's."""
    code = INVALID_REQUEST if error.status < 500 else INTERNAL_ERROR
    told = {"code": code, "message": error.detail, "data": {"type": error.type, "status": error.status}}
    body = {"jsonrpc": "2.0", "id": None, "error": told}
    return Response(json.dumps(body), error.status, headers=error.headers, media_type="application/json")


def _end_at_stop(receive: Receive, stopping: Stopping) -> Receive:
    """A `receive` that says "disconnected" when the service stops: an idle stream would hold it up."""

    async def receive_or_stop() -> Message:
        try:
            async with stopping.limit(None):
                return await receive()
        except TimeoutError:
            return {"type": "http.disconnect"}

    return receive_or_stop
