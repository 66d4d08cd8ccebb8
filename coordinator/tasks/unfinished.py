"""PURE: what is said of a step that was not done when its task ends."""

from __future__ import annotations

from coordinator.tasks.task import Step, Task
from shared.contracts import Status, StepError

_BROKE = "internal_error"


def unfinished(task: Task, step: Step, *, cancelled: bool) -> tuple[Status, StepError]:
    """How the step ends, and why: its task was cancelled, broke, or had no more time."""
    if cancelled:
        return Status.CANCELLED, StepError(type="cancelled", detail="The task was cancelled.")
    if task.error is not None and task.error.type == _BROKE:
        return Status.FAILED, task.error
    began = "It had not finished" if step.started_at or step.status is Status.RUNNING else "It had not begun"
    detail = f"{began} when the task's time limit of {task.seconds:.1f} s was reached."
    return Status.TIMED_OUT, StepError(type="timeout", detail=detail)


def broke(exc: Exception) -> StepError:
    """What a bug of ours costs a task or a step."""
    return StepError(type=_BROKE, detail=f"Internal error in the coordinator: {type(exc).__name__}.")
