"""Tasks that are asked for at a steady rate while something breaks, each under a key, as a careful client asks."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from load.chaos.project import Project

RATE = 5.0  # a second
TASK_SECONDS = 20.0
AGAIN_SECONDS = 0.5  # before the same key is asked for again


class Traffic:
    """`with Traffic(project) as traffic:` asks meanwhile; afterwards every task has its answer, or is lost."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._pool = ThreadPoolExecutor(128)
        self._over = threading.Event()
        self._asked: list[Future[str]] = []
        self._thread = threading.Thread(target=self._ask_on, name="traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._pool.shutdown()

    @property
    def ends(self) -> list[str]:
        """How each task ended: its status, `refused`, or `lost`."""
        return [asked.result() for asked in self._asked]

    @property
    def lost(self) -> int:
        return self.ends.count("lost")

    @property
    def completed(self) -> float:
        """The share of the tasks that completed, in percent."""
        return 100 * self.ends.count("completed") / max(1, len(self.ends))

    def _ask_on(self) -> None:
        while not self._over.wait(1 / RATE):
            self._asked.append(self._pool.submit(self._ask))

    def _ask(self) -> str:
        body = {"task_description": "How does Muster survive a crash?", "timeout_seconds": TASK_SECONDS}
        key, until = {"Idempotency-Key": uuid.uuid4().hex}, time.monotonic() + 3 * TASK_SECONDS
        while time.monotonic() < until:
            try:
                status, said = self._project.call("/execute_task", body, headers=key, seconds=TASK_SECONDS + 5)
            except OSError:
                status, said = 0, None
            task = said.get("task", said) if isinstance(said, dict) else {}
            if status in (200, 500) and isinstance(task, dict) and "status" in task:
                return str(task["status"])
            if isinstance(said, dict) and "task" in said:
                return str(said["task"]["status"])
            time.sleep(AGAIN_SECONDS)
        return "lost"
