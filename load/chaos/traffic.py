"""Tasks that are asked for at a steady rate while something breaks, each under a key, as a careful client asks."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from load.chaos.fault import at_least, at_most
from load.chaos.project import Project
from load.figures.figure import Figure

RATE = 10.0  # a second
TASK_SECONDS = 20.0
AGAIN_SECONDS = 0.5  # before the same key is asked for again
GIVE_UP_SECONDS = 120.0  # longer than any outage: who gives up in one cannot say that a task is lost
CALLERS = 400
QUESTION: Mapping[str, Any] = {"task_description": "How does Muster survive a crash?", "timeout_seconds": TASK_SECONDS}


@dataclass
class Asked:
    """One task as its caller knows it."""

    status: str = "lost"
    ids: set[str] = field(default_factory=set)  # more than one would be a task that ran twice
    slowest: float = 0.0  # answer, from when the task was accepted: a call may wait for a coordinator that starts


class Traffic:
    """`with Traffic(project) as traffic:` asks meanwhile; afterwards every task has its answer, or is lost."""

    def __init__(
        self,
        project: Project,
        *,
        rate: float = RATE,
        body: Mapping[str, Any] = QUESTION,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._project = project
        self._rate = rate
        self._body = body
        self._headers = dict(headers or {})
        self._pool = ThreadPoolExecutor(CALLERS)
        self._over = threading.Event()
        self._given_up = threading.Event()
        self._coming: list[Future[Asked]] = []
        self._thread = threading.Thread(target=self._ask_on, name="traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._over.set()
        if kind is not None:
            self._given_up.set()
        self._thread.join()
        self._pool.shutdown(cancel_futures=kind is not None)

    @property
    def tasks(self) -> list[Asked]:
        return [coming.result() for coming in self._coming]

    @property
    def completed(self) -> float:
        """The share of the tasks that completed, in percent."""
        return 100 * sum(task.status == "completed" for task in self.tasks) / max(1, len(self._coming))

    def judge(self, *, completed: float | None = None) -> list[Figure]:
        """Whether each task was answered, in time, and ran once; `completed` is the share asked for, in percent."""
        tasks, limit = self.tasks, float(self._body["timeout_seconds"])
        share = "answered in full"
        return [
            at_most(f"of {len(tasks)} tasks, lost", sum(task.status == "lost" for task in tasks), 0),
            at_most("twice", sum(len(task.ids) > 1 for task in tasks), 0),
            at_most("slowest answer", max((task.slowest for task in tasks), default=0.0), limit + 1, "s"),
            Figure(share, self.completed, "%")
            if completed is None
            else at_least(share, self.completed, completed, "%"),
        ]

    def _ask_on(self) -> None:
        while not self._over.wait(1 / self._rate):
            self._coming.append(self._pool.submit(self._ask))

    def _ask(self) -> Asked:
        asked, until = Asked(), time.monotonic() + GIVE_UP_SECONDS
        headers = {**self._headers, "Idempotency-Key": uuid.uuid4().hex}
        while time.monotonic() < until and not self._given_up.is_set():
            began = time.monotonic()
            try:
                _, said = self._project.call(
                    "/execute_task", self._body, headers=headers, seconds=float(self._body["timeout_seconds"]) + 5
                )
            except OSError:
                said = None
            took = time.monotonic() - began
            view = said.get("task", said) if isinstance(said, dict) else {}
            if isinstance(view, dict) and "task_id" in view:
                asked.slowest = max(asked.slowest, min(took, _measure_age(view)))
                asked.status = str(view["status"])
                asked.ids.add(str(view["task_id"]))
                return asked
            self._given_up.wait(AGAIN_SECONDS)
        return asked


def _measure_age(view: Mapping[str, Any]) -> float:
    """Seconds since a task was accepted."""
    return (datetime.now(UTC) - datetime.fromisoformat(str(view["created_at"]))).total_seconds()
