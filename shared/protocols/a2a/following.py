"""Events of A2A tasks that another process works on, as they were saved with them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from a2a.server.cluster import TaskEventStream, TaskVersion, VersionedEvent
from a2a.types.a2a_pb2 import StreamResponse

from shared.protocols.a2a import sql
from shared.protocols.a2a.store import Tasks, read_version
from shared.protocols.sharing import Shared

AT_ONCE = 100  # events that are read


class SharedEvents(TaskEventStream):
    """The SDK's stream of events between processes; it ends with the task, and when the service stops."""

    def __init__(self, shared: Shared, tasks: Tasks, *, stopping: Callable[[], bool]) -> None:
        self._shared = shared
        self._tasks = tasks
        self._stopping = stopping

    async def publish(self, task_id: str, event: VersionedEvent) -> None:
        """`Tasks.save` has written it."""

    async def subscribe(self, task_id: str, *, after: TaskVersion) -> AsyncGenerator[VersionedEvent, None]:
        seen = read_version(after)
        with self._shared.watch(task_id) as wait_for_news:
            while not self._stopping():
                is_open = bool(await self._shared.db.read(sql.IS_OPEN, {"id": task_id}))  # before its events are read
                rows = await self._shared.db.read(sql.EVENTS, {"task_id": task_id, "after": seen, "limit": AT_ONCE})
                for seen, body in rows:
                    told = StreamResponse.FromString(body)
                    yield VersionedEvent(getattr(told, told.WhichOneof("payload")), TaskVersion(seen))
                if rows:
                    continue
                if not is_open:
                    stored = await self._tasks.read(task_id)
                    if stored is not None and read_version(stored.version) > seen:  # its last events were deleted
                        yield VersionedEvent(stored.task, stored.version)
                    return
                await wait_for_news()

    async def destroy(self, task_id: str) -> None:
        """`prune_forever` deletes them."""
