"""PURE: what is written of a task, as statements; the first of several is the guard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from coordinator.journal import packed, sql
from coordinator.journal.rows import json_text, make_step_row, make_task_row
from coordinator.tasks.task import Step, Task
from shared.db.database import Statement
from shared.limits.ledger import Ledger

LARGE_REQUEST = 8_000  # characters of one that is written apart: a task's row is written again as the task goes on


def accept(task: Task) -> tuple[Statement, ...]:
    """A new task with its plan, and the steps that it takes over."""
    row = make_task_row(task)
    request = row["request"]
    taken = _take_over(task, task.rerun.taken) if task.rerun is not None else ()
    if request is None or len(request) <= LARGE_REQUEST:
        return Statement(sql.ACCEPT, row), *taken
    apart = Statement(sql.ADD_REQUEST, {"id": task.id, "request": request})
    return Statement(sql.ACCEPT, row | {"request": None}), apart, *taken


def _take_over(task: Task, taken: Iterable[str]) -> Iterator[Statement]:
    for step in (task.step(id) for id in taken):
        yield finish_step(task, step, output=packed.shrink(json_text(step.output)), first_byte_at=None)


def start_task(task: Task) -> Statement:
    return Statement(sql.START_TASK, {"id": task.id, "at": task.started_at})


def start_step(task: Task, step: Step, *, queued_at: float) -> Statement:
    row = {
        "task_id": task.id,
        "step_id": step.id,
        "attempt": step.attempt,
        "agent_id": step.instance,
        "queued_at": queued_at,
        "started_at": step.started_at,
    }
    return Statement(sql.START_STEP, row)


def end_attempt(task: Task, step: Step) -> Statement:
    row = {"task_id": task.id, "step_id": step.id, "attempt": step.attempt, "failed": step.failed_attempts}
    return Statement(sql.END_ATTEMPT, row)


def finish_step(task: Task, step: Step, *, output: str | bytes | None, first_byte_at: float | None) -> Statement:
    """The end of a step, with its output as `packed.shrink` keeps it."""
    return Statement(sql.FINISH_STEP, make_step_row(task, step) | {"output": output, "first_byte_at": first_byte_at})


def keep_ledger(task: Task, ledger: Ledger) -> tuple[Statement, ...]:
    """Written with every step where there is a limit to keep; else what was spent is written at the end."""
    limited = task.max_calls is not None or task.max_tokens is not None
    return (Statement(sql.LEDGER, {"id": task.id, **vars(ledger)}),) if limited else ()


def end_task(task: Task) -> tuple[Statement, ...]:
    """A task's end, with which it moves into the history once its last event is written."""
    row = {
        "id": task.id,
        "status": task.status,
        "finished_at": task.finished_at,
        "started_at": task.started_at,
        "error": task.error.model_dump_json() if task.error else None,
    }
    hook = {"task_id": task.id, "url": task.webhook_url, "at": task.finished_at}
    return (
        Statement(sql.FINISH_TASK, row),
        *((Statement(sql.ADD_WEBHOOK, hook),) if task.webhook_url else ()),
        Statement(sql.KEEP, {"id": task.id, "most": packed.MOST}, late=2),
    )
