"""A service opens its parts before its façades, closes them after, and says why it cannot start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from shared.errors import StorageBroken, Unavailable
from shared.server.app import App, make_service


@pytest.fixture
def app() -> App[str]:
    return make_service(name="one", version="1", ready=lambda parts: f"{parts} are warming up")


async def missing(app: App[str]) -> str:
    async with httpx.AsyncClient(base_url="http://one", transport=httpx.ASGITransport(app)) as client:
        return str((await client.get("/ready")).json().get("missing"))


async def test_parts_open_first_and_close_last(app: App[str]) -> None:
    """A façade may use the parts as long as it is open."""
    told: list[str] = []

    async def open_parts(stack: AsyncExitStack) -> str:
        told.append("parts")
        stack.callback(told.append, "parts closed")
        return "parts"

    @asynccontextmanager
    async def open_facade() -> AsyncIterator[None]:
        told.append(f"façade on {app.get_opened()}")
        yield
        told.append("façade closed")

    app.open_with(open_parts)
    app.openings.append(open_facade)
    async with app.router.lifespan_context(app):
        told.append("open")

    assert told == ["parts", "façade on parts", "open", "façade closed", "parts closed"]


async def test_ready_says_what_is_missing(app: App[str]) -> None:
    """Before and after the parts are open, once a service stops, and what the parts themselves lack."""

    async def open_parts(_: AsyncExitStack) -> str:
        return "parts"

    app.open_with(open_parts)
    said = [await missing(app)]
    with pytest.raises(Unavailable):
        app.get_opened()
    async with app.router.lifespan_context(app):
        said.append(await missing(app))
        app.fail("loop")
        said.append(await missing(app))

    assert said == ["starting", "parts are warming up", "stopping"]
    assert app.failed
    with pytest.raises(Unavailable):
        app.get_opened()


@pytest.mark.parametrize("by", ["parts", "façade"])
async def test_a_refusal_to_start_is_kept(app: App[str], by: str) -> None:
    """`serve` tells it in a sentence; a bug stays a traceback."""

    async def open_parts(_: AsyncExitStack) -> str:
        if by == "parts":
            raise StorageBroken("The journal is damaged.")
        return "parts"

    @asynccontextmanager
    async def open_facade() -> AsyncIterator[None]:
        raise StorageBroken("The journal is damaged.")
        yield

    app.open_with(open_parts)
    app.openings.append(open_facade)
    with pytest.raises(StorageBroken):
        async with app.router.lifespan_context(app):
            pass

    assert str(app.refusal) == "The journal is damaged."
