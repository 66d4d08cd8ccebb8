"""The one factory of HTTP clients: pooled connections, a deadline, a cap on bodies, checked addresses, true errors."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Literal

import aiohttp
import httpx
from aiohttp.abc import ResolveResult
from yarl import URL

from shared import addresses

Policy = Literal["agents", "web"]
_KEEP_ALIVE_SECONDS = 4  # less than uvicorn's 5: a client that keeps longer loses calls to closing connections
_DECODED = {"gzip", "deflate", "br", "zstd"}  # what aiohttp decodes, or refuses, by itself


class UnknownHost(httpx.ConnectError):
    """The host name has no address, or none was found in time."""


class AddressRefused(httpx.ConnectError):
    """Muster may not connect to the address behind the name; trying again does not help."""


class DeadlineExceeded(httpx.TimeoutException):
    """The time for the whole call, from its start to the last byte of the answer, was over."""


class BodyTooLarge(httpx.TransportError):
    """The answer's body, decoded, is larger than the caller takes."""


def client(
    *,
    policy: Policy = "agents",
    seconds: float = 30.0,
    max_bytes: int = 8_000_000,
    connect_seconds: float = 2.0,
    read_seconds: float | None = None,
    max_connections: int = 1000,
    private: bool = True,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """An HTTP client without redirects, cookies and proxies, to be closed with `aclose()` or `async with`.

    `seconds` is the deadline of a whole call and `max_bytes` the cap on a decoded body; one call changes them
    with `extensions={"deadline": 2.5, "max_bytes": 1_000_000}`. `connect_seconds` bounds each of: waiting for
    one of `max_connections`, looking up the name, connecting. `read_seconds` bounds silence between two reads.
    `policy` and `private` choose the rule of `shared.addresses`, applied to the address that is connected to.
    `transport` replaces the network, not the deadline and the cap. No running loop is needed here.

    Calls raise the errors of this module and httpx's own; `reached` tells them apart.
    """
    allowed = addresses.web_allowed if policy == "web" else partial(addresses.agent_allowed, private=private)
    inner = transport or _Aiohttp(allowed, max_connections, lookup_seconds=connect_seconds)
    return _Client(
        transport=Bounded(inner, seconds=seconds, max_bytes=max_bytes),
        timeout=httpx.Timeout(None, connect=connect_seconds, read=read_seconds, pool=connect_seconds),
        follow_redirects=False,
        trust_env=False,
    )


def reached(exc: httpx.TransportError) -> bool:
    """Whether the peer may have seen the call. False: it certainly did not, the same call may be sent again.

    (After `AddressRefused` and `UnsupportedProtocol` that is safe, but will not help.)
    """
    return not isinstance(exc, _NEVER_REACHED)


_NEVER_REACHED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class _NoCookies(httpx.Cookies):
    """Keeps nothing. httpx's own jar, even one that refuses all, takes a twentieth of a call's time."""

    def extract_cookies(self, response: httpx.Response) -> None:
        return

    def __bool__(self) -> bool:
        return False


class _Client(httpx.AsyncClient):
    cookies = _NoCookies()  # type: ignore[override]  # a property in httpx


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
            raise DeadlineExceeded("The call's time was over before an answer.") from exc
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
            raise _too_large(cap)
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
                raise DeadlineExceeded("The call's time was over before the end of the answer.") from exc
            if piece is None:
                return
            left -= len(piece)
            if left < 0:
                raise _too_large(self._max_bytes)
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The answer is larger than {max_bytes} bytes.")


class _Aiohttp(httpx.AsyncBaseTransport):
    """aiohttp's connections under httpx's interface. The session is made at the first call, in the caller's loop."""

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
    if not isinstance(exc, aiohttp.ClientConnectorError):
        return ours(str(exc) or type(exc).__name__)
    if isinstance(exc.os_error, _Forbidden):
        return AddressRefused(f"The address of {exc.host}:{exc.port} is not allowed.")
    return ours(f"Cannot connect to {exc.host}:{exc.port}: {_reason(exc.os_error)}")


def _reason(exc: OSError) -> str:
    if isinstance(exc, (socket.gaierror, ssl.SSLError)) or not exc.errno:
        return exc.strerror or str(exc)
    return os.strerror(exc.errno)  # "Connection refused"; the loops' own texts differ and repeat the address
