"""TaskEvent, and the readers that every durable event is handed to: metrics, log lines, live feeds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from pydantic_core import from_json

from shared import logs


@dataclass(frozen=True)
class TaskEvent:
    """One fact of the log. `id` is its position: positions grow, also across restarts."""

    id: int
    task_id: str | None
    type: str
    at: float
    data: str

    @cached_property
    def fields(self) -> dict[str, Any]:
        """`data`, parsed once for all readers."""
        found: dict[str, Any] = from_json(self.data)
        return found


EventReader = Callable[[TaskEvent], None]

_TOLD = frozenset(
    {"task.finished", "step.failed", "step.retried", "agent.registered", "agent.status", "webhook.failed"}
)
_LOG = logs.get()


class Events:
    """Hands each event that became durable to every reader, in the order of their positions."""

    def __init__(self) -> None:
        self._readers: list[EventReader] = []

    def add(self, reader: EventReader) -> None:
        self._readers.append(reader)

    def publish(self, event: TaskEvent) -> None:
        for reader in self._readers:
            try:
                reader(event)
            except Exception as exc:  # the event is durable: a reader that breaks must not undo whose it was
                _LOG.error("reader.broke", type=event.type, exc_info=exc)


def log_lines() -> EventReader:
    """The log's reader: a line for every end and trouble; each single step only at DEBUG."""
    log = logs.get().bind()  # the lazy proxy looks its methods up at every call
    all_told = log.is_enabled_for(logging.DEBUG)

    def read(event: TaskEvent) -> None:
        if event.type in _TOLD or all_told:
            level = logging.INFO if event.type in _TOLD else logging.DEBUG
            said = {"task_id": event.task_id} | event.fields
            plain = {k: v for k, v in said.items() if v is not None and not isinstance(v, dict | list)}
            log.log(level, event.type, **plain)

    return read


class _Past(Protocol):
    def __call__(self, task_id: str, *, after: int) -> Awaitable[list[TaskEvent]]: ...


class Feed:
    """Live feeds of single tasks: first the past from the journal, then what happens."""

    def __init__(self, past: _Past) -> None:
        self._past = past
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._reading: dict[tuple[str, int], asyncio.Task[list[TaskEvent]]] = {}

    def read(self, event: TaskEvent) -> None:
        """The reader: wakes those who follow the event's task."""
        if event.task_id is not None:
            self.wake(event.task_id)

    def wake(self, task_id: str | None) -> None:
        """Something may have happened to the task, or, without one, to any."""
        for id in [*self._waiting] if task_id is None else [task_id]:
            for waiting in self._waiting.get(id, ()):
                waiting.set()

    async def follow(
        self, task_id: str, *, after: int, is_open: Callable[[], Awaitable[bool]], beat_seconds: float
    ) -> AsyncGenerator[TaskEvent | None, None]:
        """Events of a task after a position, until it has no more; None when nothing happened for a while."""
        news = asyncio.Event()
        self._waiting.setdefault(task_id, set()).add(news)
        try:
            while True:
                news.clear()
                over = not await is_open()  # asked before the journal, so that no last event is missed
                past = await self._read(task_id, after)
                for event in past:
                    after = event.id
                    yield event
                    if event.type == "task.finished":
                        return
                if past:
                    continue  # a long past comes in pages
                if over:
                    return
                try:
                    async with asyncio.timeout(beat_seconds):
                        await news.wait()
                except TimeoutError:
                    yield None
        finally:
            self._waiting[task_id].discard(news)
            if not self._waiting[task_id]:
                del self._waiting[task_id]

    async def _read(self, task_id: str, after: int) -> list[TaskEvent]:
        """What the journal has; one read for all who ask for the same before it has been begun."""
        reading = self._reading.get((task_id, after))
        if reading is None:
            reading = self._reading[task_id, after] = asyncio.create_task(self._begun(task_id, after))
        return await asyncio.shield(reading)

    async def _begun(self, task_id: str, after: int) -> list[TaskEvent]:
        await asyncio.sleep(0)  # all who were woken together ask now
        del self._reading[task_id, after]  # who comes later may want what is written meanwhile
        return await self._past(task_id, after=after)
