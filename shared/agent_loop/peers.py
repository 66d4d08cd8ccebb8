"""Agents that an agent may ask: at addresses of their own, over KAOS's wire, or through the coordinator."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import httpx
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from shared.agent import Context
from shared.agent_loop.peer_calls import Completion, DelegationAnswer, Used, post
from shared.client import client as transport
from shared.contracts import MAX_RESULT_BYTES, Usage
from shared.conversation import Message
from shared.errors import AgentRefused, BadResponse, Unavailable
from shared.http_failures import preview
from shared.limits.envelope import HEADER, HOP, Envelope, encode_hop, seal
from shared.telemetry.spans import get_header

CARD_SECONDS = 5.0
CARD_AGAIN_SECONDS = 30.0  # until a card is asked for again; what is known meanwhile stays
FIRST_SECONDS = 3.0  # after the opening: so long the first cards are waited for, and asked for again
PAUSE_SECONDS = 0.25  # between two tries of an agent that is away, within the first seconds
CARDS = ("/.well-known/agent", "/.well-known/agent-card.json")
ASKED_AS = "Muster-Agent"  # the id of the agent whose key has sealed the envelope


@dataclass(frozen=True)
class Delegation:
    """A task for another agent. `envelope` is what it may spend; `messages` what was said before, newest last."""

    agent: str
    task: str
    envelope: Envelope
    messages: tuple[Message, ...] = ()
    session: str | None = None


@dataclass(frozen=True)
class Delegated:
    """What came back; `booked` usage was counted by the coordinator already."""

    text: str
    usage: Usage
    booked: bool = False


class Peers(Protocol):
    """Whom an agent may ask."""

    def names(self) -> Sequence[str]:
        """Everybody in its `access`."""
        ...

    def described(self) -> Mapping[str, str]:
        """What is known of them now, by name; never waits, and looks again in the background."""
        ...

    async def ask(self, delegation: Delegation, ctx: Context) -> Delegated:
        """What the agent answers; raises a `StepFailure`, `LimitReached` or `Unavailable`."""
        ...


class NoPeers:
    """Nobody."""

    def names(self) -> Sequence[str]:
        return ()

    def described(self) -> Mapping[str, str]:
        return {}

    async def ask(self, delegation: Delegation, ctx: Context) -> Delegated:
        raise AgentRefused(f"There is no agent {delegation.agent!r}.")


class _Cards:
    """Descriptions by name, looked up in the background; `look` makes one try and writes down what it finds."""

    def __init__(self, look: Callable[[], Awaitable[None]], wanted: int, now: Callable[[], float]) -> None:
        self._look = look
        self._wanted = wanted
        self._now = now
        self._opened = self._at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self.known: dict[str, str] = {}

    def open(self) -> None:
        self._opened = self._now()
        self.refresh()

    @property
    def settled(self) -> bool:
        return len(self.known) >= self._wanted or self._now() - self._opened >= FIRST_SECONDS

    def refresh(self) -> None:
        if self._now() - self._at >= CARD_AGAIN_SECONDS and (self._task is None or self._task.done()):
            self._at = self._now()
            self._task = asyncio.create_task(self._look_around(), name="peers:cards")

    async def _look_around(self) -> None:
        await self._look()
        while not self.settled:
            await asyncio.sleep(PAUSE_SECONDS)
            await self._look()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class _Reached:
    """What peers need whichever way they are reached: connections, and what their cards say."""

    def __init__(
        self,
        look: Callable[[], Awaitable[None]],
        wanted: int,
        inner: httpx.AsyncBaseTransport | None,
        now: Callable[[], float],
    ) -> None:
        self._inner = inner
        self._cards = _Cards(look, wanted, now)

    async def __aenter__(self) -> Self:
        self._http = transport.make_client(policy="agents", max_bytes=MAX_RESULT_BYTES, transport=self._inner)
        self._cards.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cards.close()
        await self._http.aclose()

    @property
    def settled(self) -> bool:
        """Whether every agent's card is known, or was waited for long enough."""
        return self._cards.settled

    def described(self) -> Mapping[str, str]:
        self._cards.refresh()
        return self._cards.known


class DirectPeers(_Reached):
    """Peers by name and base URL, asked at `/v1/chat/completions` (KAOS's wire); to be opened with `async with`.

    `inner` replaces the network in tests.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        *,
        inner: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._urls = {name: url.rstrip("/") for name, url in urls.items()}
        super().__init__(self._look, len(self._urls), inner, now)

    def names(self) -> Sequence[str]:
        return tuple(self._urls)

    async def ask(self, delegation: Delegation, ctx: Context) -> Delegated:
        """Sends the task as the last message, with the role `task-delegation`; the envelope's limits go with it."""
        said = [{"role": m.role, "content": m.content} for m in delegation.messages]
        body: dict[str, Any] = {
            "model": delegation.agent,
            "messages": [*said, {"role": "task-delegation", "content": delegation.task}],
            "stream": False,
        }
        headers = {"Content-Type": "application/json", HOP: encode_hop(delegation.envelope)}
        if trace := get_header(ctx.ask.traceparent if ctx.ask is not None else None):
            headers["traceparent"] = trace
        url = f"{self._urls[delegation.agent]}/v1/chat/completions"
        answer = await post(self._http, url, to_json(body), headers, seconds=delegation.envelope.milliseconds / 1000)
        try:
            completion = Completion.model_validate(answer)
            text = completion.choices[0].message.content
        except (ValidationError, IndexError) as exc:
            raise BadResponse(f"The agent's response is not a chat completion: {preview(to_json(answer))}") from exc
        used = completion.usage or Used()
        tokens = max(0, used.prompt_tokens or 0), max(0, used.completion_tokens or 0)
        return Delegated(text or "", Usage(calls=1, input_tokens=tokens[0], output_tokens=tokens[1]))

    async def _look(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name in self._urls if self.settled else self._urls.keys() - self._cards.known.keys():
                group.create_task(self._card(name), name=f"card:{name}")

    async def _card(self, name: str) -> None:
        with contextlib.suppress(httpx.HTTPError, ValueError, TimeoutError):
            async with asyncio.timeout(CARD_SECONDS):
                for path in CARDS:
                    answer = await self._http.get(self._urls[name] + path, extensions={"deadline": CARD_SECONDS})
                    card = from_json(answer.content) if answer.is_success else None
                    if isinstance(card, dict) and isinstance(description := card.get("description"), str):
                        self._cards.known[name] = description
                        return


class CoordinatorPeers(_Reached):
    """Peers by name, asked through the coordinator, which keeps the ledger; to be opened with `async with`.

    `inner` replaces the network in tests.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        url: str,
        api_key: str | None = None,
        inner: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = tuple(names)
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        super().__init__(self._look, len(self._names), inner, now)

    def names(self) -> Sequence[str]:
        return self._names

    async def ask(self, delegation: Delegation, ctx: Context) -> Delegated:
        """Asks the coordinator, under the envelope that this agent's own step came with."""
        member = ctx.member
        if member is None:
            raise Unavailable("This worker is not registered yet.", retry_after=1)
        child = delegation.envelope
        body = to_json(
            {
                "agent": delegation.agent,
                "task": delegation.task,
                "step": child.step,
                "milliseconds": child.milliseconds,
                "calls": child.calls,
                "tokens": child.tokens,
                "messages": [{"role": m.role, "content": m.content} for m in delegation.messages],
                "session": delegation.session,
            }
        )
        headers = self._headers | {
            "Content-Type": "application/json",
            ASKED_AS: member.agent_id,
            HEADER: seal(ctx.envelope, key=member.key, body=body),
        }
        if trace := get_header():
            headers["traceparent"] = trace
        answer = await post(
            self._http, f"{self._url}/delegate", body, headers, seconds=delegation.envelope.milliseconds / 1000
        )
        try:
            done = DelegationAnswer.model_validate(answer)
        except ValidationError as exc:
            raise BadResponse(f"Cannot read the coordinator's response: {preview(to_json(answer))}") from exc
        return Delegated(done.response, done.usage, booked=done.booked)

    async def _look(self) -> None:
        with contextlib.suppress(httpx.HTTPError, ValueError):
            for path in ("/delegate", "/agents?limit=1000"):  # the second one of a coordinator of version 0.1
                answer = await self._http.get(
                    f"{self._url}{path}", headers=self._headers, extensions={"deadline": CARD_SECONDS}
                )
                if answer.is_success:
                    break
            found = from_json(answer.content) if answer.is_success else {}
            for agent in found.get("agents", ()) if isinstance(found, dict) else ():
                if agent.get("name") in self._names and agent.get("description"):
                    self._cards.known[agent["name"]] = agent["description"]
