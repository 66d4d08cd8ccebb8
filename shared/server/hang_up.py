"""Client disconnects: waits for them, and cancels work that no other client waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")


async def wait_for_hang_up(receive: Receive) -> None:
    """Returns when the caller has hung up; the request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def run_unless_hung_up(
    work: Coroutine[Any, Any, T], receive: Receive, *, uploaded: asyncio.Event | None = None
) -> T:
    """The work's result; raises `ClientDisconnect` when the caller hangs up first, which cancels the work.

    `uploaded` is set once the work has read the body; until then the work itself hears of a hang-up.
    """

    async def hear() -> None:
        if uploaded is not None:
            await uploaded.wait()
        await wait_for_hang_up(receive)

    working, gone = asyncio.create_task(work), asyncio.create_task(hear())
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        gone.cancel()
        working.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)
