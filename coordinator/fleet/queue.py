"""PgQueuer's queries as a coordinator asks them: at once for what it accepts, and then where it was told of jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job, TableChangedEvent
from pgqueuer.queries import EntrypointExecutionParameter, Queries
from pgqueuer.types import Channel, JobId, QueueEntrypoint, QueueManagerId

from coordinator.fleet.driver import PatientDriver
from shared.db.postgres.schema import Connection

TASK = QueueEntrypoint("muster_task")  # the name of the jobs
DEQUEUE_SECONDS = 2.0  # between two looks for jobs where no news came
HEARTBEAT_SECONDS = 5.0  # a coordinator that is silent for so long loses its jobs
_UNLIMITED = {TASK: EntrypointExecutionParameter(concurrency_limit=0)}
_NOW = timedelta(microseconds=-1)  # a job may be taken in the transaction that it is written in

# PgQueuer tells every coordinator of each job that comes and goes; here a commit tells of those that it leaves to all.
# Its log has three rows a job. A task's own events say the same, so only what went wrong is kept.
SILENCE = """
ALTER TABLE {queue} DISABLE TRIGGER {trigger};
CREATE OR REPLACE FUNCTION muster_no_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER muster_no_row BEFORE INSERT ON {log} FOR EACH ROW
    WHEN (NEW.status IN ('queued', 'picked', 'successful')) EXECUTE FUNCTION muster_no_row();
"""


class _Line(PatientDriver):
    """The connection that hears of jobs; `told` is called for each notice, which then wakes the queue."""

    def __init__(
        self, pool: asyncpg.Pool[asyncpg.Record], told: Callable[[], None], *, closing: Callable[[], bool]
    ) -> None:
        super().__init__(pool, closing=closing)
        self._told = told
        self._callback: Callable[[Any], None] = lambda payload: None

    async def add_listener(self, channel: str, callback: Callable[[Any], None]) -> None:
        self._callback = callback
        await super().add_listener(channel, self.hear)

    def hear(self, payload: Any) -> None:
        self._told()
        self._callback(payload)


class TaskQueue(Queries):
    """PgQueuer's loop asks for jobs after each, and then thrice more whether there are some.

    Here it is answered from the database when something was told, when a place is free while others wait, and every
    two seconds; `held` are the jobs that this coordinator has.
    """

    def __init__(
        self,
        pool: asyncpg.Pool[asyncpg.Record],
        *,
        ended: Callable[[], None],
        closing: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = _Line(pool, self._tell, closing=closing)
        super().__init__(self._line)
        self._ended = ended  # called when jobs have ended
        self._now = now
        self._told = True
        self._looked = 0.0
        self._claimed: list[Job] = []
        self._full = False  # at the last look
        self.held: set[JobId] = set()
        self.closed = False  # only what was claimed is run

    def _tell(self) -> None:
        self._told = True

    def call_when_deaf(self, call: Callable[[], None]) -> None:
        """Calls this when the connection that hears is gone."""
        self._line.on_silence = call

    @property
    def notice(self) -> str:
        """What wakes a queue: jobs have come."""
        event = TableChangedEvent(
            channel=Channel(self.qbe.settings.channel),
            operation="insert",
            sent_at=datetime.now(UTC),
            table=self.qbe.settings.queue_table,
            type="table_changed_event",
        )
        return event.model_dump_json()

    def wake(self) -> None:
        """Has the queue look for jobs now."""
        self._line.hear(self.notice)

    # --- in the commit of accepted tasks

    async def put(self, connection: Connection, ids: Sequence[str], priorities: Sequence[int]) -> None:
        """Writes a job for each task that has none."""
        own = Queries(AsyncpgDriver(connection), self.qbe, self.qbq, self.qbs)  # type: ignore[arg-type]
        await own.enqueue(
            [TASK] * len(ids),
            [id.encode() for id in ids],
            list(priorities),
            execute_after=[_NOW] * len(ids),
            dedupe_key=list(ids),
            on_conflict="skip",
        )

    async def claim(self, connection: Connection, most: int, *, manager: QueueManagerId, at_once: int) -> list[Job]:
        """Takes jobs, as PgQueuer gives them; they are this coordinator's once the transaction is durable."""
        own = Queries(AsyncpgDriver(connection), self.qbe, self.qbq, self.qbs)  # type: ignore[arg-type]
        return await own.dequeue(most, _UNLIMITED, manager, at_once, timedelta(seconds=HEARTBEAT_SECONDS))

    def hand_over(self, jobs: Sequence[Job]) -> None:
        """Gives the queue jobs that were claimed, for it to run."""
        self._claimed += jobs
        self.held |= {job.id for job in jobs}
        self._line.hear(self.notice)

    async def tell_all(self) -> None:
        """Tells every coordinator that there are jobs; raises what asyncpg raises."""
        await self.driver.notify(self.qbe.settings.channel, self.notice)

    # --- as the loop of PgQueuer asks

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        if self._claimed:
            jobs, self._claimed = self._claimed, []
            return jobs
        if self.closed or (not self._told and self._now() < self._looked + 0.9 * DEQUEUE_SECONDS):
            return []
        self._told, self._looked = False, self._now()
        jobs = await super().dequeue(
            batch_size, entrypoints, queue_manager_id, global_concurrency_limit, heartbeat_timeout
        )
        self.held |= {job.id for job in jobs}
        self._told = self._told or bool(jobs)
        self._full = not jobs and len(self.held) >= (global_concurrency_limit or 0)
        return jobs

    async def eligible_queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        return 0

    async def next_deferred_eta(self, entrypoints: list[QueueEntrypoint]) -> timedelta | None:
        return None

    async def queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        return 0

    async def log_jobs(self, job_status: list[tuple[Job, Any, Any]]) -> None:
        await super().log_jobs(job_status)
        self.held -= {job.id for job, _, _ in job_status}
        if self._full:  # others may wait for the places
            self.wake()
        self._ended()

    async def retry_job(self, job: Job, delay: timedelta, traceback_record: Any) -> None:
        await super().retry_job(job, delay, traceback_record)
        self.held.discard(job.id)
        await self.driver.notify(self.qbe.settings.channel, self.notice)
