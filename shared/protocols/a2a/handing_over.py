"""A2A tasks between processes that share a database: those of one that is gone are taken up, lost ones given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from a2a.types.a2a_pb2 import Task

from shared import logs
from shared.db.database import Statement
from shared.protocols.a2a import sql
from shared.protocols.a2a.executor import FaceExecutor
from shared.protocols.a2a.store import ENDED, Tasks
from shared.protocols.sharing import Shared

Ask = Callable[[Task], Awaitable[None]]


class HandingOver:
    """`look` is called once a second; `is_active` says whether a task is worked on here, `ask_again` takes one up."""

    def __init__(
        self,
        shared: Shared,
        tasks: Tasks,
        executor: FaceExecutor,
        *,
        is_active: Callable[[str], Awaitable[bool]],
        ask_again: Ask,
    ) -> None:
        self._shared = shared
        self._tasks = tasks
        self._executor = executor
        self._is_active = is_active
        self._ask_again = ask_again
        self._taken_up: dict[str, asyncio.Task[None]] = {}

    async def look(self) -> None:
        """Takes up what was left; gives up, or ends, what another process has taken over, or cancelled."""
        for task_id in self._executor.list_running():
            if await self._tasks.find_elsewhere(task_id) is not None:
                self._executor.give_up(task_id)
            elif (stored := await self._tasks.read(task_id)) is not None and stored.task.status.state in ENDED:
                await self._executor.look_again(task_id)
        since = {"since": self._shared.wall() - self._shared.gone_seconds}
        if await self._shared.db.read(sql.LEFT, since):
            take_over = Statement(sql.TAKE_OVER, since | {"carrier": self._shared.id})
            await self._shared.db.write("a2a.take_over", take_over)
            for task in await self._tasks.list_carried():
                if task.history and task.id not in self._taken_up and not await self._is_active(task.id):
                    self._take_up(task)

    def _take_up(self, task: Task) -> None:
        logs.get().info("a2a.taken_over", task_id=task.id)
        asking = asyncio.ensure_future(self._ask_again(task))
        self._taken_up[task.id] = asking
        asking.add_done_callback(lambda _: self._taken_up.pop(task.id))

    async def close(self) -> None:
        """What was taken up here is left to others."""
        for asking in self._taken_up.values():
            asking.cancel()
        if self._taken_up:
            await asyncio.wait(self._taken_up.values())
