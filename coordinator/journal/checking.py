"""Compares what the journal has with what was written: its mark and its open tasks at a start, the rest in portions."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from coordinator.journal import packed, seals, sql
from coordinator.journal.moving.tables import MOVED, Destination
from coordinator.journal.seals import seal
from shared import logs
from shared.db.database import Database, Function, Query, Statement
from shared.db.refusals import JOURNAL
from shared.errors import StorageBroken

FUNCTIONS: Mapping[str, Function] = {
    "packed": packed.pack,
    "opens": packed.opens,
    "seal": seal,
}  # that the journal's SQL calls
PORTION = 200  # rows that are looked at in one go: some milliseconds of a reader's thread
AT_START = 10_000  # of the newest ended tasks, whose rows a start looks at


async def check_start(db: Database) -> int:
    """The position of the last event. Rows of an earlier format are sealed.

    Raises `StorageBroken` where events are missing, where a row that a start goes on with is damaged, and where the
    journal was moved elsewhere.
    """
    if moved := await db.read(sql.GET_META, {"key": MOVED}):
        raise _refuse_moved(Destination.read(moved[0][0]))
    try:
        return await _check_start(db)
    except StorageBroken as exc:
        raise StorageBroken(f"{exc.detail} {JOURNAL.remedy}") from exc


def _refuse_moved(destination: Destination) -> StorageBroken:
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(destination.at))
    return StorageBroken(
        f"The journal was moved to {destination.moved_to} at {at} UTC, and its tasks go on there: set DATABASE_URL to "
        "it. To come back, move it back (python -m coordinator.cli migrate --from … --to …)."
    )


async def _check_start(db: Database) -> int:
    if (own := await db.take_positions()) is not None:
        return own
    last = int((await db.read(sql.LAST_EVENT))[0][0])
    mark = await db.read_mark()
    if mark is None and last:
        logs.get().info("journal.marked", events=last)
    if mark is not None and mark > last:
        raise StorageBroken(f"The journal lacks its last {mark - last:,} events.")
    if any(rows for rows in await db.read_all(*map(Query, seals.UNSEALED_OPEN.values()))):
        await db.write("store.seal", Statement("SELECT 1"), *map(Statement, seals.SEAL_OPEN.values()))
        logs.get().info("journal.sealed")
    found = await db.read_all(*map(Query, seals.ROTTEN_OPEN.values()))
    if rotten := {str(row[0]) for rows in found for row in rows}:
        raise refuse(sorted(rotten))
    newest = (await db.read(seals.LAST_ROW["history"]))[0][0]
    if damaged := await _look(db, "history", newest - AT_START, newest):
        raise refuse(damaged)
    return last


async def check_kept(db: Database, pause: Callable[[], Awaitable[None]]) -> None:
    """Looks at every row that is kept, and then at pages and indexes; the log tells what is damaged."""
    if not db.sealed:
        return
    for table in seals.KEPT:
        last = (await db.read(seals.LAST_ROW[table]))[0][0]
        for after in range(0, last, PORTION):
            if damaged := await _look(db, table, after, after + PORTION):
                logs.get().error("journal.damaged", tasks=damaged)
            await pause()
    if verdict := await db.find_damage():
        logs.get().error("journal.damaged", why=verdict)


async def _look(db: Database, table: str, after: int, upto: int) -> list[str]:
    """Tasks whose rows are damaged; rows of an earlier format are sealed."""
    span = {"after": after, "upto": upto}
    [found] = await db.read_all(Query(seals.LOOK_AMONG[table], span), aside=True)
    damaged = sorted({row[0] for row in found if row[0] is not None})
    if len(found) > len([row for row in found if row[0] is not None]):
        await db.write("store.seal", Statement(seals.SEAL_AMONG[table], span))
    return damaged


def refuse(damaged: Sequence[str]) -> StorageBroken:
    """What is said of rows that are not as they were written."""
    shown = ", ".join(damaged[:3]) + (", …" if len(damaged) > 3 else "")
    return StorageBroken(f"The journal is damaged: {len(damaged):,} of its entries ({shown}).")
