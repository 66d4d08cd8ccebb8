"""PURE: an explanation as at most ten lines for people, and as JSON for programs."""

from __future__ import annotations

from coordinator.explaining.explanation import Explanation
from coordinator.tasks.task import Task
from shared.contracts import Status

MOST_LINES = 10
MOST_ON_PATH = 6  # steps of the critical path that a line shows


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


def write_body(explained: Explanation) -> dict[str, object]:
    """The explanation for programs."""
    task, timeline = explained.task, explained.timeline
    return {
        "task_id": task.id,
        "status": task.status,
        "seconds": round(timeline.seconds, 3),
        "causes": [
            {
                "kind": cause.kind,
                "step_id": cause.step,
                "agent": cause.agent,
                "seconds": round(cause.seconds, 3),
                "why": cause.said,
                "advice": cause.advice,
            }
            for cause in explained.causes
        ],
        "critical_path": [
            {
                "step_id": course.step.id,
                "agent": course.step.answered_by,
                "seconds": round(course.seconds, 3),
                "waiting_seconds": round(course.waited, 3),
                "lost_seconds": round(course.lost + course.cut, 3),
                "working_seconds": round(course.worked, 3),
            }
            for course in timeline.path
        ],
        "queued_seconds": round(timeline.queued, 3),
        "waiting_seconds": round(explained.waited, 3),
        "lost_seconds": round(explained.lost, 3),
        "working_seconds": round(explained.worked, 3),
        "retried_calls": explained.retried_calls,
        "delegated_calls": explained.delegated_calls,
        "usage": task.usage.model_dump(),
        "lines": write_lines(explained),
    }


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
