"""PURE: a task that is run again: what may be asked for, and which steps are taken over or run anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from coordinator.tasks.plan import PLANNING, plan
from coordinator.tasks.task import Rerun, Step, Task
from shared.contracts import MAX_STEPS, Name, Seconds, Status, TaskRequest
from shared.copying import changed
from shared.errors import Conflict, Invalid
from shared.null import Null


class RerunRequest(BaseModel):
    """`POST /tasks/{id}/rerun`; what is not said is as in the task itself."""

    model_config = ConfigDict(extra="forbid")

    from_step: Name | None = None
    inputs: Annotated[dict[Name, JsonValue], Field(max_length=MAX_STEPS), Null(dict)] = Field(default_factory=dict)
    timeout_seconds: Seconds | None = None
    max_calls: Annotated[int, Field(ge=1, le=100_000, strict=True)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)] | None = None


def rerun(parent: Task, wish: RerunRequest, *, known_agents: Container[str]) -> tuple[tuple[Step, ...], Rerun]:
    """The steps of the new task, and what it owes `parent`, which has ended.

    Without `from_step` every step runs again, and a model plans again. With it, the step, those whose input changes,
    those that had not completed, and all that need one of these run again; the others are taken over.
    Raises `Conflict` for a task that has not ended, `Invalid` for a step that is none of it, or an agent that is gone.
    """
    if not parent.ended:
        raise Conflict(f"Task {parent.id} is {parent.status}; it can be run again when it has ended.")
    _refuse_unknown(parent, wish)
    planning = next((step for step in parent.steps if step.is_planning), None)
    if planning is not None and (wish.from_step in (None, PLANNING) or planning.status is not Status.COMPLETED):
        return _plan_again(parent, wish), Rerun(of=parent.id, from_step=wish.from_step)
    again = _find_again(parent, wish)
    for step in (step for step in parent.steps if step.id in again):
        if step.agent is not None and step.agent not in known_agents:
            raise _invalid("/from_step", f"agent {step.agent!r} of step {step.id!r} is no longer registered")
    steps = tuple(_begin_anew(step, wish.inputs) if step.id in again else step for step in parent.steps)
    before: Mapping[str, str] = parent.rerun.taken if parent.rerun is not None else {}
    taken = {step.id: before.get(step.id, parent.id) for step in parent.steps if step.id not in again}
    return steps, Rerun(of=parent.id, from_step=wish.from_step, taken=taken)


def _refuse_unknown(parent: Task, wish: RerunRequest) -> None:
    if wish.from_step is not None and wish.from_step not in parent.places:
        raise _invalid("/from_step", f"there is no step {wish.from_step!r} in task {parent.id}")
    for id in wish.inputs:
        if id not in parent.places:
            raise _invalid(f"/inputs/{id}", f"there is no step {id!r} in task {parent.id}")
        if parent.step(id).is_planning:
            raise _invalid(f"/inputs/{id}", "planning has no input")


def _plan_again(parent: Task, wish: RerunRequest) -> tuple[Step, ...]:
    for id in wish.inputs:
        raise _invalid(f"/inputs/{id}", "a model plans the steps again; name a later step in from_step to keep them")
    request = TaskRequest(task_description=parent.description, context=parent.context, format=parent.format)
    return Step(id=PLANNING), *plan(request, known_agents=())


def _find_again(parent: Task, wish: RerunRequest) -> set[str]:
    """Ids of the steps that run again."""
    if wish.from_step is None:
        return set(parent.places)
    users: defaultdict[str, list[str]] = defaultdict(list)
    for step in parent.steps:
        for need in step.needs:
            users[need].append(step.id)
    todo = [step.id for step in parent.steps if step.status is not Status.COMPLETED]
    todo += [wish.from_step, *wish.inputs]
    again: set[str] = set()
    while todo:
        if (id := todo.pop()) not in again:
            again.add(id)
            todo += users[id]
    return again


def _begin_anew(step: Step, inputs: Mapping[str, object]) -> Step:
    """The step as it was planned, with another input where there is one."""
    fresh = Step(
        id=step.id,
        capability=step.capability,
        agent=step.agent,
        needs=step.needs,
        input=step.input,
        timeout_seconds=step.timeout_seconds,
        on_failure=step.on_failure,
        needs_any=step.needs_any,
        latest=step.latest,
    )
    return changed(fresh, input=inputs[step.id]) if step.id in inputs else fresh


def _invalid(pointer: str, detail: str) -> Invalid:
    return Invalid(f"{pointer}: {detail}", [{"pointer": pointer, "detail": detail}])
