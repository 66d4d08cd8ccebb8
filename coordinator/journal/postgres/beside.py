"""PURE: the SQL of memories and of A2A tasks, whose tables are in the same database as PostgreSQL's journal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import ModuleType

from shared.db.postgres.dialect import Dialect, translate
from shared.memory import sql as memory
from shared.protocols.a2a import sql as a2a

_NO_DIALECT = Dialect(())
_BODY = "decode(substr(:body, 8), 'base64')"  # bytes come as text (`shared.db.database.AS_TEXT`)

_SAVE_TASK = f"""
INSERT INTO a2a_tasks (id, context_id, state, phase, updated, body, carrier)
VALUES (:id, :context_id, :state, :phase, :updated, {_BODY}, :carrier)
ON CONFLICT (id) DO UPDATE SET context_id = excluded.context_id, state = excluded.state, phase = excluded.phase,
    updated = excluded.updated, body = excluded.body, version = a2a_tasks.version + 1, carrier = excluded.carrier
WHERE a2a_tasks.phase <> 'ended' AND (
    :cancels OR (a2a_tasks.version = :version AND (a2a_tasks.carrier = :carrier OR a2a_tasks.phase = 'waiting'))
)
"""  # only its carrier changes a task, and only from how it is; whoever cancels it need not be the carrier
_SAVE_HOOK = f"""
INSERT INTO a2a_hooks (task_id, id, url, headers, body)
SELECT :task_id, :id, :url, :headers, {_BODY}
WHERE (SELECT COUNT(*) FROM a2a_hooks WHERE task_id = :task_id AND id <> :id) < :most
ON CONFLICT (task_id, id) DO UPDATE SET url = excluded.url, headers = excluded.headers, body = excluded.body
"""
_ADD_EVENT = """
INSERT INTO a2a_events (task_id, version, at, body)
SELECT id, version, :at, decode(substr(:event, 8), 'base64') FROM a2a_tasks WHERE id = :id
"""
_AGAIN = "UPDATE a2a_outbox SET attempts = :attempts, due = :due, claimed_until = NULL WHERE seq = :seq"
_NEXT = """
SELECT seq, task_id, hook_id, due, attempts, url FROM (
    SELECT DISTINCT ON (o.task_id, o.hook_id) o.seq, o.task_id, o.hook_id, o.due, o.attempts, o.claimed_until, h.url
    FROM a2a_outbox o LEFT JOIN a2a_hooks h ON h.task_id = o.task_id AND h.id = o.hook_id
    ORDER BY o.task_id, o.hook_id, o.seq
) AS heads
WHERE claimed_until IS NULL OR claimed_until <= :now ORDER BY due LIMIT :limit
"""


def _skip_used(text: str) -> str:
    """A deletion of sessions that leaves out those that another coordinator is writing: each waits for no other."""
    which = text.partition("WHERE")[2]
    return f"""
    DELETE FROM memory_sessions WHERE number IN (
        SELECT number FROM memory_sessions WHERE {which.replace("FROM sessions", "FROM memory_sessions")}
        FOR UPDATE SKIP LOCKED
    )
    """


def _rename(module: ModuleType, names: Mapping[str, str], *, apart: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each text of a module with its tables' names in this database; those `apart` are other texts."""
    name = re.compile(rf"(?<![:.\w])({'|'.join(names)})\b")
    for given in (value for key, value in vars(module).items() if key.isupper() and key != "MIGRATIONS"):
        for text in (given,) if isinstance(given, str) else given:
            yield text, apart.get(text) or translate(name.sub(lambda found: names[found[1]], text), _NO_DIALECT)


TEXTS: Mapping[str, str] = {
    **dict(
        _rename(
            memory,
            {"sessions": "memory_sessions", "events": "memory_events"},
            apart={
                text: translate(_skip_used(text), _NO_DIALECT)
                for text in (memory.DROP_OLD_SESSIONS, memory.DROP_SESSIONS_OVER_COUNT, memory.DROP_SESSIONS_OVER_BYTES)
            },
        )
    ),
    **dict(
        _rename(
            a2a,
            {name: f"a2a_{name}" for name in ("tasks", "hooks", "outbox", "events")} | {"processes": "coordinators"},
            apart={
                a2a.SAVE_TASK: _SAVE_TASK,
                a2a.TASK: "SELECT body, version FROM a2a_tasks WHERE id = :id",
                a2a.ADD_EVENT: _ADD_EVENT,
                a2a.SAVE_HOOK: _SAVE_HOOK,
                a2a.HOOKS: "SELECT body FROM a2a_hooks WHERE task_id = :task_id ORDER BY number",
                a2a.NEXT: _NEXT,
                a2a.AGAIN: _AGAIN,
            },
        )
    ),
}
