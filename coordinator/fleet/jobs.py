"""Open tasks as jobs of PgQueuer, which gives each to one coordinator and, when that one falls silent, to another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import asyncpg
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Context, Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from pgqueuer.types import JobId

from coordinator.fleet.members import GONE_SECONDS
from coordinator.journal import sql
from shared import logs
from shared.db.postgres.schema import LOCK, Connection
from shared.db.writes import Unit

TASK = "muster_task"  # the name of the jobs
HEARTBEAT_SECONDS = 5.0  # a coordinator that is silent for so long loses its jobs
DEQUEUE_SECONDS = 2.0  # between two looks for jobs where no news came
AGAIN_SECONDS = 0.5  # before a queue that broke is opened again
CANCEL_SECONDS = 1.0  # for a queue that is cut off to leave
BATCH = 8
KEPT = timedelta(days=1)  # of PgQueuer's own log

Pool = asyncpg.Pool
Carry = Callable[[str], Awaitable[bool]]  # a task's id; whether it has ended
Cancel = Callable[[str], Awaitable[None]]

_CHOOSE = """
SELECT id, priority FROM (
    SELECT t.id, t.priority, t.created_at,
           row_number() OVER (PARTITION BY t.lane ORDER BY t.priority DESC, t.created_at, t.id)
           + coalesce((SELECT count(*) FROM pgqueuer AS q JOIN tasks AS o ON o.id = q.dedupe_key
                       WHERE o.lane IS NOT DISTINCT FROM t.lane), 0) AS place
    FROM tasks AS t
    WHERE t.finished_at IS NULL AND ($1::text[] IS NULL OR t.id = ANY($1))
      AND NOT EXISTS (SELECT 1 FROM pgqueuer AS q WHERE q.dedupe_key = t.id)
      AND NOT EXISTS (SELECT 1 FROM coordinators AS c WHERE c.id = t.carrier AND c.at > $3)
    ORDER BY t.priority DESC, t.created_at LIMIT 1000
) AS waiting WHERE place <= $2 ORDER BY priority DESC, created_at
"""  # of each lane as many as may be in the queue; the others stay rows, and so does what a living coordinator carries
_FORGET = "DELETE FROM pgqueuer_log WHERE aggregated AND created < now() - $1::interval"


class Jobs:
    """Puts tasks into the queue in the commit that accepts them, and has `carry` carry those that it gets."""

    def __init__(
        self, pool: Pool[asyncpg.Record], *, at_once: int, carry: Carry, cancel: Cancel, wall: Callable[[], float]
    ) -> None:
        self._pool = pool
        self._at_once = max(at_once, 2 * BATCH)
        self._carry = carry
        self._cancel = cancel
        self._wall = wall
        self._managers: list[QueueManager] = []
        self._running: set[asyncio.Task[None]] = set()
        self._closing = False
        self.coordinators = 1  # that share the queue

    async def install(self) -> None:
        """Makes PgQueuer's tables, or brings them up to date; several coordinators take turns."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            queries = Queries(AsyncpgDriver(connection))  # type: ignore[arg-type]
            if not await queries.schema_is_installed():
                await queries.install()
                await queries.optimize_autovacuum()
            await queries.upgrade()

    # --- in the commit of an accepted task

    def wants(self, unit: Unit) -> bool:
        return unit.statements[0].sql is sql.ACCEPT if unit.statements else False

    async def follow(self, connection: Connection, units: Sequence[Unit]) -> None:
        ids = [unit.statements[0].params["id"] for unit in units]  # type: ignore[call-overload]
        await self._enqueue(connection, ids)

    async def fill(self) -> int:
        """Puts tasks into the queue that have no job: those that waited for their turn, and any whose job was lost."""
        async with self._pool.acquire() as connection, connection.transaction():
            return await self._enqueue(connection, None)

    async def _enqueue(self, connection: Connection, ids: Sequence[str] | None) -> int:
        rows = await connection.fetch(_CHOOSE, ids, self._at_once * self.coordinators, self._wall() - GONE_SECONDS)
        if not rows:
            return 0
        keys = [row["id"] for row in rows]
        await Queries(AsyncpgDriver(connection)).enqueue(  # type: ignore[arg-type]
            [TASK] * len(keys),
            [key.encode() for key in keys],
            [row["priority"] for row in rows],
            dedupe_key=keys,
            on_conflict="skip",
        )
        return len(keys)

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
        manager = QueueManager(Queries(AsyncpgPoolDriver(self._pool)))

        @manager.entrypoint(TASK, accepts_context=True)
        async def carry(job: Job, context: Context) -> None:
            assert job.payload is not None
            await self._run_job(job.payload.decode(), context)

        self._managers = [manager, *(m for m in self._managers if not m.shutdown.is_set())]
        return manager

    async def _run(self, manager: QueueManager) -> None:
        try:
            await manager.run(
                batch_size=BATCH,
                dequeue_timeout=timedelta(seconds=DEQUEUE_SECONDS),
                heartbeat_timeout=timedelta(seconds=HEARTBEAT_SECONDS),
                max_concurrent_tasks=self._at_once,
                shutdown_on_listener_failure=True,
            )
        except Exception as exc:  # whatever broke it: the next one is opened
            if not self._closing:
                logs.get().warning("queue.broke", why=f"{type(exc).__name__}: {exc}")

    async def _run_job(self, task_id: str, context: Context) -> None:
        """Raises `RetryRequested` where this process stops: another one goes on."""
        carrying = asyncio.ensure_future(self._carry(task_id))
        try:
            await self._see_through(task_id, carrying, context)
        except RetryRequested:
            raise
        except Exception as exc:  # PgQueuer would forget the job
            logs.get().error("job.broke", task_id=task_id, exc_info=exc)
            raise RetryRequested(delay=timedelta(seconds=AGAIN_SECONDS), reason="It broke.") from exc

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

    async def cancel(self, task_id: str) -> None:
        """Tells the coordinator that carries a task that it is cancelled; the job is gone."""
        async with self._pool.acquire() as connection:
            ids = [
                row["id"] for row in await connection.fetch("SELECT id FROM pgqueuer WHERE dedupe_key = $1", task_id)
            ]
            if ids:
                queries = Queries(AsyncpgDriver(connection))  # type: ignore[arg-type]
                await queries.mark_job_as_cancelled([JobId(id) for id in ids])

    async def forget_old(self) -> None:
        """Deletes what PgQueuer has noted of jobs that ended long ago."""
        async with self._pool.acquire() as connection:
            await connection.execute(_FORGET, KEPT)

    def stop(self) -> None:
        """Takes no more jobs; those that run go on."""
        self._closing = True
        for manager in self._managers:
            manager.shutdown.set()

    async def close(self, seconds: float) -> None:
        """Waits so long for the jobs that run to be handed back."""
        self.stop()
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for running in self._running:
            running.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=CANCEL_SECONDS)
