"""aiohttp's connections under httpx's interface: pooled, to checked addresses only, with errors that say what was."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import ResolveResult
from yarl import URL

_KEEP_ALIVE_SECONDS = 4  # less than uvicorn's 5: a client that keeps longer loses calls to closing connections
_DECODED = {"gzip", "deflate", "br", "zstd"}  # what aiohttp decodes, or refuses, by itself


class UnknownHost(httpx.ConnectError):
    """The host name has no address, or none was found in time."""


class AddressRefused(httpx.ConnectError):
    """Muster may not connect to the address behind the name; trying again does not help."""


class Connections(httpx.AsyncBaseTransport):
    """Up to `max_connections` at once, to addresses that are `allowed`; a host's address is looked up within
    `lookup_seconds`. The session is made at the first call, in the caller's loop."""

    def __init__(self, allowed: Callable[[str], bool], max_connections: int, *, lookup_seconds: float) -> None:
        self._allowed = allowed
        self._lookup_seconds = lookup_seconds
        # aiohttp's own limit cannot tell "no free connection" from "cannot connect".
        self._places = asyncio.Semaphore(max_connections)
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        limits = request.extensions.get("timeout", {})
        try:
            async with asyncio.timeout(limits.get("pool")):
                await self._places.acquire()
        except TimeoutError as exc:
            raise httpx.PoolTimeout("No connection became free in time.") from exc
        try:
            answer = await self._sent(request, limits)
            stream = await self._body(answer)
        except BaseException:
            self._places.release()
            raise
        extensions = {"http_version": b"HTTP/1.1", "reason_phrase": (answer.reason or "").encode("latin-1", "replace")}
        return httpx.Response(answer.status, headers=_headers(answer), stream=stream, extensions=extensions)

    async def _body(self, answer: aiohttp.ClientResponse) -> httpx.AsyncByteStream:
        if not answer.content.is_eof():
            return _Body(answer, self._places)
        try:
            whole = await answer.content.read()  # came with the head, as small ones do: nothing to wait for or to close
        except aiohttp.ClientError as exc:
            raise _translated(exc) from exc
        self._places.release()
        return httpx.ByteStream(whole)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _sent(self, request: httpx.Request, limits: dict[str, float | None]) -> aiohttp.ClientResponse:
        data: Any
        try:
            data = request.content or None
        except httpx.RequestNotRead:
            data = request.stream
        self._session = session = self._session or self._opened()
        try:
            answer = await session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=_request_headers(request.headers),
                data=data,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_connect=limits.get("connect"), sock_read=limits.get("read")),
            )
        except aiohttp.ClientError as exc:
            raise _translated(exc) from exc
        except ValueError as exc:  # a line break in a header, a host that is none
            raise httpx.LocalProtocolError(str(exc)) from exc
        coding = answer.headers.get("content-encoding", "identity").lower()
        if coding not in _DECODED | {"identity", ""}:
            answer.close()
            raise httpx.RemoteProtocolError(f"The answer is encoded as {coding!r}.")
        return answer

    def _opened(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
                resolver=_Resolver(self._lookup_seconds),
                use_dns_cache=False,  # a recreated container has another address
                socket_factory=_guarded(self._allowed),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
            read_bufsize=65_536,  # also the step in which bodies are decoded, so what a cap may be overrun by
            trust_env=False,
        )


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse, places: asyncio.Semaphore) -> None:
        self._answer = answer
        self._places = places
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._answer.content.iter_any():
                yield piece
        except aiohttp.ClientError as exc:
            raise _translated(exc) from exc

    async def aclose(self) -> None:
        if not self._open:
            return
        self._open = False
        self._answer.close()  # the connection too, unless the answer is complete and has given it back already
        self._places.release()


class _Resolver(aiohttp.ThreadedResolver):
    """The system's look-up, with a limit: aiohttp counts it into no time-out that we set."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            async with asyncio.timeout(self._seconds):
                return await super().resolve(host, port, family)
        except TimeoutError as exc:
            raise socket.gaierror(socket.EAI_AGAIN, f"No address within {self._seconds:g} s") from exc


class _Forbidden(PermissionError):
    """An OSError with one constant text: of several addresses aiohttp merges the errors by type and text."""


def _guarded(allowed: Callable[[str], bool]) -> Callable[[Any], socket.socket]:
    """Opens sockets for allowed addresses only. It sees what is connected to; a resolver never sees literals."""

    def opened(info: Any) -> socket.socket:
        family, kind, proto, _, sockaddr = info
        if not allowed(sockaddr[0]):
            raise _Forbidden("address not allowed")
        return socket.socket(family, kind, proto)

    return opened


def _request_headers(headers: httpx.Headers) -> list[tuple[str, str]]:
    """Without the framing: aiohttp knows, and a stream that was read into bytes has a length now."""
    encoding = headers.encoding
    return [
        (name.decode(encoding), value.decode(encoding))
        for name, value in headers.raw
        if name.lower() != b"transfer-encoding"
    ]


def _headers(answer: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    """Without those that are wrong for a body that aiohttp has decoded."""
    if not answer.headers.get("content-encoding"):
        return list(answer.raw_headers)
    dropped = (b"content-encoding", b"content-length")
    return [(name, value) for name, value in answer.raw_headers if name.lower() not in dropped]


# The first match wins. The order matters: aiohttp's errors inherit from each other.
_RULES: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ClientConnectorDNSError, UnknownHost),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.ClientError, httpx.ReadError),
)


def _translated(exc: aiohttp.ClientError) -> httpx.TransportError:
    ours = next(ours for theirs, ours in _RULES if isinstance(exc, theirs))
    if isinstance(exc, aiohttp.ServerDisconnectedError) and not isinstance(exc.message, str):
        return ours("Server disconnected in the middle of the answer's head")  # the message is that head
    if not isinstance(exc, aiohttp.ClientConnectorError):
        return ours(str(exc) or type(exc).__name__)
    if isinstance(exc.os_error, _Forbidden):
        return AddressRefused(f"The address of {exc.host}:{exc.port} is not allowed.")
    return ours(f"Cannot connect to {exc.host}:{exc.port}: {_reason(exc.os_error)}")


def _reason(exc: OSError) -> str:
    if isinstance(exc, (socket.gaierror, ssl.SSLError)) or not exc.errno:
        return exc.strerror or str(exc)
    return os.strerror(exc.errno)  # "Connection refused"; the loops' own texts differ and repeat the address
