"""Web pages of other sites: where there is no key, they change nothing; a browser would send what they like."""

from __future__ import annotations

import contextlib

import httpx
import pytest

from shared.errors import OriginRefused
from shared.server.auth import check_page
from tests.support.fakes import Network, Suite, agent

HOST = {b"host": "box:8000"}
EVIL = {"Origin": "https://evil.example.com", "Content-Type": "text/plain"}


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({}, True),  # no browser
        ({b"origin": "http://box:8000"}, True),
        ({b"origin": "http://BOX:3000"}, True),
        ({b"origin": "http://localhost:3000"}, True),
        ({b"origin": "http://127.0.0.1:3000"}, True),
        ({b"origin": "http://[::1]:3000"}, True),
        ({b"origin": "https://muster.example.com", b"sec-fetch-site": "same-origin"}, True),  # behind a proxy
        ({b"origin": "https://muster.example.com", b"sec-fetch-site": "same-site"}, False),
        ({b"origin": "https://evil.example.com"}, False),
        ({b"origin": "https://evil.example.com", b"sec-fetch-site": "cross-site"}, False),
        ({b"origin": "https://box.evil.example.com"}, False),
        ({b"origin": "http://6.6.6.6"}, False),
        ({b"origin": "null"}, False),
        ({b"origin": "http://["}, False),
        ({b"origin": ""}, False),
    ],
)
def test_pages_of_this_host_and_machine_may_ask(headers: dict[bytes, str], taken: bool) -> None:
    with contextlib.nullcontext() if taken else pytest.raises(OriginRefused):
        check_page("POST", "/execute_task", HOST | headers)

    check_page("GET", "/tasks", HOST | headers)


async def test_page_can_neither_replace_nor_redirect_agents(network: Network) -> None:
    """No page takes the place of an agent or has an answer sent to itself."""
    async with Suite(network, agent("echo", "echo")) as suite:
        there = await suite.agents()
        for path in ("/register_agent", "/execute_task", "/v1/chat/completions", "/a2a", "/", "/agents/echo/a2a"):
            answer = await suite.client.post(path, content=b"{}", headers=EVIL)
            assert (answer.status_code, "evil.example.com" in answer.text) == (403, True), path
        async with httpx.AsyncClient(transport=network, base_url="http://echo") as worker:
            assert (await worker.post("/v1/chat/completions", content=b"{}", headers=EVIL)).status_code == 403

        assert (await suite.agents()).keys() == there.keys()


async def test_with_a_key_the_key_alone_counts(network: Network) -> None:
    async with Suite(network, agent("echo", "echo"), api_key="hunter2") as suite:
        answer = await suite.ask(agents=["echo"], headers=EVIL)

    assert answer.json()["status"] == "completed"
