"""A dispatcher whose tasks may be carried by any coordinator that shares the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from coordinator.admission.turns import Turn
from coordinator.execution.dispatcher import Dispatcher
from coordinator.execution.running_task import Live
from coordinator.execution.starts import BLAMED_AFTER_SECONDS, MOST_DEATHS
from coordinator.fleet.carried import Carried
from coordinator.fleet.jobs import Jobs
from coordinator.fleet.news import News
from coordinator.tasks.task import Task
from coordinator.tasks.unfinished import quarantine_error
from shared import logs
from shared.contracts import Status
from shared.copying import changed
from shared.errors import Conflict, StorageUnwritable, Unavailable


class FleetDispatcher(Dispatcher):
    """Accepts tasks for all, carries those that the queue gives it, and waits for any."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._waiting: dict[str, Turn] = {}  # accepted here, and carried by nobody yet
        self._admission.uncarried = lambda: len(self._waiting)
        self._began: dict[str, float] = {}  # monotonic: when each live task was taken up
        self._dropped: set[str] = set()  # not live here at the last look, though the journal says that they are
        self._counted: set[str] = set()  # live tasks that a death of this process counts against
        self._taking: dict[str, asyncio.Task[Live | None]] = {}  # being taken up
        self._overdue: asyncio.Task[None] | None = None  # ends tasks whose deadline passed while nobody carried them
        self._meanwhile: dict[str, Live] = {}  # begun while they were being taken up

    def join(self, carried: Carried, news: News, jobs: Jobs) -> None:
        """Joins the others."""
        self._carried = carried
        self._news = news
        self._jobs = jobs

    def stop(self) -> None:
        super().stop()
        self._jobs.stop()
        if self._overdue is not None:
            self._overdue.cancel()

    @property
    def accepting(self) -> bool:
        """Whether a task is being written at this moment."""
        return bool(self._writing)

    @property
    def accepted(self) -> int:
        return super().accepted + len(self._waiting)

    async def submit(self, task: Task, began: float) -> tuple[Task, bool]:
        """Raises what `Dispatcher.submit` does, and `Unavailable` with the task's Location where it takes too long."""
        try:
            async with asyncio.timeout(began + task.seconds - self._now()):
                return await super().submit(task, began)
        except TimeoutError as exc:
            why = "The task cannot be saved yet. Ask at the address in `Location` whether it was accepted."
            raise Unavailable(why, location=f"/tasks/{task.id}") from exc

    async def carry_job(self, task_id: str) -> bool:
        """Carries a task that the queue has given to this coordinator; whether it has ended."""
        live = self._live.get(task_id) or await self._take(task_id)
        if live is None:
            self._forget_turn(task_id)
            return True
        assert live.carrier is not None
        await asyncio.wait({live.carrier})
        if not live.ended.is_set() and self._closing:
            self._carried.hand_back(task_id, counted=task_id in self._counted)
        return live.ended.is_set()

    async def _take(self, task_id: str) -> Live | None:
        """The task as it is carried here from now on; None where it has ended. Whoever asks meanwhile gets the same."""
        taking = self._taking.get(task_id)
        if taking is None:
            taking = self._taking[task_id] = asyncio.create_task(self._take_alone(task_id), name=f"take:{task_id}")
            taking.add_done_callback(lambda _: (self._taking.pop(task_id), self._meanwhile.pop(task_id, None)))
        return await asyncio.shield(taking)

    async def _take_alone(self, task_id: str) -> Live | None:
        if (taken := await self._carried.take(task_id)) is None:
            return None
        task = await self._store.task(task_id)
        if task is None or task.ended:
            return None
        if task.started_at is not None:
            task = await self._store.add_delegated(task)
            await self._store.end_cut_off(task_id)
        await self._store.move_past(taken.last_event)
        if (begun := self._meanwhile.get(task_id)) is not None:  # it was accepted here, and may have ended since
            return begun
        if taken.takes >= MOST_DEATHS + taken.ended_steps and task.started_at is not None:
            logs.get().error("task.quarantined", task_id=task_id, deaths=MOST_DEATHS)
            task = changed(task, error=quarantine_error(MOST_DEATHS))
        turn = self._waiting.pop(task_id, None) or self._admission.expect(task)
        left = min(task.seconds, task.deadline - self._wall())
        live = self._take_up(task, turn, until=self._now() + left, again=task.started_at is not None)
        live.cancelled = taken.cancelled
        self._carry_on(live)
        self._news.tell(task_id)
        return live

    async def cancel_here(self, task_id: str) -> None:
        """Ends a task that is carried here and that somebody wants to end."""
        if task_id in self._live:
            await super().cancel(task_id)

    async def wait_for_end(self, task_id: str) -> Task:
        with self._news.watch(task_id) as news:
            return await self._wait_for_end(task_id, news)

    async def _wait_for_end(self, task_id: str, news: Callable[[], Awaitable[None]]) -> Task:
        while True:
            if (live := self._live.get(task_id)) is not None and live.carrier is not None:
                await asyncio.wait({live.carrier})
                if live.ended.is_set():
                    return live.task
            if task_id not in self._waiting:
                with suppress(StorageUnwritable):  # whoever waits has a limit
                    if (task := await self._store.task(task_id)) is not None and task.ended:
                        return task
            await news()

    async def find_elsewhere(self, task_id: str) -> str | None:
        return None if task_id in self._live else await self._carried.find_address(task_id)

    async def has_more(self, task_id: str) -> bool:
        if task_id in self._live:
            return True
        task = await self._store.task(task_id)
        return task is not None and not task.ended

    async def cancel(self, task_id: str) -> Task:
        if task_id in self._live:
            return await super().cancel(task_id)
        task = await self.get_task(task_id)
        if not task.ended and await self._carried.wish_cancelled(task_id):
            with self._news.watch(task_id) as news:
                await self._jobs.cancel(task_id)
                await news()
            return await self.get_task(task_id)
        task = await self.get_task(task_id)
        if task.status is not Status.CANCELLED:
            raise Conflict(f"Task {task_id} has already ended: {task.status}.")
        return task

    def _begin(self, task: Task, turn: Turn, began: float, *, cancelled: bool) -> None:
        """Its job was written with it: taken by this coordinator in the same commit, or for any."""
        if task.id in self._live:  # the queue was quicker
            self._admission.forget(turn)
        elif task.id in self._jobs.taken:
            super()._begin(task, turn, began, cancelled=cancelled)
        else:
            self._waiting[task.id] = turn
        self._jobs.taken.discard(task.id)
        if cancelled and task.id not in self._live:
            self._writing.add(asyncio.create_task(self._give_up_waiting(task.id)))

    def _take_up(self, task: Task, turn: Turn, *, until: float, again: bool = False) -> Live:
        self._began[task.id] = self._now()
        live = super()._take_up(task, turn, until=until, again=again)
        if task.id in self._taking:
            self._meanwhile[task.id] = live
        return live

    async def _give_up_waiting(self, task_id: str) -> bool:
        try:
            with suppress(Conflict, StorageUnwritable):  # it has ended, or its deadline will end it
                await self.cancel(task_id)
        finally:
            self._writing.discard(asyncio.current_task())
        return True

    async def _carry(self, live: Live) -> None:
        try:
            await super()._carry(live)
        except asyncio.CancelledError:  # this process stops, or another one has taken the task up
            if self._live.pop(live.task.id, None) is not None:
                self._weight -= live.weight
            self._runner.outputs.give_back(live.task.id)
            if self._flights is not None:
                self._flights.end(live.task.id)
            self._admission.forget(live.turn)
            raise

    # --- once a second

    async def look_around(self) -> None:
        """Stops carrying what others have taken up, forgets the turns of what they carry, ends what nobody began."""
        for task_id in await self._carried.find_lost(self._live):
            if (live := self._live.get(task_id)) is not None and live.carrier is not None and not live.ending:
                logs.get().warning("task.taken_over", task_id=task_id)
                live.carrier.cancel()
        self._began = {id: at for id, at in self._began.items() if id in self._live}
        self._counted &= self._live.keys()
        due = {id for id, at in self._began.items() if self._now() - at >= BLAMED_AFTER_SECONDS} - self._counted
        if due:
            self._counted |= due
            self._carried.count(due)
        dropped = await self._carried.find_mine() - self._live.keys()
        for task_id in dropped & self._dropped:  # twice: it is not being taken up at this moment
            logs.get().warning("task.dropped", task_id=task_id)
            self._carried.hand_back(task_id, counted=False)
        self._dropped = dropped
        still = set(await self._carried.find_queued(self._waiting))
        for task_id in [id for id in self._waiting if id not in still and id not in self._live]:
            self._forget_turn(task_id)
        if (self._overdue is None or self._overdue.done()) and (due := await self._find_overdue()):
            self._overdue = asyncio.create_task(self._end_overdue(due), name="overdue")

    async def _find_overdue(self) -> set[str]:
        return {*await self._carried.find_overdue(self._wall())} - self._live.keys()

    async def _end_overdue(self, due: set[str]) -> None:
        """After an outage they may be many: they end together, and this coordinator's beat goes on meanwhile."""
        tried: set[str] = set()
        while due:
            tried |= due
            for why in await asyncio.gather(*map(self.carry_job, due), return_exceptions=True):
                if isinstance(why, Exception):
                    logs.get().warning("overdue.waits", why=str(why))
            due = set()
            with suppress(StorageUnwritable):
                due = await self._find_overdue() - tried

    def _forget_turn(self, task_id: str) -> None:
        if (turn := self._waiting.pop(task_id, None)) is not None:
            self._admission.forget(turn)
