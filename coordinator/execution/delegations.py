"""Delegations: an agent asks another one through the coordinator, within the limits of its step."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from coordinator.admission.places import Places
from coordinator.agent_calls.attempt import Attempt
from coordinator.agent_pool.pool import Agents
from coordinator.agents.instance import Instance
from coordinator.execution.delegation_grant import Grant
from coordinator.execution.dispatcher import Dispatcher
from coordinator.execution.retry import may_delegate_again
from coordinator.execution.running_task import Live
from coordinator.execution.step_runner import Runner, thin_out
from coordinator.journal.store import Store
from coordinator.recording.flight import FLIGHT, board
from coordinator.tasks.task import Step
from shared import logs
from shared.contracts import MAX_DESCRIPTION, NO_USAGE, Count, Name, Progress, StepRequest, StepResult, Usage
from shared.conversation import Role, spoken
from shared.errors import (
    AgentLost,
    EnvelopeRefused,
    LimitReached,
    MusterError,
    NotFound,
    StepFailure,
    StepTimeout,
)
from shared.limits.envelope import Envelope, narrow
from shared.limits.ledger import Ledger

MAX_MESSAGES = 100
MOST_OPEN = 64  # open delegations of one task, at every depth


class Turn(BaseModel):
    """An earlier message of the conversation."""

    role: Role
    content: str


class Wish(BaseModel):
    """Body of `POST /delegate`: the agent, its task, and its share of what the delegating step has left."""

    model_config = ConfigDict(extra="ignore")

    agent: Name
    task: Annotated[str, StringConstraints(min_length=1, max_length=MAX_DESCRIPTION)]
    milliseconds: Annotated[int, Field(ge=1)] | None = None
    calls: Count | None = None
    tokens: Count | None = None
    messages: Annotated[list[Turn], Field(max_length=MAX_MESSAGES)] = Field(default_factory=list)
    session: Annotated[str, StringConstraints(max_length=255)] | None = None


@dataclass(frozen=True)
class DelegationResult:
    """The result. `booked` usage counts for the task already; otherwise the asking agent reports it."""

    result: StepResult
    usage: Usage
    booked: bool

    @property
    def text(self) -> str:
        return spoken(self.result.output)


@dataclass
class _Asking:
    """A step that delegates: its agent, its limits, and its grant."""

    holder: str
    envelope: Envelope
    grant: Grant
    live: Live | None = None
    booked: bool = True
    traceparent: str | None = None


class Delegations:
    """Runs delegations; the coordinator's own records count, not what an agent says of itself."""

    def __init__(
        self,
        *,
        agents: Agents,
        runner: Runner,
        dispatcher: Dispatcher,
        places: Places,
        store: Store,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agents = agents
        self._runner = runner
        self._dispatcher = dispatcher
        self._places = places
        self._store = store
        self._now = now
        self._running: dict[tuple[str, str], _Asking] = {}
        self._open: Counter[str] = Counter()  # by task

    async def run(
        self, asker: Instance, envelope: Envelope, wish: Wish, *, traceparent: str | None = None
    ) -> DelegationResult:
        """Has another agent do it within the limits of the asking step, which also ends it, as does a cancelled call.

        Raises `EnvelopeRefused` for a step that is not the asker's, `LimitReached` for one too many (depth, a loop,
        nothing left), and a `StepFailure` for what does not go well, with its `usage` and whether that is `booked`.
        """
        asking = await self._find_asking(asker, envelope)
        asking = replace(asking, traceparent=traceparent or asking.traceparent)
        child = await self._name(asking, envelope.step, wish)
        facts: dict[str, JsonValue] = {"step_id": child, "parent": envelope.step, "from": asker.name}
        facts |= {"agent": wish.agent, "depth": asking.envelope.depth + 1}
        try:
            given = self._narrow(asking, asker, wish, child, envelope)
            asking.grant.ledger, calls, tokens = asking.grant.ledger.reserve(
                sharers=1, most_calls=None if wish.calls is None else wish.calls + 1, most_tokens=wish.tokens
            )
        except LimitReached as exc:
            self._note(asking, "delegation.refused", facts | {"why": exc.detail})
            raise
        limits = asking.grant.ledger
        given = replace(
            given,
            calls=wish.calls if limits.max_calls is None else calls - 1,
            tokens=wish.tokens if limits.max_tokens is None else tokens,
        )
        self._open[envelope.task] += 1
        used, error, failure = Usage(calls=1), "cancelled", None
        grant = Grant(Ledger(max_calls=given.calls, max_tokens=given.tokens))
        began, booked = self._now(), asyncio.get_running_loop().create_future()
        self._note(asking, "delegation.started", facts)
        limit = asyncio.timeout(None)  # until the step that asks has ended
        try:
            async with limit:
                asking.grant.open[limit] = booked
                result = await self._carry_out_in_turn(asking, wish, given, grant, parent=envelope.step)
            used, error = result.usage + Usage(calls=1), ""
        except TimeoutError as exc:
            raise AgentLost("The delegating step has ended.") from exc
        except MusterError as exc:
            error, failure = exc.type, exc
            used += exc.usage if isinstance(exc, StepFailure) else NO_USAGE
            raise
        finally:
            try:
                await grant.end()
            finally:
                self._open[envelope.task] -= 1
                self._open += Counter()  # forgets the tasks that have none
                used += grant.used
                asking.grant.ledger = asking.grant.ledger.settle(calls=calls, tokens=tokens, usage=used)
                if asking.booked:
                    asking.grant.used += used
                facts |= {"status": error or "completed", "seconds": round(self._now() - began, 3)}
                self._note(asking, "delegation.finished", facts | {"usage": used.model_dump()})
                if failure is not None:
                    failure.members |= {"usage": used.model_dump(), "booked": asking.booked}
                del asking.grant.open[limit]
                booked.set_result(None)
        return DelegationResult(result, used, asking.booked)

    async def _find_asking(self, asker: Instance, envelope: Envelope) -> _Asking:
        """The step that the asker runs; only the asker knows its chats, so for these its signed header counts."""
        if (found := self._running.get((envelope.task, envelope.step))) is not None:
            if found.holder != asker.id:
                raise EnvelopeRefused("The step belongs to another agent.")
            return found
        if (live := self._dispatcher.get_live(envelope.task)) is not None:
            step = next((s for s in live.task.steps if s.id == envelope.step), None)
            grant = live.grants.get(envelope.step)
            if step is None or grant is None or step.instance != asker.id:
                raise EnvelopeRefused("This agent is not running the step.")
            left = max(0, int((live.until - self._now()) * 1000))
            whole = Envelope(live.task.id, step.id, step.attempt, left, tenant=live.task.tenant)
            return _Asking(asker.id, whole, grant, live, traceparent=self._runner.name_parent(live.task, step.id))
        try:
            await self._dispatcher.get_task(envelope.task)
        except NotFound:
            own = Grant(Ledger(max_calls=envelope.calls, max_tokens=envelope.tokens))
            return _Asking(asker.id, envelope, own, booked=False)
        raise EnvelopeRefused(f"Task {envelope.task} has ended.")

    async def _name(self, asking: _Asking, parent: str, wish: Wish) -> str:
        """The id of a new delegation, which from now on belongs to the flight of its task."""

        def make() -> str:
            return f"{parent}.{uuid4().hex[:8]}"

        flight = asking.live.flight if asking.live is not None else None
        if flight is None:
            return make()
        board(flight)
        return await flight.ask(parent, wish, make)

    def _narrow(self, asking: _Asking, asker: Instance, wish: Wish, child: str, said: Envelope) -> Envelope:
        if self._open[said.task] >= MOST_OPEN:
            raise LimitReached(f"The task already has {MOST_OPEN} open delegations.")
        ancestry = (*asking.envelope.ancestry, asker.name)
        if wish.agent in ancestry:
            raise LimitReached(f"Agent {wish.agent!r} is already in the chain: {' > '.join(ancestry)}.")
        least = min(said.milliseconds, wish.milliseconds or said.milliseconds)
        return narrow(asking.envelope, agent=asker.name, step=child, milliseconds=least)

    async def _carry_out_in_turn(
        self, asking: _Asking, wish: Wish, given: Envelope, grant: Grant, *, parent: str
    ) -> StepResult:
        """Holds a share of the agent's places meanwhile, and none for the step that waits for it."""
        if asking.live is None:  # a chat with a worker has no place
            return await self._carry_out(asking, wish, given, grant)
        seat, until, answered = asking.live.seat, self._now() + given.milliseconds / 1000, None
        self._places.delegate(seat, parent)
        try:
            target = Step(id=given.step, agent=wish.agent)
            await self._places.begin(seat, given.step, target.asks, until=until, said=target.target)
            left = max(1, int((until - self._now()) * 1000))
            result = await self._carry_out(asking, wish, replace(given, milliseconds=left), grant)
            answered = True
            return result
        except StepTimeout:
            answered = False
            raise
        finally:
            self._places.end(seat, given.step, answered=answered)
            self._places.resume(seat, parent)

    async def _carry_out(self, asking: _Asking, wish: Wish, given: Envelope, grant: Grant) -> StepResult:
        until, since, tried = self._now() + given.milliseconds / 1000, self._now(), set[str]()
        target = Step(id=given.step, agent=wish.agent)
        context: dict[str, JsonValue] = {"messages": [m.model_dump() for m in wish.messages]}
        request = StepRequest(
            task_id=given.task,
            step_id=given.step,
            task_description=wish.task,
            input=wish.task,
            context=context | ({"session": wish.session} if wish.session else {}),
        )

        def tell(progress: Progress) -> None:
            self._note(asking, "step.progress", {"step_id": given.step, "attempt": 1, "message": progress.message})

        on_progress = thin_out(tell, self._now)
        while True:
            instance = await self._runner.take(target, tried=tried, until=until, since=since)
            self._running[(given.task, given.step)] = _Asking(
                instance.id, given, grant, asking.live, traceparent=asking.traceparent
            )
            try:
                left, recorded = until - self._now(), FLIGHT.get() is not None
                attempt = Attempt(instance, request, given, left, on_progress, asking.traceparent, record=recorded)
                return (await self._runner.call(attempt)).result
            except StepFailure as failure:
                tried.add(instance.id)
                if not may_delegate_again(failure, attempts=len(tried)):
                    raise
            finally:
                self._running.pop((given.task, given.step), None)

    def _note(self, asking: _Asking, type: str, facts: dict[str, JsonValue]) -> None:
        """Writes an event to the task's log; that of a chat, which has none, to the coordinator's."""
        if asking.live is not None:
            self._store.note(asking.live.task.id, type, facts)
        else:
            logs.get().info(type, **{k: v for k, v in facts.items() if not isinstance(v, dict)})
