"""uvicorn's HTTP protocol, with limits on headers, which arrive before any key can be checked."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 32_768  # bytes; the piece in which a head begins, and the one in which it ends, are not counted
HEAD_SECONDS = 20.0  # a look of the health check (probe.sh) is silent for five of them
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Heads(HttpToolsProtocol):
    """Closes a connection whose request has no whole head after `seconds`, and answers one that grows with 431.

    uvicorn's own waits for ever and keeps all: 150 MB of one header took 250 MB, and the loop for half a minute.
    """

    seconds = HEAD_SECONDS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._inside = False
        self._size = self._known = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        inside, known = self._inside, self._known
        super().data_received(data)
        if inside and self._known == known:
            self._size += len(data)
        idle = self.cycle is None or self.cycle.response_complete
        if self._size > MAX_HEAD:
            if idle:
                self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif idle:
            self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._inside, self._size = True, 0

    def on_headers_complete(self) -> None:
        self._inside, self._size = False, 0
        self._known += 1
        self._stop()
        super().on_headers_complete()

    def _wait(self) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
