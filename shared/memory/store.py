"""What an agent remembers: sessions and their events, in a database, bounded by count, bytes and age."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import JsonValue

from shared import logs
from shared.conversation import Message
from shared.db.database import Database, Statement
from shared.db.memory import MemoryDatabase
from shared.db.refusals import Naming
from shared.db.sqlite import Sqlite
from shared.errors import MusterError, StorageBroken
from shared.memory.sql import (
    DROP_OLD_EVENTS,
    DROP_OLD_SESSIONS,
    DROP_SESSIONS_OVER_BYTES,
    DROP_SESSIONS_OVER_COUNT,
    EVENT,
    EVENTS,
    KNOWN,
    MIGRATIONS,
    SESSION,
    SESSIONS,
    TRIM,
    TURNS,
)
from shared.settings import Settings

FILE = "memory.db"
CHARACTERS_A_TOKEN = 4  # an estimate, for English
MAX_EVENT = 100_000  # characters of one event; the rest of a longer one is left out, and says so
MAX_SESSION_ID = 200
PRUNE_EVERY = 16  # events between two looks at the bounds
PRUNE_BYTES = 1_000_000  # or so much content
DAY = 86_400.0
KEEP_SECONDS = 5.0  # that an answer waits for its memory


@dataclass(frozen=True)
class MemoryLimits:
    """How much is kept: the oldest goes first. `bytes` counts contents, not the file."""

    sessions: int = 1_000
    session_events: int = 500
    bytes: int = 50_000_000
    days: float = 30.0

    @classmethod
    def from_settings(cls, settings: Settings) -> MemoryLimits:
        """As MEMORY_* says."""
        return cls(
            sessions=settings.memory_max_sessions,
            session_events=settings.memory_max_session_events,
            bytes=settings.memory_max_bytes,
            days=settings.memory_days,
        )


@dataclass(frozen=True)
class Event:
    """One thing that happened in a session; `number` grows with every event of a file."""

    number: int
    id: str
    session: str
    at: float
    type: str
    content: JsonValue

    @property
    def timestamp(self) -> str:
        """ISO 8601 in UTC, to the microsecond."""
        return datetime.fromtimestamp(self.at, UTC).isoformat(timespec="microseconds")


class Memory:
    """The memory of one agent, opened at its first use.

    In `folder` (file `memory.db`) it survives `kill -9`; without one it lives as long as the process. `enabled=False`
    remembers nothing. Several agents that share a database see only their own.
    """

    def __init__(
        self,
        agent: str,
        folder: Path | None = None,
        *,
        limits: MemoryLimits | None = None,
        enabled: bool = True,
        wall: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self.agent = agent
        self.enabled = enabled
        self._folder = folder
        self._limits = limits or MemoryLimits()
        self._wall = wall
        self._new_id = new_id
        self._db: Database | None = None
        self._lent = False
        self._opening = asyncio.Lock()
        self._unpruned = self._unpruned_bytes = 0

    async def open(self) -> None:
        """Opens the file now; raises `StorageBroken` or `StorageFull` where that cannot be."""
        async with self._opening:
            if self._db is None and self.enabled:
                self._db = await self._open_database(self._folder)

    def use(self, db: Database) -> None:
        """Keeps all in a database that somebody else opens, with the tables in it, and closes."""
        self._db, self._lent = db, True

    async def close(self) -> None:
        """Whatever was recorded is kept."""
        async with self._opening:
            if self._db is not None and not self._lent:
                await self._db.close()
            self._db, self.enabled = None, False

    def make_session_id(self) -> str:
        """The id of a session without a name."""
        return f"session_{self._new_id()[:12]}"

    async def record(
        self, session: str, type: str, content: JsonValue, *, key: str | None = None, durable: bool = False
    ) -> None:
        """Keeps an event. The same `key` again keeps nothing. A memory that fails costs no answer: the log says so.

        `durable` waits until it would survive `kill -9`, with all that was recorded before, or for `KEEP_SECONDS` where
        the database is away and keeps it later; else that takes 25 ms.
        """
        if not self.enabled:
            return
        try:
            db = await self._get_database()
            if durable:
                async with asyncio.timeout(KEEP_SECONDS):
                    await db.write("memory.event", *self._make_statements(session, type, content, key))
            else:
                db.post("memory.event", *self._make_statements(session, type, content, key))
        except MusterError as exc:
            logs.get().warning("memory.failed", why=exc.detail)
        except TimeoutError:
            logs.get().warning("memory.late", why=f"It was not written within {KEEP_SECONDS:.0f} s.")

    async def has(self, session: str) -> bool:
        """Whether the session has any event."""
        return bool(self.enabled and await self._read(KNOWN, session=_shorten_id(session)))

    async def read_events(
        self,
        *,
        session: str | None = None,
        type: str | None = None,
        since: float | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """The newest `limit` events that fit, oldest first; `since` is Unix seconds, `before` an event's number."""
        if not self.enabled:
            return []
        rows = await self._read(
            EVENTS,
            session=None if session is None else _shorten_id(session),
            type=type,
            since=since,
            before=before,
            limit=limit,
        )
        return [
            Event(number=number, id=id, session=session, at=at, type=type, content=json.loads(text))
            for number, id, session, at, type, text in reversed(rows)
        ]

    async def read_sessions(
        self, *, since: float | None = None, before: int | None = None, limit: int = 1_000
    ) -> list[tuple[int, str]]:
        """Numbers and ids of the newest `limit` sessions in the order in which they began; `since`: used since then."""
        if not self.enabled:
            return []
        rows = await self._read(SESSIONS, since=since, before=before, limit=min(limit, self._limits.sessions))
        return [(number, session) for number, session in reversed(rows)]

    async def read_history(self, session: str, *, max_tokens: int) -> list[Message]:
        """The last answered turns of a session that fit into `max_tokens`, oldest first; a token is 4 characters."""
        if not self.enabled:
            return []
        rows = await self._read(TURNS, session=_shorten_id(session), limit=self._limits.session_events)
        turns: list[list[Message]] = [[]]
        for type, text in reversed(rows):
            answered = type == "agent_response"
            turns[-1].append(Message("assistant" if answered else "user", str(json.loads(text))))
            if answered:
                turns.append([])
        room, kept = max_tokens * CHARACTERS_A_TOKEN, list[list[Message]]()
        for turn in reversed(turns[:-1]):  # what comes after the last answer is being asked just now
            room -= sum(len(message.content) for message in turn)
            if room < 0:
                break
            kept.append(turn)
        return [message for turn in reversed(kept) for message in turn]

    # --- inside

    async def _open_database(self, folder: Path | None) -> Database:
        db: Database = MemoryDatabase()
        if folder is not None:
            db = Sqlite(folder / FILE, naming=Naming("The memory", "agent", "STATE_DIR", remedy="Move it away."))
        await db.open(MIGRATIONS)
        return db

    async def _get_database(self) -> Database:
        """The database; where the file cannot be had, one that lives as long as the process."""
        if self._db is None:
            async with self._opening:
                if self._db is None and self.enabled:
                    try:
                        self._db = await self._open_database(self._folder)
                    except MusterError as exc:
                        logs.get().warning("memory.volatile", why=exc.detail)
                        self._db = await self._open_database(None)
        if self._db is None:
            raise StorageBroken("The memory is closed.")
        return self._db

    async def _read(self, sql: str, **params: Any) -> list[Any]:
        return await (await self._get_database()).read(sql, {"agent": self.agent} | params)

    def _make_statements(self, session: str, type: str, content: JsonValue, key: str | None) -> Sequence[Statement]:
        text = _to_text(content)
        params = {
            "agent": self.agent,
            "session": _shorten_id(session),
            "id": f"event_{self._new_id()[:8]}",
            "at": round(self._wall(), 6),  # as its timestamp says it, for `since`
            "type": type,
            "content": text,
            "bytes": len(text.encode()),
            "key": key,
            "events": self._limits.session_events,
        }
        self._unpruned += 1
        self._unpruned_bytes += len(text)
        return [Statement(SESSION, params), Statement(EVENT, params), Statement(TRIM, params), *self._plan_pruning()]

    def _plan_pruning(self) -> list[Statement]:
        """What keeps the bounds, now and then."""
        if self._unpruned < PRUNE_EVERY and self._unpruned_bytes < PRUNE_BYTES:
            return []
        self._unpruned = self._unpruned_bytes = 0
        limits = self._limits
        params = {
            "agent": self.agent,
            "oldest": self._wall() - limits.days * DAY,
            "sessions": limits.sessions,
            "bytes": limits.bytes,
        }
        drops = (DROP_OLD_EVENTS, DROP_OLD_SESSIONS, DROP_SESSIONS_OVER_COUNT, DROP_SESSIONS_OVER_BYTES)
        return [Statement(sql, params) for sql in drops]


def _shorten_id(session: str) -> str:
    """As it is kept: an id that a stranger sent may be long, or no text at all."""
    return session[:MAX_SESSION_ID].encode(errors="replace").decode()


def _to_text(content: JsonValue) -> str:
    """The content as JSON text; of more than MAX_EVENT characters the beginning, as a string."""
    text = _to_json(content)
    if len(text) <= MAX_EVENT:
        return text
    words = content if isinstance(content, str) else text
    return _to_json(f"{words[:MAX_EVENT]}… [{len(words) - MAX_EVENT} more characters]")


def _to_json(content: JsonValue) -> str:
    return json.dumps(content, ensure_ascii=False, default=str).encode(errors="replace").decode()
