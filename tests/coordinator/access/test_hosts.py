"""Without a key: a browser that was led here by another name is refused, a program is not."""

from __future__ import annotations

import pytest

from coordinator.access.hosts import is_browser
from tests.support.fakes import Network, Suite

CHROME = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0.0.0 Safari/537.36", "Accept-Language": "en"}
EVIL = {"Host": "evil.example.com:8000"}


@pytest.mark.parametrize("path", ["/", "/console/", "/tasks", "/agents/a/x", "/health", "/docs", "/mcp"])
async def test_browsers_foreign_host_is_refused(coordinator: Suite, path: str) -> None:
    """On every path: what is read is worth as much as what is changed."""
    answer = await coordinator.client.get(path, headers=CHROME | EVIL)

    assert answer.status_code == 421
    assert "ALLOWED_HOSTS" in answer.text


@pytest.mark.parametrize(
    "host",
    ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "10.1.2.3", "coordinator:8000", "box", "old", "www.a.org"],
)
async def test_names_of_ours_are_answered(network: Network, host: str) -> None:
    """Addresses, which cannot be rebound; names of the settings, by the new name and the old one; PUBLIC_URL's."""
    names = {"allowed_hosts": "box", "mcp_allowed_hosts": "old", "public_url": "https://www.a.org"}
    async with Suite(network, **names) as suite:
        answer = await suite.client.get("/console/", headers=CHROME | {"Host": host})

    assert answer.status_code == 200


async def test_programs_and_keys_use_any_host(network: Network, coordinator: Suite) -> None:
    """curl knows where it goes; and with a key no page of another site has one to send."""
    by_curl = await coordinator.client.get("/tasks", headers=EVIL | {"User-Agent": "curl/8.5.0", "Accept": "*/*"})
    async with Suite(Network(), api_key="key") as secured:
        by_key = await secured.client.get("/tasks", headers=CHROME | EVIL)

    assert (by_curl.status_code, by_key.status_code) == (200, 200)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({b"user-agent": "Mozilla/5.0"}, True),
        ({b"user-agent": "forged", b"accept-language": "de"}, True),
        ({b"user-agent": "forged", b"origin": "http://evil"}, True),
        ({b"sec-fetch-site": "same-origin"}, True),
        ({b"user-agent": "curl/8"}, False),
        ({b"user-agent": "python-httpx/0.28"}, False),
        ({b"user-agent": "node", b"accept-language": "*", b"sec-fetch-mode": "cors"}, False),
        ({}, False),
    ],
)
def test_a_browser_is_known_by_its_marks(headers: dict[bytes, str], expected: bool) -> None:
    """One that a script may leave out is not needed."""
    assert is_browser(headers) is expected
