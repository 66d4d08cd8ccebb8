"""What the journal should hold, as a plain dict: each method says whether something is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordinator.tasks.task import Step, Task, with_step
from shared.contracts import Status

OPEN = {"queued", "running"}


@dataclass(frozen=True)
class Entry:
    """One task: as it should be read back, the types of its events, its late results, and its webhook."""

    task: Task
    events: tuple[str, ...] = ("task.accepted", "task.planned")
    late: int = 0
    webhook: str | None = None


class Model:
    """Tasks by id. `kept` holds a copy of the dict for each write that might not be on the disk yet."""

    def __init__(self) -> None:
        self.tasks: dict[str, Entry] = {}
        self.kept: list[dict[str, Entry]] = [{}]

    def is_durable(self) -> None:
        """All that was written so far is on the disk."""
        self.kept = [dict(self.tasks)]

    def is_posted(self) -> None:
        """One more write is on its way to the disk."""
        self.kept.append(dict(self.tasks))

    def accept(self, task: Task) -> bool:
        """The first task under a key stays."""
        mine = (task.tenant, task.idempotency_key)
        if task.idempotency_key and any((e.task.tenant, e.task.idempotency_key) == mine for e in self.tasks.values()):
            return False
        self.tasks[task.id] = Entry(task)
        return True

    def start_task(self, id: str, at: float) -> None:
        entry = self.tasks[id]
        if entry.task.status in OPEN:
            began = entry.task.started_at if entry.task.started_at is not None else at
            self.tasks[id] = replace(entry, task=replace(entry.task, status=Status.RUNNING, started_at=began))

    def start_attempt(self, id: str, step: Step) -> None:
        """The newest attempt owns a step that has not ended."""
        entry = self.tasks[id]
        old = entry.task.step(step.id)
        if entry.task.status in OPEN and old.status in OPEN and old.attempt < step.attempt:
            began = old.started_at if old.started_at is not None else step.started_at
            new = replace(old, status=Status.RUNNING, attempt=step.attempt, instance=step.instance, started_at=began)
            self._put(id, new, "step.started")

    def end_attempt(self, id: str, step: Step) -> None:
        old = self.tasks[id].task.step(step.id)
        if self.tasks[id].task.status in OPEN and old.status == "running" and old.attempt == step.attempt:
            self._put(id, replace(old, failed_attempts=step.failed_attempts), "step.retried")

    def finish_step(self, id: str, step: Step) -> bool:
        """A step ends once, by its newest attempt, while its task is open."""
        entry = self.tasks[id]
        old = entry.task.step(step.id)
        if not (entry.task.status in OPEN and old.status in OPEN and old.attempt <= step.attempt):
            return False
        began = old.started_at if old.started_at is not None else step.started_at
        self._put(id, replace(step, started_at=began), "step.finished" if step.status == "completed" else "step.failed")
        return True

    def finish_task(self, id: str, task: Task) -> bool:
        """A task ends once."""
        entry = self.tasks[id]
        if entry.task.status not in OPEN:
            return False
        ended = replace(entry.task, status=task.status, finished_at=task.finished_at, started_at=task.started_at)
        webhook = "pending" if task.webhook_url else None
        self.tasks[id] = replace(entry, task=ended, events=(*entry.events, "task.finished"), webhook=webhook)
        return True

    def add_late(self, id: str) -> None:
        entry = self.tasks[id]
        self.tasks[id] = replace(entry, late=entry.late + 1, events=(*entry.events, "step.late"))

    def deliver(self, id: str) -> None:
        entry = self.tasks[id]
        if entry.webhook == "pending":
            self.tasks[id] = replace(entry, webhook="delivered", events=(*entry.events, "webhook.sent"))

    def prune(self, before: float) -> None:
        """Only what ended before a time goes, with its key."""
        self.tasks = {
            id: e for id, e in self.tasks.items() if e.task.finished_at is None or e.task.finished_at >= before
        }

    def _put(self, id: str, step: Step, event: str) -> None:
        entry = self.tasks[id]
        self.tasks[id] = replace(entry, task=with_step(entry.task, step), events=(*entry.events, event))
