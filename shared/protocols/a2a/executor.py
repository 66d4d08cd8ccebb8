"""Carries out an A2A task with a Face: notes become working updates, the answer an artifact, errors a reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from a2a.helpers.proto_helpers import new_data_part, new_task_from_user_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types.a2a_pb2 import TaskState

from shared import logs
from shared.conversation import Delta, Face, Final, Note, Piece
from shared.errors import AgentBusy, AgentLost, MusterError, Overloaded, Unavailable
from shared.protocols.a2a.request import get_headers, parse_ask

CHUNK_SECONDS = 0.1  # words that come quicker than this go out together: every chunk is saved
NOTES_AT_ONCE = 50  # of a task; later ones only one in CHUNK_SECONDS
ROOM_SECONDS = 1.0
ANSWER, DATA = "answer", "data"
_NO_ROOM = (AgentBusy, Overloaded, Unavailable)


class FaceExecutor(AgentExecutor):
    """`stopping` says whether the service is about to end: then a task stays open and is taken up at the next start.

    `at_work` hears the id of every task of which there is a sign.
    """

    def __init__(self, face: Face, *, stopping: Callable[[], bool], at_work: Callable[[str], None]) -> None:
        self._face = face
        self._stopping = stopping
        self._at_work = at_work
        self._running: dict[str, tuple[asyncio.Task[Any] | None, TaskUpdater]] = {}
        self._taken: set[str] = set()

    def list_running(self) -> list[str]:
        """Ids of the tasks that are worked on here."""
        return [*self._running]

    async def look_again(self, task_id: str) -> None:
        """A task has been cancelled in another process: the next thing that is told of it is refused, and ends it."""
        if task_id in self._running:
            await self._running[task_id][1].start_work()

    def give_up(self, task_id: str) -> None:
        """Another process works on a task from now on, and nothing of it is cancelled."""
        if task_id in self._running:
            self._taken.add(task_id)
            if (running := self._running[task_id][0]) is not None:
                running.cancel()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        id = context.message.task_id
        self._running[id] = asyncio.current_task(), make_updater(context, event_queue)
        try:
            await self._execute(context, event_queue)
        finally:
            del self._running[id]
            self._taken.discard(id)

    async def _execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        message = context.message
        assert message is not None
        if context.current_task is None:
            task = new_task_from_user_message(message)
            task.status.state = TaskState.TASK_STATE_WORKING  # at once: to submit it first would be another write
            task.status.timestamp.GetCurrentTime()
            await event_queue.enqueue_event(task)
        telling = _Telling(make_updater(context, event_queue))
        ask = parse_ask(message, get_headers(context.call_context))
        ask = replace(ask, taken=lambda: message.task_id in self._taken)
        while True:
            try:
                async with aclosing(self._face.answer(ask)) as pieces:
                    async for piece in pieces:
                        self._at_work(message.task_id)
                        await telling.tell(piece)
            except MusterError as error:
                if self._stopping():
                    return
                if context.current_task is not None and isinstance(error, _NO_ROOM):
                    await asyncio.sleep(ROOM_SECONDS)  # it was taken before a restart: it waits for its place
                    continue
                await telling.fail(error)
            except Exception as exc:  # a bug costs one task, and its text is not shown to callers
                logs.get().error("a2a.broke", task_id=message.task_id, exc_info=exc)
                await telling.fail(MusterError("Internal error; search the log for the task's id."))
            return

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Says so; the SDK then cancels `execute`, which closes the answer and so ends the work."""
        await make_updater(context, event_queue).cancel()


def make_updater(context: RequestContext, event_queue: EventQueue) -> TaskUpdater:
    """Where to tell about a task: in its own context, also when a later message did not name that."""
    context_id = context.current_task.context_id if context.current_task else context.context_id
    return TaskUpdater(event_queue, context.task_id or "", context_id or "")


class _Telling:
    """What a task's watchers have been told so far."""

    def __init__(self, updater: TaskUpdater) -> None:
        self.updater = updater
        self._unsaid = ""
        self._began = False
        self._spoke = 0.0
        self._notes = 0

    async def tell(self, piece: Piece) -> None:
        if isinstance(piece, Note):
            await self._note(piece)
        elif isinstance(piece, Delta):
            self._unsaid += piece.text
            if self._is_due():
                await self._say()
        else:
            await self._end(piece)

    async def fail(self, error: MusterError) -> None:
        """Cancelled, refused (the caller's side: nothing was begun) or failed, with its sentence."""
        if isinstance(error, AgentLost):
            state = TaskState.TASK_STATE_CANCELED
        else:
            refused = 400 <= error.status < 500
            state = TaskState.TASK_STATE_REJECTED if refused else TaskState.TASK_STATE_FAILED
        said = self.updater.new_agent_message([new_text_part(error.detail)])
        metadata: dict[str, Any] = {"type": error.type, "retryable": error.retryable}
        if (seconds := error.headers.get("Retry-After", "")).isdigit():
            metadata["retry_after_seconds"] = int(seconds)
        await self.updater.update_status(state, message=said, metadata=metadata)

    async def _note(self, note: Note) -> None:
        self._notes += 1
        if not note.message or (self._notes > NOTES_AT_ONCE and not self._is_due()):
            return
        self._spoke = time.monotonic()
        await self.updater.update_status(
            TaskState.TASK_STATE_WORKING,
            message=self.updater.new_agent_message([new_text_part(note.message)]),
            metadata=None if note.fraction is None else {"fraction": note.fraction},
        )

    async def _say(self, *, last: bool = False, metadata: dict[str, Any] | None = None) -> None:
        self._spoke = time.monotonic()
        words, self._unsaid = self._unsaid, ""
        await self.updater.add_artifact(
            [new_text_part(words)],
            artifact_id=ANSWER,
            name=ANSWER,
            metadata=metadata,
            append=self._began,
            last_chunk=last,
        )
        self._began = True

    async def _end(self, final: Final) -> None:
        if not self._began:
            self._unsaid = final.text
        metadata: dict[str, Any] = {"usage": final.usage.model_dump(mode="json")}
        if final.missing:
            metadata["missing"] = [m.model_dump(mode="json") for m in final.missing]
        if final.task_id:
            metadata["muster_task_id"] = final.task_id
        if final.answered is not None:
            metadata |= {"answered": final.answered, "confidence": final.confidence}
        await self._say(last=True, metadata=metadata)
        if isinstance(final.data, dict | list):
            await self.updater.add_artifact(
                [new_data_part(final.data, media_type="application/json")], artifact_id=DATA, name=DATA, last_chunk=True
            )
        await self.updater.complete()

    def _is_due(self) -> bool:
        return time.monotonic() - self._spoke >= CHUNK_SECONDS
