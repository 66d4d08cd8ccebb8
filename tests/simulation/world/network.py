"""The network of a simulation: calls between processes in memory, with delays, losses, duplicates and partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import unquote

import httpx

from shared.client.connections import Target
from tests.simulation.world.history import Recording
from tests.simulation.world.process import Process, current
from tests.simulation.world.virtual_time import NOBODY

App = Callable[..., Awaitable[None]]
CONNECT_SECONDS = 2.0
SAFE_TO_REPEAT = ("/execute", "/register_agent", "/hook", "/health", "/agents")
QUIET = ("/register_agent", "/health")  # not a line each in the history where they go well


@dataclass(frozen=True)
class Rule:
    """What goes wrong on the way from `source` to `target` (None: anybody)."""

    source: str | None
    target: str | None
    drops: float = 0.0  # share of calls whose request never arrives, and that wait
    resets: float = 0.0  # share of calls that are done, and whose answer is cut off
    doubles: float = 0.0  # share of calls that arrive twice
    seconds: float = 0.0  # most that is added to a way
    answers: bool = False  # whether answers on this way are lost, too

    def covers(self, source: str, target: str) -> bool:
        return self.source in (None, source) and self.target in (None, target)


@dataclass
class Exchange:
    """A call whose server works on it; the client hears of it through `head` and `pieces`."""

    client: Process | None
    server: Process
    path: str
    head: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]]
    loop: asyncio.AbstractEventLoop
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # for the server: the client has hung up
    pieces: asyncio.Queue[bytes | httpx.TransportError | None] = field(default_factory=asyncio.Queue)
    delivered_at: float = 0.0
    over: bool = False
    began: float = 0.0
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""

    def deliver(self, seconds: float, tell: Callable[[], None]) -> None:
        """In order, as TCP does, and also when the sender is dead by then."""
        self.delivered_at = max(self.delivered_at + 1e-7, self.loop.time() + seconds)
        self.loop.call_at(self.delivered_at, tell, context=NOBODY)

    def add(self, piece: bytes, *, whole: bool) -> None:
        """A piece has arrived."""
        if piece:
            self.pieces.put_nowait(piece)
        if whole:
            self.pieces.put_nowait(None)

    def fail(self, error: httpx.TransportError) -> None:
        """Both sides hear that the connection is gone."""
        if self.over:
            return
        self.over = True
        if not self.head.done():
            self.head.set_exception(error)
            self.head.exception()  # nobody may be there to hear of it
        self.pieces.put_nowait(error)
        self.gone.set()


class Network:
    """Host names mapped to apps in processes, and what is wrong between them."""

    def __init__(self, random: Random, recording: Recording) -> None:
        self._random = random
        self._recording = recording
        self._hosts: dict[str, tuple[App, Process]] = {}
        self._open: dict[int, Exchange] = {}
        self._count = 0
        self.rules: list[Rule] = []
        self.dark: set[str] = set()  # hosts that are down without a reset: a power cut
        self.arrived: list[Callable[[str, str, str, Mapping[bytes, bytes], bytes], None]] = []
        self.answered: list[Callable[[Exchange, int], None]] = []  # as the server sent it, and its status

    def host(self, process: Process, app: App) -> None:
        self._hosts[process.name] = app, process
        process.on_death.append(lambda: self.unhost(process))

    def unhost(self, process: Process) -> None:
        """Connections to a process that has ended are reset, and those that it had opened are closed."""
        self.shut(process)
        loop = asyncio.get_running_loop()
        for exchange in [*self._open.values()]:
            if process in (exchange.client, exchange.server):
                error = httpx.ReadError("Connection reset by peer")
                seconds = self._random.uniform(0.0002, 0.002)
                loop.call_later(seconds, exchange.fail, error, context=NOBODY)
        self._open = {number: e for number, e in self._open.items() if e.server is not process}

    def shut(self, process: Process) -> None:
        """It takes no more connections."""
        if (found := self._hosts.get(process.name)) is not None and found[1] is process:
            del self._hosts[process.name]

    async def drain(self, process: Process, *, seconds: float) -> None:
        """Waits until it has answered what it had taken, at most so long."""
        until = asyncio.get_running_loop().time() + seconds
        while any(e.server is process for e in self._open.values()):
            await asyncio.sleep(0.1)
            if asyncio.get_running_loop().time() >= until:
                return

    def list_open(self, path: str) -> list[Exchange]:
        """The calls of a path whose server works on them and whose client waits."""
        return [e for e in self._open.values() if e.path == path and not e.over and e.server.alive]

    # --- a call

    async def call(
        self, method: str, target: Target, headers: list[tuple[bytes, bytes]], body: bytes, connect_seconds: float
    ) -> Exchange:
        """A call whose answer has begun; raises httpx's errors."""
        process = current()
        source, server = process.name if process is not None else "outside", target.origin.host
        path = target.path.decode("ascii")
        rules = [rule for rule in self.rules if rule.covers(source, server)]
        chance = self._random.random
        if any(chance() < rule.drops for rule in rules) or server in self.dark:
            self._recording.note("lost", source=source, target=server, call=f"{method} {path}")
            await asyncio.sleep(connect_seconds)
            raise httpx.ConnectTimeout("Connection timed out")
        way = self._choose_seconds(rules)
        await asyncio.sleep(way)
        found = self._hosts.get(server)
        if found is None or not found[1].alive:
            raise httpx.ConnectError(f"Cannot connect to {server}: Connection refused")
        times = 1
        if path.startswith(SAFE_TO_REPEAT) and any(chance() < rule.doubles for rule in rules):
            self._recording.note("doubled", source=source, target=server, call=f"{method} {path}")
            times = 2
        for _ in range(times):
            exchange = self._begin(process, source, *found, method, target, path, headers, body)
        return await self._wait_for_head(exchange, source, server, method)

    async def _wait_for_head(self, exchange: Exchange, source: str, server: str, method: str) -> Exchange:
        try:
            status, _ = await exchange.head
        except asyncio.CancelledError:
            self.hang_up(exchange)
            raise
        except httpx.TransportError as exc:
            self._recording.note(
                "cut", source=source, target=server, call=f"{method} {exchange.path}", why=type(exc).__name__
            )
            raise
        if status >= 300 or not exchange.path.startswith(QUIET):
            self._recording.note("call", source=source, target=server, call=f"{method} {exchange.path}", status=status)
        return exchange

    def hang_up(self, exchange: Exchange) -> None:
        """The client needs no more of the answer; the server hears of it after a while, if it can."""
        if exchange.over:
            return
        exchange.over = True
        source = exchange.client.name if exchange.client is not None else "outside"
        rules = [rule for rule in self.rules if rule.covers(source, exchange.server.name)]
        if not any(rule.drops >= 1 for rule in rules):
            seconds = self._choose_seconds(rules)
            exchange.loop.call_later(seconds, exchange.gone.set, context=NOBODY)

    def _choose_seconds(self, rules: list[Rule]) -> float:
        seconds = self._random.uniform(0.0002, 0.002)
        return seconds + sum(self._random.uniform(0.0, rule.seconds) for rule in rules if rule.seconds)

    def _begin(
        self,
        client: Process | None,
        source: str,
        app: App,
        server: Process,
        method: str,
        target: Target,
        path: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
    ) -> Exchange:
        loop = asyncio.get_running_loop()
        exchange = Exchange(
            client, server, path, loop.create_future(), loop, began=loop.time(), headers=dict(headers), body=body
        )
        self._count += 1
        number = self._count
        self._open[number] = exchange
        for tell in self.arrived:
            tell(source, server.name, f"{method} {path}", exchange.headers, body)
        plain, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(plain),
            "raw_path": target.path.partition(b"?")[0],
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [(b"host", target.host), *headers],
            "client": ("10.0.0.1", 40_000),
            "server": (server.name, target.origin.port),
            "state": {},
        }
        back = [rule for rule in self.rules if rule.answers and rule.covers(server.name, source)]
        forth = [rule for rule in self.rules if rule.covers(source, server.name)]
        cut = any(self._random.random() < rule.resets for rule in forth)
        pieces_left = self._random.choice((0, 0, 1, 2)) if cut else -1
        unread = True

        async def receive() -> dict[str, Any]:
            nonlocal unread
            if unread:
                unread = False
                return {"type": "http.request", "body": body, "more_body": False}
            await exchange.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            nonlocal pieces_left
            if message["type"] == "http.response.start":
                for tell in self.answered:
                    tell(exchange, int(message["status"]))
            if exchange.over:
                return
            now = [rule for rule in self.rules if rule.covers(server.name, source) and rule.answers]
            if any(rule.drops >= 1 for rule in now):
                return  # lost; the client waits for as long as it likes
            if cut and pieces_left <= 0:
                seconds = self._choose_seconds(back)
                exchange.deliver(seconds, lambda: exchange.fail(httpx.ReadError("Connection reset by peer")))
                return
            pieces_left -= 1
            seconds = self._choose_seconds(now)
            if message["type"] == "http.response.start":
                head = int(message["status"]), list(message.get("headers", ()))
                exchange.deliver(seconds, lambda: exchange.head.done() or exchange.head.set_result(head))
                return
            piece, more = message.get("body", b""), message.get("more_body", False)
            exchange.deliver(seconds, lambda: exchange.add(piece, whole=not more))

        async def serve() -> None:
            try:
                await app(scope, receive, send)
                if not exchange.head.done() and not exchange.delivered_at:
                    exchange.deliver(0.0005, lambda: exchange.fail(httpx.RemoteProtocolError("Server disconnected")))
            except Exception as exc:
                self._recording.note(
                    "server.broke", server=server.name, call=f"{method} {path}", why=type(exc).__name__
                )
                exchange.deliver(0.0005, lambda: exchange.fail(httpx.ReadError("Connection reset by peer")))
            finally:
                self._open.pop(number, None)

        server.spawn(serve(), f"serve:{path}")
        return exchange
