"""Tasks sent by callers and by the clock."""

from __future__ import annotations

import asyncio
import time

import pytest

from load.driving.calls import Call
from load.driving.sending import Collected, DriveLimits, send_by_callers, send_by_the_clock


async def test_time_counts_from_the_planned_start():
    """A sender that was held up for 0.2 s does not make the tasks behind it look fast."""
    collected = Collected()

    async def send(began: float) -> Call:
        if not collected.calls:
            time.sleep(0.2)  # noqa: ASYNC251  the whole loop is held up, that is the point
        return Call(began, time.monotonic() - began, "completed")

    await send_by_the_clock(send, [0.0, 0.01, 0.02], DriveLimits(100), collected)

    assert [call.seconds > 0.15 for call in collected.calls] == [True, True, True]


async def test_no_more_tasks_than_may_be_sent():
    collected, limits = Collected(), DriveLimits(7)

    await send_by_callers(_completed, 3, 30.0, limits, collected)

    assert len(collected.calls) == 7
    assert limits.used_up


async def test_a_refused_caller_pauses():
    collected = Collected()

    async def send(began: float) -> Call:
        return Call(began, 0.0, "overloaded", carried=False, retry_after=60)

    await send_by_callers(send, 1, 0.5, DriveLimits(1_000), collected)

    assert len(collected.calls) == 1


@pytest.mark.parametrize("drive", ["callers", "by_the_clock"])
async def test_stop_ends_what_hangs(drive):
    collected, limits = Collected(), DriveLimits(1_000)

    async def send(began: float) -> Call:
        asyncio.get_running_loop().call_later(0.05, limits.stop.set)
        await asyncio.sleep(60)
        raise AssertionError("not stopped")

    async with asyncio.timeout(5):
        if drive == "callers":
            await send_by_callers(send, 3, 30.0, limits, collected)
        else:
            await send_by_the_clock(send, [0.0, 0.0, 20.0], limits, collected)

    assert collected.calls == []


async def _completed(began: float) -> Call:
    return Call(began, 0.001, "completed")
