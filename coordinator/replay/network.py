"""The network of a replay: the coordinator in process, health checks that go well, and nothing else."""

from __future__ import annotations

from typing import Any

import httpx

COORDINATOR = "http://coordinator"


class ReplayNetwork(httpx.AsyncBaseTransport):
    """Calls to the coordinator reach `app`; every other host refuses the connection."""

    def __init__(self) -> None:
        self.app: Any = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "coordinator" and self.app is not None:
            return await httpx.ASGITransport(self.app).handle_async_request(request)
        if request.url.path == "/health":
            return httpx.Response(200, json={"status": "healthy"})
        raise httpx.ConnectError(f"A replay has no network: {request.url.host} is not called.")
