"""The one factory of HTTP clients: pooled connections, a deadline, a cap on bodies, checked addresses, true errors."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import httpx

from shared.client import addresses
from shared.client.aiohttp_transport import AddressRefused, Connections, UnknownHost
from shared.client.call_limits import BodyTooLarge, Bounded, DeadlineExceeded

__all__ = ["AddressRefused", "BodyTooLarge", "DeadlineExceeded", "Policy", "UnknownHost", "client", "reached"]
Policy = Literal["agents", "web"]


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
    `policy` and `private` choose the rule of `shared.client.addresses`, applied to the address that is connected to.
    `transport` replaces the network, not the deadline and the cap. No running loop is needed here.

    Calls raise the errors of this module and httpx's own; `reached` tells them apart.
    """
    allowed = addresses.web_allowed if policy == "web" else partial(addresses.agent_allowed, private=private)
    inner = transport or Connections(allowed, max_connections, lookup_seconds=connect_seconds)
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

    def build_request(self, *args: Any, **kwargs: Any) -> httpx.Request:
        """httpx has no name for a host like `xn--`: it raises a bare ValueError, which would end loops that call."""
        try:
            return super().build_request(*args, **kwargs)
        except UnicodeError as exc:
            raise httpx.LocalProtocolError(f"The URL's host cannot be read: {exc}") from exc
