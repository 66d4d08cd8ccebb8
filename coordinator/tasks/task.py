"""PURE: Task and Step as values, the table of moves they may make, and how a task's end follows from its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from pydantic import JsonValue
from pydantic_core import to_json

from coordinator.tasks.lane import NO_LANE, Lane
from shared.calls.call import Call
from shared.contracts import NO_USAGE, Format, Missing, Status, StepError, Usage
from shared.copying import changed
from shared.errors import Conflict

MOVES: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset(
        {
            Status.RUNNING,
            Status.COMPLETED,
            Status.PARTIAL,
            Status.FAILED,
            Status.TIMED_OUT,
            Status.CANCELLED,
            Status.SKIPPED,
        }
    ),
    Status.RUNNING: frozenset(
        {Status.QUEUED, Status.COMPLETED, Status.PARTIAL, Status.FAILED, Status.TIMED_OUT, Status.CANCELLED}
    ),
}
ENDED = frozenset(Status) - {Status.QUEUED, Status.RUNNING}


@dataclass(frozen=True)
class Step:
    """One step of a task; one without capability and agent is the coordinator's own, the planning.

    `latest` is the share of the task's whole time at which the step must have ended, so that time is kept back for
    the steps after it. `needs_any` skips the step when everything it needs failed, `on_failure="fail"` of a needed
    step when that one did.
    """

    id: str
    capability: str | None = None
    agent: str | None = None
    needs: tuple[str, ...] = ()
    input: JsonValue = None
    timeout_seconds: float | None = None
    on_failure: Literal["fail", "continue"] = "fail"
    needs_any: bool = False
    latest: float = 1.0
    status: Status = Status.QUEUED
    attempt: int = 0
    failed_attempts: int = 0
    instance: str | None = None
    answered_by: str | None = None
    output: JsonValue = None
    usage: Usage = NO_USAGE
    missing: tuple[Missing, ...] = ()
    error: StepError | None = None
    started_at: float | None = None
    finished_at: float | None = None
    calls: tuple[Call, ...] = field(default=(), compare=False)  # of the attempt that ended; only its event keeps them

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def spent(self) -> Usage:
        """What it has cost so far, the attempts included that have failed."""
        return self.usage + Usage(calls=self.failed_attempts) if self.failed_attempts and not self.ended else self.usage

    @property
    def is_planning(self) -> bool:
        return self.capability is None and self.agent is None

    @property
    def asks(self) -> tuple[str | None, str | None]:
        """The capability and the agent that are asked for."""
        return self.capability, self.agent

    @property
    def target(self) -> str:
        """Who was asked, in words."""
        if self.is_planning:
            return "the coordinator"
        return f"agent {self.agent!r}" if self.agent else f"capability {self.capability!r}"


@dataclass(frozen=True)
class Rerun:
    """What a task owes an earlier one: `taken` are its steps that were taken over, and the task that ran each."""

    of: str
    from_step: str | None = None
    taken: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A task; times are Unix seconds, because they are stored and shown."""

    id: str
    description: str
    created_at: float
    deadline: float
    status: Status = Status.QUEUED
    steps: tuple[Step, ...] = ()
    context: JsonValue = None
    priority: int = 5
    format: Format = "markdown"
    max_calls: int | None = None
    max_tokens: int | None = None
    tenant: str = "default"  # whose idempotency keys it knows
    lane: Lane = NO_LANE  # in which queue it waits
    idempotency_key: str | None = None
    request_digest: str = ""
    traceparent: str | None = None
    webhook_url: str | None = None
    rerun: Rerun | None = None
    error: StepError | None = None
    started_at: float | None = None
    finished_at: float | None = None
    context_json: bytes = field(default=b"", compare=False, repr=False)  # `context` as it is written and sent

    def __post_init__(self) -> None:
        """A context may have 2 MB, is written once and sent with every step, and never changes."""
        if not self.context_json:
            object.__setattr__(self, "context_json", to_json(self.context))

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def seconds(self) -> float:
        """The whole time the task was given."""
        return self.deadline - self.created_at

    @property
    def usage(self) -> Usage:
        return sum((step.usage for step in self.own_steps), NO_USAGE)

    @property
    def own_steps(self) -> Iterable[Step]:
        """The steps that were not taken over from an earlier task."""
        taken = self.rerun.taken if self.rerun is not None else ()
        return (step for step in self.steps if step.id not in taken) if taken else self.steps

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The position of each step in `steps`, by its id."""
        return {step.id: n for n, step in enumerate(self.steps)}

    def step(self, step_id: str) -> Step:
        """One step; raises `KeyError`."""
        return self.steps[self.places[step_id]]


def move(task: Task, to: Status) -> Task:
    """The task in its next state; raises `Conflict` for a move that the table does not have."""
    if to not in MOVES.get(task.status, ()):
        raise Conflict(f"Task {task.id} is {task.status}; it cannot become {to}.")
    return changed(task, status=to)


def with_step(task: Task, step: Step) -> Task:
    """The task with this step in the place of its earlier self."""
    places = task.places
    at = places[step.id]
    new = changed(task, steps=(*task.steps[:at], step, *task.steps[at + 1 :]))
    new.__dict__["places"] = places  # the same: no step has moved
    return new


def why_blocked(task: Task, step: Step) -> str | None:
    """Why a step will never start, or None: something it needs has failed."""
    needed = [task.step(n) for n in step.needs]
    bad = [n for n in needed if n.ended and n.status is not Status.COMPLETED]
    fatal = [n for n in bad if n.on_failure == "fail"]
    if fatal:
        return f"It needs {fatal[0].id!r}, which {_word(fatal[0].status)}."
    if step.needs_any and needed and len(bad) == len(needed):
        return f"All steps it needs failed: {', '.join(n.id for n in needed)}."
    return None


def upstream(task: Task, step: Step) -> dict[str, JsonValue]:
    """The outputs that a step is given, by step id."""
    needed = [task.step(n) for n in step.needs]
    return {n.id: n.output for n in needed if n.status is Status.COMPLETED}


def outcome(task: Task) -> Status:
    """How a task ends whose steps have all ended (or which timed out).

    Everything done: completed. Something done: partial. Nothing done: timed_out if time was the reason, else failed.
    A step is cancelled only with its task, whose end a kill may have cut off.
    """
    states = [step.status for step in task.steps if not step.is_planning]
    if any(s is Status.CANCELLED for s in states):
        return Status.CANCELLED
    if states and all(s is Status.COMPLETED for s in states):
        return Status.COMPLETED
    if any(s is Status.COMPLETED for s in states):
        return Status.PARTIAL
    if any(s is Status.FAILED for s in states):
        return Status.FAILED
    return Status.TIMED_OUT


def measure_seconds(since: float, until: float) -> float:
    """Seconds from one time to another; 0 where the wall clock went back between two processes."""
    return max(0.0, round(until - since, 6))


def end_with(task: Task, step: Step, *, at: float) -> Task:
    """The task as it ends with this step, its last: nothing is sent between the two."""
    done = with_step(task, step)
    return changed(move(done, outcome(done)), finished_at=at)


def missing(task: Task) -> list[Missing]:
    """What was asked for and is not in the answer, with the reason."""
    said = [m for step in task.steps for m in step.missing]
    lost = [
        Missing(what=f"{step.id} ({step.target})", why=step.error.detail if step.error else f"It {_word(step.status)}.")
        for step in task.steps
        if step.status is not Status.COMPLETED and (step.ended or task.ended)
    ]
    own = [Missing(what="the task", why=task.error.detail)] if task.error else []
    return _distinct([*own, *lost, *said])


def last_steps(task: Task) -> list[Step]:
    """Completed steps whose output no other step used: the answer of a plan without a report."""
    used = {n for step in task.steps if step.status is Status.COMPLETED for n in step.needs}
    done = [step for step in task.steps if step.status is Status.COMPLETED and not step.is_planning]
    return [step for step in done if step.id not in used]


def _distinct(found: Iterable[Missing]) -> list[Missing]:
    return list({(m.what, m.why): m for m in found}.values())


def _word(status: Status) -> str:
    return {Status.TIMED_OUT: "timed out", Status.QUEUED: "did not start", Status.RUNNING: "did not end"}.get(
        status, "was " + status if status in (Status.CANCELLED, Status.SKIPPED) else str(status)
    )
