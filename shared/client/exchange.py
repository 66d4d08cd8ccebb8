"""One HTTP/1.1 connection (RFC 9112): a request's bytes out, its answer's head and body in, parsed by llhttp."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import httptools
import httpx

HELD_BYTES = 262_144  # of a body not read yet: beyond that the socket is not read either
BARE_BYTES = 65_536  # in a row without a byte of body: of a head, of trailers, of extensions of chunks
JOINED_BYTES = 65_536  # a body up to this is written together with its head
WHOLE_BYTES = 65_536  # an answer that says it is no longer is waited for as a whole: one turn of the loop, not two


class Connection(asyncio.Protocol):
    """Carries one exchange after the other. Its errors are httpx's; after any of them it is to be closed.

    `status`, `reason`, `headers` and `fields` (by lower-case name) are those of the answer after `wait_for_answer`.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._paused = self._congested = False
        self._lost = False
        self.idle_since = 0.0
        self._reset(headless=False)
        self.complete = True  # nothing is asked yet: whatever comes now is no answer

    def _reset(self, *, headless: bool) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headless = headless  # of the answer to HEAD only the head comes
        self._error: httpx.TransportError | None = None
        self._heard = self._begun = self._keep = self._whole = False
        self._bare = self._held = 0
        self._pieces: list[bytes] = []
        self.complete = False
        self.status = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.fields: dict[bytes, bytes] = {}

    # --- for the caller

    @property
    def usable(self) -> bool:
        """Whether another exchange may follow: the last one is complete, and both sides keep the connection."""
        return self.complete and self._keep and not self._lost and not self.transport.get_write_buffer_size()

    @property
    def stale(self) -> bool:
        """Whether the peer had closed it before it answered with even a byte: it may not have seen the request."""
        return self._lost and not self._heard

    async def ask(
        self, head: bytes, body: bytes, *, headless: bool = False, upload: AsyncIterator[bytes] | None = None
    ) -> None:
        """Begins an exchange; `upload` is a body that is sent in chunks, as far as the peer wants it."""
        self._reset(headless=headless)
        if len(body) > JOINED_BYTES:
            self.transport.write(head)
            self.transport.write(body)
        else:
            self.transport.write(head + body)
        if upload is None:
            return
        async for piece in upload:
            if self._begun or self._lost:
                return  # it has answered, and `usable` must be False: the request is not complete
            if piece:
                self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if self._congested and not self._lost:
                self._writable = self._loop.create_future()
                await self._writable
        self.transport.write(b"0\r\n\r\n")

    async def wait_for_answer(self, silence: float | None) -> None:
        """Until the answer's head is there, with all of a small body; `silence` is how long nothing may come."""
        while not self._begun or (self._whole and not self.complete):
            await self._wait_for_news(silence)

    async def read_piece(self, silence: float | None) -> bytes:
        """The next of the body as it comes; nothing at its end."""
        while not self._pieces and not self.complete:
            await self._wait_for_news(silence)
        return self.take_pieces()

    def take_pieces(self) -> bytes:
        """What of the body has come since the last time."""
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._held = [], 0
        if self._paused and not self._lost:
            self._paused = False
            self.transport.resume_reading()
        return body

    def close(self) -> None:
        """At once, whatever is on its way."""
        self.transport.abort()

    async def _wait_for_news(self, silence: float | None) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            if silence is None:
                await self._waiter
            else:
                async with asyncio.timeout(silence):
                    await self._waiter
        except TimeoutError as exc:
            raise httpx.ReadTimeout(f"No data for {silence:g} s.") from exc
        finally:
            self._waiter = None
        if self._error is not None and not self._pieces:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- asyncio's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.complete or self._lost:  # unrequested bytes would be taken for the next answer
            self._keep = False
            self.transport.abort()
            return
        self._heard = True
        self._bare += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._keep = False
            if not self.complete:
                self._fail(httpx.RemoteProtocolError(f"The response is not HTTP/1.1: {exc}"))
        if self._bare > BARE_BYTES and not self.complete:
            self._fail(httpx.RemoteProtocolError("The response's headers are too large."))
        if self._held > HELD_BYTES and not self._paused and not self._lost:
            self._paused = True
            self.transport.pause_reading()
        if self._begun and (self.complete or not self._whole):
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if not self.complete and self._error is None:
            self._end(exc)
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._congested = True

    def resume_writing(self) -> None:
        self._congested = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _end(self, exc: Exception | None) -> None:
        """The peer has closed: the end of an answer that says no length, else a fault."""
        framed = {b"content-length", b"transfer-encoding"} & self.fields.keys()
        if self._begun and not framed and exc is None:
            self.complete = True
        elif self._begun:
            self._error = httpx.RemoteProtocolError("The peer closed the connection in the middle of the response")
        elif self._heard:
            self._error = httpx.RemoteProtocolError("Server disconnected in the middle of the response's headers")
        elif isinstance(exc, OSError):
            self._error = httpx.ReadError(os.strerror(exc.errno) if exc.errno else str(exc))
        else:
            self._error = httpx.RemoteProtocolError("Server disconnected")

    def _fail(self, error: httpx.TransportError) -> None:
        self._error = self._error or error
        self._keep = False
        self.transport.abort()
        self._wake()

    # --- llhttp's side: everything after the end of the answer is only noted

    def on_message_begin(self) -> None:
        if self.complete:
            self._keep = False

    def on_status(self, reason: bytes) -> None:
        self.reason += b"" if self.complete else reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._begun:  # later ones are trailers
            self.headers.append((name, value))
            before = self.fields.get(key := name.lower())
            self.fields[key] = value if before is None else b"%b, %b" % (before, value)  # RFC 9110, section 5.3

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.complete or 100 <= status < 200:
            return
        if sum([len(name) + len(value) + 4 for name, value in self.headers]) > BARE_BYTES:
            self._fail(httpx.RemoteProtocolError("The response's headers are too large."))
            return
        if self.fields.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
            self._fail(httpx.RemoteProtocolError("The response's transfer encoding is unknown."))
            return
        self.status, self._begun, self._bare = status, True, 0
        self._keep = self._parser.should_keep_alive()
        length = self.fields.get(b"content-length")
        self._whole = length is not None and int(length) <= WHOLE_BYTES
        if self._headless:
            self.complete, self._keep = True, False

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self._pieces.append(data)
            self._held += len(data)
            self._bare = 0

    def on_message_complete(self) -> None:
        if self._begun:
            self.complete = True
        else:  # 1xx: the answer comes after it
            self.headers, self.fields, self.reason = [], {}, b""
