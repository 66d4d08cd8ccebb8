"""A service as a FastAPI app: its routes, what it opens and closes, when it is ready, when it stops."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.telemetry import TelemetryConfig
from starlette.routing import Match, Route
from starlette.types import Scope

from shared.contracts import MAX_BODY_BYTES
from shared.errors import MusterError, Unavailable
from shared.server.auth import Check
from shared.server.docs_page import show_docs
from shared.server.edge import Edge
from shared.server.intake import Gate
from shared.server.metrics import CONTENT_TYPE, ServiceMetrics
from shared.server.openapi import Described, describe
from shared.server.problems import HANDLED, ErrorForm, handle_error
from shared.telemetry.spans import Telemetry
from shared.version import revision

T = TypeVar("T")
Drain = Callable[[], Coroutine[Any, Any, None]]
OWN: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}  # FastAPI's own takes 10 µs a request to ask


class Stopping:
    """Set once the service was told to stop; open streams and waiting callers look at it."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.owed = 0  # answers that callers wait for, which come while the service lasts
        self._limits: set[asyncio.Timeout] = set()

    def begin(self) -> None:
        self.event.set()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(0)

    @contextmanager
    def owing(self) -> Iterator[None]:
        """A caller waits meanwhile for something that ends by itself."""
        self.owed += 1
        try:
            yield
        finally:
            self.owed -= 1

    @asynccontextmanager
    async def limit(self, seconds: float | None) -> AsyncIterator[None]:
        """Raises `TimeoutError` after so many seconds (None: never), and at once when the service stops."""
        async with asyncio.timeout(0 if self else seconds) as limit:
            self._limits.add(limit)
            try:
                yield
            finally:
                self._limits.discard(limit)

    def __bool__(self) -> bool:
        return self.event.is_set()


class Quick(Route):
    """The short way to a route that reads its request itself: FastAPI's look at a signature takes 50 us.

    It takes what has exactly this method and path and no query; FastAPI's own route, which OpenAPI shows, the rest.
    """

    def __init__(self, method: str, path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        super().__init__(path, endpoint, methods=[method], include_in_schema=False)
        self._method = method

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["path"] != self.path or scope["method"] != self._method:
            return Match.NONE, {}
        if not scope["query_string"]:
            return Match.FULL, {"endpoint": self.endpoint, "path_params": {}}
        return Match.NONE, {}


class App(FastAPI, Generic[T]):
    """A FastAPI app, and what the parts, the façades and the server of one service share.

    `opened` holds the parts that its composition root has opened: None before and after. A façade adds what it opens to
    `openings`, which are entered after the parts and left before them, and how errors look below a path's prefix to
    `error_forms`. `body_limit` is in bytes; paths that begin as in `large_bodies` may take more, and read it as it
    comes. `address` is where `serve` listens, "" where another server runs the app.
    `gate` may answer a request from its head alone, before the app sees it. `failed` says that a part has died,
    `refusal` why the service could not start. `around` is entered before the parts and left after them. `drain`, where
    it is set, comes before a stop that is not urgent; meanwhile the service is not ready, and answers.
    """

    def __init__(self, *, name: str, version: str, body_limit: int) -> None:
        super().__init__(
            title=f"Muster {name}",
            version=version,
            lifespan=self._run,
            redirect_slashes=False,
            docs_url=None,
            redoc_url=None,
            telemetry=OWN,
        )
        self.stopping = Stopping()
        self.body_limit = body_limit
        self.large_bodies: dict[str, int] = {}
        self.error_forms: dict[str, ErrorForm] = {}
        self.around: list[Callable[[], AbstractAsyncContextManager[None]]] = []
        self.openings: list[Callable[[], AbstractAsyncContextManager[None]]] = []
        self.opened: T | None = None
        self.address = ""
        self.gate: Gate | None = None
        self.failed = False
        self.refusal: MusterError | None = None
        self.drain: Drain | None = None
        self.draining: asyncio.Task[None] | None = None
        self._open: Callable[[AsyncExitStack], Awaitable[Any]] = _open_nothing

    def openapi(self) -> dict[str, Any]:
        """The document that `/openapi.json` shows."""
        if self.openapi_schema is None:
            self.openapi_schema = describe(self)
        return self.openapi_schema

    def open_with(self, open: Callable[[AsyncExitStack], Awaitable[T]]) -> None:
        """Takes what opens the parts at the start, on a stack that is closed at the end.

        A `MusterError` that it raises is a refusal: the service cannot start, and starting again would not help.
        """
        self._open = open

    def get_opened(self) -> T:
        """The parts; raises `Unavailable` while they are not open."""
        if self.opened is None:
            raise Unavailable("The service is starting or stopping.", retry_after=1)
        return self.opened

    def add_routes(self, router: APIRouter) -> None:
        """Adds a router's routes as they are: it has no other router in it, and no dependencies of its own.

        `include_router` builds each route again for this app, and looks at each twice for every request.
        """
        self.router.routes += router.routes

    def stop(self, *, urgent: bool) -> None:
        """Ends the service: at once if that is urgent or asked for again, else once it has drained."""
        if urgent or self.drain is None or self.opened is None or self.draining is not None:
            self.stopping.begin()
        else:
            self.draining = asyncio.create_task(self._drain(self.drain), name="drain")

    async def _drain(self, drain: Drain) -> None:
        try:
            await drain()
        finally:
            self.stopping.begin()

    def fail(self, _: str) -> None:
        """Ends the service, because the part of this name has died; `serve` exits with code 1."""
        self.failed = True
        self.stopping.begin()

    @asynccontextmanager
    async def _run(self, _: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                for opening in self.around:
                    await stack.enter_async_context(opening())
                self.opened = await self._open(stack)
                for opening in self.openings:
                    await stack.enter_async_context(opening())
            except MusterError as exc:
                self.refusal = exc
                raise
            yield
            self.opened = None


class Health(Described):
    status: str
    name: str
    version: str
    revision: str
    timestamp: int
    uptime_seconds: float


class Ready(Described):
    status: str
    name: str
    timestamp: int
    missing: str | None = None


async def _open_nothing(_: AsyncExitStack) -> bool:
    return True


def make_service(
    *,
    name: str,
    version: str,
    ready: Callable[[T], str | None] = lambda _: None,
    health: Callable[[], Mapping[str, Any]] = dict,
    check: Check | None = None,
    base: str = "",
    metrics: ServiceMetrics | None = None,
    body_limit: int = MAX_BODY_BYTES,
    now: Callable[[], float] = time.monotonic,
    telemetry: Telemetry | None = None,
    traces_requests: bool = False,
) -> App[T]:
    """An app with everything that all services share.

    `ready` gets the parts once they are open, and returns what is missing, if anything. It looks only at what the
    service itself has opened. `health` adds fields to `/health`; `now` is monotonic, in seconds. `base` is the path
    below which a proxy shows the service, whether the proxy passes it on or not. `telemetry` takes its figures, and
    with `traces_requests` a span for each request.
    """
    metrics = metrics or ServiceMetrics()
    metrics.describe(service=name, version=version)
    started = now()
    app: App[T] = App(name=name, version=version, body_limit=body_limit)
    if telemetry is not None:
        app.around.append(lambda: telemetry.running(metrics.registry, metrics.look))
    app.openings.append(lambda: metrics.show_routes(app.routes))
    forms = app.error_forms
    app.add_middleware(
        Edge,
        check=check,
        base=base,
        metrics=metrics,
        body_limit=body_limit,
        large_bodies=app.large_bodies,
        error_forms=forms,
        now=now,
        recorder=telemetry.recorder if telemetry is not None and traces_requests else None,
    )
    for kind in HANDLED:
        app.add_exception_handler(kind, partial(handle_error, forms=forms))
    show_docs(app)

    @app.get("/health", tags=["service"], response_model=None, responses={200: {"model": Health}})
    async def get_health(_: Request) -> Response:
        """Liveness: the event loop responds."""
        said = {
            "status": "healthy",
            "name": name,
            "version": version,
            "revision": revision(),
            "timestamp": int(time.time()),
            "uptime_seconds": round(now() - started, 3),
            **health(),
        }
        return JSONResponse(said)

    @app.get("/ready", tags=["service"], responses={200: {"model": Ready}, 503: {"model": Ready}})
    async def get_ready() -> Response:
        """200 once this service has opened what it needs; 503 with what is missing."""
        missing = (
            "stopping" if app.stopping or app.draining else "starting" if app.opened is None else ready(app.opened)
        )
        body = {"status": "not ready", "missing": missing} if missing else {"status": "ready"}
        said = body | {"name": name, "timestamp": int(time.time())}
        return Response(json.dumps(said), 503 if missing else 200, media_type="application/json")

    @app.get("/metrics", tags=["service"], response_class=PlainTextResponse)
    async def get_metrics() -> Response:
        """Prometheus text format."""
        return Response(await metrics.render(), media_type=CONTENT_TYPE)

    app.router.routes.insert(0, Quick("GET", "/health", get_health))
    return app
