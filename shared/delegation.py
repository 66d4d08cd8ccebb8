"""The agent loop: a model, what it wants done, the model again, until there is an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from pydantic import JsonValue
from pydantic_core import to_json

from shared.actions import PREFIX, Action, called, written
from shared.answering import ASKING, CUT, UNANSWERED, Ask, Message
from shared.budget import Budget, Reserved
from shared.contracts import NO_USAGE, Missing, Usage
from shared.definition import Context, Reply
from shared.envelope import MAX_DEPTH, narrowed
from shared.errors import LimitReached, ModelFailed, MusterError, StepFailure, WorkerFault
from shared.models.fence import fenced
from shared.models.model import LanguageModel
from shared.models.turns import ToolSpec, Turn
from shared.peers import Delegated, Delegation, Peers
from shared.prompting import delegating, instructed, tool_names
from shared.tools import Tools
from shared.voice import Voice

MOST_A_STEP = 16
MOST_AT_ONCE = 8
DELEGATION_SECONDS = 60.0  # of one delegation, as KAOS has it
ANSWER_SHARE = 0.2  # of the time left stays for the answer after a delegation, at most so many seconds:
ANSWER_SECONDS = 5.0
RESULT_CHARACTERS = 50_000  # of one result, in the prompt and in its event
CONTEXT_MESSAGES = 6  # go along with a delegation, as in KAOS
CONTEXT_CHARACTERS = 8_000  # of each of them

Record = Callable[[str, JsonValue, str | None], Awaitable[None]]


@dataclass(frozen=True)
class _Result:
    """What an action gave: words for the model."""

    action: Action
    text: str


class Loop:
    """One agent's way to an answer; safe to run many times at once.

    `record` gets events (KAOS's types): `tool_call`, `tool_result`, `delegation_request`, `delegation_response`,
    `delegation_error` and `error`, each with its content and the session. A delegation that may not be is a
    `delegation_error`, never a request.
    """

    def __init__(
        self,
        *,
        name: str,
        instructions: str,
        models: LanguageModel,
        peers: Peers,
        tools: Tools | None,
        max_steps: int,
        record: Record,
        context_messages: int = CONTEXT_MESSAGES,
    ) -> None:
        self.name = name
        self._instructions = instructions
        self._models = models
        self._peers = peers
        self._tools = tools
        self._max_steps = max_steps
        self._record = record
        self._context_messages = context_messages

    async def run(self, ask: Ask, ctx: Context, history: Sequence[Message] = ()) -> Reply:
        """The answer to a conversation, within `ctx.envelope`; `history` is what is remembered from before it.

        Its words go out through `ctx.say` as the model says them. Raises `ModelFailed`, and `LimitReached` when the
        calls or tokens are spent before there is an answer.
        """
        run = _Run(self, ask, ctx)
        system = "\n\n".join(m.content.strip() for m in ask.messages if m.role == "system").strip()
        try:
            return await run.answer([*history, *(m for m in ask.messages if m.role != "system")], system)
        except (ModelFailed, LimitReached) as exc:
            exc.usage = run.usage
            raise


class _Run:
    """One run of a loop."""

    def __init__(self, loop: Loop, ask: Ask, ctx: Context) -> None:
        self._loop = loop
        self._ask = ask
        self._ctx = ctx
        self._model = loop._models.for_request(ask.mocks)
        self._budget = Budget(ctx.envelope)
        self._peers = tool_names(loop._peers.names())
        self._said: list[Message] = []

    @property
    def usage(self) -> Usage:
        return self._budget.usage

    async def answer(self, messages: list[Message], system: str) -> Reply:
        loop, self._said = self._loop, messages
        tools = list(await loop._tools.specs()) if loop._tools else []
        known = loop._peers.described()
        asks = [delegating(name, known.get(name, ""), tool=tool) for tool, name in self._peers.items()]
        specs = [*(tool for tool in tools if tool.name not in self._peers), *asks]
        native = self._model.native_tools
        prompt = instructed(loop.name, loop._instructions, specs=specs, native=native, system=system)
        acts = bool(specs)
        voice = Voice(self._ctx.say, acts=acts)
        for _ in range(loop._max_steps):
            turn = await self._think(prompt, specs if native else [], voice)
            actions = called(turn.calls, self._peers) or written(turn.text, self._peers, plain=acts)
            if not actions:
                await voice.end(answer=True)
                return Reply(output=voice.said, usage=self._budget.usage, missing=self._cut_off(turn))
            await voice.end(answer=False)
            await self._act(turn, actions)
        why = f"Reached maximum reasoning steps ({loop._max_steps})"
        await voice.say(why)
        return Reply(output=voice.said, usage=self._budget.usage, missing=[Missing(what=UNANSWERED, why=why)])

    def _cut_off(self, turn: Turn) -> list[Missing]:
        why = f"The model of {self._loop.name!r} reached its limit of tokens."
        return [Missing(what=f"{CUT}the answer", why=why)] if turn.cut else []

    async def _think(self, prompt: str, specs: Sequence[ToolSpec], voice: Voice) -> Turn:
        characters = len(prompt) + sum(len(m.content) for m in self._said)
        reserved = self._budget.for_model(characters)
        used = Usage(calls=1)
        try:
            turn = await self._model.turn(
                instructions=prompt,
                messages=self._said,
                tools=specs,
                seconds=self._ctx.seconds_left(),
                max_tokens=reserved.most_tokens,
                hear=voice.hear,
            )
            used = turn.usage
            return turn
        except ModelFailed as failure:
            used = failure.usage
            raise
        finally:
            self._budget.settle(reserved, used)

    async def _act(self, turn: Turn, actions: Sequence[Action]) -> None:
        """Does what a reply asks for, all of it at once, and tells the model what came of it."""
        before, doing = tuple(self._said), list(actions[:MOST_A_STEP])
        places = asyncio.Semaphore(MOST_AT_ONCE)
        shares = self._shares(doing)

        async def one(action: Action, share: Reserved | str | None) -> _Result:
            async with places:
                return _Result(action, await self._done(action, share, before))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(one(a, s), name=f"{self._ctx.envelope.task}:{a.kind}:{a.name}")
                    for a, s in zip(doing, shares, strict=True)
                ]
        except ExceptionGroup as failures:  # a memory that cannot be written, say: one name is enough
            raise failures.exceptions[0] from failures
        results = [task.result() for task in tasks]
        if (more := len(actions) - len(doing)) > 0:
            said = f"{more} more were refused: at most {MOST_A_STEP} can be done in one step."
            first = actions[MOST_A_STEP]
            await self._tell("delegation_error", {"agent": first.name, "error": said})
            results[-1] = replace(results[-1], text=f"{results[-1].text}\n{said}")
        kept = tuple(call for call in turn.calls if call.id in {action.id for action in doing})
        self._said.append(Message("assistant", turn.text, tool_calls=kept))
        for result in results:
            if result.action.id is not None:
                self._said.append(Message("tool", result.text, tool_call_id=result.action.id))
        if unasked := [result.text for result in results if result.action.id is None]:
            self._said.append(Message("user", "\n\n".join(unasked)))

    def _shares(self, actions: Sequence[Action]) -> list[Reserved | str | None]:
        """What each delegation may spend, set aside before any begins; why not, where it may not be."""
        refused = {n: self._refusal(a) for n, a in enumerate(actions) if a.kind == "delegate"}
        left, shares = sum(1 for why in refused.values() if not why), list[Reserved | str | None]()
        for number in range(len(actions)):
            why = refused.get(number)
            if number not in refused or why:
                shares.append(why)
                continue
            try:
                shares.append(self._budget.for_delegation(sharers=left))
            except LimitReached as exc:
                shares.append(exc.detail)
            left -= 1
        return shares

    def _refusal(self, action: Action) -> str:
        """Why a delegation may not be; empty if it may."""
        envelope, agent, names = self._ctx.envelope, action.name, self._loop._peers.names()
        if agent == self._loop.name:
            return "an agent cannot delegate to itself."
        if agent in envelope.ancestry:
            return f"agent {agent!r} is already asking: {' > '.join(envelope.ancestry)}."
        if agent not in names or (envelope.may_call and agent not in envelope.may_call):
            return f"Sub-agent {agent!r} not found. Available: {list(names)}"
        if envelope.depth >= MAX_DEPTH:
            return f"delegation ends at depth {MAX_DEPTH}."
        if self._loop.name in envelope.ancestry:
            return f"agent {self._loop.name!r} is already asking: {' > '.join(envelope.ancestry)}."
        return ""

    async def _done(self, action: Action, share: Reserved | str | None, before: tuple[Message, ...]) -> str:
        if action.kind == "tool":
            return await self._tool(action)
        if action.kind == "delegate" and isinstance(share, Reserved):
            return await self._delegate(action, share, before)
        if action.kind == "nothing":
            return "Nothing was done. Answer now."
        why = share if isinstance(share, str) else action.why
        content: dict[str, JsonValue] = {"agent": action.name, "task": action.task, "error": why}
        if action.kind == "invalid" and not (action.name.startswith(PREFIX) or "delegation" in why):
            await self._tell("error", f"Tool {action.name!r} was not called: {why}")
            return f"Tool execution failed: {why}"
        await self._tell("delegation_error", content)
        return why if action.kind == "invalid" else f"Delegation failed: {why}"

    async def _delegate(self, action: Action, share: Reserved, before: tuple[Message, ...]) -> str:
        left = self._ctx.seconds_left()
        seconds = min(DELEGATION_SECONDS, left - min(ANSWER_SECONDS, ANSWER_SHARE * left))
        child = narrowed(
            self._ctx.envelope,
            agent=self._loop.name,
            step=f"{self._ctx.envelope.step}.{uuid4().hex[:8]}",
            milliseconds=max(1, int(seconds * 1000)),
            calls=None if share.most_calls is None else share.most_calls - 1,
            tokens=share.most_tokens,
        )
        arguments: JsonValue = {"task": action.task}
        asked: dict[str, JsonValue] = {"agent": action.name, "task": action.task}  # KAOS's, then the newer KAOS's
        asked["tool"], asked["arguments"] = f"{PREFIX}{action.name}", arguments
        await self._tell("delegation_request", asked)
        await self._ctx.progress(f"{action.name} is asked")
        used, booked = Usage(calls=1), False
        try:
            delegation = Delegation(action.name, action.task, child, self._context(before), self._ask.session)
            done: Delegated = await self._loop._peers.ask(delegation, self._ctx)
            used, booked = done.usage, done.booked
        except MusterError as exc:
            if isinstance(exc, StepFailure) and exc.usage is not NO_USAGE:
                used, booked = exc.usage, exc.booked
            await self._tell("delegation_error", {**asked, "error": exc.detail})
            return f"Agent response: {fenced(f'[Delegation failed: {exc.detail}]')}"
        finally:
            self._budget.settle(share, used, booked=booked)
        text = _cut(done.text)
        await self._tell("delegation_response", {**asked, "response": text, "result": text})
        return f"Agent response: {fenced(text)}"

    async def _tool(self, action: Action) -> str:
        assert action.kind == "tool"
        given: dict[str, JsonValue] = dict(action.arguments)
        await self._tell("tool_call", {"tool": action.name, "arguments": given})
        try:
            if self._loop._tools is None:
                raise WorkerFault(f"There is no tool {action.name!r}.")
            result = await self._loop._tools.call(action.name, given, seconds=self._ctx.seconds_left())
        except MusterError as exc:
            await self._tell("error", f"Tool {action.name!r} failed: {exc.detail}")
            return f"Tool execution failed: {fenced(exc.detail)}"
        text = _cut(result if isinstance(result, str) else to_json(result).decode())
        kept: JsonValue = result if len(text) < RESULT_CHARACTERS else {"result": text}
        await self._tell("tool_result", {"tool": action.name, "result": kept})
        return f"Tool result: {fenced(text)}"

    def _context(self, before: tuple[Message, ...]) -> tuple[Message, ...]:
        """What goes along with a delegation: the last turns, without tool traffic."""
        said = [m for m in before if m.content and m.role in ("assistant", *ASKING)]
        count = self._loop._context_messages
        return tuple(Message(m.role, _cut(m.content, CONTEXT_CHARACTERS)) for m in said[-count:]) if count else ()

    async def _tell(self, type: str, content: JsonValue) -> None:
        await self._loop._record(type, content, self._ask.session)


def _cut(text: str, most: int = RESULT_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} characters left out)"
