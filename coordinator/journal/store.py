"""The journal in the coordinator's words: what is written when, and tasks read back as values."""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import JsonValue
from pydantic_core import from_json

from coordinator.journal import sql
from coordinator.journal.events import TaskEvent
from coordinator.journal.migrations import MIGRATIONS
from coordinator.journal.rows import ended, json_text, plan_text, planned, step_row, task_from, task_row
from coordinator.tasks.delegation_log import FINISHED, cut_off, with_delegated
from coordinator.tasks.task import Step, Task
from shared.contracts import Registration, Status, StepError
from shared.db.database import Database, Row, Rows, Statement
from shared.limits.ledger import Ledger

WRITES = (
    "store.accept",
    "store.start_task",
    "store.start_attempt",
    "store.end_attempt",
    "store.finish_step",
    "store.finish_task",
)


class TaskLine(NamedTuple):
    """A task in a list."""

    id: str
    status: str
    description: str
    priority: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    deadline: float


class Store:
    """Every method that is awaited is durable when it returns; the others are written in order, without waiting.

    Raises `StorageFull` when the disk has no room: nothing was written then. `publish` gets every event once it is
    durable.
    """

    def __init__(
        self, db: Database, *, publish: Callable[[TaskEvent], None], wall: Callable[[], float] = time.time
    ) -> None:
        self._db = db
        self._publish = publish
        self._wall = wall

    async def open(self) -> None:
        await self._db.open(MIGRATIONS)

    async def close(self) -> None:
        await self._db.close()

    # --- a task's life

    async def accept(self, task: Task) -> bool:
        """Makes the task durable with its plan; False if its idempotency key is taken: nothing was written."""
        noted = (
            self._event(task.id, "task.accepted", {"priority": task.priority, "deadline": task.deadline}),
            self._event(task.id, "task.planned", {"steps": planned(task.steps)}),
        )
        rows = await self._db.write(
            "store.accept",
            Statement(sql.ACCEPT, task_row(task)),
            Statement(sql.ADD_STEP, [{"task_id": task.id, "step_id": step.id} for step in task.steps]),
            *noted,
        )
        if rows is None:
            return False
        self._told(noted, rows)
        return True

    async def replan(self, task: Task, planning: Step, ledger: Ledger) -> bool:
        """Ends the planning, with the task's other steps in the place of those before; False if it had ended before."""
        steps = [step for step in task.steps if step.id != planning.id]
        replanned = self._event(task.id, "task.replanned", {"steps": planned(task.steps)})
        noted = (self._event(task.id, *ended(planning)), replanned)
        rows = await self._db.write(
            "store.replan",
            Statement(sql.FINISH_STEP, step_row(task, planning)),
            Statement(sql.REPLAN, {"id": task.id, "plan": plan_text(task.steps)}),
            Statement(sql.DROP_STEPS, {"id": task.id}),
            Statement(sql.ADD_STEP, [{"task_id": task.id, "step_id": step.id} for step in steps]),
            *self._ledger(task, ledger),
            *noted,
        )
        if rows is not None:
            self._told(noted, rows)
        return rows is not None

    def start_task(self, task: Task) -> None:
        self._db.post("store.start_task", Statement(sql.START_TASK, {"id": task.id, "at": task.started_at}))

    def start_attempt(self, task: Task, step: Step, *, agent: str, queued_at: float, ledger: Ledger) -> None:
        """The step's attempt `step.attempt` is sent to `step.instance`."""
        at = self._wall()
        keys = {"task_id": task.id, "step_id": step.id, "attempt": step.attempt, "agent_id": step.instance, "at": at}
        data = {"step_id": step.id, "attempt": step.attempt, "agent": agent, "instance": step.instance}
        self._post(
            "store.start_attempt",
            Statement(sql.START_STEP, keys | {"started_at": step.started_at}),
            Statement(sql.ADD_ATTEMPT, keys | {"queued_at": queued_at}),
            *self._ledger(task, ledger),
            note=self._event(task.id, "step.started", data),
        )

    async def attempts_written(self) -> None:
        """Waits until every attempt that was started is durable; raises `StorageFull` where that cannot be known."""
        await self._db.write("store.attempts_written", Statement("SELECT 1"))

    def end_attempt(
        self, task: Task, step: Step, *, error: StepError, first_byte_at: float | None, wait: float
    ) -> None:
        """An attempt failed and another will follow after `wait` seconds."""
        data = {"step_id": step.id, "attempt": step.attempt, "wait_seconds": round(wait, 3), "why": error.detail}
        self._post(
            "store.end_attempt",
            self._attempt_ended(task, step, error=error, first_byte_at=first_byte_at),
            note=self._event(task.id, "step.retried", data | {"error": error.type}),
        )

    async def finish_step(self, task: Task, step: Step, *, first_byte_at: float | None, ledger: Ledger) -> bool:
        """The checkpoint of a step; False if a newer attempt or another result was first: nothing was written."""
        note = self._event(task.id, *ended(step))
        rows = await self._db.write(
            "store.finish_step",
            Statement(sql.FINISH_STEP, step_row(task, step)),
            self._attempt_ended(task, step, error=step.error, first_byte_at=first_byte_at),
            *self._ledger(task, ledger),
            note,
        )
        if rows is not None:
            self._told((note,), rows)
        return rows is not None

    async def finish_task(self, task: Task) -> bool:
        """Ends the task; False if it had ended before: nothing was written."""
        assert task.finished_at is not None
        seconds = round(task.finished_at - task.created_at, 6)
        data: dict[str, JsonValue] = {"status": task.status, "seconds": seconds, "steps": len(task.steps)}
        if task.webhook_url:
            data["webhook"] = True
        note = self._event(task.id, "task.finished", data)
        row = {
            "id": task.id,
            "status": task.status,
            "finished_at": task.finished_at,
            "started_at": task.started_at,
            "error": task.error.model_dump_json() if task.error else None,
            "calls": (usage := task.usage).calls,
            "tokens": usage.input_tokens + usage.output_tokens,
        }
        hook = {"task_id": task.id, "url": task.webhook_url, "at": task.finished_at}
        outbox = (Statement(sql.ADD_WEBHOOK, hook),) if task.webhook_url else ()
        rows = await self._db.write("store.finish_task", Statement(sql.FINISH_TASK, row), *outbox, note)
        if rows is not None:
            self._told((note,), rows)
        return rows is not None

    def late_result(self, task_id: str, step_id: str, attempt: int, result: str) -> None:
        """A result that came too late or twice: kept and never merged."""
        row = {"task_id": task_id, "step_id": step_id, "attempt": attempt, "at": self._wall(), "result": result}
        note = self._event(task_id, "step.late", {"step_id": step_id, "attempt": attempt})
        self._post("store.late_result", Statement(sql.LATE_RESULT, row), note=note)

    def note(self, task_id: str | None, type: str, data: Mapping[str, JsonValue]) -> None:
        """An event that goes with no other write: progress, or an agent's change."""
        self._post("store.note", note=self._event(task_id, type, data))

    # --- reading

    async def task(self, task_id: str) -> Task | None:
        rows = await self._db.read(sql.TASK, {"id": task_id})
        return task_from(rows[0], await self._db.read(sql.TASK_STEPS, {"id": task_id})) if rows else None

    async def task_by_key(self, tenant: str, key: str) -> Task | None:
        rows = await self._db.read(sql.TASK_BY_KEY, {"tenant": tenant, "idempotency_key": key})
        return task_from(rows[0], await self._db.read(sql.TASK_STEPS, {"id": rows[0][0]})) if rows else None

    async def open_tasks(self) -> list[Task]:
        """Every task that has not ended, oldest first, with the results of its steps and what they have delegated."""
        steps: dict[str, list[Row]] = defaultdict(list)
        for row in await self._db.read(sql.OPEN_STEPS):
            steps[row[0]].append(row)
        logs = await self._delegations()
        tasks = [task_from(row, steps[row[0]]) for row in await self._db.read(sql.OPEN_TASKS)]
        return [with_delegated(task, logs[task.id]) if task.id in logs else task for task in tasks]

    async def end_cut_off(self) -> None:
        """Ends the delegations of open tasks that an earlier process has begun: whoever asked for them is gone."""
        for task_id, log in (await self._delegations()).items():
            for end in cut_off(log):
                self.note(task_id, FINISHED, end)

    async def _delegations(self) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        """Types and data of the events of every open task's delegations."""
        found: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        for task_id, type, data in await self._db.read(sql.OPEN_DELEGATIONS):
            found[task_id].append((type, from_json(data)))
        return found

    async def list_tasks(
        self,
        *,
        status: str | None = None,
        agent: str | None = None,
        since: float | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 50,
    ) -> list[TaskLine]:
        """Newest first; `before` is the last line of the page before."""
        at, id = before or (None, None)
        params = {"status": status, "agent": agent, "since": since, "before_at": at, "before_id": id, "limit": limit}
        return [TaskLine(*row) for row in await self._db.read(sql.LIST_TASKS, params)]

    async def events(self, task_id: str, *, after: int = 0) -> list[TaskEvent]:
        """Up to 1,000 events of a task after a position."""
        return [TaskEvent(*row) for row in await self._db.read(sql.EVENTS, {"task_id": task_id, "after": after})]

    # --- the outbox

    async def due_webhooks(self, *, now: float, limit: int) -> list[tuple[str, str, int]]:
        """Task, URL and attempts so far of webhooks that are due."""
        return [(r[0], r[1], r[2]) for r in await self._db.read(sql.DUE_WEBHOOKS, {"now": now, "limit": limit})]

    async def next_webhook(self, *, now: float) -> float | None:
        """When another webhook will be due (Unix seconds), if there is one."""
        found: float | None = (await self._db.read(sql.NEXT_WEBHOOK, {"now": now}))[0][0]
        return found

    async def move_webhook(
        self, task_id: str, *, attempts: int, next_at: float | None, delivered_at: float | None, error: str | None
    ) -> None:
        """Records an attempt; without `next_at` there is no other."""
        row = {
            "task_id": task_id,
            "attempts": attempts,
            "next_at": next_at,
            "delivered_at": delivered_at,
            "error": error,
        }
        data = {"attempts": attempts, "delivered": delivered_at is not None, "why": error}
        note = self._event(task_id, "webhook.sent" if delivered_at else "webhook.failed", data)
        rows = await self._db.write("store.move_webhook", Statement(sql.MOVE_WEBHOOK, row), note)
        if rows is not None:
            self._told((note,), rows)

    # --- agents, secret, history

    async def save_agent(self, agent_id: str, registration: Registration) -> None:
        note = self._event(None, "agent.registered", {"agent_id": agent_id, "name": registration.name})
        row = {"id": agent_id, "registration": registration.model_dump_json(), "at": self._wall()}
        rows = await self._db.write("store.save_agent", Statement(sql.SAVE_AGENT, row), note)
        if rows is not None:
            self._told((note,), rows)

    def remove_agent(self, agent_id: str) -> None:
        self._db.post("store.remove_agent", Statement(sql.REMOVE_AGENT, {"id": agent_id, "at": self._wall()}))

    async def agents(self) -> list[tuple[str, Registration, bool]]:
        """Id, registration, and whether the agent is still registered."""
        rows = await self._db.read(sql.AGENTS)
        return [(id, Registration.model_validate_json(text), removed is None) for id, text, removed in rows]

    async def secret(self) -> bytes:
        """The coordinator's own secret (32 bytes), made at the first start."""
        row = {"key": "secret", "value": secrets.token_hex(32)}
        await self._db.write("store.secret", Statement(sql.PUT_META, row))
        return bytes.fromhex((await self._db.read(sql.GET_META, {"key": "secret"}))[0][0])

    async def prune(self, *, before: float, limit: int = 500) -> int:
        """Deletes up to `limit` tasks that ended before a time, oldest first; returns how many.

        Agents that left and what was told of agents before that time go too.
        """
        params = {"before": before, "limit": limit}
        for text in (sql.PRUNE_AGENTS, sql.PRUNE_AGENT_EVENTS):
            self._db.post("store.prune", Statement(text, params))
        found = await self._db.read("SELECT count(*) FROM tasks WHERE finished_at < :before", params)
        if found[0][0]:
            await self._db.write("store.prune", *(Statement(text, params) for text in sql.PRUNE))
        return min(limit, int(found[0][0]))

    # --- how it is done

    def _event(self, task_id: str | None, type: str, data: Mapping[str, Any]) -> Statement:
        return Statement(sql.ADD_EVENT, {"task_id": task_id, "type": type, "at": self._wall(), "data": json_text(data)})

    def _post(self, name: str, *statements: Statement, note: Statement) -> None:
        self._db.post(name, *statements, note, then=lambda rows: self._told((note,), rows))

    def _told(self, notes: tuple[Statement, ...], rows: Rows) -> None:
        for note, inserted in zip(notes, rows[-len(notes) :], strict=True):
            self._publish(TaskEvent(id=inserted[0][0], **note.params))  # type: ignore[arg-type]

    def _attempt_ended(
        self, task: Task, step: Step, *, error: StepError | None, first_byte_at: float | None
    ) -> Statement:
        row = {
            "task_id": task.id,
            "step_id": step.id,
            "attempt": step.attempt,
            "status": "failed" if step.status is Status.RUNNING else step.status,
            "first_byte_at": first_byte_at,
            "at": self._wall(),
            "error": error.model_dump_json() if error else None,
        }
        return Statement(sql.END_ATTEMPT, row)

    def _ledger(self, task: Task, ledger: Ledger) -> tuple[Statement, ...]:
        """Written with every step where there is a limit to keep; else what was spent is written at the end."""
        limited = task.max_calls is not None or task.max_tokens is not None
        return (Statement(sql.LEDGER, {"id": task.id, **vars(ledger)}),) if limited else ()
