"""PURE: what of the journal's SQL is said otherwise in PostgreSQL."""

from collections.abc import Mapping

from coordinator.journal import seals, sql
from coordinator.journal.lookups import search, spent
from coordinator.journal.postgres.beside import TEXTS
from coordinator.journal.postgres.migrations import MIGRATIONS, OLDEST
from shared.db.database import Statement
from shared.db.postgres.dialect import Dialect, drop_seals
from shared.protocols.a2a import sql as a2a

_KEEP = """
WITH ended AS (
    DELETE FROM tasks WHERE id = :id AND finished_at IS NOT NULL RETURNING *
), answered AS (
    SELECT DISTINCT answered_by AS agent FROM steps WHERE task_id = :id AND answered_by <> ''
), kept AS (
    INSERT INTO history (task_id, tenant, status, description, priority, created_at, deadline, started_at, finished_at,
                         idempotency_key, request_digest, agents, request, plan, traceparent, code_version, error)
    SELECT id, tenant, status, description, priority, created_at, deadline, started_at, finished_at, idempotency_key,
           request_digest, (SELECT coalesce(json_agg(agent), '[]')::text FROM answered), request, plan, traceparent,
           code_version, error
    FROM ended
)
INSERT INTO task_agents SELECT agent, status, created_at, id FROM answered, ended
"""  # one row of the task moves; its steps and events stay where they are
_ACCEPT = sql.ACCEPT.replace("plan, code_version)", "plan, code_version, lane, carrier)").replace(
    ":plan, :code_version", ":plan, :code_version, :lane, :carrier"
)
_OWNER = """
SELECT owner FROM agents WHERE registration::json->>'name' = :name AND owner IS NOT NULL
ORDER BY registered_at LIMIT 1
"""
_DUE_WEBHOOKS = sql.DUE_WEBHOOKS.replace("ORDER BY", "AND (claimed_until IS NULL OR claimed_until <= :now) ORDER BY")
_MOVE_WEBHOOK = sql.MOVE_WEBHOOK.replace("seal =", "claimed_until = NULL, seal =")
_PORTIONS = """
SELECT :since + 3600.0 * n FROM generate_series(0, floor((extract(epoch FROM now()) - :since) / 3600.0)::bigint) AS n
"""  # hours: each task has its steps' rows, some hundred thousand a day
_SPENT = """
SELECT floor(finished_at / 60)::bigint * 60, sum((usage::json->>'input_tokens')::bigint)::bigint,
       sum((usage::json->>'output_tokens')::bigint)::bigint
FROM steps
WHERE finished_at >= :since AND finished_at < :until AND usage NOT LIKE '%"input_tokens":0,"output_tokens":0%'
  AND task_id IN (SELECT task_id FROM history WHERE finished_at >= :first AND finished_at < :last
                  UNION ALL SELECT id FROM tasks WHERE :last = 'infinity')
GROUP BY 1
"""  # by the index of the tasks: one of the steps' own ends would cost each step
_AUDIT = """
SELECT id, task_id, type, at, data FROM events
WHERE task_id IS NULL AND type LIKE 'audit.%' AND (at, id) < (
    coalesce((SELECT at FROM events WHERE id = :before),
             CASE WHEN CAST(:before AS bigint) IS NULL THEN 'infinity'::float8 ELSE '-infinity' END),
    coalesce(:before, 9223372036854775807)
) ORDER BY at DESC, id DESC LIMIT :limit
"""  # by time: each coordinator has positions of its own
_FREE_PAGES = "SELECT 0, 0, 0"  # vacuum is PostgreSQL's own work

ENDED = "!"  # after the id of a task that has ended


def _tell(statement: Statement) -> str | None:
    """The id of the task that an event is of; who follows an A2A task waits for each of its events as for an end."""
    if statement.sql is a2a.ADD_EVENT and isinstance(statement.params, Mapping):
        return f"{statement.params['id']}{ENDED}"
    if statement.sql is not sql.ADD_EVENT or not isinstance(statement.params, Mapping):
        return None
    task_id: str | None = statement.params["task_id"]
    return f"{task_id}{ENDED}" if task_id and statement.params["type"] == "task.finished" else task_id


DIALECT = Dialect(
    MIGRATIONS,
    {
        sql.ACCEPT: _ACCEPT,
        sql.KEEP: _KEEP,
        sql.OWNER: _OWNER,
        sql.LAST_EVENT: "SELECT coalesce(max(id), 0) FROM events",
        sql.AUDIT: _AUDIT,
        sql.FREE_PAGES: _FREE_PAGES,
        sql.DUE_WEBHOOKS: _DUE_WEBHOOKS,
        sql.MOVE_WEBHOOK: drop_seals(_MOVE_WEBHOOK),
        search.FIRST: search.FIRST.replace(str(search.LOOKED_THROUGH), "30000"),  # they take as long as that in a file
        spent.PORTIONS: _PORTIONS,
        spent.ROWS: _SPENT,
        seals.ROTTEN_TASK: "SELECT 1 WHERE FALSE AND :id = ''",
        **TEXTS,
    },
    tells=_tell,
    oldest=OLDEST,
)
