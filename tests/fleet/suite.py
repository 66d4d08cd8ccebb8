"""Coordinators that share a database, a balancer before them, and two agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from load.processes.ports import free_port
from tests.support.fakes import eventually
from tests.support.processes import Agents, Coordinator


class AnyOf(httpx.AsyncBaseTransport):
    """A load balancer without memory: each request goes to another coordinator."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [httpx.URL(url) for url in urls]
        self._inner = httpx.AsyncHTTPTransport()
        self._turn = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._turn += 1
        to = self._urls[self._turn % len(self._urls)]
        request.url = request.url.copy_with(host=to.host, port=to.port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Fleet:
    """Coordinators that share a database, and agents that know only the first, or a `balanced` address of all."""

    def __init__(
        self,
        folder: Path,
        database: str,
        number: int = 2,
        *,
        ways: Sequence[str] | None = None,
        balanced: bool = False,
        **settings: object,
    ) -> None:
        """`ways` are the addresses by which each reaches the database, where they are not that one."""
        self.database = database
        given: dict[str, Any] = {"log_level": "WARNING", "max_concurrent_tasks": 32} | settings
        self.coordinators = [
            Coordinator(folder / f"c{n}", journal=way, **given) for n, way in enumerate(ways or [database] * number)
        ]
        self.urls = [c.url for c in self.coordinators]
        self._balancer = Balancer([c.port for c in self.coordinators]) if balanced else None
        self.agents = Agents(folder / "agents", self._balancer.url if self._balancer else self.urls[0])

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        balancing = self._balancer.serving() if self._balancer is not None else nullcontext()
        try:
            for coordinator in self.coordinators:
                await asyncio.to_thread(lambda c=coordinator: c.start().ready())
            async with balancing:
                await asyncio.to_thread(self.agents.__enter__)
                await asyncio.to_thread(self.agents.register)
                for url in self.urls:
                    await eventually(lambda url=url: _knows_agents(url), seconds=30)
                yield
        finally:
            self.agents.__exit__()
            for coordinator in self.coordinators:
                coordinator.__exit__(None, None, None)


async def _knows_agents(url: str) -> bool | None:
    async with httpx.AsyncClient(base_url=url) as http:
        found = (await http.get("/agents")).json()["agents"]
    return (len(found) >= 2 and all(agent["status"] == "healthy" for agent in found)) or None


class Balancer:
    """Passes each connection on to a coordinator that takes it, by turns."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._turns = count()
        self._passing: set[asyncio.Task[None]] = set()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
        try:
            yield
        finally:
            server.close()
            for task in self._passing:
                task.cancel()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self._ports:
            with suppress(OSError):
                there = await asyncio.open_connection("127.0.0.1", self._ports[next(self._turns) % len(self._ports)])
                break
        else:
            writer.transport.abort()
            return
        for source, sink in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(_pump(source, sink))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
    finally:
        sink.close()
