"""The worker as a chat, for every protocol: a chat is a step, with the same limits and cancellation."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from uuid import uuid4

from pydantic_core import to_json

from shared.agent import Agent
from shared.contracts import StepError, StepRequest, StepResult
from shared.conversation import Ask, Delta, Final, Note, Piece, Skill, is_cut, spoken
from shared.errors import (
    AgentLost,
    BadInput,
    KeyReused,
    LimitReached,
    ModelFailed,
    MusterError,
    StepTimeout,
    WorkerFault,
)
from shared.limits.envelope import Envelope
from shared.worker.execution import Opened, Run
from shared.worker.steps import KEPT_RESULTS, Steps

CHAT_SECONDS = 300.0  # for an answer, when the caller sets no limit
STEP = "chat"
_NAMED: dict[str, type[MusterError]] = {e.type: e for e in (BadInput, LimitReached, ModelFailed, StepTimeout)}


class WorkerFace:
    """`shared.conversation.Face` of one worker; it answers to any model's name."""

    def __init__(self, agent: Agent, steps: Steps, get_opened: Callable[[], Opened]) -> None:
        self.name, self.description, self.version = agent.name, agent.description, agent.version
        self._agent = agent
        self._steps = steps
        self._get_opened = get_opened
        self._digests: OrderedDict[str, str] = OrderedDict()  # of what was asked under each key

    def skills(self) -> Sequence[Skill]:
        """The agent's own list, or its capabilities."""
        if self._agent.skills is not None:
            return self._agent.skills()
        return [Skill(id=c, name=c, description=self.description, tags=(c,)) for c in self._agent.capabilities]

    def models(self) -> Sequence[str]:
        """Its own name."""
        return [self.name]

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """Runs the agent on the question.

        Raises `AgentBusy` when it is full, `KeyReused`, `BadInput`, `StepTimeout`, `LimitReached`, `ModelFailed`, and
        `WorkerFault` with the agent's own reason.
        """
        opened = self._get_opened()
        self._check_key(ask)
        request = StepRequest(
            task_id=f"chat:{ask.key}" if ask.key else uuid4().hex,
            step_id=STEP,
            capability=next(iter(self._agent.capabilities), None),
            task_description=ask.text,
            input=ask.text,
        )
        if (kept := self._steps.replay(request)) is not None:
            yield _finish(kept, "")
            return
        run = self._steps.join(request, opened=opened, envelope=self._make_envelope(request, ask), ask=ask)
        run.watchers += 1
        try:
            async for piece in _follow(run):
                yield piece
        finally:
            if not ask.stays:
                self._steps.leave(run)

    def _check_key(self, ask: Ask) -> None:
        if ask.key is None:
            return
        asked = (ask.messages, ask.model, ask.session, ask.seconds, ask.mocks, ask.options)
        digest = hashlib.sha256(to_json(asked)).hexdigest()
        if self._digests.setdefault(ask.key, digest) != digest:
            raise KeyReused
        while len(self._digests) > KEPT_RESULTS:
            self._digests.popitem(last=False)

    def _make_envelope(self, request: StepRequest, ask: Ask) -> Envelope:
        milliseconds = int(1000 * min(ask.seconds or CHAT_SECONDS, CHAT_SECONDS))
        if ask.envelope is not None:  # what an agent may spend is about its own task, not about this one
            least = min(milliseconds, ask.envelope.milliseconds)
            return replace(ask.envelope, task=request.task_id, step=STEP, attempt=1, milliseconds=least)
        return Envelope(task=request.task_id, step=STEP, attempt=1, milliseconds=milliseconds)


async def _follow(run: Run) -> AsyncGenerator[Piece, None]:
    """What a run says, while it says it, and its end."""
    assert run.task is not None
    heard, noted = 0, None
    while True:
        changed = asyncio.create_task(run.changed.wait())
        try:
            await asyncio.wait({run.task, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        run.changed.clear()
        if run.progress is not None and run.progress is not noted:
            noted = run.progress
            yield Note(noted.message, noted.fraction)
        while heard < len(run.said):
            heard += 1
            yield Delta(run.said[heard - 1])
        if run.task.done():
            break
    if run.task.cancelled():
        raise AgentLost("The work was cancelled.")
    yield _finish(run.task.result(), "".join(run.said))


def _finish(result: StepResult, said: str) -> Final:
    if result.status == "completed":
        text = said or spoken(result.output)
        cut = is_cut(result.missing)
        return Final(text=text, usage=result.usage, missing=result.missing, data=result.output, cut=cut)
    error = result.error or StepError(type="agent_error", detail="The agent failed without a reason.")
    if result.status == "cancelled":
        raise AgentLost(error.detail)
    if error.type in _NAMED:
        raise _NAMED[error.type](error.detail)
    raise WorkerFault(error.detail, type=error.type, retryable=error.retryable)
