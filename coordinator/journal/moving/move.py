"""Moves a journal between a file and PostgreSQL: whole or not at all, compared before it counts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator.journal.location import SQLITE, is_server, journal_path, shown
from coordinator.journal.moving.file_side import Columns, FileSide, find_columns
from coordinator.journal.moving.side import MoveFailed, Side, look_into
from coordinator.journal.moving.tables import FIXED, TABLES, Destination, Origin, Sums, Table, Tally
from shared.db.database import Row
from shared.errors import StorageBroken

Tell = Callable[[str, str, int, int], None]  # what is done with which table: rows so far, of so many


@dataclass(frozen=True)
class Moved:
    """What a move has done. `nuls` are texts whose NUL became U+FFFD.

    `again`: it had been finished before, and was compared only. `used`: its target has gone on since.
    """

    sums: Sums
    at: float
    nuls: int = 0
    again: bool = False
    used: bool = False


async def move(
    source_url: str, target_url: str, *, password: str | None = None, tell: Tell, now: Callable[[], float] = time.time
) -> Moved:
    """Moves all that `source_url` names to where `target_url` says; `password` is PostgreSQL's.

    Everything is written and read back in one transaction, or in a new file that takes its place at the end: a kill
    leaves nothing. The source stays as it was, with a note of where it went, with which no coordinator starts.
    Raises `MoveFailed`, `StorageBroken` or `StorageUnwritable`, each in one sentence.
    """
    source, target = _choose(source_url, target_url, password)
    try:
        await source.open_source()
        await target.open_target()
        return await _move(source, target, tell, now)
    finally:
        await target.close()
        await source.close()


def _choose(source_url: str, target_url: str, password: str | None) -> tuple[Side, Side]:
    paths = [_find_path("--from", source_url), _find_path("--to", target_url)]
    if source_url == target_url or (None not in paths and paths[0] == paths[1]):
        raise MoveFailed("--from and --to name the same journal.")
    if None not in paths or paths == [None, None]:
        raise MoveFailed(
            "One of --from and --to is a file (sqlite:///data/muster.db), the other one PostgreSQL "
            "(postgresql://user@host/database). Between two files, copy by backup and restore; between two databases, "
            "by pg_dump and pg_restore."
        )
    from coordinator.journal.moving.server_side import ServerSide

    sides: list[Side] = []
    for url, path in zip((source_url, target_url), paths, strict=True):
        sides.append(FileSide(path) if path is not None else ServerSide(url, password))
    return sides[0], sides[1]


def _find_path(option: str, url: str) -> Path | None:
    try:
        path = journal_path(url)
    except StorageBroken:
        path = Path()
    if path == Path() or (path is None and not is_server(url)):
        raise MoveFailed(
            f"{option} {shown(url)} is no journal that can move: give {SQLITE}file.db, {SQLITE}/absolute/file.db or "
            "postgresql://user@host/database."
        )
    return path.resolve() if path is not None else None


async def _move(source: Side, target: Side, tell: Tell, now: Callable[[], float]) -> Moved:
    here, there = await look_into(source), await look_into(target)
    if here.rows == 0:
        raise MoveFailed(f"{source.name} is empty: there is nothing to move.")
    if there.rows:
        if there.secret is None or there.secret != here.secret:
            raise MoveFailed(f"{target.name} is not empty, and not from {source.name}: give one that is empty.")
        if there.destination is None:
            if there.origin is None:
                raise MoveFailed(f"{target.name} is not empty, and no move has made it: give one that is empty.")
            return await _confirm(source, target, there.origin, tell, now, left=here.destination is not None)
    elif here.destination is not None and here.destination.moved_to != target.name:
        raise MoveFailed(
            f"{source.name} was moved to {here.destination.moved_to} and goes on there: move it from there."
        )
    return await _carry(source, target, tell, now, replace=there.rows > 0)


async def _carry(source: Side, target: Side, tell: Tell, now: Callable[[], float], *, replace: bool) -> Moved:
    await target.begin(replace=replace)
    columns = find_columns()
    sums: Sums = {}
    for table in TABLES:
        tally, total = Tally(), await source.count(table)
        rows = _count_along(source.read(table, columns[table.name]), tally, "moving", table, total, tell)
        await target.write(table, columns[table.name], rows)
        sums[table.name] = tally.sum
    position = await source.find_position()
    await target.settle(position)
    if (different := _compare(sums, await _sum_up(target, columns, "comparing", tell))) is not None:
        raise MoveFailed(f"{target.name} did not get what {source.name} has ({different}); nothing was moved.")
    at = now()
    await target.commit(Origin(source.name, at, await target.find_position(), sums))
    await source.leave(Destination(target.name, at))
    return Moved(sums, at, nuls=source.nuls if isinstance(source, FileSide) else 0)


async def _confirm(
    source: Side, target: Side, origin: Origin, tell: Tell, now: Callable[[], float], *, left: bool
) -> Moved:
    """A move that was finished before, unless it was cut off before the source had its note."""
    columns = find_columns()
    had = await _sum_up(source, columns, "comparing", tell)
    if (different := _compare(origin.sums, had, among=FIXED)) is not None:
        raise MoveFailed(
            f"{source.name} has gone on since it was moved to {target.name} ({different}): each may have tasks that "
            "the other one lacks. Move to an empty one."
        )
    used = await target.find_position() != origin.position
    has = await _sum_up(target, columns, "comparing", tell)
    if not used and (different := _compare(origin.sums, has, among=FIXED)) is not None:
        raise MoveFailed(f"{target.name} is not what was moved there ({different}).")
    if not left:
        await source.leave(Destination(target.name, now()))
    return Moved(origin.sums, origin.at, again=True, used=used)


async def _sum_up(side: Side, columns: Columns, doing: str, tell: Tell) -> Sums:
    sums: Sums = {}
    for table in TABLES:
        tally, total = Tally(), await side.count(table)
        async for _ in _count_along(side.read(table, columns[table.name]), tally, doing, table, total, tell):
            pass
        sums[table.name] = tally.sum
    return sums


async def _count_along(
    batches: AsyncIterator[Sequence[Row]], tally: Tally, doing: str, table: Table, total: int, tell: Tell
) -> AsyncIterator[Sequence[Row]]:
    done = 0
    async for rows in batches:
        tally.add(rows)
        done += len(rows)
        tell(doing, table.name, done, total)
        yield rows


def _compare(one: Sums, other: Sums, among: frozenset[str] | None = None) -> str | None:
    """The first table in which the two differ, as words."""
    for name, has in one.items():
        if (among is None or name in among) and has != other[name]:
            return f"{name}: {has.rows:,} rows, checksum {has.digest}; {other[name].rows:,} rows, {other[name].digest}"
    return None
