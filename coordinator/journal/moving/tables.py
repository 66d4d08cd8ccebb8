"""PURE: the tables that move, the order of their rows, and the checksum of what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from shared.db.database import Row

MOVED, CAME = "moved", "came"  # keys of `meta`: where a journal went, and where it is from; they do not move


MAIN, MEMORY, A2A = "main", "memory", "a2a"  # the journal's file, and NAME.db beside it


class Table(NamedTuple):
    """A table that both kinds of journal have.

    `order` are columns that put its rows in one order, on a server `order_there`. `batch` is how many rows are in
    memory at a time, `where` leaves out what does not move. `there` is its name on a server, `schema` its file.
    `serial` is a column that a server numbers; `binary` is one of bytes on both sides, `mixed` one of text in which a
    file may have bytes.
    """

    name: str
    order: str
    order_there: str = ""
    batch: int = 200
    where: str = "TRUE"
    serial: str | None = None
    binary: str | None = None
    mixed: str | None = None

    @property
    def there(self) -> str:
        return self.name.replace(".", "_")

    @property
    def schema(self) -> str:
        return self.name.rpartition(".")[0] or MAIN


TABLES = (  # the history first: a file makes the table after it out of it
    Table("history", "id", serial="id", binary="body"),
    Table("task_agents", "agent, status, created_at, task_id"),
    Table("tasks", "id"),
    Table("requests", "task_id"),
    Table("steps", "task_id, step_id", batch=50, mixed="output"),
    Table("late_results", "task_id, step_id, attempt, arrived_at, result"),
    Table("webhooks", "task_id"),
    Table("events", "id", batch=2_000),
    Table("agents", "id"),
    Table("recordings", "id", batch=20, serial="id"),
    Table("meta", "key", where=f"key NOT IN ('{MOVED}', '{CAME}')"),
    Table("memory.events", "number", serial="number"),  # before their sessions, to whose size they are added
    Table("memory.sessions", "number", serial="number"),
    Table("a2a.tasks", "id", batch=20, binary="body"),
    Table("a2a.hooks", "rowid", order_there="number", binary="body"),
    Table("a2a.outbox", "seq", serial="seq"),
)
FIXED = frozenset(t.name for t in TABLES if t.schema == MAIN) - {"agents", "meta"}  # these change only with an event


class Sum(NamedTuple):
    """How many rows a table has, and their checksum."""

    rows: int
    digest: str


class Tally:
    """The sum of a table's rows, which come in their order."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._rows = 0

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._hash.update(repr(row).encode())
            self._rows += 1

    @property
    def sum(self) -> Sum:
        return Sum(self._rows, self._hash.hexdigest())


Sums = dict[str, Sum]


@dataclass(frozen=True)
class Origin:
    """What a journal keeps of the move that made it; `position` is the last that it could have given to an event."""

    came_from: str
    at: float
    position: int
    sums: Sums

    def write(self) -> str:
        return to_json(asdict(self)).decode()

    @classmethod
    def read(cls, text: str) -> Origin:
        kept: dict[str, Any] = from_json(text)
        return cls(**kept | {"sums": {name: Sum(*sum) for name, sum in kept["sums"].items()}})


@dataclass(frozen=True)
class Destination:
    """What a journal keeps of the move that has left it behind."""

    moved_to: str
    at: float

    def write(self) -> str:
        return to_json(asdict(self)).decode()

    @classmethod
    def read(cls, text: str) -> Destination:
        return cls(**from_json(text))
