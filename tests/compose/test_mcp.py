"""MCP in containers: the Host check lets in who comes by an address or by the service's name, and nobody else."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from mcp import Client

pytestmark = pytest.mark.timeout(120, func_only=True)

FROM_INSIDE = """
import asyncio
from mcp import Client

async def main():
    async with Client("http://coordinator:8000/mcp") as client:
        print(sorted(tool.name for tool in (await client.list_tools()).tools))

asyncio.run(main())
"""


def test_a_client_on_this_machine_hands_over_a_task(stack):
    async def asked():
        async with Client(f"http://127.0.0.1:{stack.port}/mcp") as client:
            return await client.call_tool("execute_task", {"task_description": "How does Muster survive a crash?"})

    answer = asyncio.run(asked())

    assert answer.structured_content["status"] == "completed"
    assert answer.structured_content["result"]["sources"]


def test_client_in_the_network_uses_the_service_name(stack):
    """A client in the network asks by the service's name."""
    said = stack.exec("analyzer", "python", "-c", FROM_INSIDE)

    assert said.strip() == "['cancel_task', 'execute_task', 'get_task', 'list_agents']"


def test_a_name_that_is_not_ours_is_refused(stack):
    headers = {"Host": "evil.example.com", "Accept": "application/json, text/event-stream"}
    answer = httpx.post(f"http://127.0.0.1:{stack.port}/mcp", json={}, headers=headers)

    assert answer.status_code == 421
