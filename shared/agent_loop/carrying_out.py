"""What a model's reply asks for, carried out: within its grants and its budget, all of it at once, every event told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from pydantic import JsonValue
from pydantic_core import to_json

from shared.agent import Context
from shared.agent_loop.calls.actions import PREFIX, Action
from shared.agent_loop.grants import COPIED, NAMED, Grants
from shared.agent_loop.mcp_tools import AgentTools
from shared.agent_loop.peers import Delegated, Delegation, Peers
from shared.contracts import NO_USAGE, Missing, Usage
from shared.conversation import ASKING, Message
from shared.errors import LimitReached, MusterError, StepFailure, WorkerFault
from shared.limits.envelope import narrow
from shared.limits.run_budget import Budget, Reserved
from shared.models.servers.fence import fence
from shared.telemetry.genai import trace_tool

MOST_A_STEP = 16
MOST_AT_ONCE = 8
DELEGATION_SECONDS = 60.0  # of one delegation, as KAOS has it
ANSWER_SHARE = 0.2  # of the time left stays for the answer after a delegation, at most so many seconds:
ANSWER_SECONDS = 5.0
RESULT_CHARACTERS = 50_000  # of one result, in the prompt and in its event
CONTEXT_CHARACTERS = 8_000  # of each message that goes along with a delegation

Record = Callable[[str, JsonValue, str | None], Awaitable[None]]


@dataclass(frozen=True)
class ActionResult:
    """What an action gave: words for the model; `gave` is what others said, empty if they said nothing."""

    action: Action
    text: str
    gave: str = ""
    failed: bool = False


@dataclass
class CarryingOut:
    """The actions of one run. `me` is the agent, `asked` the conversation as it came in, of which the last `context`
    messages go along with a delegation; `found` is what others gave so far, by their names, and `lost` what failed.
    """

    me: str
    ctx: Context
    budget: Budget
    grants: Grants
    peers: Peers
    tools: AgentTools | None
    record: Record
    asked: Sequence[Message]
    context: int
    session: str | None
    found: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    _before: dict[str, str] = field(default_factory=dict)  # what was said to each action that was asked for

    def is_new(self, action: Action) -> bool:
        """Whether nothing came of it yet: what was asked for is not asked for again."""
        return action.kind != "nothing" and action.key not in self._before

    def missing(self) -> list[Missing]:
        """What was asked for and did not come."""
        return [Missing(what=what, why=why) for what, why in self.lost.items()]

    async def do(self, actions: Sequence[Action]) -> list[ActionResult]:
        """Does what a reply asks for, each thing once; what is too much is refused."""
        doing = list(actions[:MOST_A_STEP])
        first = {action.key: action for action in reversed(doing) if self.is_new(action)}
        fresh = [action for action in doing if first.get(action.key) is action]
        places, shares = asyncio.Semaphore(MOST_AT_ONCE), self._shares(fresh)

        async def one(action: Action, share: Reserved | str | None) -> ActionResult:
            async with places:
                return await self._done(action, share)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(one(a, s), name=f"{self.ctx.envelope.task}:{a.kind}:{a.name}")
                    for a, s in zip(fresh, shares, strict=True)
                ]
        except ExceptionGroup as failures:  # a memory that cannot be written, say: one name is enough
            raise failures.exceptions[0] from failures
        for result in (done := [task.result() for task in tasks]):
            self._before[result.action.key] = result.text
            self._note(result)
        given = {id(result.action): result for result in done}
        results = [given.get(id(action)) or self._again(action) for action in doing]
        if (more := len(actions) - len(doing)) > 0:
            said = f"{more} more were refused: at most {MOST_A_STEP} can be done in one step."
            await self._tell("delegation_error", {"agent": actions[MOST_A_STEP].name, "error": said})
            results[-1] = replace(results[-1], text=f"{results[-1].text}\n{said}")
        return results

    def _again(self, action: Action) -> ActionResult:
        if action.kind == "nothing":
            return ActionResult(action, "Nothing was done. Answer now.")
        return ActionResult(action, f"This was asked for already, and is not done again. {self._before[action.key]}")

    def _note(self, result: ActionResult) -> None:
        """What the run knows from a result: texts of others, what they gave, who failed."""
        action = result.action
        if result.gave:
            self.grants.read(result.gave)
        what = f"{'agent' if action.kind == 'delegate' else 'tool'} {action.name}"
        if result.failed:
            self.lost[what] = result.gave or result.text
        elif result.gave:
            self.found[action.name] = result.gave
            self.lost.pop(what, None)

    def _shares(self, actions: Sequence[Action]) -> list[Reserved | str | None]:
        """What each may spend, set aside before any begins; why not, where it may not be."""
        refused = [self.grants.refusal(action) if action.kind in ("delegate", "tool") else "" for action in actions]
        left = sum(1 for action, why in zip(actions, refused, strict=True) if action.kind == "delegate" and not why)
        shares = list[Reserved | str | None]()
        for action, why in zip(actions, refused, strict=True):
            if why or action.kind != "delegate":
                shares.append(why or None)
                continue
            try:
                shares.append(self.budget.reserve_for_delegation(sharers=left))
            except LimitReached as exc:
                shares.append(exc.detail)
            left -= 1
        return shares

    async def _done(self, action: Action, share: Reserved | str | None) -> ActionResult:
        if action.kind == "delegate" and isinstance(share, Reserved):
            self.grants.did(action)
            return await self._delegate(action, share)
        if action.kind == "tool" and share is None:
            self.grants.did(action)
            return await self._call(action)
        why = share if isinstance(share, str) else action.why
        is_order = why in (COPIED, NAMED)
        if action.kind == "tool" or not (action.kind == "delegate" or _delegates(action)):
            await self._tell("error", f"Tool {action.name!r} was not called: {why}")
            return ActionResult(action, f"Tool execution failed: {why}", failed=is_order)
        await self._tell("delegation_error", {"agent": action.name, "task": action.task, "error": why})
        return ActionResult(action, why if action.kind == "invalid" else f"Delegation failed: {why}", failed=is_order)

    async def _delegate(self, action: Action, share: Reserved) -> ActionResult:
        left = self.ctx.seconds_left()
        seconds = min(DELEGATION_SECONDS, left - min(ANSWER_SECONDS, ANSWER_SHARE * left))
        child = narrow(
            self.ctx.envelope,
            agent=self.me,
            step=f"{self.ctx.envelope.step}.{uuid4().hex[:8]}",
            milliseconds=max(1, int(seconds * 1000)),
            calls=None if share.most_calls is None else share.most_calls - 1,
            tokens=share.most_tokens,
        )
        arguments: JsonValue = {"task": action.task}
        asked: dict[str, JsonValue] = {"agent": action.name, "task": action.task}  # KAOS's, then the newer KAOS's
        asked["tool"], asked["arguments"] = f"{PREFIX}{action.name}", arguments
        await self._tell("delegation_request", asked)
        await self.ctx.progress(f"{action.name} is asked")
        used, booked = Usage(calls=1), False
        try:
            delegation = Delegation(action.name, action.task, child, self._context(), self.session)
            with trace_tool(f"{PREFIX}{action.name}", action.id):
                done: Delegated = await self.peers.ask(delegation, self.ctx)
            used, booked = done.usage, done.booked
        except MusterError as exc:
            if isinstance(exc, StepFailure) and exc.usage is not NO_USAGE:
                used, booked = exc.usage, exc.booked
            await self._tell("delegation_error", {**asked, "error": exc.detail})
            said = fence(f"[Delegation failed: {exc.detail}]")
            return ActionResult(action, f"Agent response: {said}", gave=exc.detail, failed=True)
        finally:
            self.budget.settle(share, used, booked=booked)
        text = truncate(done.text)
        await self._tell("delegation_response", {**asked, "response": text, "result": text})
        return ActionResult(action, f"Agent response: {fence(text)}", gave=text)

    async def _call(self, action: Action) -> ActionResult:
        given: dict[str, JsonValue] = dict(action.arguments)
        await self._tell("tool_call", {"tool": action.name, "arguments": given})
        try:
            if self.tools is None:
                raise WorkerFault(f"There is no tool {action.name!r}.")
            with trace_tool(action.name, action.id):
                result = await self.tools.call(action.name, given, seconds=self.ctx.seconds_left())
        except MusterError as exc:
            await self._tell("error", f"Tool {action.name!r} failed: {exc.detail}")
            return ActionResult(action, f"Tool execution failed: {fence(exc.detail)}", gave=exc.detail, failed=True)
        text = truncate(result if isinstance(result, str) else to_json(result).decode())
        kept: JsonValue = result if len(text) < RESULT_CHARACTERS else {"result": text}
        await self._tell("tool_result", {"tool": action.name, "result": kept})
        return ActionResult(action, f"Tool result: {fence(text)}", gave=text)

    def _context(self) -> tuple[Message, ...]:
        """What goes along with a delegation: the last turns of the conversation, without what this run has read."""
        said = [m for m in self.asked if m.content and m.role in ("assistant", *ASKING)]
        return tuple(Message(m.role, truncate(m.content, CONTEXT_CHARACTERS)) for m in said[len(said) - self.context :])

    async def _tell(self, type: str, content: JsonValue) -> None:
        await self.record(type, content, self.session)


def truncate(text: str, most: int = RESULT_CHARACTERS) -> str:
    """The beginning of a text that is too long, which says so."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} characters left out)"


def _delegates(action: Action) -> bool:
    """Whether an action that is none was meant to be a delegation."""
    return action.name.startswith(PREFIX) or "delegation" in action.why
