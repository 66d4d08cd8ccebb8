"""Open tasks as jobs of PgQueuer, which gives each to one coordinator and, when that one falls silent, to another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import asyncpg
from pgqueuer.db import AsyncpgDriver
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Context, Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from pgqueuer.types import JobId

from coordinator.fleet.members import GONE_SECONDS
from coordinator.fleet.queue import DEQUEUE_SECONDS, HEARTBEAT_SECONDS, SILENCE, TASK, TaskQueue
from coordinator.journal import sql
from shared import logs
from shared.db.postgres.connection import LOST, REFUSED, borrow
from shared.db.postgres.schema import LOCK, Connection
from shared.db.writes import Unit
from shared.errors import StorageUnwritable
from shared.failpoints import At, nowhere

AGAIN_SECONDS = 0.5  # before a queue that broke is opened again
CANCEL_SECONDS = 1.0  # for a queue that is cut off to leave
BATCH = 8
MOST_ENDED = 32  # jobs that PgQueuer counts as held here though they have ended: it takes note of several at once
KEPT = timedelta(days=1)  # of PgQueuer's own log

Pool = asyncpg.Pool
Carry = Callable[[str], Awaitable[bool]]  # a task's id; whether it has ended
Cancel = Callable[[str], Awaitable[None]]

_FIRST = """
SELECT t.id, t.priority FROM lanes CROSS JOIN LATERAL (
    SELECT id, priority, created_at FROM tasks
    WHERE carrier IS NULL AND coalesce(lane, '') = lanes.lane ORDER BY priority DESC, created_at, id LIMIT $1
) AS t
WHERE NOT EXISTS (SELECT 1 FROM pgqueuer AS q WHERE q.dedupe_key = t.id)
ORDER BY t.priority DESC, t.created_at LIMIT 1000
"""  # of each lane as many as may wait in the queue; the others stay rows
_FIRST_OF_ALL = f"""
WITH RECURSIVE lanes AS (
    (SELECT coalesce(lane, '') AS lane FROM tasks WHERE carrier IS NULL ORDER BY 1 LIMIT 1)
    UNION ALL
    SELECT (SELECT coalesce(t.lane, '') FROM tasks AS t WHERE t.carrier IS NULL AND coalesce(t.lane, '') > lanes.lane
            ORDER BY 1 LIMIT 1)
    FROM lanes WHERE lanes.lane IS NOT NULL
)
{_FIRST}"""
_FIRST_OF_SOME = f"""
WITH lanes AS (SELECT DISTINCT coalesce(lane, '') AS lane FROM tasks WHERE id = ANY($2))
{_FIRST}"""
_LOST = """
SELECT id, priority FROM tasks AS t WHERE carrier IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM pgqueuer AS q WHERE q.dedupe_key = t.id)
  AND NOT EXISTS (SELECT 1 FROM coordinators AS c WHERE c.id = t.carrier AND c.at > $1)
"""  # a job ran twice, and the one that was over first took it away
_LEAVE = "UPDATE tasks SET carrier = NULL WHERE id = ANY($1) AND carrier = $2"
_FORGET = "DELETE FROM pgqueuer_log WHERE created < now() - $1::interval"


class Jobs:
    """Puts tasks into the queue in the commit that accepts them, and has `carry` carry those that it gets.

    A commit takes what it accepts at once where this coordinator has room: `carrier` is its id, and `taken` are those
    tasks, until they are begun.
    """

    def __init__(
        self,
        pool: Pool[asyncpg.Record],
        *,
        carrier: str,
        at_once: int,
        carry: Carry,
        cancel: Cancel,
        wall: Callable[[], float],
        at: At = nowhere,
    ) -> None:
        self._pool = pool
        self._carrier = carrier
        self._at_once = at_once
        self._most_held = max(at_once + min(at_once, MOST_ENDED), 2 * BATCH)
        self._active = 0  # jobs that run
        self._carry = carry
        self._cancel = cancel
        self._wall = wall
        self._at = at
        self._managers: list[QueueManager] = []
        self._queue: TaskQueue | None = None  # of the newest manager
        self._running: set[asyncio.Task[None]] = set()
        self._closing = False
        self._waiting = False  # tasks are left out of the queue
        self._filling: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._untold = False  # jobs have come since the others were told
        self.coordinators = 1  # that share the queue
        self.taken: set[str] = set()

    async def install(self) -> None:
        """Makes PgQueuer's tables, or brings them up to date; several coordinators take turns."""
        async with borrow(self._pool) as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            queries = Queries(AsyncpgDriver(connection))
            if not await queries.schema_is_installed():
                await queries.install()
                await queries.optimize_autovacuum()
            await queries.upgrade()
            names = queries.qbe.settings
            await connection.execute(
                SILENCE.format(queue=names.queue_table, trigger=names.trigger, log=names.queue_table_log)
            )

    # --- in the commit of an accepted task

    def wants(self, unit: Unit) -> bool:
        return unit.statements[0].sql is sql.ACCEPT if unit.statements else False

    def begin(self, count: int) -> Sequence[Mapping[str, Any]]:
        """Of so many units the first are this coordinator's own: as many as are its share and as it has room for."""
        room = 0
        if self._queue is not None and not self._closing and not self._waiting:
            room = self._at_once // self.coordinators - self._active - len(self.taken)
        return [{"carrier": self._carrier if number < room else None} for number in range(count)]

    async def follow(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> Callable[[], None]:
        own, queue = [row for row in rows if row["carrier"] is not None], self._queue
        jobs: Sequence[Job] = []
        if own and queue is not None:
            manager = self._managers[0].queue_manager_id
            await queue.put(connection, [row["id"] for row in own], [row["priority"] for row in own])
            jobs = await queue.claim(connection, len(own), manager=manager, at_once=self._most_held)
        got = {read_task(job) for job in jobs}
        if left := [row["id"] for row in own if row["id"] not in got]:  # older ones came first
            await connection.execute(_LEAVE, left, self._carrier)
        others = [row["id"] for row in rows if row["carrier"] is None]
        found = await connection.fetch(_FIRST_OF_SOME, self._most, others) if others else []
        await self._put(connection, found)

        def committed() -> None:
            self._waiting |= len(found) < len(others)
            if jobs and queue is not None:
                self.taken |= got & {row["id"] for row in own}
                queue.hand_over(jobs)
            if found or left:
                self._tell()

        return committed

    async def fill(self) -> None:
        """Puts tasks into the queue that have no job: those that waited for their turn, and any whose job was lost."""
        async with borrow(self._pool) as connection, connection.transaction():
            first = await connection.fetch(_FIRST_OF_ALL, self._most)
            lost = await connection.fetch(_LOST, self._wall() - GONE_SECONDS)
            await self._put(connection, [*first, *lost])
        self._waiting = bool(first)
        if first or lost:
            self._tell()

    @property
    def _most(self) -> int:
        """Of one lane, the tasks that may wait in the queue."""
        return max(self._at_once, BATCH) * self.coordinators

    async def _put(self, connection: Connection, rows: Sequence[Any]) -> None:
        if rows and self._queue is not None:
            await self._queue.put(connection, [row["id"] for row in rows], [row["priority"] for row in rows])

    def _tell(self) -> None:
        """Tells every coordinator of jobs that are for any: this one at once, the others by a transaction apart."""
        if self._queue is not None:
            self._queue.wake()
            self._untold = self.coordinators > 1
            if self._untold and (self._telling is None or self._telling.done()):
                self._telling = asyncio.create_task(self._tell_others(self._queue), name="tell")

    async def _tell_others(self, queue: TaskQueue) -> None:
        while self._untold:
            self._untold = False
            with suppress(*LOST, *REFUSED):  # every two seconds they look in any case
                await queue.tell_all()

    # --- carrying

    async def run_forever(self) -> None:
        """Takes jobs until `close`. A queue whose connection broke is left to its jobs, and a new one opened."""
        while not self._closing:
            manager = self._make_manager()
            running = asyncio.create_task(self._run(manager))
            self._running.add(running)
            running.add_done_callback(self._running.discard)
            stopped = asyncio.create_task(manager.shutdown.wait())
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not self._closing:
                await asyncio.sleep(AGAIN_SECONDS)
        await asyncio.Event().wait()  # until this process has ended

    def _make_manager(self) -> QueueManager:
        self._queue = TaskQueue(self._pool, ended=self._refill, closing=lambda: self._closing)
        manager = QueueManager(self._queue)
        self._queue.call_when_deaf(manager.shutdown.set)

        @manager.entrypoint(TASK, accepts_context=True)
        async def carry(job: Job, context: Context) -> None:
            await self._run_job(read_task(job), context)

        self._managers = [manager, *(m for m in self._managers if not m.shutdown.is_set())]
        return manager

    async def _run(self, manager: QueueManager) -> None:
        try:
            await manager.run(
                batch_size=BATCH,
                dequeue_timeout=timedelta(seconds=DEQUEUE_SECONDS),
                heartbeat_timeout=timedelta(seconds=HEARTBEAT_SECONDS),
                max_concurrent_tasks=self._most_held,
                shutdown_on_listener_failure=True,
                log_aggregation_interval=timedelta(0),
            )
        except Exception as exc:  # whatever broke it: the next one is opened
            if not self._closing:
                logs.get().warning("queue.broke", why=f"{type(exc).__name__}: {exc}")

    def _refill(self) -> None:
        """Jobs have ended: tasks that wait outside of the queue may come in."""
        if self._waiting and not self._closing and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill_quietly(), name="fill")

    async def _fill_quietly(self) -> None:
        with suppress(*LOST, *REFUSED):  # once a second it is tried in any case
            await self.fill()

    async def _run_job(self, task_id: str, context: Context) -> None:
        """Raises `RetryRequested` where this process stops: another one goes on."""
        carrying = asyncio.ensure_future(self._carry(task_id))
        self._active += 1
        try:
            await self._see_through(task_id, carrying, context)
        except RetryRequested:
            raise
        except Exception as exc:  # PgQueuer would forget the job
            if not isinstance(exc, StorageUnwritable):  # which the journal says itself
                logs.get().error("job.broke", task_id=task_id, exc_info=exc)
            raise RetryRequested(delay=timedelta(seconds=AGAIN_SECONDS), reason="It broke.") from exc
        finally:
            self._active -= 1

    async def _see_through(self, task_id: str, carrying: asyncio.Future[bool], context: Context) -> None:
        try:
            with context.cancellation:
                await asyncio.shield(carrying)
            if context.cancellation.cancel_called:
                await self._cancel(task_id)
                await carrying
        except asyncio.CancelledError:
            carrying.cancel()
            raise RetryRequested(delay=timedelta(0), reason="The coordinator stops.") from None
        if not carrying.result():
            raise RetryRequested(delay=timedelta(0), reason="The coordinator stops.")
        self._at("job.ended")

    async def cancel(self, task_id: str) -> None:
        """Tells the coordinator that carries a task that it is cancelled; the job is gone."""
        async with borrow(self._pool) as connection:
            ids = [
                row["id"] for row in await connection.fetch("SELECT id FROM pgqueuer WHERE dedupe_key = $1", task_id)
            ]
            if ids:
                queries = Queries(AsyncpgDriver(connection))
                await queries.mark_job_as_cancelled([JobId(id) for id in ids])

    async def forget_old(self) -> None:
        """Deletes what PgQueuer has noted of jobs that ended long ago."""
        async with borrow(self._pool) as connection:
            await connection.execute(_FORGET, KEPT)

    def stop(self) -> None:
        """Takes no more jobs; those that run go on, and so do those that a commit under way takes."""
        self._closing = True
        if self._queue is not None:
            self._queue.closed = True

    async def close(self, seconds: float) -> None:
        """Waits so long for the jobs that run to be handed back."""
        self.stop()
        for manager in self._managers:
            manager.shutdown.set()
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for running in self._running:
            running.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=CANCEL_SECONDS)


def read_task(job: Job) -> str:
    """The id of a job's task."""
    assert job.payload is not None
    return job.payload.decode()
