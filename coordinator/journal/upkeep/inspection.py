"""Looks through a journal that no coordinator uses, and can go on with what is left of a damaged one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from coordinator.journal import seals, sql
from coordinator.journal.checking import FUNCTIONS
from coordinator.journal.location import journal_path, why_no_file
from coordinator.journal.migrations import MIGRATIONS
from shared.db import mark
from shared.db.lock import Lock
from shared.db.refusals import translate
from shared.db.sqlite_file import open_journal
from shared.db.transaction import define
from shared.errors import MusterError


class CheckFailed(MusterError):
    """The journal is as it was."""

    type, title = "check_failed", "The check failed"


@dataclass(frozen=True)
class Found:
    """What a journal lacks: events after the last one that is there, and entries that are not as they were written."""

    missing_events: int
    damaged: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return not self.missing_events and not self.damaged


def inspect(database_url: str, *, accept_loss: bool = False) -> Found:
    """Compares every row with its seal, and the last event with the mark.

    With `accept_loss` the damaged entries are deleted, a task with all that belongs to it, and the mark is set to what
    is there, so that a start goes on with it. Raises `CheckFailed`, and `StorageBroken` where only a backup helps or
    while a coordinator uses the journal.
    """
    if (path := journal_path(database_url)) is None:
        raise CheckFailed(why_no_file(database_url, instead="Compare the tables with their indexes by pg_amcheck."))
    journal = path.absolute()
    if not journal.is_file():
        raise CheckFailed(f"DATABASE_URL names {journal}, which does not exist.")
    lock = Lock(journal)
    lock.take()
    try:
        with closing(open_journal(journal, MIGRATIONS, accept_loss=accept_loss)) as connection:
            define(connection, FUNCTIONS)
            last = int(connection.execute(sql.LAST_EVENT).fetchone()[0])
            damaged = tuple(sorted(set(find_damaged(connection))))
            if accept_loss:
                connection.execute("BEGIN IMMEDIATE")
                for entry in damaged:
                    for statement in seals.FORGET_DAMAGED:
                        connection.execute(statement, {"name": entry})
                connection.execute("COMMIT")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        found = Found(max(0, (mark.read_mark(journal) or 0) - last), damaged)
        if accept_loss:
            mark.write_mark(journal, last)
        return found
    except sqlite3.Error as exc:
        raise translate(exc) from exc
    finally:
        lock.close()


def find_damaged(connection: sqlite3.Connection) -> Iterator[str]:
    """What is not as it was written: ids of tasks, names of agents and entries, some of them twice."""
    for query in (*seals.ROTTEN_OPEN.values(), *seals.ROTTEN_KEPT.values()):
        yield from (row[0] for row in connection.execute(query))
