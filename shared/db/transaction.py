"""Statements on their way into one transaction of SQLite: those that can wait go together, at its end."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from shared.db.database import Function, Rows, Statement

_NAME = re.compile(r":([a-z_]+)")

Values = tuple[Any, ...]


class Transaction:
    """What is written between a BEGIN and a COMMIT that the caller gives."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._late: dict[tuple[int, str], list[Values]] = {}

    def run(self, statements: Sequence[Statement]) -> Rows | None:
        """The rows of each statement; None where the guard, the first of them, touched none."""
        rows: Rows = []
        for number, statement in enumerate(statements):
            sql, values_of = _number_names(statement.sql)
            if isinstance(statement.params, Mapping):
                if statement.late:
                    self._late.setdefault((statement.late, sql), []).append(values_of(statement.params))
                    rows.append([])
                    continue
                cursor = self._connection.execute(sql, values_of(statement.params))
                rows.append(cursor.fetchall())
            else:
                cursor = self._connection.executemany(sql, map(values_of, statement.params))
                rows.append([])
            if number == 0 and not rows[0] and cursor.rowcount == 0:
                return None
        return rows

    def run_some(self, statements: Sequence[Statement], *, seconds: float) -> int:
        """How many of the statements, at least one, were begun within the time."""
        until = time.perf_counter() + seconds
        for number, statement in enumerate(statements, 1):
            self.run((statement,))
            if time.perf_counter() >= until:
                return number
        return len(statements)

    def finish(self) -> None:
        """Writes what is late."""
        for (_, sql), values in sorted(self._late.items(), key=lambda item: item[0][0]):
            self._connection.executemany(sql, values)
        self._late.clear()


def define(connection: sqlite3.Connection, functions: Mapping[str, Function]) -> None:
    """Makes functions known to SQL by their names."""
    for name, function in functions.items():
        connection.create_function(name, -1, function, deterministic=True)


@lru_cache(maxsize=500)
def _number_names(sql: str) -> tuple[str, Callable[[Mapping[str, Any]], Values]]:
    """The SQL with ?1, ?2 … for its names, and what picks their values: SQLite looks a name up at every run.

    Measured: 438 instead of 485 us for the writes of a task of three steps.
    """
    names = list(dict.fromkeys(_NAME.findall(sql)))
    numbers = {name: f"?{number}" for number, name in enumerate(names, 1)}
    text = _NAME.sub(lambda found: numbers[found[1]], sql)
    if len(names) > 1:
        return text, itemgetter(*names)
    return text, lambda params: tuple(params[name] for name in names)
