"""The SDK's handler with our rules before there is a task: what cannot be read is refused, what was asked is joined."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID, uuid5

from a2a.server.agent_execution import RequestContext, SimpleRequestContextBuilder
from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
)
from a2a.utils.errors import InternalError, InvalidParamsError, TaskNotFoundError, UnsupportedOperationError

from shared.protocols.a2a.request import get_headers, parse_ask
from shared.protocols.a2a.resuming import Resuming
from shared.protocols.a2a.store import ENDED, Tasks

_KEYED = UUID("5b0a5f3e-7a0e-4a52-9a1c-2f6f2a3f6a11")  # the space of ids that are made of keys
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")


class KeyedContexts(SimpleRequestContextBuilder):
    """Gives a message that came with an Idempotency-Key the task id that belongs to the key."""

    async def build(
        self,
        context: ServerCallContext,
        params: SendMessageRequest | None = None,
        task_id: str | None = None,
        context_id: str | None = None,
        task: Task | None = None,
    ) -> RequestContext:
        return await super().build(context, params, task_id or _derive_id(context), context_id, task)


class A2aHandler(DefaultRequestHandler):
    """`DefaultRequestHandler`, whose errors it raises; `InvalidParamsError` also for a key that came with other words,
    `UnsupportedOperationError` also for a second message to a task that is at work.

    Never by the message's id alone: the same id for new tasks is allowed in A2A.
    """

    def __init__(self, *, resuming: Resuming, tasks: Tasks, **parts: Any) -> None:
        super().__init__(task_store=tasks, **parts)
        self._resuming = resuming
        self._tasks = tasks

    async def is_active(self, task_id: str) -> bool:
        """Whether a task is worked on here."""
        active = await self._active_task_registry.get(task_id)
        return active is not None and not active.is_finished

    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task | None:
        """Right after a start the SDK finds no running work for a task, and would only note its cancellation."""
        await self._resuming.wait(params.id)
        cancelled: Task | None = await super().on_cancel_task(params, context)
        return cancelled

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Message | Task:
        parse_ask(params.message, get_headers(context))
        await self._check_is_first(params.message, context)
        task = await self._find_earlier(params, context)
        if task is None:
            try:
                answer: Message | Task = await super().on_message_send(params, context)
            except InternalError:
                if (task := await self._find_taken(params, context)) is None:
                    raise
            else:
                if not isinstance(answer, Task) or await self._tasks.find_elsewhere(answer.id) is None:
                    return answer
                task = answer
        if not params.configuration.return_immediately:
            async for _ in self._follow(task, context):
                pass
        found = GetTaskRequest(id=task.id)
        if params.configuration.HasField("history_length"):
            found.history_length = params.configuration.history_length
        rest: Task = await self.on_get_task(found, context)
        return rest

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        parse_ask(params.message, get_headers(context))
        await self._check_is_first(params.message, context)
        if (task := await self._find_earlier(params, context)) is None:
            events = super().on_message_send_stream(params, context)
        else:
            events = self._follow(task, context)
        try:
            async with contextlib.aclosing(events):
                async for event in events:
                    yield event
        except InternalError:
            if (task := await self._find_taken(params, context)) is None:
                raise
            async for event in self._follow(task, context):
                yield event

    async def _check_is_first(self, message: Message, context: ServerCallContext) -> None:
        """A task answers one message; the SDK would accept another one, which would never be read."""
        if not message.task_id:
            return
        with contextlib.suppress(TaskNotFoundError):  # which the SDK says better
            task: Task = await self.on_get_task(GetTaskRequest(id=message.task_id), context)
            if task.status.state in ENDED or any(m.message_id == message.message_id for m in task.history):
                return
            hint = "Send yours without taskId, in the same context."
            why = f"Task {task.id} is in progress and accepts no further messages. {hint}"
            raise UnsupportedOperationError(message=why)

    async def _find_earlier(self, params: SendMessageRequest, context: ServerCallContext) -> Task | None:
        task_id = _derive_id(context)
        if params.message.task_id:
            return await self._tasks.find_elsewhere(params.message.task_id)
        if task_id is None:
            return None
        try:
            task: Task = await self.on_get_task(GetTaskRequest(id=task_id), context)
        except TaskNotFoundError:
            return None
        first, again = task.history[0], params.message
        same_context = again.context_id in ("", task.context_id)
        if not same_context or list(first.parts) != list(again.parts) or first.metadata != again.metadata:
            raise InvalidParamsError(message="Idempotency-Key: was already used with a different message.")
        return task

    async def _find_taken(self, params: SendMessageRequest, context: ServerCallContext) -> Task | None:
        """The task of a message that another process was first with, under the same key."""
        task = await self._find_earlier(params, context)
        return None if task is None else await self._tasks.find_elsewhere(task.id)

    async def _follow(self, task: Task, context: ServerCallContext) -> AsyncGenerator[Event, None]:
        """The task as it is, and what happens to it from now on."""
        try:
            async for event in self.on_subscribe_to_task(SubscribeToTaskRequest(id=task.id), context):
                yield event
        except UnsupportedOperationError:  # it has ended
            yield await self.on_get_task(GetTaskRequest(id=task.id), context)


def _derive_id(context: ServerCallContext) -> str | None:
    key = get_headers(context).get("idempotency-key")
    if key is None:
        return None
    if not _KEY.match(key):
        raise InvalidParamsError(message="Idempotency-Key: must be 1 to 255 visible ASCII characters.")
    return str(uuid5(_KEYED, key))
