"""A plan that a model proposes for a task, checked like a caller's; the default plan if it is invalid."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from coordinator.agents.instance import Instance
from coordinator.execution.running_task import Live
from coordinator.observers.meter import Meter
from coordinator.tasks.plan import check_proposal
from coordinator.tasks.task import Step, Task
from shared import logs
from shared.contracts import NO_USAGE, AgentStatus, PlanStep, Usage
from shared.errors import Invalid, ModelFailed, MusterError
from shared.settings import CoordinatorSettings, ModelSettings

if TYPE_CHECKING:
    from shared.models.model import LanguageModel

SHARE = 0.2  # of a task's time at the most
COORDINATOR = "coordinator"  # whose tokens a plan has cost
MAX_STEPS = 12
MAX_DESCRIPTION = 20_000  # characters of a task that the model reads
REPLY_TOKENS = 800
CHARACTERS_A_TOKEN = 3.0  # low on purpose: rather reserve too much than too little
SHAPE_CHARACTERS = 400  # of the example and its rule
INSTRUCTIONS = f"""You plan how agents answer a task. Give at most {MAX_STEPS} steps. Each step has
- id: a short name of letters, digits and hyphens;
- capability: one of those listed, and no other;
- needs: the ids of the steps whose results it uses; steps that need nothing of each other run at the same time;
- question: what it is to find out or do, in one sentence.
Use as few steps as the task needs. The last step writes the answer for the user."""


class ProposedStep(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str
    capability: str
    needs: list[str] = Field(default_factory=list)
    question: Annotated[str, Field(max_length=2_000)] = ""


class ProposedPlan(BaseModel):
    """The plan that a model returns."""

    model_config = ConfigDict(extra="ignore")

    steps: Annotated[list[ProposedStep], Field(min_length=1, max_length=MAX_STEPS)]


@dataclass(frozen=True)
class Proposal:
    """The steps of a plan, or why there is none; `usage` is its cost either way."""

    steps: tuple[Step, ...] = ()
    why: str = ""
    usage: Usage = NO_USAGE


class Planner:
    """Asks a model for plans; `agents` returns the registered instances, `spent` is told what a plan cost."""

    def __init__(
        self, model: LanguageModel, agents: Callable[[], Iterable[Instance]], *, spent: Callable[[Usage], None]
    ) -> None:
        self._model = model
        self._agents = agents
        self._spent = spent

    async def propose(self, task: Task, *, seconds: float, calls: int | None, tokens: int | None) -> Proposal:
        """A plan for the task within these limits (None: no limit); a failure becomes the proposal's `why`."""
        proposal = await self._propose(task, seconds=seconds, calls=calls, tokens=tokens)
        self._spent(proposal.usage)
        return proposal

    async def _propose(self, task: Task, *, seconds: float, calls: int | None, tokens: int | None) -> Proposal:
        from shared.models.servers.fence import DATA_RULE, fence

        offered = self._list_capabilities()
        if not offered:
            return Proposal(why="No agents are available to plan with.")
        if calls is not None and calls < 1:
            return Proposal(why="All of the task's calls are reserved for its steps.")
        listed = "\n".join(f"- {name}: {'; '.join(sorted(said)) or name}" for name, said in sorted(offered.items()))
        instructions = f"{INSTRUCTIONS}\n{DATA_RULE}"
        data = f"The capabilities:\n{fence(listed)}\n\nThe task:\n{fence(task.description[:MAX_DESCRIPTION])}"
        reply = REPLY_TOKENS
        if tokens is not None:
            reply = tokens - int((len(instructions) + len(data) + SHAPE_CHARACTERS) / CHARACTERS_A_TOKEN)
            if reply < REPLY_TOKENS:
                return Proposal(why="The task has too few tokens for planning.")
        try:
            said = await self._model.for_request().structured(
                instructions=instructions,
                data=data,
                shape=ProposedPlan,
                seconds=seconds,
                max_tokens=min(reply, REPLY_TOKENS),
                tries=1,
            )
        except ModelFailed as failure:
            return Proposal(why=failure.detail, usage=failure.usage)
        if said.cut:  # the end of a plan is its most important step
            return Proposal(why=said.cut, usage=said.usage)
        try:
            return Proposal(steps=check_proposal(_to_steps(said.value, task), capabilities=offered), usage=said.usage)
        except (Invalid, ValidationError) as exc:
            why = exc.detail if isinstance(exc, Invalid) else exc.errors(include_url=False)[0]["msg"]
            return Proposal(why=f"The model's plan is invalid: {why}", usage=said.usage)

    def _list_capabilities(self) -> dict[str, set[str]]:
        """Every capability of a healthy or pending agent, with its agents' descriptions."""
        offered: dict[str, set[str]] = {}
        for one in self._agents():
            if one.status in (AgentStatus.HEALTHY, AgentStatus.PENDING):
                for capability in one.registration.capabilities:
                    offered.setdefault(capability, set()).update(filter(None, [one.registration.description]))
        return offered


async def propose_for(live: Live, planner: Planner | None, *, now: float) -> Proposal:
    """A plan for a task, within a fair part of what it has left, which it pays for; never raises."""
    if planner is None:  # it was there when the task came
        return Proposal(why="The model that was to plan this task is no longer configured.")
    steps = len(live.task.steps) - 1
    left = live.ledger.calls_left
    calls = None if left is None else min(1, left - steps)
    tokens = None if live.ledger.tokens_left is None else live.ledger.tokens_left // (steps + 1)
    seconds = SHARE * min(live.task.seconds, max(0.0, live.until - now))
    try:
        proposal = await planner.propose(live.task, seconds=seconds, calls=calls, tokens=tokens)
    except Exception as exc:  # a bug of ours costs the model's plan, never the task
        logs.get().error("planner.broke", exc_info=exc)
        return Proposal(why=f"Internal error in the planner: {type(exc).__name__}.")
    live.ledger = live.ledger.settle(calls=0, tokens=0, usage=proposal.usage)
    return proposal


def _to_steps(said: ProposedPlan, task: Task) -> list[PlanStep]:
    """The steps as a caller would send them; raises ValidationError for an invalid name.

    A need that is not a step's name but the capability of a single step means that one: small models mix them up.
    """
    ids = {one.id for one in said.steps}
    of: dict[str, list[str]] = {}
    for one in said.steps:
        of.setdefault(one.capability, []).append(one.id)

    def resolve(need: str) -> str:
        return need if need in ids or len(of.get(need, ())) != 1 else of[need][0]

    return [
        PlanStep(
            id=one.id,
            capability=one.capability,
            needs=[resolve(need) for need in one.needs],
            input=_build_input(one, task),
            on_failure="continue",
        )
        for one in said.steps
    ]


def _build_input(one: ProposedStep, task: Task) -> JsonValue:
    question = one.question.strip()
    if one.capability == "report":
        return {"format": task.format}
    return {"question": question} if question else None


async def open_planner(
    settings: CoordinatorSettings,
    model: ModelSettings | None,
    agents: Callable[[], Iterable[Instance]],
    meter: Meter,
    stack: AsyncExitStack,
) -> Planner | None:
    """The planner that the settings want, closed with the stack; raises MusterError where there is no model for it."""
    if settings.planner == "rules":
        return None
    from shared.models.model import models_from

    found = models_from(model) if model is not None else None
    if found is None:
        raise MusterError("PLANNER=model needs a model: set MODEL_API_URL and MODEL_NAME.")
    return Planner(await stack.enter_async_context(found), agents, spent=partial(meter.spent, COORDINATOR))
