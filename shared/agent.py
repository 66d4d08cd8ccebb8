"""What a worker author writes: an Agent is a description and an async function; a Context is what it may use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import JsonValue

from shared.contracts import NO_USAGE, Missing, StepRequest, Usage
from shared.conversation import Ask, Skill
from shared.limits.envelope import Envelope
from shared.version import VERSION


@dataclass(frozen=True)
class Reply:
    """What a step delivers: any JSON as `output`, what it cost, and what was asked for and not found."""

    output: JsonValue
    usage: Usage = NO_USAGE
    missing: Sequence[Missing] = ()


@dataclass(frozen=True)
class Member:
    """Who this worker is to its coordinator: the id it is registered under, and the key of its envelopes."""

    agent_id: str
    key: bytes


class Context(Protocol):
    """What a running step may use; made by the chassis, one for each step.

    `state` is what `Agent.open` yielded. `http` is a pooled httpx client for the open web: bounded in time
    and size, and refusing private addresses. `log` is bound to the task and step. `ask` is the conversation when
    somebody chats instead of sending a step; `envelope` is what the step may still spend, and who asked; `member` is
    who this worker is to its coordinator, None without one.
    """

    state: Any
    http: Any
    log: Any
    ask: Ask | None
    envelope: Envelope
    member: Member | None

    def seconds_left(self) -> float:
        """Seconds until the caller stops waiting for this step."""
        ...

    async def progress(
        self, message: str, fraction: float | None = None, *, report: dict[str, JsonValue] | None = None
    ) -> None:
        """Tell whoever watches the task how far this step is, and how its report begins, where that is settled."""
        ...

    async def say(self, text: str) -> None:
        """The next words of the answer, for those who read along; the Reply holds all of them."""
        ...


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield None


RunStep = Callable[[StepRequest, Context], Awaitable[Reply]]
Canary = Callable[[StepRequest, Context], Awaitable[object]]


@dataclass(frozen=True)
class Agent:
    """A worker as a value.

    `run` gets the step and its context and returns a Reply; it raises `WorkerFault` to fail with a reason.
    `open` is entered when the service starts and left when it stops; what it yields is `ctx.state`.
    `max_concurrency` steps run at once in one instance; the coordinator sends no more.
    `skills` is what its cards list; unset: its capabilities. `features` is what KAOS's card says besides:
    `tool_execution`, `task_delegation`. `memory` is the `shared.memory.store.Memory` that it uses itself; unset: the
    chassis makes one for its conversations. `waits` says what its `/ready` still waits for, None when nothing.
    `routes` makes a FastAPI router of its own from a function that returns what `open` yielded (it raises
    `Unavailable` before and after); like the other open routes of a worker, outsiders reach it through the
    coordinator's gateway only, as `/agents/{name}/…`. `metadata` is asked once, in a thread, before the worker
    registers, and is in its registration. `canary` is run for a step that only asks whether the worker answers, instead
    of nothing: it raises, or takes more than 4 s, where only a restart of the process would help. `idempotent` says
    that a step may run in two instances at once: one that takes far longer than usual is then given to a second one,
    too, and the first answer counts. `recipe` is what a replay makes the agent of again: the name of its module, whose
    `rebuild` takes the recipe, and its settings, without any secret; None: a replay takes its answers from the record.
    """

    name: str
    description: str
    capabilities: tuple[str, ...]
    run: RunStep
    open: Callable[[], AbstractAsyncContextManager[Any]] = field(default=_nothing)
    version: str = VERSION
    max_concurrency: int = 64
    skills: Callable[[], Sequence[Skill]] | None = None
    features: tuple[str, ...] = ()
    memory: Any = None
    waits: Callable[[], str | None] = lambda: None
    routes: Callable[[Callable[[], Any]], Any] | None = None
    metadata: Callable[[], dict[str, JsonValue]] = dict
    canary: Canary | None = None
    idempotent: bool = False
    recipe: Mapping[str, JsonValue] | None = None
