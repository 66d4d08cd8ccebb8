"""Nobody who may not is led to this machine, however an address is written: a socket listens, and nobody comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from coordinator.app import create_app
from coordinator.journal.lookups.outbox import find_webhook
from shared.client import client as transport
from tests.support.address_tricks import Door, answer_names, listening, write_urls
from tests.support.fakes import coordinator_settings, eventually
from workers.providers import pages


@pytest.fixture(params=["127.0.0.1", "rebound.example"])
async def doors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Door, Door]]:
    """Who listens here, and a page of the web that leads every caller on to it."""
    async with listening() as door, listening() as public:
        moved = f"location: http://{request.param}:{door.port}/"
        public.says = f"HTTP/1.1 302 Found\r\n{moved}\r\ncontent-length: 0\r\n\r\n".encode()
        answer_names(monkeypatch, public=public)
        yield door, public


@pytest.fixture
def door(doors: tuple[Door, Door]) -> Door:
    return doors[0]


@contextlib.asynccontextmanager
async def coordinator(**settings: object) -> AsyncIterator[tuple[httpx.AsyncClient, object]]:
    """One that calls through the real network."""
    app = create_app(coordinator_settings(**settings))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(base_url="http://coordinator", transport=httpx.ASGITransport(app), timeout=None) as client,
    ):
        yield client, app.get_opened()


def test_there_are_more_than_sixty_tricks() -> None:
    urls = write_urls(1)

    assert len(set(urls)) == len(urls) >= 60


async def test_a_careless_program_would_be_led_here(door: Door) -> None:
    """The listener is there, under a name too: agents may be on this machine unless that is forbidden."""
    async with transport.make_client(policy="agents") as http:
        for host in ("127.0.0.1", "home.example", "[::ffff:127.0.0.1]"):
            assert (await http.get(f"http://{host}:{door.port}/")).status_code == 200

    assert door.came == 3


async def test_no_registered_endpoint_is_probed_here(door: Door) -> None:
    """It is refused, or accepted and found unreachable where its name leads."""
    async with coordinator(private_agents=False) as (client, services):
        accepted = 0
        for n, url in enumerate(write_urls(door.port)):
            body = {"name": f"trick-{n}", "endpoint": url, "capabilities": ["tricks"]}
            answer = await client.post("/register_agent", json=body)
            assert answer.status_code in (201, 422), (url, answer.text)
            accepted += answer.status_code == 201
        registry = services.agents.registry
        await eventually(lambda: {i.status for i in registry.list_all()} <= {"unreachable"}, seconds=40)

    assert accepted > 5, "none got as far as a probe"
    assert door.came == 0


async def test_no_webhook_is_sent_here(door: Door) -> None:
    async with coordinator() as (client, services):
        accepted = []
        for url in write_urls(door.port):
            plan = [{"id": "a", "capability": "nobody-can"}]
            body = {"task_description": "Why?", "plan": plan, "webhook_url": url}
            answer = await client.post("/execute_task", json=body, headers={"Prefer": "respond-async"})
            assert answer.status_code in (202, 422), (url, answer.text)
            accepted += [answer.json()["task_id"]] if answer.status_code == 202 else []

        async def told() -> bool:
            found = [await find_webhook(services.store, id) for id in accepted]
            return all(hook is not None and hook.attempts for hook in found)

        await eventually(told, seconds=40)

    assert len(accepted) > 5, "none got as far as a delivery"
    assert door.came == 0


async def test_no_page_is_fetched_here(doors: tuple[Door, Door]) -> None:
    """Nor by way of a page that leads here, or of a name that leads elsewhere when it is looked up again."""
    door, public = doors
    urls = write_urls(door.port)
    with ThreadPoolExecutor(1) as threads:
        async with transport.make_client(policy="web") as http:
            for url in urls:
                with pytest.raises(pages.Unusable):
                    await pages.page(http, url, threads, seconds=5)

    assert public.came >= 2, "nobody was led on"
    assert door.came == 0
