"""Prometheus metrics of one service, in a separate registry so that several services fit in one process."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, ProcessCollector, generate_latest
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from shared import logs
from shared.server.durations import Durations
from shared.version import revision

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STATUSES = (
    "200",
    "429",
    "500",
    "503",
)  # of each route, there before the first request: a rate needs a zero to rise from
QUIET = "muster.quiet"  # in the scope of a request that is a question about health, not work
UNTIMED = frozenset({"/health", "/ready", "/metrics", "/register_agent"})  # once a second, and quick whatever happens
NO_ROUTE, OTHER = "(none)", "(other)"
MOST_NAMES = 1_000  # that one label takes: each costs memory here and in Prometheus, for as long as the process runs


class Names:
    """The first thousand names that come, each as itself; any further one as "(other)"."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, name: str) -> str:
        if name not in self._seen and len(self._seen) >= MOST_NAMES:
            return OTHER
        self._seen.add(name)
        return name


class ServiceMetrics:
    """What every service counts; each adds its own to `registry`.

    `looks` are awaited before each scrape, for figures that must be looked up.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.looks: list[Callable[[], Awaitable[None]]] = []
        ProcessCollector(registry=self.registry)  # memory, CPU, open files of this process
        self._requests = Counter(
            "muster_http_requests_total",
            "HTTP requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Durations(
            "muster_http_request_seconds",
            "Seconds until the response was complete; without probes and heartbeats.",
            ["route"],
            registry=self.registry,
        )
        dropped = Gauge(
            "muster_log_lines_dropped", "Log lines that could not be written since the start.", registry=self.registry
        )
        dropped.set_function(logs.count_dropped)
        self._counted = lru_cache(2_000)(self._requests.labels)
        self._timed = lru_cache(500)(self._seconds.labels)
        self._templates: dict[int, str] = {}  # of the routes that are not FastAPI's, by the endpoint's identity

    def describe(self, *, service: str, version: str) -> None:
        """Says which build of which service this is."""
        Info("muster_build", "The build that runs; always 1.", registry=self.registry).info(
            {"service": service, "version": version, "revision": revision(), "python": platform.python_version()}
        )

    @asynccontextmanager
    async def show_routes(self, routes: Iterable[BaseRoute]) -> AsyncIterator[None]:
        """Shows every route of a service that opens with zeros, before anything was asked."""
        for route in _all(routes):
            self._templates.setdefault(id(route.endpoint), route.path)
            for method in set(route.methods or ()) - {"HEAD"}:
                for status in STATUSES:
                    self._counted(method, route.path, status)
            if route.path not in UNTIMED:
                self._timed(route.path)
        yield

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Counts one answer, by the template of the route that was chosen for its scope."""
        method, template = scope["method"], self.find_template(scope)
        self._counted(method if method in METHODS else OTHER, template, str(status)).inc()
        if template not in UNTIMED and QUIET not in scope:
            self._timed(template).observe(seconds)

    def count_refused(self, route: str) -> None:
        """Counts one POST that was answered 429 from its head."""
        self._counted("POST", route, "429").inc()
        self._timed(route).observe(0.0)

    def find_template(self, scope: Scope) -> str:
        """The template of the route that was chosen for a request's scope, such as `/tasks/{task_id}`."""
        route = scope.get("route")
        return route.path if route is not None else self._templates.get(id(scope.get("endpoint")), NO_ROUTE)

    async def look(self) -> None:
        """Looks up what must be looked up."""
        for look in self.looks:
            await look()

    async def render(self) -> bytes:
        """Prometheus text format, written in a thread: a thousand agents have many lines."""
        await self.look()
        return await asyncio.to_thread(generate_latest, self.registry)


def _all(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """Every route, also those that FastAPI keeps in a router of their own."""
    for route in routes:
        if isinstance(route, Route):
            yield route
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from _all(included.routes)
