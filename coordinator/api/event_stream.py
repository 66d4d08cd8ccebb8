"""Tasks as event streams: past and future events, then the result; only a shutdown ends a stream early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from coordinator.api.report_format import Wanted
from coordinator.execution.dispatcher import Dispatcher
from coordinator.journal.events import Feed, TaskEvent
from coordinator.reports.view import view
from shared.server import sse
from shared.server.app import Stopping

BEAT_SECONDS = 10.0  # a comment when nothing happens, so that proxies keep the connection


def event_stream(
    task_id: str,
    *,
    feed: Feed,
    dispatcher: Dispatcher,
    stopping: Stopping,
    after: int = 0,
    result: Wanted | None = None,
) -> StreamingResponse:
    """A response that streams a task's events after a position; with `result` the TaskView comes last."""

    async def body() -> AsyncIterator[bytes]:
        events = feed.follow(
            task_id, after=after, is_open=lambda: dispatcher.is_open(task_id), beat_seconds=BEAT_SECONDS
        )
        stop = asyncio.create_task(stopping.event.wait())
        following: asyncio.Task[TaskEvent | None] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(events, _END))
                await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    return  # the client comes back with Last-Event-ID
                event = following.result()
                if event is _END:
                    break
                yield sse.PING if event is None else sse.event(event.type, _json(event), id=event.id)
            if result is not None:
                yield sse.event("result", Wanted(brief=result.brief).task(view(await dispatcher.ended(task_id))))
        finally:
            stop.cancel()
            if following is not None and not following.done():
                following.cancel()
                await asyncio.wait({following})
            await events.aclose()

    return StreamingResponse(
        body(), media_type=sse.MEDIA_TYPE, headers={**sse.HEADERS, "Location": f"/tasks/{task_id}"}
    )


_END = TaskEvent(id=-1, task_id=None, type="", at=0, data="")


def _json(event: TaskEvent) -> str:
    return to_json(
        {"id": event.id, "task_id": event.task_id, "type": event.type, "at": event.at, **event.fields}
    ).decode()
