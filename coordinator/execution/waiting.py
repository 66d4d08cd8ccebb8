"""Waits for a task until its end is durable, its time is up, or this process stops."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from coordinator.execution.dispatcher import Dispatcher
from coordinator.journal.events import Feed, TaskEvent
from coordinator.reports.view import WITHOUT_OUTPUTS, view
from coordinator.tasks.task import Task
from shared.contracts import Status
from shared.errors import MusterError, Unavailable
from shared.server.app import Stopping

LATE_SECONDS = 0.5  # after its deadline a waiting caller gets an answer in any case


class TaskFailed(MusterError):
    """The task ended `failed` or `timed_out`; the TaskView is in `task`, without outputs where `brief`."""

    def __init__(self, task: Task, base: str, *, brief: bool = False) -> None:
        seen = view(task, base)
        why = seen.missing[0].why if seen.missing else "No step completed."
        shown: Any = seen.model_dump(mode="json", exclude=WITHOUT_OUTPUTS if brief else None)
        super().__init__(f"The task {task.status.replace('_', ' ')}: {why}", task=shown)
        self.type = f"task_{task.status}"
        self.title = "Task failed" if task.status is Status.FAILED else "Task timed out"
        self.headers = {"Location": f"/tasks/{task.id}"}


@dataclass(frozen=True)
class Waiter:
    """Waits for tasks, by the monotonic clock `now`; a shutdown ends every wait at once, and no task."""

    dispatcher: Dispatcher
    feed: Feed
    stopping: Stopping
    now: Callable[[], float]
    base: str  # the path that the coordinator appears below
    shared_wall: Callable[[], float] | None = None  # the clock of all coordinators that share the journal

    async def wait_for_end(self, task: Task) -> Task:
        """The task as it ended.

        Raises `Unavailable` with the task's Location when this process stops first (the task goes on then), or has not
        written the end half a second after the deadline.
        """
        if task.ended and self.dispatcher.get_live(task.id) is None:
            return task
        try:
            with self.stopping.owing():
                async with self.stopping.limit(self._compute_limit(task)):
                    return await self.dispatcher.wait_for_end(task.id)
        except TimeoutError as exc:
            stops = "The coordinator is shutting down; the task continues after a restart."
            why = (
                stops
                if self.stopping
                else "The task's result cannot be saved yet. Ask again at the address in `Location`."
            )
            raise Unavailable(why, location=f"/tasks/{task.id}") from exc

    async def follow(
        self, task_id: str, *, after: int = 0, beat_seconds: float, until: Task | None = None
    ) -> AsyncGenerator[TaskEvent | None]:
        """Events after a position, until the task has no more, this process stops, or the time of `until` is up.

        None is yielded after `beat_seconds` without an event.
        """
        following = self.feed.follow(
            task_id, after=after, is_open=lambda: self.dispatcher.has_more(task_id), beat_seconds=beat_seconds
        )
        with self.stopping.owing():
            async with aclosing(following) as events:
                while True:
                    try:
                        async with self.stopping.limit(self._compute_limit(until) if until else None):
                            event = await anext(events, _END)
                    except TimeoutError:
                        return
                    if event is _END:
                        return
                    yield event

    def _compute_limit(self, task: Task) -> float:
        if (live := self.dispatcher.get_live(task.id)) is not None:
            left = live.until - self.now()
        else:  # another call is about to carry it, or another coordinator does
            left = task.seconds if self.shared_wall is None else task.deadline - self.shared_wall()
        return max(0.0, left) + LATE_SECONDS


_END = TaskEvent(id=-1, task_id=None, type="", at=0, data="")
