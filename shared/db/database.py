"""The database interface that the store uses: atomic writes, durable when they return, and reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Row = tuple[Any, ...]
Rows = list[list[Row]]
AS_TEXT = "base64:"  # before bytes in a column of text, where the database tells the two apart


class Statement(NamedTuple):
    """SQL with named parameters; `RETURNING` rows come back.

    A `late` one is written at the end of its commit, in one go with the others of the same SQL, lower numbers first;
    it has no rows and is never the guard.
    """

    sql: str
    params: Mapping[str, Any] | Sequence[Mapping[str, Any]] = {}
    late: int = 0


class Query(NamedTuple):
    """A question with named parameters."""

    sql: str
    params: Mapping[str, Any] = {}


Function = Callable[..., Any]  # of SQL's values, to one of them


class Database(Protocol):
    """Three exist: `Sqlite` with a file and a writer thread, `MemoryDatabase` without either, and `Postgres`."""

    sealed: bool
    """Whether rows carry checksums that are compared when they are read."""
    shared: bool
    """Whether other processes use it at the same time."""

    async def write(self, name: str, *statements: Statement) -> Rows | None:
        """Runs the statements as one atomic, durable unit; returns the rows of each.

        The first statement is the guard: if it touches no row, nothing is written and the answer is None.
        `name` names the write for failpoints. Raises `StorageUnwritable` (nothing was written) or `StorageBroken`.
        """
        ...

    def post(self, name: str, *statements: Statement, then: Callable[[Rows], None] | None = None) -> None:
        """Like `write`, without waiting: in order before every later write, dropped if the disk is full.

        `then` gets the rows once they are durable.
        """
        ...

    async def write_some(self, name: str, statements: Sequence[Statement], *, seconds: float) -> int:
        """Runs as many of the statements, in order, as fit into the time, at least one; how many.

        For work that can wait: no other write is held up for longer. Raises as `write` does.
        """
        ...

    async def checkpoint(self) -> None:
        """Copies what the log has into the file, which then is as small as it can be."""
        ...

    async def take_positions(self) -> int | None:
        """The last position before a range of events that is this process's own; None where all are."""
        ...

    def needs_positions(self, last: int) -> bool:
        """Whether this process has come so far in its range that it is to take another one."""
        ...

    def find_trouble(self) -> str | None:
        """Why nothing can be written at this moment, in a sentence; None where the last write was well."""
        ...

    async def read_mark(self) -> int | None:
        """What was last written with `write_mark`; None where there is nothing."""
        ...

    async def write_mark(self, number: int) -> None:
        """Keeps a number beside the database, on the disk when this returns."""
        ...

    async def find_damage(self) -> str | None:
        """Looks through all pages and indexes, in a thread of its own; what is wrong."""
        ...

    async def read(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Rows of a query; sees every write that has returned."""
        ...

    async def read_all(self, *queries: Query, aside: bool = False) -> Rows:
        """Rows of each query, all of one state. `aside` is for what takes its time: no other read waits for it."""
        ...

    async def open(self, migrations: Sequence[str], functions: Mapping[str, Function] | None = None) -> None:
        """Opens and migrates; raises `StorageBroken` with one clear sentence. `functions` are SQL's, by name."""
        ...

    async def close(self) -> None: ...
