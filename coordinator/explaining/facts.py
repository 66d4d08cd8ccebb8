"""Reads from the journal what explains a task: its events, agents that came back meanwhile, and usual times."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic_core import from_json

from coordinator.explaining.delays import Return
from coordinator.explaining.explanation import Explanation, Past, explain
from coordinator.explaining.usual import Usual, measure_usual
from coordinator.journal import sql
from coordinator.journal.events import TaskEvent
from coordinator.journal.lookups.outbox import find_webhook
from coordinator.journal.packed import unpack
from coordinator.journal.store import Store
from coordinator.tasks.task import Task
from shared.contracts import Status

MOST_EVENTS = 10_000  # of a task; what comes after is not looked at
MOST_AGENTS = 8  # whose usual times are looked up
MOST_TASKS = 40  # of an agent, the latest before this one


async def explain_task(task: Task, store: Store, *, now: float, events: list[TaskEvent] | None = None) -> Explanation:
    """Why this task went as it did, from the journal alone; `events` are those of the task, where they are known."""
    if events is None:
        events = await store.events(task.id, limit=MOST_EVENTS)
    agents = dict.fromkeys(step.answered_by for step in task.own_steps if step.answered_by)
    usual = {}
    for agent in list(agents)[:MOST_AGENTS]:
        if (known := await _read_usual(agent, task, store)) is not None:
            usual[agent] = known
    webhook = await find_webhook(store, task.id) if task.webhook_url else None
    past = Past(returns=await _read_returns(events, store), usual=usual, webhook=webhook)
    return explain(task, events, past, now=now)


async def _read_returns(events: list[TaskEvent], store: Store) -> list[Return]:
    """Instances that became healthy between the first and the last event of the task."""
    if not events:
        return []
    rows = await store.read(sql.AGENT_EVENTS, {"after": events[0].id, "until": events[-1].id}, aside=True)
    told = [(at, from_json(data)) for at, data in rows]
    return [Return(at, data["agent_id"]) for at, data in told if data.get("status") == "healthy"]


async def _read_usual(agent: str, task: Task, store: Store) -> Usual | None:
    """How long the agent's steps took that went well at once, in the latest tasks before this one."""
    params = {"agent": agent, "before": task.created_at, "limit": MOST_TASKS}
    packed = await store.read(sql.PEERS, params, aside=True)
    apart = await store.read(sql.PEER_TIMES, params, aside=True)
    return measure_usual([*_read_seconds(agent, packed), *(seconds for (seconds,) in apart)])


def _read_seconds(agent: str, rows: Iterable[tuple[str, bytes]]) -> Iterable[float]:
    for task_id, body in rows:
        for _, _, status, attempt, failed, _, answered_by, started_at, finished_at, *_ in unpack(task_id, body).steps:
            if status == Status.COMPLETED and answered_by == agent and attempt == 1 and not failed and started_at:
                yield finished_at - started_at
