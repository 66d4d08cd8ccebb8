"""The agent that the A2A TCK judges: our façade, with the behaviours that the kit asks for by messageId.

`python -m tests.conformance.tck_agent --port 9999`, see `tests.conformance.run_tck`. The prefixes are those of
scenarios/*.feature on branch 1.0-dev of https://github.com/a2aproject/a2a-tck.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from a2a.helpers.proto_helpers import (
    new_data_part,
    new_raw_part,
    new_task_from_user_message,
    new_text_message,
    new_text_part,
    new_url_part,
)
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types.a2a_pb2 import Part
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.conversation import Ask, Final, Piece, Skill
from shared.protocols.a2a import mount as a2a
from shared.protocols.a2a.executor import make_updater
from shared.protocols.a2a.http import CARD_PATH
from shared.protocols.mounting import Host
from shared.server.app import App, make_service
from shared.server.run import bind, serve

NAME = "tck-agent"
Behaviour = Callable[[TaskUpdater], Awaitable[None]]


def _text(text: str) -> Part:
    return new_text_part(text)


def _file() -> Part:
    return new_raw_part(b"output", media_type="text/plain", filename="output.txt")


def _file_url() -> Part:
    return new_url_part("https://example.com/output.txt", media_type="text/plain", filename="output.txt")


async def _complete(updater: TaskUpdater) -> None:
    await updater.complete(updater.new_agent_message([_text("Hello from TCK")]))


async def _ask_back(updater: TaskUpdater) -> None:
    await updater.requires_input(updater.new_agent_message([_text("What else?")]))


async def _reject(updater: TaskUpdater) -> None:
    await updater.reject(updater.new_agent_message([_text("rejected")]))


async def _last_long(updater: TaskUpdater) -> None:
    await updater.start_work()
    await asyncio.sleep(2 * float(os.environ.get("TCK_STREAMING_TIMEOUT", "2")) + 0.5)
    await updater.complete()


def _artifact(*chunks: Part, works: bool = False) -> Behaviour:
    async def behaviour(updater: TaskUpdater) -> None:
        if works:
            await updater.start_work()
        for number, part in enumerate(chunks):
            last = number == len(chunks) - 1
            await updater.add_artifact([part], artifact_id="output", append=number > 0, last_chunk=last)
        await updater.complete()

    return behaviour


# The first prefix that fits wins.
BEHAVIOURS: tuple[tuple[str, Behaviour], ...] = (
    ("tck-input-required", _ask_back),
    ("tck-reject-task", _reject),
    ("tck-artifact-text", _artifact(_text("Generated text content"))),
    ("tck-artifact-file-url", _artifact(_file_url())),
    ("tck-artifact-file", _artifact(_file())),
    ("tck-artifact-data", _artifact(new_data_part({"key": "value", "count": 42}))),
    ("tck-stream-001", _artifact(_text("Stream hello from TCK"), works=True)),
    ("tck-stream-003", _artifact(_text("Stream task lifecycle"), works=True)),
    ("tck-stream-ordering-001", _artifact(_text("Ordered output"), works=True)),
    ("tck-stream-artifact-text", _artifact(_text("Streamed text content"), works=True)),
    ("tck-stream-artifact-file", _artifact(_file(), works=True)),
    ("tck-stream-artifact-chunked", _artifact(_text("chunk-1 "), _text("chunk-2"), works=True)),
    ("test-resubscribe-message-id", _last_long),
)


class _Executor(AgentExecutor):
    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        message = context.message
        assert message is not None
        if message.message_id.startswith("tck-message-response"):
            await event_queue.enqueue_event(new_text_message("Direct message response", context_id=message.context_id))
            return
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(message))
        behave = next((b for prefix, b in BEHAVIOURS if message.message_id.startswith(prefix)), _complete)
        await behave(make_updater(context, event_queue))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await make_updater(context, event_queue).cancel()


class _Versioned:
    """Adds the version header to requests for the card: the kit, which demands it of every request, leaves it out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == CARD_PATH:
            scope = {**scope, "headers": [*scope["headers"], (b"a2a-version", b"1.0")]}
        await self._app(scope, receive, send)


class _Face:
    name, description, version = NAME, "Behaves as the A2A TCK asks.", "1.0.0"

    def skills(self) -> Sequence[Skill]:
        return [Skill("tck", "TCK", "Behaves as the message's id says.", ("tck",))]

    def models(self) -> Sequence[str]:
        return [NAME]

    async def answer(self, ask: Ask) -> AsyncIterator[Piece]:
        yield Final(ask.text)


def create_app(folder: Path | None) -> App[Any]:
    """The agent as an app; its tasks are kept in `folder`, or in memory."""
    app = make_service(name=NAME, version="1.0.0")
    host = Host(app=app, face=_Face(), folder=folder)
    a2a.make_mount(lambda _: _Executor())(host)
    app.add_middleware(_Versioned)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.tck_agent", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9999)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        serve(create_app(Path(folder)), bind(args.host, args.port))


if __name__ == "__main__":
    main()
