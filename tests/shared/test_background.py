"""A task that loses a cancellation is ended all the same."""

from __future__ import annotations

import asyncio

from shared import background as ending
from shared.background import Background, end


async def lose_one(lost: list[int]) -> None:
    """A loop that goes on after an error, which came in the place of a cancellation."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            lost.append(1)
            if len(lost) > 1:
                raise


async def test_lost_cancellation_is_sent_again(monkeypatch):
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.05)
    lost: list[int] = []
    task = asyncio.create_task(lose_one(lost))
    await asyncio.sleep(0)

    await end([task])

    assert task.cancelled()
    assert len(lost) == 2


async def test_service_stops_though_a_loop_goes_on(monkeypatch):
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.05)
    died: list[str] = []
    lost: list[int] = []
    async with Background(died.append) as background:
        background.loop("stubborn", lambda: lose_one(lost))
        await asyncio.sleep(0)

    assert len(lost) == 2
    assert died == []


async def test_errors_of_ended_tasks_are_dropped():
    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)

    await end([task])

    assert task.done()
