"""A face that remembers: what it was asked and what it answered become events of the conversation's session."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

from pydantic import JsonValue

from shared.conversation import ASKING, UNANSWERED, Ask, Face, Final, Message, Piece, Skill
from shared.errors import MusterError
from shared.memory.store import Memory

HEARD = {"user": "user_message", "task-delegation": "task_delegation_received"}


def add_nothing(final: Final) -> Iterable[tuple[str, JsonValue]]:
    """No events besides the answer."""
    return ()


class Remembering:
    """`shared.conversation.Face` of another face, with a memory.

    A question without a session begins one. In a session that is known, only what follows the last answer in the
    messages is new: clients that send the whole conversation again do not double it. `between` makes events of an
    answer that belong before it.
    """

    def __init__(
        self,
        face: Face,
        memory: Memory,
        *,
        between: Callable[[Final], Iterable[tuple[str, JsonValue]]] = add_nothing,
    ) -> None:
        self.name, self.description, self.version = face.name, face.description, face.version
        self._face = face
        self._memory = memory
        self._between = between

    def skills(self) -> Sequence[Skill]:
        return self._face.skills()

    def models(self) -> Sequence[str]:
        return self._face.models()

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece]:
        """What the face answers; the answer is remembered before its `Final` is told."""
        memory, session = self._memory, ask.session or self._begin_session(ask)
        await self._hear(ask, session)
        try:
            async with aclosing(self._face.answer(replace(ask, session=session))) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Final):
                        await self._keep(ask, session, piece)
                    yield piece
        except MusterError as exc:
            said = f"Error processing message: {exc.detail}"
            await memory.record(session, "error", said, durable=True)
            raise

    def _begin_session(self, ask: Ask) -> str:
        """A new session; the same one when a repeat under the same key finds it without a name again."""
        if ask.key is None:
            return self._memory.make_session_id()
        return f"session_{hashlib.sha256(ask.key.encode()).hexdigest()[:12]}"

    async def _hear(self, ask: Ask, session: str) -> None:
        known = ask.session is not None and await self._memory.has(session)
        said = [m for m in (_select_new(ask.messages) if known else ask.messages) if m.role in ASKING]
        for number, message in enumerate(said):
            last = number == len(said) - 1  # a delegation before it is what the asker was asked itself
            key = None if ask.key is None else f"{ask.key}/{number}"
            await self._memory.record(session, HEARD[message.role if last else "user"], message.content, key=key)

    async def _keep(self, ask: Ask, session: str, final: Final) -> None:
        if any(missing.what == UNANSWERED for missing in final.missing):
            return
        for number, (type, content) in enumerate(self._between(final)):
            key = None if ask.key is None else f"{ask.key}/between/{number}"
            await self._memory.record(session, type, content, key=key)
        key = None if ask.key is None else f"{ask.key}/answer"
        await self._memory.record(session, "agent_response", final.text, key=key, durable=True)


def _select_new(messages: Sequence[Message]) -> Sequence[Message]:
    """What follows the last answer."""
    last = max((n for n, message in enumerate(messages) if message.role == "assistant"), default=-1)
    return messages[last + 1 :]
