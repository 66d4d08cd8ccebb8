"""The two ends of a move: what a file and a database of PostgreSQL both can do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from coordinator.journal.moving.tables import CAME, MAIN, MOVED, TABLES, Destination, Origin, Table
from shared.db.database import Row
from shared.errors import MusterError


class MoveFailed(MusterError):
    """Nothing was moved: both journals are as they were."""

    type, title = "move_failed", "The move failed"


class Side(Protocol):
    """A journal that no coordinator uses, from `open` to `close`. Rows are as PostgreSQL has them."""

    name: str
    """As an error shows it: without its password."""

    async def open_source(self) -> None:
        """Raises `MoveFailed` or `StorageBroken` where it is in use, damaged, newer or not there."""
        ...

    async def open_target(self) -> None:
        """It may have rows. Raises as `open_source` does, but for one that is not there."""
        ...

    async def close(self) -> None:
        """Takes back what was not committed."""
        ...

    async def count(self, table: Table) -> int: ...

    def read(self, table: Table, columns: Sequence[str]) -> AsyncIterator[Sequence[Row]]:
        """All rows in the table's order, in batches."""
        ...

    async def read_meta(self, key: str) -> str | None: ...

    async def find_position(self) -> int:
        """The last that it could have given to an event."""
        ...

    async def begin(self, *, replace: bool) -> None:
        """Of a target: what is written from now on is there after `commit`, in the place of what was there."""
        ...

    async def write(self, table: Table, columns: Sequence[str], rows: AsyncIterator[Sequence[Row]]) -> None: ...

    async def settle(self, position: int) -> None:
        """Makes what goes with the rows that were written; events get positions after this one."""
        ...

    async def commit(self, origin: Origin) -> None: ...

    async def leave(self, destination: Destination) -> None:
        """Of a source: no coordinator starts with it from now on."""
        ...


@dataclass(frozen=True)
class Contents:
    """What a journal is: empty, and whose."""

    rows: int
    secret: str | None
    origin: Origin | None
    destination: Destination | None


async def look_into(side: Side) -> Contents:
    came, moved = await side.read_meta(CAME), await side.read_meta(MOVED)
    return Contents(
        rows=sum([await side.count(table) for table in TABLES if table.schema == MAIN]),
        secret=await side.read_meta("secret"),
        origin=Origin.read(came) if came is not None else None,
        destination=Destination.read(moved) if moved is not None else None,
    )
