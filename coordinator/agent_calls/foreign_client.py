"""Conversations with agents of foreign protocols: one call with OpenAI's, as many as it takes with A2A's."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable

import httpx
from httpx_sse import EventSource

from coordinator.agent_calls import foreign_a2a, foreign_openai
from coordinator.agent_calls.attempt import Attempt, StepAnswer
from coordinator.agent_calls.foreign_http import ForeignSender
from coordinator.agents.registry import MAX_AGENTS, Instance
from shared.client.client import Whole
from shared.contracts import Progress, Registration, StepRequest, StepResult
from shared.errors import (
    AgentFailed,
    AgentLost,
    AgentRefused,
    BadResponse,
    StepFailure,
)
from shared.failpoints import At
from shared.limits.envelope import HOP, hop_header

CARD_SECONDS = 60.0  # that a card is believed
POLL_SECONDS = (0.1, 1.0)  # first and longest pause between two looks at a task
TOLD_SECONDS = 0.5  # between two notes on how far a stream is
MAX_OPEN = 1_000  # tasks of agents that are remembered for a cancel or the next attempt

OpenTask = tuple[foreign_a2a.Interface, str]


class ForeignClient:
    """Steps for agents that speak `openai` or `a2a`; every failure is a `StepFailure`."""

    def __init__(self, http: httpx.AsyncClient, *, at: At, wall: Callable[[], float] = time.time) -> None:
        self._http = http
        self._at = at
        self._wall = wall
        self._cards: dict[str, tuple[float, foreign_a2a.Interface]] = {}
        self._open: OrderedDict[tuple[str, str, str], OpenTask] = OrderedDict()

    async def send(self, attempt: Attempt) -> StepAnswer:
        """Makes one attempt; raises a `StepFailure`, or an error of httpx or httpx_sse."""
        sender = ForeignSender(self._http, attempt.seconds, _headers(attempt), self._wall)
        openai = attempt.instance.registration.protocol == "openai"
        result = await (self._chat(sender, attempt) if openai else self._message(sender, attempt))
        return StepAnswer(result, sender.first_byte_at or self._wall())

    async def cancel(self, instance: Instance, task_id: str, step_id: str, *, seconds: float) -> None:
        """Tells an `a2a` agent to stop a step; an `openai` one knows nothing but a closed connection."""
        if instance.registration.protocol != "a2a":
            return
        send = ForeignSender(self._http, seconds, {}, self._wall)
        with contextlib.suppress(httpx.TransportError, StepFailure):
            known = self._open.pop((instance.id, task_id, step_id), None)
            if known is None:
                agent = await self._interface(send, instance.registration)
                listed = await send.rpc(foreign_a2a.earlier(agent, foreign_a2a.context_of(task_id, step_id)))
                id = foreign_a2a.useful(listed)
                known = (agent, id) if id else None
            if known is not None:
                await send.rpc(foreign_a2a.cancel(*known))

    # --- openai

    async def _chat(self, send: ForeignSender, attempt: Attempt) -> StepResult:
        request = attempt.request
        call = foreign_openai.call(request, attempt.instance.registration, max_tokens=attempt.envelope.tokens)
        async with send.sent(call) as response:
            self._at("send.execute.sent")
            if isinstance(response, Whole):
                return foreign_openai.result(request, response.body)
            chunks, told = foreign_openai.Chunks(), 0.0
            async for event in EventSource(response).aiter_sse():
                chunks.add(event.data)
                if chunks.done:
                    break
                if chunks.characters and time.monotonic() - told >= TOLD_SECONDS:
                    told = time.monotonic()
                    attempt.on_progress(Progress(message=f"{chunks.characters} characters written"))
            return chunks.result(request)

    # --- a2a

    async def _message(self, send: ForeignSender, attempt: Attempt) -> StepResult:
        instance, request = attempt.instance, attempt.request
        key = (instance.id, request.task_id, request.step_id)
        try:
            agent = await self._interface(send, instance.registration)
            exchange, told = foreign_a2a.Exchange(), ""

            def heard() -> None:
                nonlocal told
                if exchange.task is not None:
                    self._remember(key, (agent, exchange.task))
                if not exchange.ended and exchange.note != told:
                    told = exchange.note
                    attempt.on_progress(Progress(message=told[:500]))

            exchange.task = await self._earlier(send, agent, key, request)
            if exchange.task is None:
                await self._ask(send, agent, request, exchange, heard)
            await self._follow(send, agent, exchange, heard)
        except (StepFailure, httpx.TransportError):
            self._cards.pop(instance.registration.endpoint, None)  # the agent may have changed, or moved
            raise
        if exchange.waits and exchange.task is not None:
            with contextlib.suppress(httpx.TransportError, StepFailure):
                await send.rpc(foreign_a2a.cancel(agent, exchange.task))  # nobody will answer it
        self._open.pop(key, None)
        return exchange.result(request)

    async def _interface(self, send: ForeignSender, registration: Registration) -> foreign_a2a.Interface:
        """Where the agent is spoken to, from its card; from its endpoint when it shows none."""
        until, known = self._cards.get(registration.endpoint, (0.0, None))
        if known is not None and time.monotonic() < until:
            return known
        card = await send.card(foreign_a2a.card_url(registration))
        agent = foreign_a2a.bare(registration) if card is None else foreign_a2a.interface(card, registration)
        if len(self._cards) >= MAX_AGENTS:
            self._cards.clear()
        self._cards[registration.endpoint] = (time.monotonic() + CARD_SECONDS, agent)
        return agent

    async def _earlier(
        self, send: ForeignSender, agent: foreign_a2a.Interface, key: tuple[str, str, str], request: StepRequest
    ) -> str | None:
        """The task that an earlier attempt has begun at this agent, so that nothing is done twice."""
        if request.attempt == 1:
            return None
        if (known := self._open.pop(key, None)) is not None:
            return known[1]
        try:
            listed = await send.rpc(
                foreign_a2a.earlier(agent, foreign_a2a.context_of(request.task_id, request.step_id))
            )
        except (AgentRefused, AgentFailed, BadResponse):  # it need not be able to list its tasks
            return None
        return foreign_a2a.useful(listed)

    async def _ask(
        self,
        send: ForeignSender,
        agent: foreign_a2a.Interface,
        request: StepRequest,
        exchange: foreign_a2a.Exchange,
        heard: Callable[[], None],
    ) -> None:
        call = foreign_a2a.send(agent, request, streaming=agent.streaming)
        async with send.sent(call) as response:
            self._at("send.execute.sent")
            if isinstance(response, Whole):
                exchange.take(foreign_a2a.answered(response.body))
                heard()
                return
            async for event in EventSource(response).aiter_sse():
                exchange.take(foreign_a2a.answered(event.data.encode("utf-8", "replace")))
                heard()
                if exchange.ended:
                    return
        if exchange.task is None:
            raise AgentLost("The agent's stream ended without a result.")

    async def _follow(
        self,
        send: ForeignSender,
        agent: foreign_a2a.Interface,
        exchange: foreign_a2a.Exchange,
        heard: Callable[[], None],
    ) -> None:
        """Looks at a task until it ends, when whoever was asked did not wait for that."""
        pause = 0.0
        while not exchange.ended:
            assert exchange.task is not None
            await asyncio.sleep(pause)
            exchange.take_task(await send.rpc(foreign_a2a.get(agent, exchange.task)))
            heard()
            pause = min(POLL_SECONDS[1], max(POLL_SECONDS[0], pause * 1.5))

    def _remember(self, key: tuple[str, str, str], task: OpenTask) -> None:
        self._open[key] = task
        self._open.move_to_end(key)
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)


def _headers(attempt: Attempt) -> dict[str, str]:
    """What goes with every call of a step: its key, and what it may spend, for agents that know the header."""
    key = f"{attempt.request.task_id}/{attempt.request.step_id}"
    always = {"Idempotency-Key": key, HOP: hop_header(attempt.envelope)}
    return always | ({"traceparent": attempt.traceparent} if attempt.traceparent else {})
