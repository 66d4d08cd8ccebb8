"""PURE: why a task was slow, failed, partial or expensive, in at most ten lines."""

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

MOST_LINES = 10
MOST_CAUSES = 4
MOST_ON_PATH = 6  # steps of the critical path that a line shows
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


def write_lines(explained: Explanation) -> list[str]:
    """The explanation for people, at most ten lines."""
    task, timeline = explained.task, explained.timeline
    lines = [f"Task {task.id} {_tell_status(task)} after {timeline.seconds:.2f} s; its limit was {task.seconds:.2f} s."]
    if explained.causes:
        first, *others = explained.causes
        lines += [f"Why: {first.said}", f"What to do: {first.advice}", *(f"Also: {cause.said}" for cause in others)]
    else:
        lines.append("Why: no cause found; nothing unusual is in its events.")
    skipped = [step.id for step in task.steps if step.status is Status.SKIPPED]
    if skipped:
        lines.append(f"Skipped because of that: {', '.join(skipped[:10])}{' …' if len(skipped) > 10 else ''}.")
    spent = (
        f"{explained.waited:.2f} s waiting, {explained.lost:.2f} s in failed attempts, {explained.worked:.2f} s working"
    )
    lines.append(f"Time on the critical path: {spent}.")
    if path := [f"{course.step.id} {course.seconds:.2f} s" for course in timeline.path]:
        shown = path if len(path) <= MOST_ON_PATH else [*path[:2], f"{len(path) - 5} more", *path[-3:]]
        lines.append(f"Critical path: {' > '.join(shown)}.")
    return [*lines, _tell_cost(explained)][:MOST_LINES]


def _tell_status(task: Task) -> str:
    words = {Status.COMPLETED: "completed", Status.PARTIAL: "is partial", Status.TIMED_OUT: "timed out"}
    return words.get(task.status, f"is {task.status}" if not task.ended else f"ended as {task.status}")


def _tell_cost(explained: Explanation) -> str:
    usage = explained.task.usage
    said = f"Cost: {usage.calls} calls, {usage.tokens} tokens"
    parts = []
    if explained.retried_calls:
        parts.append(f"{explained.retried_calls} calls for retries")
    if explained.delegated_calls:
        parts.append(f"{explained.delegated_calls} calls for delegations")
    if dearest := max(explained.task.own_steps, key=lambda step: step.usage.tokens, default=None):
        parts += [f"most tokens in {dearest.id}"] if dearest.usage.tokens else []
    taken = len(explained.timeline.taken)
    parts += [f"{taken} steps taken over for nothing"] if taken else []
    return f"{said} ({'; '.join(parts)})." if parts else f"{said}."


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
