"""The check of requests to a worker in a suite with a key: all but health and cards needs a signature."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import EnvelopeRefused, Unavailable
from shared.limits.envelope import HEADER, open_envelope
from shared.limits.passing import PASSING, target_of
from shared.server import bodies
from shared.worker.heartbeat import Heartbeat

OPEN_PATHS = frozenset({"/health", "/ready", "/metrics"})
CARDS = "/.well-known/"
STEPS = "/execute"  # has a check of its own: a step's envelope says what it may spend


class Signed:
    """Lets a request pass that the coordinator has signed with this worker's key: its method, target and body."""

    def __init__(
        self, app: ASGIApp, *, heartbeat: Callable[[], Heartbeat | None], join_seconds: float, body_limit: int
    ) -> None:
        self._app = app
        self._heartbeat = heartbeat
        self._join_seconds = join_seconds
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `EnvelopeRefused`, `TooLarge`, and `Unavailable` before the worker has its key."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path in OPEN_PATHS or path.startswith(CARDS) or is_step(path):
            await self._app(scope, receive, send)
            return
        body = await self._check(Request(scope, receive))
        await self._app(scope, bodies.replay(body, receive), send)

    async def _check(self, request: Request) -> bytes:
        header, heartbeat = request.headers.get(HEADER), self._heartbeat()
        if header is None:  # before the body is read: anybody can send one
            raise EnvelopeRefused("This worker answers only what its coordinator has signed: ask at the coordinator.")
        if heartbeat is None or not await heartbeat.wait_until_joined(self._join_seconds):
            raise Unavailable("This worker is not registered yet.", retry_after=1)
        body = await bodies.read(request, limit=self._body_limit)
        key = heartbeat.key
        try:
            self._open(header, heartbeat, request, body)
        except EnvelopeRefused:
            if not await heartbeat.renew(key):
                raise
            self._open(header, heartbeat, request, body)
        return body

    def _open(self, header: str, heartbeat: Heartbeat, request: Request, body: bytes) -> None:
        envelope = open_envelope(header, key=heartbeat.key or b"", body=body)
        target = target_of(request.scope["raw_path"], request.scope["query_string"])
        if (envelope.task, envelope.step) != (PASSING, f"{request.method} {target}"):
            raise EnvelopeRefused("The envelope is for another request.")


def is_step(path: str) -> bool:
    """Whether a path is one of the contract's own for steps."""
    return path == STEPS or path.startswith(STEPS + "/")
