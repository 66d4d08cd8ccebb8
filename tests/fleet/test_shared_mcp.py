"""MCP clients of every revision, each of whose requests goes to another of two coordinators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from tests.fleet.suite import Fleet
from tests.support.postgres import Server

pytestmark = pytest.mark.timeout(300)
MODES = ("legacy", "auto")


class AnyOf(httpx2.AsyncBaseTransport):
    """A load balancer without memory, for the SDK's own HTTP client."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [httpx2.URL(url) for url in urls]
        self._inner = httpx2.AsyncHTTPTransport()
        self._turn = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._turn += 1
        to = self._urls[self._turn % len(self._urls)]
        request.url = request.url.copy_with(host=to.host, port=to.port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def ask(*, delay_ms: int) -> dict[str, Any]:
    """The arguments of a task that takes so long."""
    plan = [{"id": "a", "agent": "worker", "input": {"delay_ms": delay_ms}}]
    return {"task_description": "Wait", "timeout_seconds": 60, "plan": plan}


async def test_mcp_needs_no_sticky_sessions(tmp_path: Path, postgres: Server) -> None:
    """Tools, progress, a task that is begun at one and looked at and cancelled at the other."""
    fleet = Fleet(tmp_path, postgres.make_database())
    async with fleet.open():
        for mode in MODES:
            told: list[str | None] = []

            async def hear(_: float, __: float | None, message: str | None, told: list[str | None] = told) -> None:
                told.append(message)

            async with (
                httpx2.AsyncClient(transport=AnyOf(fleet.urls), timeout=60.0) as http,
                Client(
                    streamable_http_client(f"{fleet.urls[0]}/mcp", http_client=http),
                    mode=mode,  # type: ignore[arg-type]
                ) as client,
            ):
                tools = [len((await client.list_tools()).tools) for _ in fleet.urls]
                done = await client.call_tool("execute_task", ask(delay_ms=1_500), progress_callback=hear)
                begun = await client.call_tool("execute_task", ask(delay_ms=50_000) | {"wait": False})
                assert begun.structured_content is not None
                id = {"task_id": begun.structured_content["task_id"]}
                looks = [await client.call_tool("get_task", id) for _ in fleet.urls]
                ended = [await client.call_tool("cancel_task", id) for _ in fleet.urls]

            assert tools == [4, 4]
            assert get_status(done) == "completed"
            assert told[0] is not None
            assert told[0].endswith("is accepted.")
            assert len(told) > 1
            assert {get_status(look) for look in looks} <= {"queued", "running"}
            assert {get_status(end) for end in ended} == {"cancelled"}


def get_status(result: CallToolResult) -> str:
    assert result.structured_content is not None
    status: str = result.structured_content["status"]
    return status
