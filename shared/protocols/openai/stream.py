"""A chat's answer on its way: whole or chunk by chunk; the work ends when the client hangs up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Response
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from shared.conversation import Ask, Delta, Face, Final, Note, Piece
from shared.errors import MusterError
from shared.protocols.openai.response import DONE, ChatAnswer, describe_error, encode, encode_event
from shared.server import sse
from shared.server.hang_up import wait_for_hang_up

OPEN_SECONDS = 1.0  # an answer that fails sooner has a status of its own; a stream begins by then at the latest
PING_SECONDS = 10.0  # a comment when nothing comes, so that proxies keep the connection
CHUNK_CHARACTERS = 4_000  # of an answer whose agent said it at once
_HEADERS = {"Content-Type": f"{sse.MEDIA_TYPE}; charset=utf-8", **sse.HEADERS}


@dataclass(frozen=True)
class _Gone:
    """The client hung up."""


Heard = Piece | Exception | _Gone


class Chat(Response):
    """The answer to one chat. `notes` makes progress part of a stream's content; else it travels as comments."""

    def __init__(self, face: Face, ask: Ask, answer: ChatAnswer, *, streams: bool, notes: bool) -> None:
        super().__init__()
        self._face, self._ask, self._answer = face, ask, answer
        self._streams, self._notes = streams, notes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `MusterError` for work that fails before the answer begins."""
        heard: asyncio.Queue[Heard] = asyncio.Queue()
        tasks = {
            asyncio.create_task(self._work(heard), name="chat"),
            asyncio.create_task(_report_hang_up(receive, heard), name="chat-client"),
        }
        try:
            if self._streams:
                await self._send_stream(heard, send)
            else:
                await self._send_whole(heard, scope, receive, send)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _work(self, heard: asyncio.Queue[Heard]) -> None:
        try:
            async with contextlib.aclosing(self._face.answer(self._ask)) as pieces:
                async for piece in pieces:
                    heard.put_nowait(piece)
        except Exception as exc:  # the client's side raises it
            heard.put_nowait(exc)

    async def _send_whole(self, heard: asyncio.Queue[Heard], scope: Scope, receive: Receive, send: Send) -> None:
        while not isinstance(item := await heard.get(), _Gone):
            if isinstance(item, Exception):
                raise item
            if isinstance(item, Final):
                body = encode(self._answer.make_completion(self._ask, item))
                place = {"Location": f"/tasks/{item.task_id}"} if item.task_id else None
                await Response(body, headers=place, media_type="application/json")(scope, receive, send)
                return

    async def _send_stream(self, heard: asyncio.Queue[Heard], send: Send) -> None:
        begun = False
        async with contextlib.aclosing(self._make_events(heard)) as events:
            async for data in events:
                if not begun:
                    await send({"type": "http.response.start", "status": 200, "headers": Headers(_HEADERS).raw})
                    begun = True
                await send({"type": "http.response.body", "body": data, "more_body": True})
        if begun:
            await send({"type": "http.response.body", "body": b""})

    async def _make_events(self, heard: asyncio.Queue[Heard]) -> AsyncGenerator[bytes, None]:
        """A stream's bytes; raises what ends the work before there are any, and bugs at any time."""
        item, said = await _wait_for_next(heard, OPEN_SECONDS), False
        if isinstance(item, Exception):
            raise item
        yield self._answer.make_chunk({"role": "assistant", "content": ""})
        while not isinstance(item, _Gone):
            match item:
                case None:
                    yield sse.PING
                case Note(message=message) if self._notes and not said:
                    yield self._answer.make_chunk({"content": f"> {_join_lines(message)}\n\n"})
                case Note(message=message):
                    yield f": {_join_lines(message)}\n\n".encode(errors="replace")
                case Delta(text=text) if text:
                    said = True
                    yield self._answer.make_chunk({"content": text})
                case Final():
                    for start in range(0, 0 if said else len(item.text), CHUNK_CHARACTERS):
                        yield self._answer.make_chunk({"content": item.text[start : start + CHUNK_CHARACTERS]})
                    yield self._answer.make_end(self._ask, item)
                    return
                case MusterError():
                    yield encode_event(describe_error(item)) + DONE
                    return
                case Exception():
                    raise item
            item = await _wait_for_next(heard, PING_SECONDS)


async def _wait_for_next(heard: asyncio.Queue[Heard], seconds: float) -> Heard | None:
    """What comes next; None when nothing did for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await heard.get()
    return None


async def _report_hang_up(receive: Receive, heard: asyncio.Queue[Heard]) -> None:
    await wait_for_hang_up(receive)
    heard.put_nowait(_Gone())


def _join_lines(text: str) -> str:
    return " ".join(text.split())
