"""An HTTP server that hands each request to one function and answers 200 with the JSON that it returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import cast

import httptools

HEALTHY = b'{"status":"healthy"}'
Handler = Callable[[bytes, bytes, bytes], bytes | Coroutine[None, None, bytes]]  # method, target, body


class ServerConnection(asyncio.Protocol):
    """One connection with one request at a time. A handler that is a coroutine is cancelled when the caller is gone."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._parser = httptools.HttpRequestParser(self)
        self._target = self._body = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        target, body = self._target, self._body
        self._target = self._body = b""
        answer = self._handle(self._parser.get_method(), target, body)
        if isinstance(answer, bytes):
            self._write(answer)
        else:
            self._task = asyncio.create_task(self._answer_later(answer), name="request")

    async def _answer_later(self, answer: Coroutine[None, None, bytes]) -> None:
        self._write(await answer)

    def _write(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


async def listen(handle: Handler, port: int) -> asyncio.Server:
    """Returns a server on 127.0.0.1 that accepts connections."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: ServerConnection(handle), "127.0.0.1", port, backlog=4096)
