"""The way back: brings the journal to the format that the version before this one reads."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from coordinator.journal.location import journal_path, why_no_file
from coordinator.journal.migrations import MIGRATIONS
from shared.db.lock import Lock
from shared.db.migration import go_back
from shared.db.refusals import translate
from shared.db.sqlite_file import open_journal
from shared.errors import MusterError

PREVIOUS = 2  # the format of the version before, which docs/rollback.md names

# By the format that each leaves, down to the one before it. What that one cannot hold is left out: checksums, and which
# secret or key an agent's id belongs to.
WAYS_BACK = {
    5: """
    DROP TRIGGER recording_goes;
    DROP TABLE recordings;
    """,
    4: """
    DROP INDEX agent_by_name;
    ALTER TABLE agents DROP COLUMN secret_hash;
    ALTER TABLE agents DROP COLUMN owner;
    ALTER TABLE agents DROP COLUMN reached_at;
    """,
    3: """
    UPDATE tasks SET request = (SELECT request FROM requests WHERE task_id = tasks.id)
    WHERE id IN (SELECT task_id FROM requests);
    UPDATE history SET request = (SELECT request FROM requests WHERE requests.task_id = history.task_id)
    WHERE task_id IN (SELECT task_id FROM requests);
    DROP TRIGGER task_ends;
    DROP TRIGGER task_goes;
    DROP TABLE requests;
    ALTER TABLE tasks DROP COLUMN seal;
    ALTER TABLE steps DROP COLUMN seal;
    ALTER TABLE events DROP COLUMN seal;
    ALTER TABLE history DROP COLUMN seal;
    ALTER TABLE agents DROP COLUMN seal;
    ALTER TABLE webhooks DROP COLUMN seal;
    ALTER TABLE meta DROP COLUMN seal;
    CREATE TRIGGER task_ends AFTER INSERT ON history BEGIN
        INSERT INTO task_agents SELECT value, NEW.status, NEW.created_at, NEW.task_id FROM json_each(NEW.agents);
        DELETE FROM steps WHERE task_id = NEW.task_id AND NEW.body IS NOT NULL;
        DELETE FROM events WHERE task_id = NEW.task_id AND NEW.body IS NOT NULL;
        DELETE FROM tasks WHERE id = NEW.task_id;
    END;
    CREATE TRIGGER task_goes AFTER DELETE ON history BEGIN
        DELETE FROM task_agents WHERE agent IN (SELECT value FROM json_each(OLD.agents))
            AND status = OLD.status AND created_at = OLD.created_at AND task_id = OLD.task_id;
        DELETE FROM steps WHERE task_id = OLD.task_id;
        DELETE FROM events WHERE task_id = OLD.task_id;
        DELETE FROM late_results WHERE task_id = OLD.task_id;
        DELETE FROM webhooks WHERE task_id = OLD.task_id;
    END;
    """,
}


class DowngradeFailed(MusterError):
    """The journal is as it was."""

    type, title = "downgrade_failed", "The downgrade failed"


def downgrade(database_url: str) -> tuple[int, int]:
    """The journal's format before and after; every task stays, also the open ones.

    Each format is left in one transaction: a kill leaves a whole one. Raises `DowngradeFailed`, and `StorageBroken`
    while a coordinator uses the journal.
    """
    if (path := journal_path(database_url)) is None:
        raise DowngradeFailed(
            why_no_file(database_url, instead="The version before works with the tables as they are: start it.")
        )
    path = path.absolute()
    if not path.is_file():
        raise DowngradeFailed(f"DATABASE_URL names {path}, which does not exist.")
    lock = Lock(path)
    lock.take()
    try:
        with closing(open_journal(path, MIGRATIONS)) as connection:
            go_back(connection, WAYS_BACK, to=PREVIOUS)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(MIGRATIONS), PREVIOUS
    except sqlite3.Error as exc:
        raise translate(exc) from exc
    finally:
        lock.close()
