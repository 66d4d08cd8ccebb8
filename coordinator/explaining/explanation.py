"""PURE: why a task was slow, failed, partial or expensive, as causes of which the first one counts most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from coordinator.explaining.causes import Cause, Kind
from coordinator.explaining.delays import Return, find_delays
from coordinator.explaining.failures import explain_failure, find_bad_delegation, shorten, tell_delegation
from coordinator.explaining.timeline import StepCourse, Timeline, read_timeline
from coordinator.explaining.usual import Usual
from coordinator.journal.events import TaskEvent
from coordinator.tasks.task import Task
from shared.contracts import Status, WebhookView

MOST_CAUSES = 4
DECIDES = 0.4  # of a task's time: a delay of so much is why a step had too little left
_TIME = (Kind.DEADLINE, Kind.STEP_TIMEOUT, Kind.AGENT_SLOW)


@dataclass(frozen=True)
class Past:
    """What the journal knows beside the task: returns of agents meanwhile, and usual times by agent."""

    returns: Sequence[Return] = ()
    usual: Mapping[str, Usual] = field(default_factory=dict)
    webhook: WebhookView | None = None


@dataclass(frozen=True)
class Explanation:
    """Causes, the first one first, and how the time and the calls were spent."""

    task: Task
    timeline: Timeline
    causes: tuple[Cause, ...]

    @property
    def waited(self) -> float:
        return self.timeline.queued + sum(course.waited for course in self.timeline.path)

    @property
    def lost(self) -> float:
        return sum(course.lost + course.cut for course in self.timeline.path)

    @property
    def worked(self) -> float:
        return sum(course.worked for course in self.timeline.path)

    @property
    def retried_calls(self) -> int:
        return sum(a.error is not None for course in self.timeline.courses.values() for a in course.attempts)

    @property
    def delegated_calls(self) -> int:
        return sum(d.calls for course in self.timeline.courses.values() for d in course.delegations)


def explain(task: Task, events: Sequence[TaskEvent], past: Past, *, now: float) -> Explanation:
    """Why the task went as it did; without causes where no rule fits, which is better than a wrong one."""
    timeline = read_timeline(task, events, now=now)
    delays = find_delays(timeline, returns=past.returns, usual=past.usual)
    found = [
        *_explain_end(task, timeline, delays, past.usual),
        *_explain_model(task),
        *_explain_delegations(timeline),
        *_explain_webhook(past.webhook),
        *delays,
    ]
    return Explanation(task, timeline, tuple(_merge(found)[:MOST_CAUSES]))


def _explain_end(
    task: Task, timeline: Timeline, delays: Sequence[Cause], usual: Mapping[str, Usual]
) -> Iterator[Cause]:
    """Why it did not complete: the first failure in time, since later ones may follow from it."""
    if task.status is Status.CANCELLED:
        yield Cause(Kind.CANCELLED, "The task was cancelled by its caller.")
        return
    if task.error is not None:
        queued = task.error.type == "timeout"
        kind = Kind.QUEUE if queued else Kind.QUARANTINED if task.error.type == "quarantined" else Kind.BROKEN
        yield Cause(kind, shorten(task.error.detail), seconds=timeline.queued if queued else 0.0)
        return
    failed = [c for c in timeline.courses.values() if c.step.status in (Status.FAILED, Status.TIMED_OUT)]
    for course in sorted(failed, key=lambda course: course.ended_at):
        cause = None if _is_cut_off(course) else explain_failure(course, usual.get(course.step.answered_by or ""))
        if course.step.status is Status.TIMED_OUT and (cause is None or cause.kind in _TIME):
            cause = _find_deciding(timeline, course, delays) or cause
        if cause is not None:
            yield cause


def _is_cut_off(course: StepCourse) -> bool:
    """Whether the step ended only because its task did."""
    detail = course.step.error.detail if course.step.error is not None else ""
    return detail.startswith(("It had not begun", "It had not finished"))


def _find_deciding(timeline: Timeline, course: StepCourse, delays: Sequence[Cause]) -> Cause | None:
    """The delay that took so much of the task's time that too little was left for this step."""
    for delay in delays:
        own = delay.step == course.step.id
        if delay.seconds >= DECIDES * (course.seconds if own else timeline.seconds) and not (
            own and delay.kind is Kind.AGENT_SLOW
        ):
            return delay
    return None


def _explain_model(task: Task) -> Iterator[Cause]:
    """A model that was to plan or to help, and did not."""
    for step in task.own_steps:
        for lost in step.missing:
            if step.is_planning:
                restarted = "coordinator restarted" in lost.why
                kind = Kind.RESTART if restarted else Kind.PLANNER
                yield Cause(kind, shorten(lost.why), step=step.id)
            elif lost.what == "model" or lost.what.startswith("model in "):
                said = f"The model did not help with step {step.id!r}: {shorten(lost.why)}"
                yield Cause(Kind.MODEL, said, step=step.id, agent=step.answered_by)


def _explain_delegations(timeline: Timeline) -> Iterator[Cause]:
    """What was asked of another agent in vain by a step that completed all the same."""
    for course in timeline.courses.values():
        bad = find_bad_delegation(course)
        if bad is not None and course.step.status is Status.COMPLETED:
            yield tell_delegation(course, bad)


def _explain_webhook(webhook: WebhookView | None) -> Iterator[Cause]:
    if webhook is not None and webhook.status != "delivered" and webhook.attempts:
        gave_up = "was given up" if webhook.status == "failed" else "has not arrived yet"
        tried = f"after {webhook.attempts} attempts: {shorten(webhook.error or 'no reason was told')}"
        yield Cause(Kind.WEBHOOK, f"The webhook {gave_up} {tried}")


def _merge(found: Sequence[Cause]) -> list[Cause]:
    """Each cause once; further steps with the same one are only counted."""
    merged: dict[tuple[Kind, str | None], Cause] = {}
    more: dict[tuple[Kind, str | None], set[str]] = {}
    for cause in found:
        key = (cause.kind, cause.agent)
        if key not in merged:
            merged[key] = cause
        elif cause.step is not None and cause.step != merged[key].step:
            more.setdefault(key, set()).add(cause.step)
    return [
        replace(cause, said=f"{cause.said} ({len(more[key])} more steps alike)") if key in more else cause
        for key, cause in merged.items()
    ]
