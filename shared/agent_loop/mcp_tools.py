"""Tools of MCP servers: listed in the background, called with a time limit, every failure named."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from pydantic import JsonValue

from shared import logs
from shared.calls.noting import note
from shared.errors import AgentUnreachable, StepTimeout, WorkerFault
from shared.models.servers.turns import ToolSpec

LIST_SECONDS = 5.0
FIRST_SECONDS = 3.0  # after the opening: so long the first lists are waited for, and asked for again
LIST_AGAIN_SECONDS = 60.0
PAUSE_SECONDS = 0.25  # between two tries of a server that is away, within the first seconds
CALL_SECONDS = 60.0


class AgentTools(Protocol):
    """What an agent's model may call besides other agents."""

    async def specs(self) -> Sequence[ToolSpec]:
        """What there is now; waits for a server only in the first seconds."""
        ...

    def away(self) -> Mapping[str, str]:
        """Servers whose tools are not known, and why, by name."""
        ...

    async def call(self, name: str, arguments: Mapping[str, JsonValue], *, seconds: float) -> JsonValue:
        """What a tool gives; raises `WorkerFault`, `AgentUnreachable` or `StepTimeout`."""
        ...


class McpTools:
    """The tools of MCP servers, by the servers' names and URLs; to be opened with `async with`.

    Lists are fetched in the background. Of two tools with one name the first server's counts.
    """

    def __init__(
        self,
        servers: Mapping[str, str],
        *,
        first_seconds: float = FIRST_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = {name: _endpoint(url) for name, url in servers.items()}
        self._now = now
        self._first_seconds = first_seconds
        self._opened = self._at = float("-inf")
        self._lists: dict[str, list[ToolSpec]] = {}
        self._away: dict[str, str] = {}
        self._listing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._opened = self._now()
        self._refresh()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listing is not None:
            self._listing.cancel()
            await asyncio.gather(self._listing, return_exceptions=True)

    @property
    def settled(self) -> bool:
        """Whether every server's tools are known, or were waited for long enough."""
        return len(self._lists) == len(self._servers) or self._first_left() <= 0

    @property
    def known(self) -> Sequence[ToolSpec]:
        """What was listed so far."""
        found: dict[str, ToolSpec] = {}
        for name in self._servers:
            for spec in self._lists.get(name, ()):
                found.setdefault(spec.name, spec)
        return tuple(found.values())

    def away(self) -> Mapping[str, str]:
        return {n: self._away.get(n, "no answer yet") for n in self._servers if n not in self._lists}

    async def specs(self) -> Sequence[ToolSpec]:
        self._refresh()
        if not self.settled and self._listing is not None:
            await asyncio.wait({self._listing}, timeout=self._first_left())
        return self.known

    async def call(self, name: str, arguments: Mapping[str, JsonValue], *, seconds: float) -> JsonValue:
        """Structured content, or `{"result": <text>}`, as KAOS has it."""
        with note("tool", name):
            return await self._call(await self._server_of(name), name, arguments, limit=min(seconds, CALL_SECONDS))

    async def _call(self, server: str, name: str, arguments: Mapping[str, JsonValue], *, limit: float) -> JsonValue:
        try:
            async with asyncio.timeout(limit), await _client(self._servers[server]) as client:
                result = await client.call_tool(name, dict(arguments))
        except TimeoutError as exc:
            raise StepTimeout(f"Tool {name!r} gave nothing within {limit:.1f} s.") from exc
        except Exception as exc:  # whatever a server or its library does costs this call only
            raise AgentUnreachable(f"MCP server {server!r}: {_why(exc, self._servers[server])}") from exc
        text = "\n".join(str(part.text) for part in result.content if part.type == "text")
        if result.is_error:
            raise WorkerFault(text or f"Tool {name!r} failed.")
        structured: JsonValue = result.structured_content
        return structured if structured is not None else {"result": text}

    async def _server_of(self, name: str) -> str:
        await self.specs()
        for server in self._servers:
            if any(spec.name == name for spec in self._lists.get(server, ())):
                return server
        raise WorkerFault(f"There is no tool {name!r}. There are: {', '.join(s.name for s in self.known) or 'none'}.")

    def _first_left(self) -> float:
        return self._opened + self._first_seconds - self._now()

    def _refresh(self) -> None:
        waited = LIST_AGAIN_SECONDS if len(self._lists) == len(self._servers) else LIST_SECONDS
        if self._now() - self._at >= waited and (self._listing is None or self._listing.done()):
            self._at = self._now()
            self._listing = asyncio.create_task(self._list_all(), name="tools:list")

    async def _list_all(self) -> None:
        await asyncio.gather(*(self._list(name) for name in self._servers))

    async def _list(self, name: str) -> None:
        why = await self._listed(name)
        while why and self._first_left() > PAUSE_SECONDS:
            await asyncio.sleep(PAUSE_SECONDS)
            why = await self._listed(name)
        if why:  # a server that is away is no reason for this agent to be
            self._away[name] = why
            logs.get().warning("tools.unreachable", server=name, why=why)

    async def _listed(self, name: str) -> str:
        """Asks one server; says why it does not answer."""
        try:
            async with asyncio.timeout(LIST_SECONDS), await _client(self._servers[name]) as client:
                found = await client.list_tools()
        except Exception as exc:  # whatever a server or its library does costs its tools only
            return _why(exc, self._servers[name])
        self._lists[name] = [ToolSpec(t.name, t.description or "", dict(t.input_schema)) for t in found.tools]
        return ""


async def _client(url: str) -> Any:
    """The library takes a second to import: so it is done in a thread."""
    mcp = await asyncio.to_thread(importlib.import_module, "mcp")
    return mcp.Client(url)


def _endpoint(url: str) -> str:
    """KAOS names a server by its base URL, to which `/mcp` is appended."""
    url = url.rstrip("/")
    return url if url.endswith("/mcp") else f"{url}/mcp"


def _why(exc: BaseException, url: str) -> str:
    """What went wrong, without the server's address, which may hold a key."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    said = str(exc)
    for secret in filter(None, (url, urlsplit(url).query, urlsplit(url).netloc.rpartition("@")[0])):
        said = said.replace(secret, "…")
    return f"{type(exc).__name__}: {said}"[:300]
