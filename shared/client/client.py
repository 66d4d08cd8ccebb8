"""The one factory of HTTP clients: pooled connections, a deadline, a cap on bodies, checked addresses, true errors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import httpx

from shared.client import addresses
from shared.client.call_limits import BodyTooLarge, Bounded, DeadlineExceeded
from shared.client.connections import Connections, Target, Whole, parse_target
from shared.client.decoding import CODINGS, BadCoding
from shared.client.pool import AddressRefused, NoDescriptor, UnknownHost

__all__ = [
    "AddressRefused",
    "BadCoding",
    "BodyTooLarge",
    "DeadlineExceeded",
    "NoDescriptor",
    "Policy",
    "UnknownHost",
    "Whole",
    "fetch",
    "make_client",
    "may_have_arrived",
]
Policy = Literal["agents", "web"]


def make_client(
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
    `policy` and `private` choose the rule of `shared.client.addresses`, applied to the address that is connected to.
    `transport` replaces the network, not the deadline and the cap. No running loop is needed here.

    Calls raise the errors of this module and httpx's own; `may_have_arrived` tells them apart.
    """
    allowed = addresses.is_web_allowed if policy == "web" else partial(addresses.is_agent_allowed, private=private)
    inner = transport or Connections(allowed, max_connections, lookup_seconds=connect_seconds)
    return _Client(
        transport=Bounded(inner, seconds=seconds, max_bytes=max_bytes),
        headers={"Accept-Encoding": CODINGS},
        timeout=httpx.Timeout(None, connect=connect_seconds, read=read_seconds, pool=connect_seconds),
        follow_redirects=False,
        trust_env=False,
    )


async def fetch(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    seconds: float,
    max_bytes: int,
    streams: str = "",
) -> Whole | httpx.Response:
    """An answer with all of its body, from a client of this module: past httpx's objects, a third of a call's cost.

    A 200 of the media type `streams` comes as httpx's response, to be read and closed. Deadline, cap and address check
    are those of every call, and raised are the same errors. Where something else answers in the place of the network,
    a fake or respx, the call goes to it as httpx's own do.
    """
    at = _parse_url(url)
    transport = http._transport_for_url(at.url)  # httpx asks it for every call, and it is what respx replaces
    if isinstance(transport, Bounded) and transport.is_direct:
        return await transport.fetch(
            method,
            at.target,
            headers,
            body,
            seconds=seconds,
            max_bytes=max_bytes,
            connect_seconds=http.timeout.connect,
            streams=streams,
        )
    limits = {"deadline": seconds, "max_bytes": max_bytes, "timeout": http.timeout.as_dict()}
    answer = await http.send(
        httpx.Request(method, at.url, content=body, headers=headers, extensions=limits), stream=True
    )
    fields = {name.lower(): value for name, value in answer.headers.items()}
    media_type = fields.get("content-type", "").partition(";")[0].strip().lower()
    if streams and answer.status_code == 200 and media_type == streams:
        return answer
    try:
        return Whole(answer.status_code, fields, await answer.aread())
    finally:
        await answer.aclose()


class _At(NamedTuple):
    url: httpx.URL
    target: Target


@lru_cache(2_000)
def _parse_url(url: str) -> _At:
    """Parsed once for each of as many endpoints as there may be agents, twice."""
    try:
        parsed = httpx.URL(url)
        return _At(parsed, parse_target(parsed))
    except (UnicodeError, httpx.InvalidURL) as exc:
        raise httpx.LocalProtocolError(f"Invalid URL: {exc}") from exc


def may_have_arrived(exc: httpx.TransportError) -> bool:
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

    def build_request(self, *args: Any, **kwargs: Any) -> httpx.Request:
        """httpx has no name for a host like `xn--`: it raises a bare ValueError, which would end loops that call."""
        try:
            return super().build_request(*args, **kwargs)
        except UnicodeError as exc:
            raise httpx.LocalProtocolError(f"Invalid host in the URL: {exc}") from exc
