"""What stands in the place of the product's connections: the way from its calls into the simulated network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx

from shared.client.connections import Connections, Target, Whole, parse_target
from tests.simulation.world.network import CONNECT_SECONDS, Exchange, Network


class Wire(Connections):
    """Its calls go through the network of the simulation."""

    def __init__(self, network: Network) -> None:
        self._network = network

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
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        if body or method == "POST":
            raw.append((b"content-length", b"%d" % len(body)))
        exchange = await self._network.call(method, target, raw, body, connect_seconds or CONNECT_SECONDS)
        status, found = exchange.head.result()
        fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in found}
        stream = _Body(self._network, exchange)
        if streams and status == 200 and fields.get("content-type", "").partition(";")[0] == streams:
            return httpx.Response(status, headers=found, stream=stream)
        parts, size = [], 0
        try:
            async for piece in stream:
                parts.append(piece)
                if (size := size + len(piece)) > max_bytes:
                    return None
        finally:
            await stream.aclose()
        return Whole(status, fields, b"".join(parts))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        raw = [(name.lower(), value) for name, value in request.headers.raw if name.lower() != b"host"]
        seconds = request.extensions.get("timeout", {}).get("connect") or CONNECT_SECONDS
        exchange = await self._network.call(request.method, parse_target(request.url), raw, body, seconds)
        status, found = exchange.head.result()
        return httpx.Response(status, headers=found, stream=_Body(self._network, exchange))

    async def aclose(self) -> None:
        """It has no connections of its own."""


class _Body(httpx.AsyncByteStream):
    def __init__(self, network: Network, exchange: Exchange) -> None:
        self._network = network
        self._exchange = exchange
        self._whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self._whole:
            piece = await self._exchange.pieces.get()
            if isinstance(piece, httpx.TransportError):
                raise piece
            if piece is None:
                self._whole = True
                return
            yield piece

    async def aclose(self) -> None:
        if not self._whole:
            self._network.hang_up(self._exchange)
