"""SQL of the A2A façade: its tasks, their push notification configs, and notifications still to be sent."""

MIGRATIONS = (
    # 1: tasks as the protocol's own bytes, hooks, and the outbox of what hooks have not got yet
    """
    CREATE TABLE tasks (
        id TEXT PRIMARY KEY,
        context_id TEXT NOT NULL,
        state INTEGER NOT NULL,         -- a2a TaskState
        phase TEXT NOT NULL,            -- open (somebody works on it), waiting (for its user), ended
        updated INTEGER NOT NULL,       -- Unix nanoseconds of its status, 0: it has none
        body BLOB NOT NULL              -- a2a Task
    );
    CREATE INDEX task_by_time ON tasks (updated, id);
    CREATE INDEX task_by_context ON tasks (context_id, updated);
    CREATE INDEX task_open ON tasks (updated) WHERE phase = 'open';

    CREATE TABLE hooks (
        task_id TEXT NOT NULL,
        id TEXT NOT NULL,
        url TEXT NOT NULL,
        headers TEXT NOT NULL,          -- JSON object
        body BLOB NOT NULL,             -- a2a TaskPushNotificationConfig
        PRIMARY KEY (task_id, id)
    );

    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id TEXT NOT NULL,
        hook_id TEXT NOT NULL,
        body TEXT NOT NULL,             -- JSON: a2a StreamResponse
        attempts INTEGER NOT NULL DEFAULT 0,
        due REAL NOT NULL               -- Unix seconds
    );
    CREATE INDEX outbox_by_hook ON outbox (task_id, hook_id, seq);
    """,
)

# An ended task stays as it ended; later writes change nothing.
SAVE_TASK = """
INSERT INTO tasks (id, context_id, state, phase, updated, body)
VALUES (:id, :context_id, :state, :phase, :updated, :body)
ON CONFLICT (id) DO UPDATE SET context_id = excluded.context_id, state = excluded.state, phase = excluded.phase,
    updated = excluded.updated, body = excluded.body
WHERE tasks.phase <> 'ended'
"""
TASK = "SELECT body, 0 FROM tasks WHERE id = :id"
OPEN_TASKS = "SELECT body FROM tasks WHERE phase = 'open' ORDER BY updated"
ANY_OPEN = "SELECT 1 FROM tasks WHERE phase = 'open' LIMIT 1"
DELETE_TASK = "DELETE FROM tasks WHERE id = :id"
_LISTED = """
FROM tasks
WHERE (:context_id = '' OR context_id = :context_id) AND (:state = 0 OR state = :state)
    AND (:after IS NULL OR (updated >= :after AND updated > 0))
"""
COUNT_TASKS = f"SELECT COUNT(*) {_LISTED}"
LIST_TASKS = f"""
SELECT body {_LISTED} AND (:below IS NULL OR (updated, id) < (:below, :below_id))
ORDER BY updated DESC, id DESC LIMIT :limit
"""

# Only where several processes share the database. `processes` are those that are there; each works on tasks as their
# carrier. `events` are what others follow.
LEFT = """
SELECT 1 FROM tasks AS t WHERE t.phase = 'open'
    AND NOT EXISTS (SELECT 1 FROM processes AS p WHERE p.id = t.carrier AND p.at > :since) LIMIT 1
"""
TAKE_OVER = """
UPDATE tasks SET carrier = :carrier, version = version + 1 WHERE phase = 'open'
    AND NOT EXISTS (SELECT 1 FROM processes AS p WHERE p.id = tasks.carrier AND p.at > :since)
"""
CARRIED = "SELECT body FROM tasks WHERE phase = 'open' AND carrier = :carrier ORDER BY updated"
ELSEWHERE = "SELECT body FROM tasks WHERE id = :id AND phase = 'open' AND carrier <> :carrier"
IS_OPEN = "SELECT 1 FROM tasks WHERE id = :id AND phase <> 'ended'"
ADD_EVENT = """
INSERT INTO events (task_id, version, at, body) SELECT :id, version, :at, :event FROM tasks WHERE id = :id
"""
EVENTS = """
SELECT version, body FROM events WHERE task_id = :task_id AND version > :after ORDER BY version LIMIT :limit
"""
DROP_EVENTS = "DELETE FROM events WHERE at < :before"

SAVE_HOOK = """
INSERT OR REPLACE INTO hooks (task_id, id, url, headers, body)
SELECT :task_id, :id, :url, :headers, :body
WHERE (SELECT COUNT(*) FROM hooks WHERE task_id = :task_id AND id <> :id) < :most
"""
HOOKS = "SELECT body FROM hooks WHERE task_id = :task_id ORDER BY rowid"
HOOKED_TASKS = "SELECT DISTINCT task_id FROM hooks"
DELETE_HOOKS = "DELETE FROM hooks WHERE task_id = :task_id AND (:id IS NULL OR id = :id)"
DELETE_UNTOLD = "DELETE FROM outbox WHERE task_id = :task_id AND (:id IS NULL OR hook_id = :id)"

TELL = """
INSERT INTO outbox (task_id, hook_id, body, due) SELECT task_id, id, :body, :due FROM hooks WHERE task_id = :task_id
"""
# Only the oldest for each hook: it hears things in the order in which they happened.
NEXT = """
SELECT MIN(o.seq), o.task_id, o.hook_id, o.due, o.attempts, h.url FROM outbox o
LEFT JOIN hooks h ON h.task_id = o.task_id AND h.id = o.hook_id
GROUP BY o.task_id, o.hook_id ORDER BY o.due LIMIT :limit
"""
UNTOLD = """
SELECT h.headers, o.body FROM outbox o
JOIN hooks h ON h.task_id = o.task_id AND h.id = o.hook_id WHERE o.seq = :seq
"""
CLAIM = """
UPDATE outbox SET claimed_until = :until WHERE seq = :seq AND (claimed_until IS NULL OR claimed_until <= :now)
"""  # only where several processes share the database
TOLD = "DELETE FROM outbox WHERE seq = :seq"
AGAIN = "UPDATE outbox SET attempts = :attempts, due = :due WHERE seq = :seq"

_OLD = """
(SELECT id FROM tasks WHERE phase = 'ended' ORDER BY updated DESC LIMIT -1 OFFSET :kept)
"""
PRUNE = (
    f"DELETE FROM outbox WHERE task_id IN {_OLD}",
    f"DELETE FROM hooks WHERE task_id IN {_OLD}",
    f"DELETE FROM tasks WHERE id IN {_OLD}",
)
