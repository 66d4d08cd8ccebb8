"""The small database that the store stands on: atomic writes, durable when they return, and reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Row = tuple[Any, ...]
Rows = list[list[Row]]


class Statement(NamedTuple):
    """SQL with named parameters; `RETURNING` rows come back."""

    sql: str
    params: Mapping[str, Any] | Sequence[Mapping[str, Any]] = {}


class Database(Protocol):
    """Two exist: `shared.db.sqlite.Sqlite` with a file and a writer thread, and `Memory` without either."""

    async def write(self, name: str, *statements: Statement) -> Rows | None:
        """Runs the statements as one atomic, durable unit; returns the rows of each.

        The first statement is the guard: if it touches no row, nothing is written and the answer is None.
        `name` names the write for failpoints. Raises `StorageFull` (nothing was written) or `StorageBroken`.
        """
        ...

    def post(self, name: str, *statements: Statement, then: Callable[[Rows], None] | None = None) -> None:
        """Like `write`, without waiting: in order before every later write, dropped if the disk is full.

        `then` gets the rows once they are durable.
        """
        ...

    async def read(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Rows of a query; sees every write that has returned."""
        ...

    async def open(self, migrations: Sequence[str]) -> None:
        """Opens and migrates; raises `StorageBroken` with one clear sentence."""
        ...

    async def close(self) -> None: ...
