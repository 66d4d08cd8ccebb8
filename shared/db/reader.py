"""A read-only connection to a file of SQLite, in a thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shared.db.database import Function, Query, Rows
from shared.db.refusals import DAMAGE, translate
from shared.db.transaction import define


class DatabaseReader:
    """Answers questions one after another; opens its connection with the first."""

    def __init__(self, path: Path, *, name: str) -> None:
        self._path = path
        self._functions: Mapping[str, Function] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None

    async def read(self, queries: Sequence[Query]) -> Rows:
        """Rows of each query, all of one state; raises `StorageBroken`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, queries)

    def define(self, functions: Mapping[str, Function]) -> None:
        """Makes functions known to SQL; to be called before the first question."""
        self._functions = functions

    def close(self) -> None:
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()

    def _read(self, queries: Sequence[Query]) -> Rows:
        try:
            if self._connection is None:
                uri = f"{self._path.as_uri()}?mode=ro"
                self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
                define(self._connection, self._functions)
            execute = self._connection.execute
            if len(queries) == 1:
                return [execute(*queries[0]).fetchall()]
            execute("BEGIN")
            try:
                return [execute(*query).fetchall() for query in queries]
            finally:
                execute("COMMIT")
        except DAMAGE as exc:
            raise translate(exc) from exc
