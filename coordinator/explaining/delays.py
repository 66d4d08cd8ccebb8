"""PURE: what made a task slow: queue, waiting for agents, retries, restarts, delegations, slower work than usual."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from coordinator.explaining.causes import Cause, Kind
from coordinator.explaining.timeline import Attempt, StepCourse, Timeline
from coordinator.explaining.usual import Usual
from shared.errors import AgentBusy, AgentLost, AgentUnreachable

SHARE = 0.25  # of a task's time that a delay takes before it is a cause
LEAST = 0.05  # seconds: less is noise
LEAST_QUEUED = 0.25  # the same of the queue, where a task may be handed to another coordinator though places are free
NEAR = 0.3  # seconds between an agent's return and the step that it gets
SLOWER = 2.0  # times the usual is slow
_GONE = (AgentUnreachable.type, AgentLost.type)


@dataclass(frozen=True)
class Return:
    """An instance that became healthy, in Unix seconds."""

    at: float
    instance: str


def find_delays(timeline: Timeline, *, returns: Sequence[Return], usual: Mapping[str, Usual]) -> list[Cause]:
    """What took a noticeable share of the task's time, the longest first; retries always, since they cost calls."""
    least = max(LEAST, SHARE * timeline.seconds)
    found = [*_find_queue(timeline), *(c for course in timeline.path for c in _find_in_step(course, returns, usual))]
    counted = [cause for cause in found if cause.seconds >= least]
    counted += [
        _retries(c) for c in timeline.courses.values() if c.lost and not any(c.step.id == k.step for k in counted)
    ]
    return sorted(counted, key=lambda cause: cause.seconds, reverse=True)


def _find_queue(timeline: Timeline) -> Iterator[Cause]:
    if timeline.queued >= LEAST_QUEUED:
        said = f"It waited {timeline.queued:.2f} s for a place among the running tasks."
        yield Cause(Kind.QUEUE, said, seconds=timeline.queued)


def _find_in_step(course: StepCourse, returns: Sequence[Return], usual: Mapping[str, Usual]) -> Iterator[Cause]:
    step = course.step
    for before, attempt in zip([None, *course.attempts], course.attempts, strict=False):
        if attempt.wait > 0:
            yield _wait(course, before, attempt, returns)
    if course.lost:
        yield _retries(course)
    if course.cut:
        said = f"The coordinator was restarted while step {step.id!r} ran, which then ran again: {course.cut:.2f} s."
        yield Cause(Kind.RESTART, said, step=step.id, seconds=course.cut)
    if step.is_planning:
        took = f"Planning by a model took {course.seconds:.2f} s."
        yield Cause(Kind.PLANNER, took, step=step.id, seconds=course.seconds)
    slowest = max(course.delegations, key=lambda d: d.seconds, default=None)
    if slowest is not None and slowest.seconds > course.worked / 2:
        said = f"Step {step.id!r} waited {slowest.seconds:.2f} s for {slowest.agent!r}, which its agent had asked."
        yield Cause(Kind.DELEGATION_SLOW, said, step=step.id, agent=slowest.agent, seconds=slowest.seconds)
    elif (known := usual.get(step.answered_by or "")) is not None and course.worked > SLOWER * known.p95:
        said = (
            f"Agent {step.answered_by!r} took {course.worked:.2f} s for step {step.id!r}; "
            f"95 % of its steps take at most {known.p95:.2f} s."
        )
        yield Cause(Kind.AGENT_SLOW, said, step=step.id, agent=step.answered_by, seconds=course.worked - known.p50)


def _wait(course: StepCourse, before: Attempt | None, attempt: Attempt, returns: Sequence[Return]) -> Cause:
    """A wait for an agent: it was away where it came back in that time or could not be reached before, else full."""
    since = attempt.sent_at - attempt.wait
    back = any(r.instance == attempt.instance and since < r.at <= attempt.sent_at + NEAR for r in returns)
    away = back or (before is not None and before.error in _GONE)
    kind, why = (Kind.AGENT_AWAY, "was away") if away else (Kind.AGENT_BUSY, "had no free place")
    said = f"Step {course.step.id!r} waited {attempt.wait:.2f} s for agent {attempt.agent!r}, which {why}."
    return Cause(kind, said, step=course.step.id, agent=attempt.agent, seconds=attempt.wait)


def _retries(course: StepCourse) -> Cause:
    failed = [a for a in course.attempts if a.error is not None]
    first = failed[0]
    kind = Kind.AGENT_BUSY if all(a.error == AgentBusy.type for a in failed) else Kind.RETRIES
    times = "once" if len(failed) == 1 else f"{len(failed)} times"
    calls = "1 call" if len(failed) == 1 else f"{len(failed)} calls"
    said = f"Step {course.step.id!r} was repeated {times}, which cost {course.lost:.2f} s and {calls}"
    told = f"{said}: {first.agent!r} failed with {first.error}: {first.why}" if first.why else f"{said}."
    return Cause(kind, told, step=course.step.id, agent=first.agent, seconds=course.lost)
