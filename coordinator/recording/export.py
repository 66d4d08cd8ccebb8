"""A recorded task as one JSON document: the task, its events, what passed its tape, and the agents that took part."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic_core import from_json, to_json

from coordinator.journal import sql
from coordinator.journal.store import Store
from coordinator.tasks.task import Step, Task
from shared.errors import NotFound
from shared.version import VERSION

FORMAT = 1
_LEFT_OUT = {"context_json", "idempotency_key", "request_digest", "tenant", "lane", "traceparent", "webhook_url"}
_REGISTERED = ("name", "capabilities", "max_concurrency", "protocol", "idempotent")


async def export(task: Task, store: Store) -> dict[str, Any]:
    """The recording of an ended task.

    No address is in it but those that the task itself names. Raises `NotFound` for a task that was not recorded.
    """
    parts = await store.read(sql.RECORDING, {"task_id": task.id}, aside=True)
    if not parts:
        raise NotFound(f"Task {task.id} was not recorded: RECORD was off, or its recording has been deleted.")
    entries = [entry for (body,) in parts for entry in from_json(body)]
    events: list[dict[str, Any]] = []
    last = 0
    while page := await store.events(task.id, after=last):
        events += [{"id": e.id, "type": e.type, "at": e.at, "data": e.fields} for e in page]
        last = page[-1].id
    seen = {e["data"].get("instance") for e in events} | {e.get("instance") for e in entries}
    return {
        "format": FORMAT,
        "version": next((entry["version"] for entry in entries if "version" in entry), VERSION),
        "task": write_task(task),
        "events": events,
        "entries": entries,
        "agents": {id: _shorten(r) for id, r, *_ in await store.read(sql.AGENTS, aside=True) if id in seen},
    }


def write_task(task: Task) -> dict[str, Any]:
    """The task with its steps, without what belongs to its caller."""
    found: dict[str, Any] = from_json(to_json({f.name: getattr(task, f.name) for f in fields(Task)}))
    kept = {name: value for name, value in found.items() if name not in _LEFT_OUT}
    return kept | {"webhook": task.webhook_url is not None}


def read_task(found: dict[str, Any]) -> Task:
    """The task that `write_task` has written; raises TypeError, ValueError or KeyError for anything else."""
    from pydantic import TypeAdapter

    webhook = "http://webhook.invalid/" if found["webhook"] else None
    said = {name: value for name, value in found.items() if name != "webhook"}
    task: Task = TypeAdapter(Task).validate_python(said | {"webhook_url": webhook})
    return task


def plan_anew(step: Step) -> Step:
    """The step as it was planned."""
    names = ("id", "capability", "agent", "needs", "input", "timeout_seconds", "on_failure", "needs_any", "latest")
    return Step(**{name: getattr(step, name) for name in names})


def _shorten(registration: str) -> dict[str, Any]:
    told = from_json(registration)
    return {name: told[name] for name in _REGISTERED if name in told}
