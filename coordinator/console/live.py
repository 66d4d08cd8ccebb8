"""Views that are watched: each is rendered once for all who watch it, and sent to them when it has changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from coordinator.api.event_stream import BEAT_SECONDS
from shared import logs
from shared.background import Background
from shared.errors import MusterError, Overloaded
from shared.server import sse
from shared.server.app import Stopping

PAUSE_SECONDS = 1.0  # between two looks at what is watched
SHARE = 9  # a look that took a second is followed by nine of rest: watching costs a tenth of a core at the most
MOST_WATCHED = 1_000  # different views

Render = Callable[[], Awaitable[tuple[str, bool]]]  # a view as HTML, and whether nothing of it will change


@dataclass
class Watched:
    """A view that somebody watches; `sent` is its event, `version` counts them."""

    render: Render
    viewers: int = 0
    html: str = ""
    sent: bytes = b""
    version: int = 0
    over: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, html: str, over: bool) -> None:
        """What it looks like now; whoever watches is woken if that is new."""
        if (html, over) != (self.html, self.over):
            self.html, self.over, self.version = html, over, self.version + 1
            self.sent = sse.format_event("view", to_json(html).decode())
            self.news.set()
            self.news = asyncio.Event()


class Live:
    """Renders what is watched, and rests while nothing is; `now` is processor time, in seconds."""

    def __init__(self, *, fail: Callable[[str], None], now: Callable[[], float] = time.process_time) -> None:
        self._fail = fail
        self._now = now
        self._watched: dict[object, Watched] = {}
        self._wanted = asyncio.Event()
        self.rendered = 0  # views, since the start

    @property
    def watched(self) -> int:
        """Different views that are watched now."""
        return len(self._watched)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Runs the loop that renders."""
        async with Background(self._fail) as background:
            background.loop("console", self._render_forever)
            yield

    def stream(
        self, key: object, render: Render, *, stopping: Stopping, may_watch: Callable[[], bool]
    ) -> StreamingResponse:
        """A view as a stream of events: `view` with its HTML whenever it changes, `over` when it will not change again.

        `key` names the view for all who see the same. The stream ends when the service stops, and once `may_watch` says
        no. Raises `Overloaded` for one view too many.
        """
        if key not in self._watched and len(self._watched) >= MOST_WATCHED:
            raise Overloaded("Too many different pages are being watched.", retry_after=60)

        async def body() -> AsyncIterator[bytes]:
            watched = self._watched.setdefault(key, Watched(render))
            watched.viewers += 1
            self._wanted.set()
            seen = 0
            try:
                yield sse.PING  # the browser knows that it is connected
                while may_watch():
                    if watched.version > seen:
                        seen = watched.version
                        yield watched.sent
                        if watched.over:
                            yield sse.format_event("over", "{}")
                            return
                    try:
                        async with stopping.limit(BEAT_SECONDS):
                            await watched.news.wait()
                    except TimeoutError:
                        if stopping:
                            return
                        yield sse.PING
            finally:
                watched.viewers -= 1
                if not watched.viewers and self._watched.get(key) is watched:
                    del self._watched[key]

        return StreamingResponse(body(), media_type=sse.MEDIA_TYPE, headers=sse.HEADERS)

    async def _render_forever(self) -> None:
        while True:
            await self._wanted.wait()
            began = self._now()
            for watched in list(self._watched.values()):
                self.rendered += 1
                try:
                    watched.take(*await watched.render())
                except MusterError:
                    watched.take(watched.html, True)  # it is gone, as a task that was pruned
                except Exception as exc:  # one view that breaks must not end the others
                    logs.get().error("console.broke", exc_info=exc)
            if not self._watched:
                self._wanted.clear()
            await asyncio.sleep(max(PAUSE_SECONDS, SHARE * (self._now() - began)))
