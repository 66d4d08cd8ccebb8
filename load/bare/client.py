"""An HTTP client for one server, which keeps its connections and uses them again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import cast

import httptools

KEPT_SECONDS = 4.0  # less than a server's usual 5


class Broken(OSError):
    """The connection ended before the answer was complete, or the answer was not HTTP."""


class _Connection(asyncio.Protocol):
    def __init__(self, idle: list[_Connection]) -> None:
        self._idle = idle
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self._body = b""
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiting

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, AttributeError):
            self._fail("This is no HTTP.")
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        waiting, self._waiting = self._waiting, None
        if not self._parser.should_keep_alive():
            self._transport.close()
        elif waiting is not None:
            self.idle_since = time.monotonic()
            self._idle.append(self)
        if waiting is not None and not waiting.done():
            waiting.set_result((self._parser.get_status_code(), self._body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        self._fail("The connection ended.")

    def _fail(self, why: str) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(Broken(why))


class Client:
    """`authority` is host:port, `source` this machine's own address in its calls where that matters.

    A request that is cancelled closes its connection; leaving the block closes all.
    """

    def __init__(self, authority: str, *, source: str | None = None) -> None:
        self._host, _, port = authority.rpartition(":")
        self._port = int(port)
        self._authority = authority
        self._source = (source, 0) if source is not None else None
        self._idle: list[_Connection] = []

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in list(self._idle):
            connection.close()

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Returns the status and the body; raises OSError, also as `Broken`."""
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = (
            f"{method} {target} HTTP/1.1\r\nhost: {self._authority}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n{more}\r\n"
        )
        connection = self._take_kept() or await self._open()
        try:
            return await connection.ask(head.encode() + body)
        except asyncio.CancelledError:
            connection.close()
            raise

    def _take_kept(self) -> _Connection | None:
        """Takes the connection that was used last, unless the server may be closing it already."""
        if not self._idle:
            return None
        last = self._idle.pop()
        if time.monotonic() - last.idle_since < KEPT_SECONDS:
            return last
        last.close()
        for other in self._idle:  # those were used even earlier
            other.close()
        self._idle.clear()
        return None

    async def _open(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self._idle), self._host, self._port, local_addr=self._source
        )
        return connection
