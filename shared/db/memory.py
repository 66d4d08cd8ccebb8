"""The database without a file or a thread: the journal switched off, and the store of most tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from shared.db.database import Function, Query, Row, Rows, Statement
from shared.db.migration import migrate
from shared.db.transaction import Transaction, define
from shared.errors import StorageBroken
from shared.failpoints import At, nowhere

T = TypeVar("T")


class MemoryDatabase:
    """The same tables in memory."""

    sealed = True
    shared = False

    def __init__(self, *, at: At = nowhere) -> None:
        self._at = at
        self._connection = sqlite3.connect(":memory:", isolation_level=None)

    async def open(self, migrations: Sequence[str], functions: Mapping[str, Function] | None = None) -> None:
        migrate(self._connection, migrations)
        define(self._connection, functions or {})

    async def close(self) -> None:
        self._connection.close()

    async def write(self, name: str, *statements: Statement) -> Rows | None:
        return self._run(name, lambda transaction: transaction.run(statements))

    def post(self, name: str, *statements: Statement, then: Callable[[Rows], None] | None = None) -> None:
        rows = self._run(name, lambda transaction: transaction.run(statements))
        if then is not None and rows is not None:
            then(rows)

    async def write_some(self, name: str, statements: Sequence[Statement], *, seconds: float) -> int:
        return self._run(name, lambda transaction: transaction.run_some(statements, seconds=seconds))

    async def checkpoint(self) -> None:
        """There is no log."""

    async def take_positions(self) -> int | None:
        return None

    def needs_positions(self, last: int) -> bool:
        return False

    def find_trouble(self) -> str | None:
        return None

    async def read_mark(self) -> int | None:
        return None

    async def write_mark(self, number: int) -> None:
        """Nothing is kept."""

    async def find_damage(self) -> str | None:
        return None

    async def read(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        return self._connection.execute(sql, params or {}).fetchall()

    async def read_all(self, *queries: Query, aside: bool = False) -> Rows:
        return [self._connection.execute(*query).fetchall() for query in queries]

    def _run(self, name: str, run: Callable[[Transaction], T]) -> T:
        self._at(f"{name}.queued")
        self._connection.execute("BEGIN")
        try:
            transaction = Transaction(self._connection)
            outcome = run(transaction)
            transaction.finish()
        except Exception as exc:
            self._connection.execute("ROLLBACK")
            raise StorageBroken(f"The write {name} was refused: {exc}.") from exc
        self._at(f"{name}.written")
        self._connection.execute("COMMIT")
        self._at(f"{name}.committed")
        return outcome
