"""Events: in order, durable first, each reader independent, and a feed that misses and repeats nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from coordinator.journal.events import Events, Feed, TaskEvent
from shared.agent import Context, Reply
from shared.contracts import StepRequest
from shared.errors import WorkerFault
from tests.support.fakes import Suite, agent


class Log:
    """A journal of events that a test writes, read in pages of two."""

    def __init__(self) -> None:
        self.events: list[TaskEvent] = []
        self.feed = Feed(self.past)
        self.open = True

    def write(self, *types: str) -> None:
        for type in types:
            self.events.append(TaskEvent(id=len(self.events) + 1, task_id="t", type=type, at=0, data="{}"))
            self.feed.read(self.events[-1])

    async def past(self, task_id: str, *, after: int) -> list[TaskEvent]:
        await asyncio.sleep(0)
        return [e for e in self.events if e.task_id == task_id and e.id > after][:2]

    async def followed(self, after: int = 0, beat_seconds: float = 1) -> list[str | None]:
        async def is_open() -> bool:
            return self.open

        following = self.feed.follow("t", after=after, is_open=is_open, beat_seconds=beat_seconds)
        return [event and event.type async for event in following]


async def test_past_events_come_in_pages_before_new_ones() -> None:
    """The past comes first in pages and then what happens."""
    log = Log()
    log.write("task.accepted", "task.planned", "step.started")
    following = asyncio.create_task(log.followed())
    await asyncio.sleep(0.02)

    log.write("step.finished")
    await asyncio.sleep(0.02)
    log.write("task.finished")

    assert await following == ["task.accepted", "task.planned", "step.started", "step.finished", "task.finished"]


async def test_event_written_while_reading_is_sent_once() -> None:
    """An event written while the past is read is neither lost nor doubled."""
    for turns in range(6):
        log = Log()
        log.write("task.accepted")
        following = asyncio.create_task(log.followed())
        for _ in range(turns):
            await asyncio.sleep(0)
        log.write("step.started")
        await asyncio.sleep(0)
        log.write("task.finished")

        assert await following == ["task.accepted", "step.started", "task.finished"]


async def test_feed_of_an_ended_task_ends_from_anywhere() -> None:
    """A feed of an ended task ends wherever it is resumed."""
    log = Log()
    log.write("task.accepted", "step.started", "task.finished")
    log.open = False

    assert await log.followed(after=1) == ["step.started", "task.finished"]
    assert await log.followed(after=3) == []
    assert await log.followed(after=99) == []


async def test_a_beat_comes_when_nothing_happens() -> None:
    log = Log()
    log.write("task.accepted")
    following = asyncio.create_task(log.followed(beat_seconds=0.02))
    await asyncio.sleep(0.1)
    log.write("task.finished")

    told = await following
    assert (told[0], told[-1]) == ("task.accepted", "task.finished")
    assert told.count(None) >= 2


async def test_a_feed_that_was_left_leaves_nothing_behind() -> None:
    log = Log()
    following = asyncio.create_task(log.followed())
    await asyncio.sleep(0.01)
    following.cancel()
    await asyncio.wait([following])

    assert log.feed._waiting == {}


def test_every_reader_gets_every_event_in_order() -> None:
    events, one, two = Events(), [], []
    events.add(one.append)
    events.add(two.append)
    told = [TaskEvent(id=i, task_id="t", type="step.started", at=0, data='{"step_id": "a"}') for i in range(3)]
    for event in told:
        events.publish(event)

    assert one == two == told
    assert told[0].fields == {"step_id": "a"}


async def test_the_log_of_a_task_tells_its_whole_story(coordinator: Suite) -> None:
    tries = 0

    async def second_time_lucky(step: StepRequest, ctx: Context) -> Reply:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise WorkerFault("Not yet.", retryable=True)
        return Reply("there")

    await coordinator.add(agent("moody", "work", second_time_lucky))
    plan = [{"id": "a", "capability": "work"}, {"id": "b", "capability": "none"}]

    task = await coordinator.execute(plan=plan)

    text = (await coordinator.client.get(f"/tasks/{task.task_id}/events")).text
    told: list[dict[str, Any]] = [json.loads(x.removeprefix("data: ")) for x in text.splitlines() if x[:5] == "data:"]
    assert [e["type"] for e in told[:2]] == ["task.accepted", "task.planned"]
    assert [e["type"] for e in told if e.get("step_id") == "a"] == [
        "step.started",
        "step.retried",
        "step.started",
        "step.finished",
    ]
    (retried,) = [e for e in told if e["type"] == "step.retried"]
    assert (retried["error"], retried["why"], retried["attempt"]) == ("agent_error", "Not yet.", 1)
    (failed,) = [e for e in told if e["type"] == "step.failed"]
    assert (failed["step_id"], failed["error"]) == ("b", "no_agent")
    assert (told[-1]["type"], told[-1]["status"]) == ("task.finished", "partial")
