"""The answer to a request for a view: the page, or its part that changes as a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from coordinator.api.dependencies import Services
from coordinator.console.live import Live
from coordinator.console.pages import View, render_page, render_part
from coordinator.console.visitor import Visitor
from shared.server import sse

LIVE = "console_live"  # where the app keeps what is watched


async def show(request: Request, services: Services, visitor: Visitor, make: Callable[[], Awaitable[View]]) -> Response:
    """`make` looks everything up again for each look; it may depend on the address and on the visitor's key alone."""
    base = services.settings.base_path
    if not sse.accepts(request.headers.get("accept")):
        return await asyncio.to_thread(render_page, await make(), visitor, base=base)
    live: Live = getattr(request.app.state, LIVE)
    scopes, session = visitor.scopes, visitor.session

    async def render() -> tuple[str, bool]:
        view = await make()
        return await asyncio.to_thread(render_part, view, scopes, base=base), view.over

    def may_watch() -> bool:
        return session is None or services.sessions.is_valid(session)

    key = (request.scope["path"], request.url.query, visitor.name)
    return live.stream(key, render, stopping=services.stopping, may_watch=may_watch)
