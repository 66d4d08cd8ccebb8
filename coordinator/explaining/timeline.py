"""PURE: where the time of a task went, read from its events: waiting, failed attempts, restarts and work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coordinator.journal.events import TaskEvent
from coordinator.tasks.task import Step, Task


@dataclass(frozen=True)
class Attempt:
    """One attempt of a step, in Unix seconds; `wait` until it was sent, `error` and `pause` where another followed."""

    number: int
    agent: str
    instance: str
    sent_at: float
    ended_at: float
    wait: float
    pause: float = 0.0
    error: str | None = None
    why: str = ""
    cut_off: bool = False  # by a restart

    @property
    def seconds(self) -> float:
        return max(0.0, self.ended_at - self.sent_at)


@dataclass(frozen=True)
class Delegation:
    """What the agent of a step asked of another; `error` is None where that went well."""

    agent: str
    refused: bool
    error: str | None
    why: str
    seconds: float
    calls: int


@dataclass(frozen=True)
class StepCourse:
    """A step with its attempts; `waiting` is how long it waited at its end without a further attempt."""

    step: Step
    ready_at: float
    ended_at: float
    attempts: tuple[Attempt, ...] = ()
    waiting: float = 0.0
    delegations: tuple[Delegation, ...] = ()

    @property
    def seconds(self) -> float:
        return max(0.0, self.ended_at - self.ready_at)

    @property
    def waited(self) -> float:
        """Seconds without an agent, the pauses between attempts aside."""
        return sum(attempt.wait for attempt in self.attempts) + self.waiting

    @property
    def lost(self) -> float:
        """Seconds of attempts that failed, and of the pauses after them."""
        return sum(a.seconds + a.pause for a in self.attempts if a.error is not None)

    @property
    def cut(self) -> float:
        """Seconds of attempts that a restart cut off, until the next was sent."""
        return sum(a.seconds for a in self.attempts if a.cut_off)

    @property
    def worked(self) -> float:
        """Seconds of the last attempt."""
        last = self.attempts[-1:]
        return sum(a.seconds for a in last if a.error is None and not a.cut_off)


@dataclass(frozen=True)
class Timeline:
    """A task's course; `path` are the steps that its end had to wait for, in order."""

    began_at: float
    ended_at: float
    queued: float
    courses: Mapping[str, StepCourse]
    path: tuple[StepCourse, ...]
    taken: frozenset[str] = field(default_factory=frozenset)

    @property
    def seconds(self) -> float:
        return max(0.0, self.ended_at - self.began_at)


def read_timeline(task: Task, events: Sequence[TaskEvent], *, now: float) -> Timeline:
    """The course of a task, open or ended; `now` (Unix seconds) is where an open one ends."""
    ended_at = task.finished_at if task.finished_at is not None else max(now, task.created_at)
    started_at = task.started_at if task.started_at is not None else ended_at
    by_step: defaultdict[str, list[TaskEvent]] = defaultdict(list)
    asked: defaultdict[str, list[TaskEvent]] = defaultdict(list)
    for event in events:
        if event.type.startswith("delegation."):
            asked[_find_root(str(event.fields.get("parent")), task)].append(event)
        elif "step_id" in event.fields:
            by_step[str(event.fields["step_id"])].append(event)
    taken = frozenset(task.rerun.taken) if task.rerun is not None else frozenset[str]()
    courses = {
        step.id: _read_course(step, by_step[step.id], asked[step.id], ended_at=ended_at)
        for step in task.steps
        if step.id not in taken
    }
    return Timeline(
        began_at=task.created_at,
        ended_at=ended_at,
        queued=max(0.0, started_at - task.created_at),
        courses=courses,
        path=tuple(_find_path(courses)),
        taken=taken,
    )


def _find_root(parent: str, task: Task) -> str:
    """The step below which something was delegated, at whatever depth: a delegation's id begins with its parent's."""
    while parent not in task.places and "." in parent:
        parent = parent.rpartition(".")[0]
    return parent


def _read_course(step: Step, events: Sequence[TaskEvent], asked: Sequence[TaskEvent], *, ended_at: float) -> StepCourse:
    until = step.finished_at if step.finished_at is not None else ended_at
    starts = [event for event in events if event.type == "step.started"]
    ready = step.started_at if step.started_at is not None else until
    ready = min([ready, *(event.at for event in starts[:1])])
    retried = {event.fields.get("attempt"): event for event in events if event.type == "step.retried"}
    attempts, free_at = [], ready
    for start, following in zip(starts, [*starts[1:], None], strict=False):
        failed = retried.get(start.fields.get("attempt"))
        cut_off = failed is None and following is not None
        end = failed.at if failed is not None else following.at if following is not None else until
        fields: Mapping[str, Any] = failed.fields if failed is not None else {}
        attempts.append(
            Attempt(
                number=int(start.fields.get("attempt", 1)),
                agent=str(start.fields.get("agent") or ""),
                instance=str(start.fields.get("instance") or ""),
                sent_at=start.at,
                ended_at=max(start.at, end),
                wait=max(0.0, start.at - free_at),
                pause=float(fields.get("wait_seconds", 0.0)),
                error=fields.get("error"),
                why=str(fields.get("why", "")),
                cut_off=cut_off,
            )
        )
        free_at = max(start.at, end) + float(fields.get("wait_seconds", 0.0))
    begun = step.started_at is not None
    waits = begun and (not attempts or attempts[-1].error is not None)
    waiting = max(0.0, until - free_at) if waits else 0.0
    return StepCourse(step, ready, max(until, ready), tuple(attempts), waiting, tuple(_read_delegations(asked, until)))


def _read_delegations(asked: Sequence[TaskEvent], until: float) -> Iterable[Delegation]:
    open = {event.fields["step_id"]: event for event in asked if event.type == "delegation.started"}
    for event in asked:
        fields = event.fields
        if event.type == "delegation.refused":
            yield Delegation(str(fields.get("agent")), True, "limit_reached", str(fields.get("why", "")), 0.0, 0)
        elif event.type == "delegation.finished":
            open.pop(fields["step_id"], None)
            status, usage = str(fields.get("status")), fields.get("usage") or {}
            error = None if status == "completed" else status
            seconds = float(fields.get("seconds", 0.0))
            calls = int(usage.get("calls", 0)) if fields.get("depth") == 1 else 0  # those below are in it
            yield Delegation(str(fields.get("agent")), False, error, "", seconds, calls)
    for event in open.values():
        yield Delegation(str(event.fields.get("agent")), False, None, "", max(0.0, until - event.at), 1)


def _find_path(courses: Mapping[str, StepCourse]) -> list[StepCourse]:
    """From the last step to end, always the need that ended last."""
    begun = {id: course for id, course in courses.items() if course.step.started_at is not None}
    at = max(begun.values(), key=lambda course: course.ended_at, default=None)
    path: dict[str, StepCourse] = {}
    while at is not None:
        path[at.step.id] = at
        needs = [begun[id] for id in at.step.needs if id in begun and id not in path]
        at = max(needs, key=lambda course: course.ended_at, default=None)
    return list(reversed(path.values()))
