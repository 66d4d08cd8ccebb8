"""PURE: the error of a step that had not finished when its task ended."""

from __future__ import annotations

from coordinator.tasks.task import Step, Task
from shared.contracts import Status, StepError

_BROKE = "internal_error"
_QUARANTINED = "quarantined"


def end_unfinished(task: Task, step: Step, *, cancelled: bool) -> tuple[Status, StepError]:
    """How the step ends, and why: its task was cancelled, crashed, or timed out."""
    if cancelled:
        return Status.CANCELLED, StepError(type="cancelled", detail="The task was cancelled.")
    if task.error is not None and task.error.type in (_BROKE, _QUARANTINED):
        return Status.FAILED, task.error
    began = "It had not finished" if step.started_at or step.status is Status.RUNNING else "It had not begun"
    detail = f"{began} when the task's time limit of {task.seconds:.1f} s was reached."
    return Status.TIMED_OUT, StepError(type="timeout", detail=detail)


def quarantine_error(deaths: int) -> StepError:
    """The error of a task that the coordinator may have died of."""
    detail = f"The coordinator crashed {deaths} times in a row while this task was running. It will not be run again."
    return StepError(type=_QUARANTINED, detail=detail)


def internal_error(exc: Exception) -> StepError:
    """The error of a task or a step after a bug."""
    return StepError(type=_BROKE, detail=f"Internal error in the coordinator: {type(exc).__name__}.")
