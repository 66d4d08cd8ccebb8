"""The journal as the coordinator uses it: what is written when, and tasks read back as values."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue
from pydantic_core import from_json

from coordinator.journal import checking, lists, packed, seals, sql, statements
from coordinator.journal.clocks import Boot, Clock, mark
from coordinator.journal.events import TaskEvent
from coordinator.journal.migrations import MIGRATIONS
from coordinator.journal.rows import accepted, calls, ended, finished, json_text, planned, read_task, write_plan
from coordinator.journal.watching import Watch
from coordinator.tasks.delegation_log import FINISHED, add_delegated, close_cut_off
from coordinator.tasks.task import Step, Task
from shared.contracts import Status, StepError
from shared.db.database import Database, Query, Row, Statement
from shared.limits.ledger import Ledger

WRITES = (
    "store.accept",
    "store.start_task",
    "store.start_attempt",
    "store.end_attempt",
    "store.finish_step",
    "store.finish_task",
)
AT_ONCE = 1_000  # events of a task that are read
BITE_SECONDS = 0.002  # that the writer is held by work that can wait
BITE = 200  # tasks, or pieces of free space, that are looked at for it
FREE_PAGES, FREE_SHARE = 256, 0.05  # of the file, that stay for what comes next


class Store:
    """Every method that is awaited is durable when it returns; the others are written in order, without waiting.

    Raises `StorageFull` when the disk has no room: nothing was written then. `publish` gets every event once it is
    durable. `recorded` gives what is written with a task besides.
    """

    def __init__(
        self, db: Database, *, publish: Callable[[TaskEvent], None], wall: Clock = time.time, boot: Boot | None = None
    ) -> None:
        self._db, self.shared = db, db.shared
        self._publish = publish
        self._wall = wall
        self._boot = boot
        self.recorded: Callable[[str], tuple[Statement, ...]] = lambda _: ()
        self._last_event = 0
        self.watch = Watch(db, wall=wall)

    async def open(self) -> None:
        """Raises `StorageBroken` where the journal has less than its mark says, rows are damaged, or it was moved."""
        await self._db.open(MIGRATIONS, checking.FUNCTIONS)
        self._last_event = await checking.check_start(self._db)
        self.watch.start(self._last_event)
        await self.watch.keep_mark()

    def read_position(self) -> int:
        return self._last_event

    async def close(self) -> None:
        await self._db.close()
        await self.watch.keep_mark()

    # --- a task's life

    async def accept(self, task: Task) -> bool:
        """Makes the task durable with its plan; False if its idempotency key is taken: nothing was written."""
        return await self.write(
            "store.accept",
            *(statements.accept(task) if task.rerun is None else await asyncio.to_thread(statements.accept, task)),
            self._event(task.id, "task.accepted", accepted(task) | mark(self._boot, task.seconds)),
            self._event(task.id, "task.planned", {"steps": planned(task.steps)}),
        )

    async def replan(self, task: Task, planning: Step, ledger: Ledger) -> bool:
        """Ends the planning, with the task's other steps in the place of those before; False if it had ended before."""
        return await self.write(
            "store.replan",
            statements.finish_step(task, planning, output=json_text(planning.output), first_byte_at=None),
            Statement(sql.REPLAN, {"id": task.id, "plan": write_plan(task.steps)}),
            *statements.keep_ledger(task, ledger),
            self._event(task.id, *ended(planning)),
            self._event(task.id, "task.replanned", {"steps": planned(task.steps)}),
        )

    def start_task(self, task: Task) -> None:
        self._db.post("store.start_task", statements.start_task(task))

    def start_attempt(self, task: Task, step: Step, *, agent: str, queued_at: float, ledger: Ledger) -> None:
        """The step's attempt `step.attempt` is sent to `step.instance`."""
        data = {"step_id": step.id, "attempt": step.attempt, "agent": agent, "instance": step.instance}
        self._post(
            "store.start_attempt",
            statements.start_step(task, step, queued_at=queued_at),
            *statements.keep_ledger(task, ledger),
            self._event(task.id, "step.started", data),
        )

    async def attempts_written(self) -> None:
        """Waits until every attempt that was started is durable; raises `StorageFull` where that cannot be known."""
        await self._db.write("store.attempts_written", Statement("SELECT 1"))

    def end_attempt(self, task: Task, step: Step, *, error: StepError, wait: float) -> None:
        """An attempt failed, `step.failed_attempts` in all, and another will follow after `wait` seconds."""
        data = {"step_id": step.id, "attempt": step.attempt, "agent": step.answered_by, "why": error.detail}
        data |= {"error": error.type, "wait_seconds": round(wait, 3), **calls(step)}
        self._post(
            "store.end_attempt",
            statements.end_attempt(task, step),
            self._event(task.id, "step.retried", data),
            *self.recorded(task.id),
        )

    async def finish_step(
        self, task: Task, step: Step, *, first_byte_at: float | None, ledger: Ledger, last: Task | None = None
    ) -> bool:
        """The checkpoint of a step; False if a newer attempt or another result was first: nothing was written.

        With `last`, the task as it ends with this step, its end is the same commit.
        """
        output: str | bytes | None = json_text(step.output) if step.status is Status.COMPLETED else None
        if isinstance(output, str) and len(output) > packed.LARGE:
            output = await asyncio.to_thread(packed.shrink, output)
        return await self.write(
            "store.finish_step",
            statements.finish_step(task, step, output=output, first_byte_at=first_byte_at),
            *statements.keep_ledger(task, ledger),
            self._event(task.id, *ended(step)),
            *(self._task_ended(last) if last is not None else ()),
            *self.recorded(task.id),
        )

    async def finish_task(self, task: Task) -> bool:
        """Ends the task; False if it had ended before: nothing was written."""
        return await self.write("store.finish_task", *self._task_ended(task), *self.recorded(task.id))

    def late_result(self, task_id: str, step_id: str, attempt: int, result: str) -> None:
        """A result that came too late or twice: kept and never merged."""
        row = {"task_id": task_id, "step_id": step_id, "attempt": attempt, "at": self._wall(), "result": result}
        note = self._event(task_id, "step.late", {"step_id": step_id, "attempt": attempt})
        self._post("store.late_result", Statement(sql.LATE_RESULT, row), note, *self.recorded(task_id))

    def note(self, task_id: str | None, type: str, data: Mapping[str, JsonValue]) -> None:
        """An event that goes with no other write: progress, or an agent's change."""
        self._post("store.note", self._event(task_id, type, data))

    # --- reading

    async def task(self, task_id: str) -> Task | None:
        """Raises `StorageBroken` where it is not as it was written."""
        asked = (sql.TASK, sql.TASK_STEPS, sql.FIRST_EVENT, seals.ROTTEN_TASK)
        found, steps, first, rotten = await self._db.read_all(*(Query(text, {"id": task_id}) for text in asked))
        if rotten:
            raise checking.refuse([task_id])
        return read_task(found[0], steps, first[0][0] if first else None) if found else None

    async def task_by_key(self, tenant: str, key: str) -> Task | None:
        found = await self._db.read(sql.ID_BY_KEY, {"tenant": tenant, "idempotency_key": key})
        return await self.task(found[0][0]) if found else None

    async def open_tasks(self) -> list[Task]:
        """Every task that has not ended, oldest first, with the results of its steps and what they have delegated."""
        steps: dict[str, list[Row]] = defaultdict(list)
        for row in await self._db.read(sql.OPEN_STEPS):
            steps[row[0]].append(row)
        logs, told = await self._delegations(), {row[0]: row[1] for row in await self._db.read(sql.OPEN_ACCEPTED)}
        tasks = [read_task(row, steps[row[0]], told.get(row[0])) for row in await self._db.read(sql.OPEN_TASKS)]
        return [add_delegated(task, logs[task.id]) if task.id in logs else task for task in tasks]

    async def end_cut_off(self, task_id: str | None = None) -> None:
        """Ends the delegations of open tasks, or of one, that an earlier process began: who asked for them is gone."""
        for id, log in (await self._delegations(task_id)).items():
            for end in close_cut_off(log):
                self.note(id, FINISHED, end)

    async def add_delegated(self, task: Task) -> Task:
        """An open task with what its steps have delegated."""
        log = (await self._delegations(task.id)).get(task.id)
        return task if log is None else add_delegated(task, log)

    async def move_past(self, position: int) -> None:
        """Lets every further event come after this position, in a range that is not half used."""
        due = position > self._last_event or self._db.needs_positions(self._last_event)
        if due and (own := await self._db.take_positions()) is not None:
            self._last_event = max(self._last_event, own)  # two ranges may come in the other order

    async def _delegations(self, task_id: str | None = None) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        """Types and data of the events of every open task's delegations."""
        found: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        for id, type, data in await self._db.read(sql.OPEN_DELEGATIONS, {"id": task_id}):
            found[id].append((type, from_json(data)))
        return found

    async def list_tasks(
        self,
        *,
        status: str | None = None,
        agent: str | None = None,
        since: float | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 50,
    ) -> list[lists.TaskLine]:
        """Newest first; `before` is the last line of the page before. No other read waits for it."""
        asked = lists.make_queries(status=status, agent=agent, since=since, before=before, limit=limit)
        return lists.make_page(await self._db.read_all(*asked, aside=True), limit=limit)

    async def events(self, task_id: str, *, after: int = 0, limit: int = AT_ONCE) -> list[TaskEvent]:
        """Up to `limit` events of a task after a position."""
        params = {"task_id": task_id, "after": after, "limit": limit}
        bodies, rows = await self._db.read_all(Query(sql.BODY, params), Query(sql.EVENTS, params))
        body = bodies[0][0] if bodies else None
        if any(row[5] for row in rows) or (body is not None and not packed.opens(body)):
            raise checking.refuse([task_id])
        found = [TaskEvent(*row[:5]) for row in rows]
        if body is not None:  # what came after the task's end has rows
            found = [TaskEvent(*e) for e in packed.unpack_events(task_id, body) if e[0] > after] + found
        return found[:limit]

    # --- the outbox

    async def due_webhooks(self, *, now: float, limit: int) -> list[tuple[str, str, int]]:
        """Task, URL and attempts so far of webhooks that are due."""
        return [(r[0], r[1], r[2]) for r in await self._db.read(sql.DUE_WEBHOOKS, {"now": now, "limit": limit})]

    async def next_webhook(self, *, now: float) -> float | None:
        """When another webhook will be due (Unix seconds), if there is one."""
        return (await self._db.read(sql.NEXT_WEBHOOK, {"now": now}))[0][0]  # type: ignore[no-any-return]

    async def move_webhook(
        self, task_id: str, *, attempts: int, next_at: float | None, delivered_at: float | None, error: str | None
    ) -> None:
        """Records an attempt; without `next_at` there is no other."""
        row = {"task_id": task_id, "attempts": attempts, "next_at": next_at}
        row |= {"delivered_at": delivered_at, "error": error}
        data = {"attempts": attempts, "delivered": delivered_at is not None, "again": next_at is not None, "why": error}
        type = "webhook.sent" if delivered_at else "webhook.failed"
        await self.write("store.move_webhook", Statement(sql.MOVE_WEBHOOK, row), self._event(task_id, type, data))

    # --- secret, history

    async def secret(self) -> bytes:
        """The coordinator's own secret (32 bytes), made at the first start."""
        row = {"key": "secret", "value": secrets.token_hex(32)}
        await self._db.write("store.secret", Statement(sql.PUT_META, row))
        return bytes.fromhex((await self._db.read(sql.GET_META, {"key": "secret"}))[0][0])

    async def prune(self, *, before: float, limit: int = BITE) -> int:
        """Deletes tasks that ended before a time, oldest first, for 2 ms of the writer's time; returns how many.

        Agents that left and what was told of agents before that time go too.
        """
        params = {"before": before, "limit": limit}
        for text in (sql.PRUNE_AGENTS, sql.PRUNE_AGENT_EVENTS):
            self._db.post("store.prune", Statement(text, params))
        [due] = await self._db.read_all(Query(sql.DUE_TO_GO, params), aside=True)
        if not due:
            return 0
        going = [Statement(sql.FORGET, {"task_id": task_id}) for (task_id,) in due]
        return await self._db.write_some("store.prune", going, seconds=BITE_SECONDS)

    async def give_back(self) -> bool:
        """Gives free space of the file back to the disk for 2 ms of the writer's time; whether there was any."""
        [[(free, pages, mode)]] = await self._db.read_all(Query(sql.FREE_PAGES), aside=True)
        if mode != sql.INCREMENTAL or free <= max(FREE_PAGES, FREE_SHARE * pages):
            return False
        await self._db.write_some("store.give_back", [Statement(sql.GIVE_BACK)] * BITE, seconds=BITE_SECONDS)
        return True

    async def checkpoint(self) -> None:
        """Lets the file be as small as what was given back makes it."""
        await self._db.checkpoint()

    def find_trouble(self) -> str | None:
        """Why nothing can be written at this moment; None where the last write was well."""
        return self._db.find_trouble()

    async def read(self, text: str, params: Mapping[str, Any] | None = None, *, aside: bool = False) -> list[Row]:
        """The rows of one query; `aside`, no other read waits for it."""
        return (await self._db.read_all(Query(text, params or {}), aside=aside))[0]

    async def write_told(self, name: str, statement: Statement, type: str, data: Mapping[str, JsonValue]) -> None:
        """One write, and the event that tells of it."""
        await self.write(name, statement, self._event(None, type, data))

    def post(self, name: str, statement: Statement) -> None:
        """One write that nobody waits for."""
        self._db.post(name, statement)

    # --- how it is done

    def _event(self, task_id: str | None, type: str, data: Mapping[str, Any]) -> Statement:
        self._last_event += 1  # positions are given here, in the order in which the writes are queued
        row = {"id": self._last_event, "task_id": task_id, "type": type, "at": self._wall(), "data": json_text(data)}
        return Statement(sql.ADD_EVENT, row, late=1)

    async def write(self, name: str, *statements: Statement) -> bool:
        """Whether it was written; then its events are told."""
        written = await self._db.write(name, *statements) is not None
        if written:
            self._tell(statements)
        return written

    def _post(self, name: str, *statements: Statement) -> None:
        self._db.post(name, *statements, then=lambda _: self._tell(statements))

    def _tell(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            if statement.sql is sql.ADD_EVENT:
                event = TaskEvent(**statement.params)  # type: ignore[arg-type]
                self.watch.see(event)
                self._publish(event)

    def _task_ended(self, task: Task) -> tuple[Statement, ...]:
        return *statements.end_task(task), self._event(task.id, "task.finished", finished(task))
