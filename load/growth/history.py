"""A journal with many ended tasks: one real task, its rows repeated by SQL under other ids and at earlier times."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

BATCH = 20_000
APART_SECONDS = 0.5  # between two ended tasks: a million of them are younger than HISTORY_DAYS


def fill(journal: Path, template: str, *, start: int, end: int) -> None:
    """Adds tasks number `start` to `end` - 1, like the ended task of id `template`, to a journal that is not open.

    Rows of that task are repeated in every table that has some, whatever its columns: the id is replaced, columns that
    end in _at are moved back, what SQLite numbers itself it numbers anew, and what a trigger has added stays.
    """
    with contextlib.closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA synchronous=OFF")
        copies = [copy for (table,) in db.execute(_TABLES).fetchall() if (copy := _copy(db, table, template))]
        for first in range(start, end, BATCH):
            for copy in copies:
                db.execute(copy, {"template": template, "first": first, "last": min(end, first + BATCH) - 1})
            db.commit()
        db.execute("PRAGMA optimize")


_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"


def _copy(db: sqlite3.Connection, table: str, template: str) -> str | None:
    """The statement that repeats a table's rows of the template; None for a table that has none."""
    columns = db.execute(f"SELECT name, type, pk FROM pragma_table_info('{table}')").fetchall()
    names = [name for name, _, _ in columns]
    key = next((name for name in ("task_id", "id") if name in names), None)
    if key is None:
        return None
    # Rows apart from their table: without an index on the key every copy would search all of those made before.
    db.execute(f"CREATE TEMP TABLE template_{table} AS SELECT * FROM {table} WHERE {key} = ?", (template,))
    if not db.execute(f"SELECT 1 FROM template_{table}").fetchone():
        return None
    numbered = [name for name, kind, pk in columns if pk and kind == "INTEGER"] if _count_keys(columns) == 1 else []
    kept = [name for name in names if name not in numbered]
    values = list[str]()
    for name in kept:
        if name == key:
            values.append("substr(:template, 1, 20) || printf('%012x', n)")
        elif name == "seal":
            values.append("NULL")  # of the row that it was
        elif name.endswith("_at"):
            values.append(f"{name} - n * {APART_SECONDS}")
        else:
            values.append(name)
    return f"""
        WITH RECURSIVE number(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM number WHERE n < :last)
        INSERT OR IGNORE INTO {table} ({", ".join(kept)})
        SELECT {", ".join(values)} FROM number, template_{table}
    """


def _count_keys(columns: list[tuple[str, str, int]]) -> int:
    return sum(pk > 0 for _, _, pk in columns)
