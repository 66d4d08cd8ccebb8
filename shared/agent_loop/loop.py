"""The agent loop: a model, what it wants done, the model again, until there is an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shared.agent import Context, Reply
from shared.agent_loop.calls.actions import CUT_OFF, Action, Callables, parse_native_calls
from shared.agent_loop.calls.held import unfinished_from
from shared.agent_loop.calls.written import parse_written_calls
from shared.agent_loop.carrying_out import ActionResult, CarryingOut, Record, truncate
from shared.agent_loop.grants import Grants
from shared.agent_loop.mcp_tools import AgentTools
from shared.agent_loop.peers import Peers
from shared.agent_loop.prompt import ToolNotation, answer_in, delegating, reply_format, system_prompt, tool_names
from shared.agent_loop.sampling import sampling_of
from shared.agent_loop.tool_mode import ToolMode
from shared.agent_loop.voice import Voice
from shared.contracts import Missing, Usage
from shared.conversation import ASKING, CUT, UNANSWERED, Ask, Message
from shared.errors import LimitReached, ModelFailed
from shared.limits.run_budget import Budget
from shared.models.model import LanguageModel
from shared.models.servers.turns import ModelReply, Sampling, ToolSpec
from shared.recording.tape import read

CONTEXT_MESSAGES = 6  # go along with a delegation, as in KAOS
LATE_SECONDS, LATE_SHARE = 0.5, 0.1  # of the time left, at the most, is kept from the model
HELD_TOKENS = 512  # of a reply that is held to a schema: a grammar allows blanks without an end
SHOWN_CHARACTERS = 2_000  # of each result, where the model gives no answer


class Loop:
    """One agent's way to an answer; safe to run many times at once.

    `record` gets events (KAOS's types): `tool_call`, `tool_result`, `delegation_request`, `delegation_response`,
    `delegation_error` and `error`, each with its content and the session. A delegation that may not be is a
    `delegation_error`, never a request. `tool_mode` is shared by all runs, which learn from each other.
    """

    def __init__(
        self,
        *,
        name: str,
        instructions: str,
        models: LanguageModel,
        peers: Peers,
        tools: AgentTools | None,
        max_steps: int,
        record: Record,
        context_messages: int = CONTEXT_MESSAGES,
        tool_mode: ToolMode | None = None,
    ) -> None:
        self.name = name
        self._instructions = instructions
        self._models = models
        self._peers = peers
        self._tools = tools
        self._max_steps = max_steps
        self._record = record
        self._context_messages = context_messages
        self._tool_mode = tool_mode or ToolMode("auto" if models.native_tools else "string")

    async def run(self, ask: Ask, ctx: Context, history: Sequence[Message] = ()) -> Reply:
        """The answer to a conversation, within `ctx.envelope`; `history` is what is remembered from before it.

        Its words go out through `ctx.say` as the model says them. Raises `ModelFailed`, and `LimitReached` when the
        calls or tokens are spent before there is an answer.
        """
        run = _Run(self, ask, ctx, history)
        try:
            return await run.answer()
        except (ModelFailed, LimitReached) as exc:
            exc.usage = run.usage
            raise


class _Run:
    """One run of a loop."""

    def __init__(self, loop: Loop, ask: Ask, ctx: Context, history: Sequence[Message]) -> None:
        self._loop = loop
        self._ask = ask
        self._ctx = ctx
        self._model = loop._models.for_request(ask.mocks)
        self._budget = Budget(ctx.envelope)
        self._system = "\n\n".join(m.content.strip() for m in ask.messages if m.role == "system").strip()
        self._said = [*history, *(m for m in ask.messages if m.role != "system")]
        self._told: ToolNotation = "native"
        self._sampling = sampling_of(ask.options)

    @property
    def usage(self) -> Usage:
        return self._budget.usage

    async def answer(self) -> Reply:
        known = await self._callables()
        doing = self._carrying_out(known)
        calls = bool(known.specs) or self._loop._tools is not None  # also while its tools are away
        voice = Voice(self._ctx.say, known=known if calls else None)
        if known.specs and not self._model.scripted:
            told = await self._loop._tool_mode.told(seconds=self._ctx.seconds_left())
            self._told = read("tool_mode", lambda: told)
        self._sampling = replace(self._sampling, exact=bool(known.specs))
        stuck = late = False
        for step in range(self._loop._max_steps):
            last = step > 0 and (stuck or step == self._loop._max_steps - 1)
            try:
                turn = await self._think([] if last else list(known.specs.values()), voice, last=last)
            except ModelFailed as failure:
                if not isinstance(failure.__cause__, TimeoutError) or not (begun := voice.heard):
                    raise
                turn, late = ModelReply(begun, usage=failure.usage, cut=True), True  # what it has said by now is kept
            actions, half = _parse_calls(turn, known, plain=calls)
            if not actions:
                held = self._told == "schema" and not last and known.specs
                await voice.end(answer=True, instead=answer_in(turn.text) if held else None, without=half)
                missing = [*self._away(), *doing.missing(), *self._cut_off(turn)]
                return Reply(output=voice.said, usage=self.usage, missing=missing)
            await voice.end(answer=False)
            if last or late:
                stuck = stuck or late
                break
            stuck = self._told == "schema" or not any(doing.is_new(action) for action in actions)
            self._hear(turn, await doing.do(actions))
        return await self._given_up(voice, doing, known, stuck=stuck)

    async def _callables(self) -> Callables:
        """What the model may call: the tools that are listed, and the agents in the access of this one and its task."""
        loop, may_call = self._loop, self._ctx.envelope.may_call
        tools = list(await loop._tools.specs()) if loop._tools else []
        described = read("peers", lambda: dict(loop._peers.described()))
        peers = {t: name for t, name in tool_names(loop._peers.names()).items() if not may_call or name in may_call}
        asks = [delegating(name, described.get(name, ""), tool=tool) for tool, name in peers.items()]
        return Callables([*(tool for tool in tools if tool.name not in peers), *asks], peers)

    def _carrying_out(self, known: Callables) -> CarryingOut:
        loop, said = self._loop, self._said
        trusted = [loop._instructions, self._system, *(m.content for m in said if m.role in ASKING)]
        for text in self._ask.quoted:
            trusted = [words.replace(text, "") for words in trusted]
        agents = loop._peers.names()
        grants = Grants(me=loop.name, envelope=self._ctx.envelope, agents=agents, known=known, trusted=trusted)
        for text in (*self._ask.quoted, *(m.content for m in said if m.role == "tool")):
            grants.read(text)
        return CarryingOut(
            me=loop.name,
            ctx=self._ctx,
            budget=self._budget,
            grants=grants,
            peers=loop._peers,
            tools=loop._tools,
            record=loop._record,
            asked=tuple(said),
            context=loop._context_messages,
            session=self._ask.session,
        )

    async def _think(self, specs: Sequence[ToolSpec], voice: Voice, *, last: bool) -> ModelReply:
        """The next reply. A server that refuses tools is asked again at once, with the tools in words."""
        try:
            return await self._turn(specs, voice, last=last)
        except ModelFailed as failure:
            if not (self._told == "native" and specs and self._loop._tool_mode.refused(failure)):
                raise
        self._told = "string"
        return await self._turn(specs, voice, last=last)

    async def _turn(self, specs: Sequence[ToolSpec], voice: Voice, *, last: bool) -> ModelReply:
        loop = self._loop
        prompt = system_prompt(
            loop.name, loop._instructions, specs=specs, told=self._told, system=self._system, last=last
        )
        characters = len(prompt) + sum(len(m.content) for m in self._said)
        reserved = self._budget.reserve_for_model(characters)
        used = Usage(calls=1)
        try:
            turn = await self._model.turn(
                instructions=prompt,
                messages=self._said,
                tools=specs if self._told == "native" else [],
                sampling=self._drawn(specs),
                seconds=self._seconds(),
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

    def _drawn(self, specs: Sequence[ToolSpec]) -> Sampling:
        """As the asker wants it; a reply that may be a call in words has no format of the asker's."""
        wished = self._sampling
        if not specs or self._told == "native":
            return wished
        if self._told == "string":
            return replace(wished, response_format=None)
        most = min(wished.max_tokens or HELD_TOKENS, HELD_TOKENS)
        return replace(wished, response_format=reply_format(specs), max_tokens=most)

    def _seconds(self) -> float:
        """What a reply may take: what is left, but for a moment in which what was said by then becomes the answer."""
        left = self._ctx.seconds_left()
        return left - min(LATE_SECONDS, LATE_SHARE * left)

    def _hear(self, turn: ModelReply, results: Sequence[ActionResult]) -> None:
        """What came of a reply becomes part of the conversation: beside each call, else as one message."""
        ids = {result.action.id for result in results}
        self._said.append(Message("assistant", turn.text, tool_calls=tuple(c for c in turn.calls if c.id in ids)))
        for result in results:
            if result.action.id is not None:
                self._said.append(Message("tool", result.text, tool_call_id=result.action.id))
        if unasked := [result.text for result in results if result.action.id is None]:
            self._said.append(Message("user", "\n\n".join(unasked)))

    def _away(self) -> list[Missing]:
        away = self._loop._tools.away() if self._loop._tools else {}
        return [Missing(what=f"tools of {server}", why=why) for server, why in away.items()]

    def _cut_off(self, turn: ModelReply) -> list[Missing]:
        why = f"The model of {self._loop.name!r} reached its token or time limit."
        return [Missing(what=f"{CUT}the answer", why=why)] if turn.cut else []

    async def _given_up(self, voice: Voice, doing: CarryingOut, known: Callables, *, stuck: bool) -> Reply:
        """No answer in words: why, and what was found, which the model did not put into any."""
        why = f"Reached maximum reasoning steps ({self._loop._max_steps})"
        why = "The model gave no answer in words." if stuck else why
        found = [f"{name}: {truncate(text, SHOWN_CHARACTERS)}" for name, text in doing.found.items()]
        shown = [text for text in found if not parse_written_calls(text, known, plain=True)]
        await voice.say("\n\n".join([why, *shown]))
        missing = [*self._away(), *doing.missing(), Missing(what=UNANSWERED, why=why)]
        return Reply(output=voice.said, usage=self.usage, missing=missing)


def _parse_calls(turn: ModelReply, known: Callables, *, plain: bool) -> tuple[list[Action], int]:
    """What a reply asks for; of an answer that was cut, how many of its last characters are half a call."""
    actions = parse_native_calls(turn.calls, known, cut=turn.cut)
    actions = actions or parse_written_calls(turn.text, known, plain=plain, cut=turn.cut)
    if actions or not (turn.cut and plain):
        return actions, 0
    words = unfinished_from(turn.text, known)
    return ([], len(turn.text) - words) if turn.text[:words].strip() else ([Action("invalid", why=CUT_OFF)], 0)
