"""PURE: the steps of a task as KAOS's delegation events, for the coordinator's own memory."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from shared.contracts import Status, StepView, TaskView
from shared.conversation import Final, spoken


def list_delegations(final: Final) -> Iterator[tuple[str, JsonValue]]:
    """Types and contents, in the order of the plan: a request for every step that an agent had, and what came back."""
    task = TaskView.model_validate(final.data)
    for step in task.results:
        if step.agent is not None:
            asked: dict[str, JsonValue] = {"agent": step.agent, "task": task.task_description, "step": step.step_id}
            asked |= {"tool": f"delegate_to_{step.agent}", "arguments": {"task": task.task_description}}
            yield "delegation_request", asked
            yield _describe_return(step, asked)


def _describe_return(step: StepView, asked: dict[str, JsonValue]) -> tuple[str, JsonValue]:
    if step.status is Status.COMPLETED:
        text = spoken(step.output)
        return "delegation_response", asked | {"response": text, "result": text}
    why = step.error.detail if step.error else f"The step is {step.status}."
    return "delegation_error", asked | {"error": why}
