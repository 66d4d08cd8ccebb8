"""What bounds a call over any transport of httpx's: a deadline for all of it, and a cap on the answer's body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import httpx

from shared.client.connections import Connections, Target, Whole


class DeadlineExceeded(httpx.TimeoutException):
    """The time for the whole call, from its start to the last byte of the answer, was over."""


class BodyTooLarge(httpx.TransportError):
    """The answer's body, decoded, is larger than the caller takes."""


class Bounded(httpx.AsyncBaseTransport):
    """Adds a deadline (`seconds`) and a cap on the body (`max_bytes`) to any transport.

    Raises `DeadlineExceeded` and `BodyTooLarge`, also while the body is read.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, *, seconds: float, max_bytes: int) -> None:
        self._inner = inner
        self._seconds = seconds
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        wish = request.extensions
        at = asyncio.get_running_loop().time() + wish.get("deadline", self._seconds)
        try:
            async with asyncio.timeout_at(at):
                answer = await self._inner.handle_async_request(request)
        except TimeoutError as exc:
            raise DeadlineExceeded("The call timed out before a response.") from exc
        cap = wish.get("max_bytes", self._max_bytes)
        stream = answer.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        if answer.is_closed:  # a fake's, read already: httpx would take no other stream for it
            stream = _Capped(stream, at, cap)
            return httpx.Response(
                answer.status_code, headers=answer.headers, stream=stream, extensions=answer.extensions
            )
        if not isinstance(stream, httpx.ByteStream):
            answer.stream = _Capped(stream, at, cap)
        elif sum(map(len, stream)) > cap:
            raise _refuse_large(cap)
        return answer

    @property
    def is_direct(self) -> bool:
        """Whether `fetch` may be called: the network is the real one."""
        return isinstance(self._inner, Connections)

    async def fetch(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        body: bytes,
        *,
        seconds: float,
        max_bytes: int,
        connect_seconds: float | None,
        streams: str,
    ) -> Whole | httpx.Response:
        """`Connections.fetch` within the same bounds."""
        assert isinstance(self._inner, Connections)
        at = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(at):
                answer = await self._inner.fetch(
                    method,
                    target,
                    headers,
                    body,
                    connect_seconds=connect_seconds,
                    max_bytes=max_bytes,
                    streams=streams,
                )
        except TimeoutError as exc:
            raise DeadlineExceeded("The call timed out before a response.") from exc
        if answer is None:
            raise _refuse_large(max_bytes)
        if isinstance(answer, httpx.Response):
            assert isinstance(answer.stream, httpx.AsyncByteStream)
            answer.stream = _Capped(answer.stream, at, max_bytes)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Capped(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, at: float, max_bytes: int) -> None:
        self._stream = stream
        self._at = at
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._max_bytes
        pieces = aiter(self._stream)
        while True:
            try:
                async with asyncio.timeout_at(self._at):
                    piece = await anext(pieces, None)
            except TimeoutError as exc:
                raise DeadlineExceeded("The call timed out before the response was complete.") from exc
            if piece is None:
                return
            left -= len(piece)
            if left < 0:
                raise _refuse_large(self._max_bytes)
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


def _refuse_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The response is larger than {max_bytes} bytes.")
