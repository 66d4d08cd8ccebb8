"""Attempts at agents of foreign protocols: one call in OpenAI's, as many as the task takes in A2A's."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from functools import partial

import httpx
from httpx_sse import EventSource
from pydantic_core import to_json

from coordinator.agent_calls import foreign_a2a, foreign_openai
from coordinator.agent_calls.attempt import Attempt, StepAnswer
from coordinator.agent_calls.foreign_http import ForeignSender
from coordinator.agents.instance import Instance
from coordinator.agents.registry import MAX_AGENTS
from shared.client.client import Whole
from shared.contracts import Progress, Registration, StepRequest, StepResult
from shared.errors import AgentFailed, AgentLost, AgentRefused, BadResponse, StepFailure
from shared.failpoints import At
from shared.limits.envelope import HOP, encode_hop

CARD_SECONDS = 60.0  # before a card is fetched again
POLL_SECONDS = (0.1, 1.0)  # first and longest pause between two looks at a task
TOLD_SECONDS = 0.5  # between two notes on the progress of a stream
MAX_OPEN = 1_000  # tasks of agents remembered for a cancel or the next attempt

OpenTask = tuple[foreign_a2a.Interface, str]


class ForeignClient:
    """Sends steps to agents that speak `openai` or `a2a`."""

    def __init__(self, http: httpx.AsyncClient, *, at: At, now: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._at = at
        self._now = now
        self._cards: dict[str, tuple[float, foreign_a2a.Interface]] = {}
        self._open: OrderedDict[tuple[str, str, str], OpenTask] = OrderedDict()

    async def send(self, attempt: Attempt) -> StepAnswer:
        """Makes one attempt; raises a `StepFailure`, or an error of httpx or httpx_sse."""
        sender = ForeignSender(self._http, attempt.seconds, _build_headers(attempt), self._now)
        openai = attempt.instance.registration.protocol == "openai"
        result = await (self._run_chat(sender, attempt) if openai else self._run_task(sender, attempt))
        attempt.make_room(len(to_json(result.output)))
        return StepAnswer(result, sender.first_byte_at or self._now())

    async def cancel(self, instance: Instance, task_id: str, step_id: str, *, seconds: float) -> None:
        """Tells an `a2a` agent to stop a step; to an `openai` one, only a closed connection does."""
        if instance.registration.protocol != "a2a":
            return
        send = ForeignSender(self._http, seconds, {}, self._now)
        with contextlib.suppress(httpx.TransportError, StepFailure):
            known = self._open.pop((instance.id, task_id, step_id), None)
            if known is None:
                agent = await self._find_interface(send, instance.registration)
                listed = await send.call(foreign_a2a.build_list(agent, foreign_a2a.make_context_id(task_id, step_id)))
                id = foreign_a2a.find_usable_task(listed)
                known = (agent, id) if id else None
            if known is not None:
                await send.call(foreign_a2a.build_cancel(*known))

    # --- openai

    async def _run_chat(self, send: ForeignSender, attempt: Attempt) -> StepResult:
        request = attempt.request
        call = foreign_openai.build_call(request, attempt.instance.registration, max_tokens=attempt.envelope.tokens)
        async with send.open(call) as response:
            self._at("send.execute.sent")
            if isinstance(response, Whole):
                return foreign_openai.parse_result(request, response.body)
            chunks, told = foreign_openai.Chunks(), 0.0
            async for event in EventSource(response).aiter_sse():
                chunks.add(event.data)
                if chunks.done:
                    break
                if chunks.characters and time.monotonic() - told >= TOLD_SECONDS:
                    told = time.monotonic()
                    attempt.on_progress(Progress(message=f"{chunks.characters} characters written"))
            return chunks.to_result(request)

    # --- a2a

    async def _run_task(self, send: ForeignSender, attempt: Attempt) -> StepResult:
        instance, request = attempt.instance, attempt.request
        key = (instance.id, request.task_id, request.step_id)
        exchange, told = foreign_a2a.Exchange(), ""
        try:
            agent = await self._find_interface(send, instance.registration)
            exchange.task = await self._find_earlier(send, agent, key, request)
            async with contextlib.aclosing(self._converse(send, agent, request, exchange)) as news:
                async for _ in news:
                    if exchange.task is not None:
                        self._remember(key, (agent, exchange.task))
                    if not exchange.ended and exchange.note != told:
                        told = exchange.note
                        attempt.on_progress(Progress(message=told[:500]))
        except (StepFailure, httpx.TransportError):
            self._cards.pop(instance.registration.endpoint, None)  # the agent may have changed, or moved
            raise
        if exchange.waits and exchange.task is not None:
            with contextlib.suppress(httpx.TransportError, StepFailure):
                await send.call(foreign_a2a.build_cancel(agent, exchange.task))  # its question gets no answer
        self._open.pop(key, None)
        return exchange.to_result(request)

    async def _find_interface(self, send: ForeignSender, registration: Registration) -> foreign_a2a.Interface:
        """The agent's interface, from its card if it has one."""
        until, known = self._cards.get(registration.endpoint, (0.0, None))
        if known is not None and time.monotonic() < until:
            return known
        card = await send.fetch_card(registration.endpoint + foreign_a2a.CARD)
        choose = foreign_a2a.assume_interface if card is None else partial(foreign_a2a.choose_interface, card)
        agent = choose(registration)
        if len(self._cards) >= MAX_AGENTS:
            self._cards.clear()
        self._cards[registration.endpoint] = (time.monotonic() + CARD_SECONDS, agent)
        return agent

    async def _find_earlier(
        self, send: ForeignSender, agent: foreign_a2a.Interface, key: tuple[str, str, str], request: StepRequest
    ) -> str | None:
        """The task that an earlier attempt has started at this agent, so that nothing is done twice."""
        if request.attempt == 1:
            return None
        if (known := self._open.pop(key, None)) is not None:
            return known[1]
        try:
            listed = await send.call(
                foreign_a2a.build_list(agent, foreign_a2a.make_context_id(request.task_id, request.step_id))
            )
        except (AgentRefused, AgentFailed, BadResponse):  # not every agent can list its tasks
            return None
        return foreign_a2a.find_usable_task(listed)

    async def _converse(
        self, send: ForeignSender, agent: foreign_a2a.Interface, request: StepRequest, exchange: foreign_a2a.Exchange
    ) -> AsyncGenerator[None]:
        """Sends the step unless the exchange has a task, and polls the task until it ends; yields after each piece."""
        if exchange.task is None:
            async with send.open(foreign_a2a.build_send(agent, request)) as response:
                self._at("send.execute.sent")
                if isinstance(response, Whole):
                    exchange.take(foreign_a2a.parse_response(response.body))
                    yield
                else:
                    async for event in EventSource(response).aiter_sse():
                        exchange.take(foreign_a2a.parse_response(event.data.encode("utf-8", "replace")))
                        yield
                        if exchange.ended:
                            return
                    if exchange.task is None:
                        raise AgentLost("The agent's stream ended without a result.")
        pause = 0.0
        while not exchange.ended:
            assert exchange.task is not None
            await asyncio.sleep(pause)
            exchange.take_task(await send.call(foreign_a2a.build_get(agent, exchange.task)))
            yield
            pause = min(POLL_SECONDS[1], max(POLL_SECONDS[0], pause * 1.5))

    def _remember(self, key: tuple[str, str, str], task: OpenTask) -> None:
        self._open[key] = task
        self._open.move_to_end(key)
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)


def _build_headers(attempt: Attempt) -> dict[str, str]:
    """Headers of every call of a step: its key, and its limits for agents that know them."""
    key = f"{attempt.request.task_id}/{attempt.request.step_id}"
    always = {"Idempotency-Key": key, HOP: encode_hop(attempt.envelope)}
    return always | ({"traceparent": attempt.traceparent} if attempt.traceparent else {})
