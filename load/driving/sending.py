"""How tasks are sent: by callers that wait for their answers, or by the clock, whatever becomes of those before."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from load.driving.calls import Call, wait_for_stop

MAX_OPEN = 5_000  # tasks that this program has open at once when it sends by the clock
AFTER_FAILURE_SECONDS = 0.2  # a caller waits before it tries again, as a polite client does …
LONGEST_PAUSE_SECONDS = 1.0  # … up to this, when Retry-After asks for more
SEND = Callable[[float], Awaitable[Call]]


@dataclass
class DriveLimits:
    """When sending ends: `stop` is set, or `max_tasks` tasks were sent."""

    max_tasks: int
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    def take(self) -> bool:
        """Returns whether one more task may be sent, and counts it."""
        if self.over:
            return False
        self.sent += 1
        return True

    @property
    def used_up(self) -> bool:
        return self.sent >= self.max_tasks

    @property
    def over(self) -> bool:
        return self.stop.is_set() or self.used_up


@dataclass
class Collected:
    """The calls of one step or scenario as they come in; `open` holds when those began that have no answer yet."""

    began: float = field(default_factory=time.monotonic)
    started: int = 0
    calls: list[Call] = field(default_factory=list)
    open: Counter[float] = field(default_factory=Counter)


async def send_by_callers(send: SEND, count: int, seconds: float, limits: DriveLimits, into: Collected) -> None:
    """Lets `count` callers have one task each at any time for `seconds`; waits for every task that was begun.

    A caller whose task failed pauses for Retry-After, at least 0.2 s and at most 1 s. Returns at once on `stop`.
    """
    until = into.began + seconds

    async def keep_calling() -> None:
        while time.monotonic() < until and limits.take():
            into.started += 1
            call = await send(time.monotonic())
            into.calls.append(call)
            if not call.ok:
                pause = min(max(call.retry_after, AFTER_FAILURE_SECONDS), LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(max(0.0, min(pause, until - time.monotonic())))

    async with asyncio.TaskGroup() as group:
        tasks = {group.create_task(keep_calling(), name=f"caller-{n}") for n in range(count)}
        await _wait_for_all(tasks, limits.stop)


async def send_by_the_clock(send: SEND, starts: Iterable[float], limits: DriveLimits, into: Collected) -> None:
    """Sends a task at each of these times (seconds from the beginning), then waits for all answers.

    Time is measured from when a task was meant to start, so that a server that holds up the sender does not make its
    own latency look better (coordinated omission). Returns at once on `stop`.
    """
    running: set[asyncio.Task[None]] = set()

    async def send_one(at: float) -> None:
        into.open[at] += 1
        into.calls.append(await send(at))
        into.open[at] -= 1
        if not into.open[at]:
            del into.open[at]

    async with asyncio.TaskGroup() as group:
        for start in starts:
            at = into.began + start
            if (ahead := at - time.monotonic()) > 0.5:
                await wait_for_stop(limits.stop, ahead)
            else:
                await asyncio.sleep(max(0.0, ahead))
            if not limits.take():
                break
            into.started += 1
            if len(running) >= MAX_OPEN:
                into.calls.append(Call(at, 0.0, "not_sent", carried=False))
                continue
            task = group.create_task(send_one(at), name=f"task-{limits.sent}")
            running.add(task)
            task.add_done_callback(running.discard)
        await _wait_for_all(running, limits.stop)


async def _wait_for_all(tasks: set[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Waits until all tasks are done; when `stop` is set, cancels those that are left."""
    if not tasks:
        return
    waiting: set[asyncio.Task[Any]] = {
        asyncio.create_task(asyncio.wait(tasks), name="answers"),
        asyncio.create_task(stop.wait(), name="stop"),
    }
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*waiting, *tasks):
            task.cancel()
