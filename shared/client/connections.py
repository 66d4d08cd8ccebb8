"""The transport that calls leave by: pooled connections to checked addresses, under httpx's interface and below it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import NamedTuple

import httpx

from shared.client.decoding import Decoder, parse_coding
from shared.client.exchange import Connection
from shared.client.pool import Origin, Pool

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110, section 9.2.2
_HEAD = re.compile(rb"[A-Z]+ [!-~]+ HTTP/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: *[^\r\n\0]*\r\n)+\r\n")
_FRAMING = (b"content-length", b"transfer-encoding")


class Whole(NamedTuple):
    """An answer that is there; `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Target(NamedTuple):
    """A URL as the wire has it."""

    origin: Origin
    path: bytes
    host: bytes


def parse_target(url: httpx.URL) -> Target:
    """Where a URL leads; raises `httpx.UnsupportedProtocol`."""
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise httpx.UnsupportedProtocol(f"{url.scheme!r} is not a supported protocol.")
    port = url.port or (443 if url.scheme == "https" else 80)
    return Target(Origin(url.scheme == "https", url.raw_host.decode("ascii"), port), url.raw_path, url.netloc)


class Connections(httpx.AsyncBaseTransport):
    """Up to `max_connections` calls at once, to addresses that are `allowed`; no running loop is needed to make it."""

    def __init__(self, allowed: Callable[[str], bool], max_connections: int, *, lookup_seconds: float) -> None:
        self._pool = Pool(allowed, lookup_seconds=lookup_seconds)
        self._places = asyncio.Semaphore(max_connections)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """httpx's way: any method, a body that may be streamed, an answer that may be read as it comes."""
        limits = request.extensions.get("timeout", {})
        upload: AsyncIterator[bytes] | None = None
        headers = [(name, value) for name, value in request.headers.raw if name.lower() not in _FRAMING]
        try:
            body = request.content
            headers += _measure(request.method, body)
        except httpx.RequestNotRead:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            body, upload = b"", aiter(request.stream)
            headers.append((b"Transfer-Encoding", b"chunked"))
        call = await self._begin(request.method, parse_target(request.url), headers, body, limits, upload)
        try:
            return call.make_response()
        except BaseException:
            call.close()
            raise

    async def fetch(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        body: bytes,
        *,
        connect_seconds: float | None,
        max_bytes: int,
        streams: str,
    ) -> Whole | httpx.Response | None:
        """Bytes for bytes, past httpx's objects; a 200 of the media type `is_stream` comes as it is read.

        None where the body is larger than `max_bytes`.
        """
        raw = [(b"Host", target.host)]
        raw += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        raw += _measure(method, body)
        limits = {"connect": connect_seconds, "pool": connect_seconds}
        call = await self._begin(method, target, raw, body, limits, None)
        try:
            if streams and call.is_stream(streams):
                return call.make_response()
            answer = await call.read_whole(max_bytes)
        except BaseException:
            call.close()
            raise
        call.close()
        return answer

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _begin(
        self,
        method: str,
        target: Target,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        limits: Mapping[str, float | None],
        upload: AsyncIterator[bytes] | None,
    ) -> _Exchange:
        """A call whose answer has begun; its caller closes it."""
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method.encode("ascii"), target.path, lines)
        if not _HEAD.fullmatch(head) or head.count(b"\n") != len(headers) + 2:  # or a header would begin another line
            raise httpx.LocalProtocolError("The method, the path or a header contains invalid characters.")
        await self._take_place(limits.get("pool"))
        try:
            while True:
                kept = self._pool.take_kept(target.origin)
                connection = kept or await self._pool.open_connection(target.origin, limits.get("connect"))
                try:
                    await connection.ask(head, body, headless=method == "HEAD", upload=upload)
                    await connection.wait_for_answer(limits.get("read"))
                    break
                except BaseException as exc:
                    self._pool.give_back(connection, target.origin)
                    again = kept is not None and connection.stale and upload is None and method in _REPEATABLE
                    if not (again and isinstance(exc, httpx.TransportError)):
                        raise
        except BaseException:
            self._places.release()
            raise
        return _Exchange(connection, target.origin, limits.get("read"), self._pool, self._places)

    async def _take_place(self, seconds: float | None) -> None:
        if not self._places.locked():  # no timer for what does not wait
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._places.acquire()
        except TimeoutError as exc:
            raise httpx.PoolTimeout("No connection became available in time.") from exc


def _measure(method: str, body: bytes) -> list[tuple[bytes, bytes]]:
    """Content-Length, but for methods that need none (RFC 9110, section 8.6)."""
    return [(b"Content-Length", b"%d" % len(body))] if body or method in ("POST", "PUT", "PATCH") else []


class _Exchange(httpx.AsyncByteStream):
    """An exchange whose answer has begun; it is its body, too."""

    def __init__(
        self, connection: Connection, origin: Origin, silence: float | None, pool: Pool, places: asyncio.Semaphore
    ) -> None:
        self._connection = connection
        self._origin = origin
        self._silence = silence
        self._pool = pool
        self._places = places
        self._open = True

    def is_stream(self, media_type: str) -> bool:
        """Whether the answer is a good one of this type."""
        said = self._connection.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        return self._connection.status == 200 and said == media_type.encode("ascii")

    def make_response(self) -> httpx.Response:
        """The answer in httpx's words; one that is complete has given its connection back."""
        connection = self._connection
        self._coding = parse_coding(connection.fields.get(b"content-encoding"))
        headers, stream = connection.headers, self if not connection.complete or self._coding else None
        if self._coding:
            dropped = (b"content-encoding", b"content-length")
            headers = [(name, value) for name, value in headers if name.lower() not in dropped]
        extensions = {"http_version": b"HTTP/1.1", "reason_phrase": connection.reason}
        body = stream or httpx.ByteStream(connection.take_pieces())
        if stream is None:
            self.close()
        return httpx.Response(connection.status, headers=headers, stream=body, extensions=extensions)

    async def read_whole(self, max_bytes: int) -> Whole | None:
        """The answer once all of it is there; None if it is larger."""
        connection = self._connection
        self._coding = parse_coding(connection.fields.get(b"content-encoding"))
        if connection.complete and not self._coding:
            body = connection.take_pieces()
        else:
            parts, size = [], 0
            async with aclosing(aiter(self)) as pieces:
                async for piece in pieces:
                    parts.append(piece)
                    if (size := size + len(piece)) > max_bytes:
                        return None
            body = b"".join(parts)
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in connection.fields.items()}
        return Whole(connection.status, fields, body) if len(body) <= max_bytes else None

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        decoder = Decoder(self._coding) if self._coding else None
        while piece := await self._connection.read_piece(self._silence):
            for part in decoder.decode(piece) if decoder else (piece,):
                yield part
        if decoder:
            decoder.end()

    def close(self) -> None:
        """Gives the connection back; one whose answer is not complete is closed."""
        if self._open:
            self._open = False
            self._pool.give_back(self._connection, self._origin)
            self._places.release()

    async def aclose(self) -> None:
        self.close()
