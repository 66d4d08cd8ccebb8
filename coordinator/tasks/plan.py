"""PURE: the steps of a task and what each needs: the caller's plan checked, a fan-out, or the default one."""

from __future__ import annotations

from collections.abc import Container, Mapping
from graphlib import CycleError, TopologicalSorter

from pydantic import JsonValue

from coordinator.questions.splitting import MAX_PARTS, parts
from coordinator.tasks.task import Step
from shared.contracts import PlanStep, TaskRequest
from shared.copying import changed
from shared.errors import Invalid

RESEARCH_ENDS, ANALYSIS_ENDS, REPORT_ENDS = 0.70, 0.85, 0.97  # of the task's time; the rest renders what is there
PLANNING = "plan"  # the id of the step in which a model plans the others


def plan(request: TaskRequest, *, known_agents: Container[str]) -> tuple[Step, ...]:
    """The steps for a request; raises `Invalid`, naming the field, for a plan that cannot run."""
    if request.plan is not None:
        return _check(request.plan, known_agents)
    if request.agents is not None:
        return _fan_out(request.agents, known_agents)
    return _default(request)


def can_be_planned(request: TaskRequest) -> bool:
    """Whether a model may plan this task: the caller has planned nothing, and its steps' names are free."""
    documents = request.context.get("documents") if isinstance(request.context, dict) else None
    return request.plan is None and request.agents is None and not documents


def check_proposal(steps: list[PlanStep], *, capabilities: Container[str]) -> tuple[Step, ...]:
    """The steps of a model's plan; raises `Invalid`, naming the field, for one that cannot run.

    Losing one step loses nothing else, and the later a step comes, the more of the task's time it may take.
    """
    _refuse(
        [
            *(
                _error(f"/plan/{i}/capability", f"no agent offers {step.capability!r}")
                for i, step in enumerate(steps)
                if step.capability is None or step.capability not in capabilities
            ),
            *(_error(f"/plan/{i}/id", f"{PLANNING!r} is taken") for i, s in enumerate(steps) if s.id == PLANNING),
        ]
    )
    checked = _check(steps, set())
    height: dict[str, int] = {}
    while len(height) < len(checked):  # no circle: each round adds a step whose users are all known
        for step in checked:
            users = [other.id for other in checked if step.id in other.needs]
            if all(user in height for user in users):
                height[step.id] = 1 + max((height[user] for user in users), default=-1)
    ends = (REPORT_ENDS, ANALYSIS_ENDS, RESEARCH_ENDS)
    return tuple(changed(step, needs_any=True, latest=ends[min(height[step.id], 2)]) for step in checked)


def _check(steps: list[PlanStep], known: Container[str]) -> tuple[Step, ...]:
    places = {step.id: n for n, step in reversed([*enumerate(steps)])}  # of two with one id, the first's
    errors = [
        *(_error(f"/plan/{i}/id", f"duplicate id {s.id!r}") for i, s in enumerate(steps) if places[s.id] != i),
        *(
            _error(f"/plan/{i}/needs/{n}", f"there is no step {need!r}")
            for i, step in enumerate(steps)
            for n, need in enumerate(step.needs)
            if need not in places
        ),
        *(
            _error(f"/plan/{i}/agent", f"no agent {step.agent!r} is registered")
            for i, step in enumerate(steps)
            if step.agent is not None and step.agent not in known
        ),
    ]
    if not errors and (circle := _circle(steps, places)):
        errors = [_error(f"/plan/{places[circle[0]]}/needs", f"dependency cycle: {' > '.join(circle)}")]
    _refuse(errors)
    return tuple(
        Step(
            id=s.id,
            capability=s.capability,
            agent=s.agent,
            needs=tuple(dict.fromkeys(s.needs)),
            input=s.input,
            timeout_seconds=s.timeout_seconds,
            on_failure=s.on_failure,
        )
        for s in steps
    )


def _fan_out(agents: list[str], known: Container[str]) -> tuple[Step, ...]:
    _refuse(
        [
            *(
                _error(f"/agents/{i}", f"no agent {name!r} is registered")
                for i, name in enumerate(agents)
                if name not in known
            ),
            *(
                _error(f"/agents/{i}", f"duplicate name {name!r}")
                for i, name in enumerate(agents)
                if name in agents[:i]
            ),
        ]
    )
    return tuple(Step(id=name, agent=name, on_failure="continue") for name in agents)


def _default(request: TaskRequest) -> tuple[Step, ...]:
    inputs = _research_inputs(request)
    names = ["research"] if len(inputs) == 1 else [f"research-{i}" for i in range(1, len(inputs) + 1)]
    research = [
        Step(id=name, capability="research", input=given, on_failure="continue", latest=RESEARCH_ENDS)
        for name, given in zip(names, inputs, strict=True)
    ]
    analyze = Step(
        id="analyze",
        capability="analyze",
        needs=tuple(names),
        on_failure="continue",
        needs_any=True,
        latest=ANALYSIS_ENDS,
    )
    report = Step(
        id="report",
        capability="report",
        needs=("analyze", *names),
        input={"format": request.format},
        needs_any=True,
        latest=REPORT_ENDS,
    )
    return (*research, analyze, report)


def _research_inputs(request: TaskRequest) -> list[JsonValue]:
    documents = request.context.get("documents") if isinstance(request.context, dict) else None
    if isinstance(documents, list) and documents:
        names = list(dict.fromkeys(str(d) for d in documents))
        groups = [names[i::MAX_PARTS] for i in range(min(MAX_PARTS, len(names)))]
        return [{"question": request.task_description, "documents": list(group)} for group in groups]
    questions = parts(request.task_description)
    if len(questions) == 1:
        return [{"question": request.task_description}]
    siblings: list[JsonValue] = list(questions)
    return [{"question": q, "siblings": siblings, "index": i} for i, q in enumerate(questions)]


def _circle(steps: list[PlanStep], places: Mapping[str, int]) -> list[str]:
    """Ids of a circle, in order and closed, from the one that is first in the plan; or nothing."""
    try:
        TopologicalSorter({step.id: step.needs for step in steps}).prepare()
    except CycleError as exc:
        circle = exc.args[1][:0:-1]  # it names what is needed before who needs it, and the first once more
        first = min(range(len(circle)), key=lambda n: places[circle[n]])
        return [*circle[first:], *circle[: first + 1]]
    return []


def _error(pointer: str, detail: str) -> dict[str, str]:
    return {"pointer": pointer, "detail": detail}


def _refuse(errors: list[dict[str, str]]) -> None:
    if errors:
        raise Invalid(f"{errors[0]['pointer']}: {errors[0]['detail']}", errors[:50])
