"""Everything that is written to PostgreSQL: in order, many writes in one commit and one round trip."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, cast
from uuid import uuid4

import asyncpg
from pydantic_core import to_json

from shared import logs
from shared.background import end
from shared.db.database import AS_TEXT, Statement
from shared.db.postgres.connection import LOST, REFUSED
from shared.db.postgres.dialect import Dialect, make_function, show_nul, translate
from shared.db.postgres.refusals import explain, tell
from shared.db.postgres.schema import add_functions
from shared.db.postgres.teller import Teller
from shared.db.postgres.writing_connection import WritingConnection
from shared.db.writes import BATCH, POSTED_SECONDS, Outcome, Unit, resolve
from shared.errors import MusterError, StorageBroken, StorageFull, StorageUnwritable
from shared.failpoints import At

RETRY_SECONDS = 0.25  # between two tries at a server that does not answer
CLOSE_SECONDS = 2.0  # that a close waits for one
PIECE = 20  # statements of work that can wait, in one commit


_WRITE = "SELECT muster_write($1, $2, $3::jsonb, $4::jsonb)"


class Sent(NamedTuple):
    """A batch as the server gets it."""

    units: str  # JSON: of each unit, names of functions and their parameters; the first is the guard
    late: str  # JSON: names of functions, and of each the number of its unit and parameters, many times
    news: frozenset[str]
    functions: Mapping[str, str]  # definitions by name
    wanted: Mapping[int, Mapping[str, Any]]  # by number of the units that the follower wants: of the first statement


class Follower(Protocol):
    """Does more within the commit of certain writes."""

    def wants(self, unit: Unit) -> bool: ...

    def begin(self, count: int) -> Sequence[Mapping[str, Any]]:
        """What the first statement of each of so many units has besides its parameters."""
        ...

    async def follow(
        self, connection: asyncpg.Connection[asyncpg.Record], rows: Sequence[Mapping[str, Any]]
    ) -> Callable[[], None]:
        """`rows` are the parameters of the first statements that were written; what it returns is called once they are
        durable."""
        ...


class Writer:
    """Gathers what a turn of the loop writes, and commits it while the next is gathered.

    A commit has a number. One whose answer was lost is sent again with it, and what was written once is not written
    twice (`schema.muster_write`). While the server is away, writes wait for it.
    """

    def __init__(self, connection: WritingConnection, dialect: Dialect, teller: Teller, *, at: At) -> None:
        self._connection = connection
        self._dialect = dialect
        self._teller = teller
        self._at = at
        self._id = uuid4().hex
        self._number = 0
        self._known: set[str] = set()  # functions that the server has
        self._gathered: list[Unit] = []
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()  # somebody waits for what was gathered
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.trouble: StorageUnwritable | None = None  # of the last commit
        self.follower: Follower | None = None
        self.listened = True  # somebody hears the news

    async def open(self) -> None:
        """Raises what asyncpg raises."""
        await self._connection.get()
        self._task = asyncio.create_task(self._write_forever())

    def put(self, unit: Unit) -> None:
        """A unit on its way."""
        self._gathered.append(unit)
        self._wake.set()
        if unit.done is not None:
            self._hurry.set()

    async def close(self) -> None:
        """Writes what is left, if the server takes it within two seconds."""
        self._closing = True
        self._wake.set()
        self._hurry.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
            await end([self._task])
        self._connection.drop()

    async def _write_forever(self) -> None:
        while self._gathered or not self._closing:
            await self._wake.wait()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), POSTED_SECONDS)
            batch, self._gathered = self._gathered[:BATCH], self._gathered[BATCH:]
            if not self._gathered and not self._closing:
                self._wake.clear()
                self._hurry.clear()
            if batch:
                resolve(batch, await self._commit(batch))

    async def _commit(self, batch: Sequence[Unit]) -> Sequence[Outcome | MusterError]:
        for unit in batch:
            self._at(f"{unit.name}.queued")
        wanted = [
            number for number, unit in enumerate(batch) if self.follower is not None and self.follower.wants(unit)
        ]
        more = dict(zip(wanted, self.follower.begin(len(wanted)), strict=True)) if self.follower is not None else {}
        sent = self._describe(batch, more)
        try:
            written = await self._send(batch, sent)
        except MusterError as exc:
            return [exc] * len(batch)
        except asyncpg.PostgresError as exc:  # a unit's own fault is not the others'
            if len(batch) == 1:
                refused = StorageBroken(f"The write {batch[0].name} was refused: {tell(exc)}")
                logs.get().error("journal.refused", write=batch[0].name, why=refused.detail)
                return [refused]
            return [(await self._commit([unit]))[0] for unit in batch]
        for unit in batch:
            self._at(f"{unit.name}.committed")
        return [_count(unit, done) for unit, done in zip(batch, written, strict=True)]

    def _describe(self, batch: Sequence[Unit], more: Mapping[int, Mapping[str, Any]]) -> Sent:
        """The batch as one call; the first statements of some units have `more` parameters."""
        functions: dict[str, str] = {}
        units: list[list[tuple[str, Mapping[str, Any]]]] = []
        late: dict[tuple[int, str], list[tuple[int, Mapping[str, Any]]]] = {}
        for number, unit in enumerate(batch):
            calls: list[tuple[str, Mapping[str, Any]]] = []
            units.append(calls)
            for statement in unit.statements:
                text = translate(statement.sql, self._dialect)
                rows = [statement.params] if isinstance(statement.params, Mapping) else statement.params
                for row in rows:
                    made = make_function(text, row, many=statement.late > 0)
                    functions[made.name] = made.definition
                    if statement.late:
                        late.setdefault((statement.late, made.name), []).append((number + 1, _encode(row)))
                    else:
                        calls.append((made.name, _encode(row if calls else {**row, **more.get(number, {})})))
        at_end = [(name, rows) for (_, name), rows in sorted(late.items(), key=lambda item: item[0][0])]
        wanted = {number: units[number][0][1] for number in more}
        return Sent(to_json(units).decode(), to_json(at_end).decode(), self._gather_news(batch), functions, wanted)

    async def _send(self, batch: Sequence[Unit], sent: Sent) -> Sequence[bool]:
        """Whether each unit was written. Waits for a server that is away; raises what is the batch's own fault."""
        self._number += 1
        while True:
            try:
                connection = await self._connection.get()
                new = {name: text for name, text in sent.functions.items() if name not in self._known}
                if new:
                    await add_functions(connection, list(new.values()))
                    self._known |= set(new)
                done = await self._call(connection, sent)
                self._well_again()
                self._teller.tell(sent.news)
                return done
            except (*LOST, *REFUSED) as exc:
                if isinstance(exc, (*LOST, asyncpg.ReadOnlySQLTransactionError)):  # another server may be the primary
                    self._connection.drop()
                if isinstance(exc, asyncpg.UndefinedFunctionError):
                    self._known.clear()
                self._note(explain(exc))
                if isinstance(self.trouble, StorageFull):
                    raise self.trouble from exc
                await asyncio.sleep(RETRY_SECONDS)

    async def _call(self, connection: asyncpg.Connection[asyncpg.Record], sent: Sent) -> Sequence[bool]:
        asked = (_WRITE, self._id, self._number, sent.units, sent.late)
        if self.follower is None or not sent.wanted:
            return cast("Sequence[bool]", await connection.fetchval(*asked))
        async with connection.transaction():
            try:
                done: Sequence[bool] = await connection.fetchval(*asked)
                committed = await self.follower.follow(connection, [row for n, row in sent.wanted.items() if done[n]])
            except LOST:
                connection.terminate()  # a rollback is not waited for
                raise
            self._at("commit.followed")
        committed()
        return done

    def _gather_news(self, batch: Sequence[Unit]) -> frozenset[str]:
        """What the batch may change, for whoever listens."""
        tell = self._dialect.tells
        if tell is None or not self.listened:
            return frozenset()
        return frozenset(news for unit in batch for statement in unit.statements if (news := tell(statement)))

    def _note(self, trouble: StorageUnwritable) -> None:
        if self.trouble is None:
            logs.get().error(trouble.event, why=trouble.detail)
        self.trouble = trouble

    def _well_again(self) -> None:
        if self.trouble is not None:
            logs.get().info("journal.back")
        self.trouble = None


def _count(unit: Unit, done: bool) -> Outcome:
    return [[] for _ in unit.statements] if done else None


def _encode(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values as JSON has them."""
    changed = {
        name: AS_TEXT + base64.b64encode(value).decode() if isinstance(value, bytes) else show_nul(value)
        for name, value in row.items()
        if isinstance(value, bytes) or (isinstance(value, str) and "\0" in value)
    }
    return {**row, **changed} if changed else row


def split(statements: Sequence[Statement]) -> Sequence[Sequence[Statement]]:
    """Work that can wait, in pieces of one commit each."""
    return [statements[start : start + PIECE] for start in range(0, len(statements), PIECE)]
