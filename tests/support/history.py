"""A reader of journals that says which promises a history breaks: I1 to I5 and I7, and the order of events."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.journal.packed import unpack, unpack_events
from tests.support.postgres import read_database

ENDED = ("completed", "partial", "failed", "timed_out", "cancelled", "skipped")
LATE_SECONDS = 2.0  # a task ends so long after its deadline at the latest
ANSWER_SECONDS = 1.0  # and a caller is answered
MAX_ATTEMPTS = 3
STEP = (
    *("task_id", "step_id", "status", "attempt", "failed", "instance", "answered_by", "started_at", "finished_at"),
    *("output", "usage", "missing", "error"),
)


@dataclass(frozen=True)
class Answer:
    """What a waiting caller saw: seconds until its answer, and the seconds it had given."""

    seconds: float
    timeout_seconds: float


@dataclass(frozen=True)
class Event:
    id: int
    task_id: str | None
    type: str
    at: float
    data: dict[str, Any]


class History:
    """A journal's tables at one moment, read from a copy, so that reading disturbs nobody."""

    def __init__(self, journal: Path | str) -> None:
        """`journal` is a file, or the address of a database."""
        with _copied(journal) if isinstance(journal, Path) else read_database(journal) as connection:
            rows = connection.execute("SELECT id, task_id, type, at, data FROM events").fetchall()
            self.tasks = _dicts(connection, "SELECT * FROM tasks", "id")
            self.steps = _dicts(connection, f"SELECT {', '.join(STEP)} FROM steps", "task_id", "step_id")
            for id, task in _dicts(connection, "SELECT * FROM history", "task_id").items():
                if (body := task["body"]) is not None:
                    rows += unpack_events(id, body)
                    packed = unpack(id, body)
                    task["plan"] = packed.plan
                    self.steps |= {(id, step[1]): dict(zip(STEP, step, strict=True)) for step in packed.steps}
                self.tasks[id] = task
            self.events = [Event(id, task, type, at, json.loads(data)) for id, task, type, at, data in sorted(rows)]
            self.late = connection.execute("SELECT task_id, step_id, attempt, result FROM late_results").fetchall()
            self.integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
        self.events_of: dict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            if event.task_id is not None and not event.type.startswith("webhook."):  # those come after the end
                self.events_of[event.task_id].append(event)

    @property
    def ended_steps(self) -> set[tuple[str, str]]:
        return {key for key, step in self.steps.items() if step["status"] in ENDED}

    @property
    def open_tasks(self) -> set[str]:
        return {id for id, task in self.tasks.items() if task["finished_at"] is None}

    def problems(
        self,
        *,
        accepted: Collection[str] = (),
        answers: Iterable[Answer] = (),
        before: History | None = None,
        late_seconds: float = LATE_SECONDS,
    ) -> list[str]:
        """Every broken promise, in words; none for a sound history in which all work has ended.

        `accepted` are the ids that clients were given, `before` is an earlier state of the same journal.
        `late_seconds` is how long after its deadline a task may end: more than 2 where nobody was there to end it.
        """
        return [
            *([] if self.integrity == "ok" else [f"the file is damaged: {self.integrity}"]),
            *(f"I2: task {id} was accepted and is not there" for id in accepted if id not in self.tasks),
            *(problem for id in self.tasks for problem in self._task_problems(id, late_seconds)),
            *self._step_problems(),
            *(
                f"I4: a caller who gave {a.timeout_seconds} s was answered after {a.seconds:.2f} s"
                for a in answers
                if a.seconds > a.timeout_seconds + ANSWER_SECONDS
            ),
            *(self._changes_since(before) if before is not None else ()),
        ]

    def _task_problems(self, id: str, late_seconds: float) -> Iterator[str]:
        task, events = self.tasks[id], self.events_of[id]
        counts = Counter(event.type for event in events)
        if task["finished_at"] is None or task["status"] not in ENDED:
            yield f"I1: task {id} has not ended: {task['status']}"
            return
        if task["finished_at"] > task["deadline"] + late_seconds:
            yield f"I1: task {id} ended {task['finished_at'] - task['deadline']:.2f} s after its deadline"
        for type in ("task.accepted", "task.planned", "task.finished"):
            if counts[type] != 1:
                yield f"I1: task {id} has {counts[type]} events {type}"
        while events[-1].type == "step.late":  # another coordinator, or an attempt before, was still at it
            events = events[:-1]
        if [e.type for e in events[:2]] != ["task.accepted", "task.planned"] or events[-1].type != "task.finished":
            yield f"events of {id} are not in order: {[e.type for e in events]}"
        elif events[-1].data["status"] != task["status"]:
            yield f"I1: task {id} is {task['status']} and its event says {events[-1].data['status']}"
        planned = {step["id"] for step in json.loads(task["plan"])}
        if planned != {step for of, step in self.steps if of == id}:
            yield f"task {id} has other steps than its plan"

    def _step_problems(self) -> Iterator[str]:
        ends: Counter[tuple[str, str]] = Counter()
        for event in self.events:
            if event.type in ("step.finished", "step.failed") and event.task_id is not None:
                ends[event.task_id, event.data["step_id"]] += 1
                step = self.steps[event.task_id, event.data["step_id"]]
                if (event.data["status"], event.data["attempt"]) != (step["status"], step["attempt"]):
                    yield f"I3: event {event.id} and its step do not say the same: {event.data}, {step}"
        for key, step in self.steps.items():
            ended = step["status"] in ENDED
            if ended != (ends[key] == 1):
                yield f"I3: step {key} is {step['status']} and ended {ends[key]} times"
            if not ended and self.tasks[key[0]]["finished_at"] is not None:
                yield f"I5: step {key} is {step['status']} in a task that has ended"
            if step["status"] == "completed" and step["output"] is None:
                yield f"I3: step {key} is completed without an output"
            if step["failed"] > MAX_ATTEMPTS:
                yield f"I7: step {key} was tried {step['failed']} times"
        for event in self.events:
            if event.type == "step.started" and event.task_id is not None and event.data["instance"] is not None:
                key = (event.task_id, event.data["step_id"])
                if event.data["attempt"] > self.steps[key]["attempt"]:
                    yield f"I3: step {key} has attempt {event.data['attempt']} beyond the one it ended with"

    def _changes_since(self, before: History) -> Iterator[str]:
        if self.events[: len(before.events)] != before.events:
            yield "the event log is no continuation of what it was"
        for key in before.ended_steps:
            if self.steps.get(key) != before.steps[key]:
                yield f"I3: step {key} changed after its end"
        for id in before.tasks.keys() - before.open_tasks:
            if self.tasks.get(id) != before.tasks[id]:
                yield f"I1: task {id} changed after its end"


def _dicts(connection: sqlite3.Connection, query: str, *key: str) -> dict[Any, dict[str, Any]]:
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return {row[key[0]] if len(key) == 1 else tuple(row[k] for k in key): row for row in rows}


@contextmanager
def _copied(journal: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a copy, its log included; nobody may be writing the journal meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "journal.db"
        for end in ("", "-wal"):
            if (source := Path(f"{journal}{end}")).exists():
                shutil.copyfile(source, f"{copy}{end}")
        connection = sqlite3.connect(copy)
        try:
            yield connection
        finally:
            connection.close()
