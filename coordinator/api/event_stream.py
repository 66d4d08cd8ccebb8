"""Tasks as event streams: past and future events, then the result; only a shutdown ends a stream early."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from coordinator.api.report_format import AnswerForm
from coordinator.execution.waiting import Waiter
from coordinator.journal.events import TaskEvent
from coordinator.reports.view import view
from shared.server import sse

BEAT_SECONDS = 10.0  # a comment when nothing happens, so that proxies keep the connection


def event_stream(
    task_id: str, waiter: Waiter, *, after: int = 0, result: AnswerForm | None = None
) -> StreamingResponse:
    """A response that streams a task's events after a position; with `result` the TaskView comes last."""

    async def body() -> AsyncIterator[bytes]:
        async with aclosing(waiter.follow(task_id, after=after, beat_seconds=BEAT_SECONDS)) as events:
            async for event in events:
                yield sse.PING if event is None else sse.format_event(event.type, _json(event), id=event.id)
        cut_off = waiter.stopping and await waiter.dispatcher.has_more(
            task_id
        )  # the client comes back with Last-Event-ID
        if result is not None and not cut_off:
            task = await waiter.dispatcher.wait_for_end(task_id)
            yield sse.format_event("result", AnswerForm(brief=result.brief).task(view(task, waiter.base)))

    return StreamingResponse(
        body(), media_type=sse.MEDIA_TYPE, headers={**sse.HEADERS, "Location": f"/tasks/{task_id}"}
    )


def _json(event: TaskEvent) -> str:
    return to_json(
        {"id": event.id, "task_id": event.task_id, "type": event.type, "at": event.at, **event.fields}
    ).decode()
