"""The journal's SQL, written out, with named parameters; each says who may win a race."""

from coordinator.journal.seals import ROTTEN, STEP_COLUMNS, seal_of
from shared.db.outbox import LONGEST_PAUSE_SECONDS

ACCEPT = """
INSERT INTO tasks (id, tenant, status, description, request, priority, created_at, deadline, idempotency_key,
                   request_digest, traceparent, plan, code_version)
SELECT :id, :tenant, 'queued', :description, :request, :priority, :created_at, :deadline, :idempotency_key,
       :request_digest, :traceparent, :plan, :code_version
WHERE NOT EXISTS (SELECT 1 FROM history WHERE tenant = :tenant AND idempotency_key = :idempotency_key)
ON CONFLICT DO NOTHING
"""  # the first task under a key stays, also when it has ended; the guard makes the second write nothing

ADD_REQUEST = "INSERT INTO requests (task_id, request) VALUES (:id, :request)"

REPLAN = "UPDATE tasks SET plan = :plan, seal = NULL WHERE id = :id"

START_TASK = """
UPDATE tasks SET status = 'running', started_at = coalesce(started_at, :at), seal = NULL
WHERE id = :id AND finished_at IS NULL
"""

START_STEP = """
INSERT INTO steps (task_id, step_id, status, attempt, instance, queued_at, started_at)
SELECT :task_id, :step_id, 'running', :attempt, :agent_id, :queued_at, :started_at
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_id AND finished_at IS NULL)
ON CONFLICT (task_id, step_id) DO UPDATE SET status = 'running', attempt = excluded.attempt,
    instance = excluded.instance, queued_at = excluded.queued_at,
    started_at = coalesce(steps.started_at, excluded.started_at), seal = NULL
WHERE steps.attempt < excluded.attempt AND steps.status IN ('queued', 'running')
"""  # a step has a row from its start; the newest attempt owns it

END_ATTEMPT = """
UPDATE steps SET failed = :failed, seal = NULL
WHERE task_id = :task_id AND step_id = :step_id AND attempt = :attempt AND status = 'running'
"""

FINISH_STEP = """
INSERT INTO steps (task_id, step_id, status, attempt, failed, instance, answered_by, output, usage, missing, error,
                   started_at, first_byte_at, finished_at)
SELECT :task_id, :step_id, :status, :attempt, :failed, :instance, :answered_by, :output, :usage, :missing, :error,
       :started_at, :first_byte_at, :finished_at
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_id AND finished_at IS NULL)
ON CONFLICT (task_id, step_id) DO UPDATE SET status = excluded.status, attempt = excluded.attempt,
    failed = excluded.failed, instance = excluded.instance, answered_by = excluded.answered_by,
    output = excluded.output, usage = excluded.usage, missing = excluded.missing, error = excluded.error,
    started_at = coalesce(steps.started_at, excluded.started_at), first_byte_at = excluded.first_byte_at,
    finished_at = excluded.finished_at,
    seal = NULL
WHERE steps.attempt <= excluded.attempt AND steps.status IN ('queued', 'running')
"""  # the fence: a result of an older attempt, a second one, or one for a task that has ended touches no row

LEDGER = """
UPDATE tasks SET reserved_calls = :reserved_calls, spent_calls = :spent_calls, reserved_tokens = :reserved_tokens,
    spent_tokens = :spent_tokens
WHERE id = :id
"""

FINISH_TASK = """
UPDATE tasks SET status = :status, finished_at = :finished_at, started_at = :started_at, error = :error
WHERE id = :id AND finished_at IS NULL
"""  # a task ends once

# A task that has ended becomes one row. Steps and events of a small one are packed into it: a row of text, RS between
# its records and US between their fields, GS between the parts, for JSON has none of these. quote() keeps a time exact.
_APART = ("request", "plan", "traceparent", "code_version", "error")  # a small one has them in its body
_SEAL_KEPT = seal_of("history", task_id="id", **{name: f"iif(small, NULL, {name})" for name in _APART})
KEEP = f"""
WITH task AS MATERIALIZED (
    SELECT *, length(description) + coalesce(length(request), 0) + length(plan) + coalesce(
        (SELECT length(request) FROM requests WHERE task_id = :id), 0
    ) + (
        SELECT coalesce(sum(iif(typeof(output) = 'blob', :most, length(output))), 0) FROM steps WHERE task_id = :id
    ) <= :most AS small, (
        SELECT json_group_array(DISTINCT answered_by) FROM steps WHERE task_id = :id AND answered_by <> ''
    ) AS agents FROM tasks WHERE id = :id AND finished_at IS NOT NULL
)
INSERT INTO history (task_id, tenant, status, description, priority, created_at, deadline, started_at, finished_at,
                     idempotency_key, request_digest, agents, request, plan, traceparent, code_version, error, seal,
                     body)
SELECT id, tenant, status, description, priority, created_at, deadline, started_at, finished_at, idempotency_key,
    request_digest, agents, iif(small, NULL, request), iif(small, NULL, plan), iif(small, NULL, traceparent),
    iif(small, NULL, code_version), iif(small, NULL, error),
    {_SEAL_KEPT},
    iif(small, packed(
        json_array(traceparent, code_version),
        coalesce(request, (SELECT request FROM requests WHERE task_id = :id)), plan, error,
        (SELECT group_concat(
            json_array(step_id, status, attempt, failed, instance, answered_by,
                       json(nullif(quote(queued_at), 'NULL')), json(nullif(quote(started_at), 'NULL')),
                       json(nullif(quote(first_byte_at), 'NULL')), json(nullif(quote(finished_at), 'NULL')))
            || char(31) || coalesce(output, '') || char(31) || coalesce(usage, '')
            || char(31) || coalesce(missing, '') || char(31) || coalesce(error, ''), char(30))
         FROM (SELECT * FROM steps WHERE task_id = :id ORDER BY finished_at)),
        (SELECT group_concat(json_array(id, type, json(quote(at))) || char(31) || data, char(30))
         FROM (SELECT * FROM events WHERE task_id = :id ORDER BY id))
    ), NULL)
FROM task
"""

_SEAL_NEW_WEBHOOK = seal_of("webhooks", task_id=":task_id", url=":url", attempts="0", next_at=":at")
ADD_WEBHOOK = f"""
INSERT INTO webhooks (task_id, url, next_at, seal) VALUES (:task_id, :url, :at, {_SEAL_NEW_WEBHOOK})
ON CONFLICT DO NOTHING
"""
# as `shared.db.outbox.is_due` says
_WAITS = f"next_at > :now AND next_at <= :now + {LONGEST_PAUSE_SECONDS} AND attempts > 0"
DUE_WEBHOOKS = f"""
SELECT task_id, url, attempts FROM webhooks WHERE next_at IS NOT NULL AND NOT ({_WAITS}) ORDER BY next_at LIMIT :limit
"""
NEXT_WEBHOOK = f"SELECT min(next_at) FROM webhooks WHERE {_WAITS}"
OVERDUE = f"""
SELECT (SELECT count(*) FROM (SELECT 1 FROM history WHERE finished_at < :before LIMIT 100000) AS ended),
       (SELECT count(*) FROM (SELECT 1 FROM webhooks WHERE next_at IS NOT NULL AND NOT ({_WAITS}) LIMIT 100000) AS due)
"""
CLAIM_WEBHOOK = """
UPDATE webhooks SET claimed_until = :until
WHERE task_id = :task_id AND next_at IS NOT NULL AND (claimed_until IS NULL OR claimed_until <= :now)
"""  # only where several share the journal
WEBHOOK = "SELECT attempts, next_at, delivered_at, last_error FROM webhooks WHERE task_id = :task_id"
MOVE_WEBHOOK = f"""
UPDATE webhooks SET attempts = :attempts, next_at = :next_at, delivered_at = :delivered_at, last_error = :error,
    seal = {seal_of("webhooks", attempts=":attempts", next_at=":next_at")}
WHERE task_id = :task_id AND next_at IS NOT NULL
"""

LATE_RESULT = """
INSERT INTO late_results (task_id, step_id, attempt, arrived_at, result)
VALUES (:task_id, :step_id, :attempt, :at, :result)
"""

ADD_RECORDING = "INSERT INTO recordings (task_id, size, body) VALUES (:task_id, :size, :body)"
RECORDED_BYTES = "SELECT coalesce(sum(size), 0) FROM recordings"
OLDEST_RECORDINGS = "SELECT id, task_id, size FROM recordings ORDER BY id LIMIT :limit"
DROP_RECORDING = "DELETE FROM recordings WHERE task_id = :task_id"
RECORDING = "SELECT body FROM recordings WHERE task_id = :task_id ORDER BY id"
ADD_EVENT = "INSERT INTO events (id, task_id, type, at, data) VALUES (:id, :task_id, :type, :at, :data)"
LAST_EVENT = """
SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0),
           coalesce((SELECT max(id) FROM events), 0))
"""  # also of those that are gone

EVENTS = f"""
SELECT id, task_id, type, at, data, {ROTTEN["events"]} FROM events
WHERE task_id = :task_id AND id > :after ORDER BY id LIMIT :limit
"""
AUDIT = """
SELECT id, task_id, type, at, data FROM events
WHERE task_id IS NULL AND type GLOB 'audit.*' AND (:before IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit
"""
AGENT_EVENTS = """
SELECT at, data FROM events
WHERE task_id IS NULL AND id > :after AND id <= :until AND type = 'agent.status' ORDER BY id LIMIT 1000
"""
_PEERS = """
    SELECT task_id FROM task_agents WHERE agent = :agent AND status = 'completed' AND created_at < :before
    ORDER BY created_at DESC LIMIT :limit
"""
PEERS = f"SELECT task_id, body FROM history WHERE body IS NOT NULL AND task_id IN ({_PEERS})"
PEER_TIMES = f"""
SELECT finished_at - started_at FROM steps
WHERE answered_by = :agent AND status = 'completed' AND attempt = 1 AND failed = 0 AND started_at IS NOT NULL
  AND task_id IN ({_PEERS})
"""  # of those that are not packed
BODY = "SELECT body FROM history WHERE task_id = :task_id"

TASK_COLUMNS = """
tenant, status, description, priority, created_at, deadline, started_at, finished_at, idempotency_key, request_digest,
coalesce(request, (SELECT r.request FROM requests AS r WHERE r.task_id = {id})), plan, traceparent, error
"""
_TASK = f"SELECT id, {TASK_COLUMNS.format(id='id')}, NULL FROM tasks"
_ENDED = f"SELECT task_id, {TASK_COLUMNS.format(id='history.task_id')}, body FROM history"

TASK = f"{_TASK} WHERE id = :id UNION ALL {_ENDED} WHERE task_id = :id"
FIRST_EVENT = "SELECT data FROM events WHERE task_id = :id ORDER BY id LIMIT 1"
TASK_STEPS = f"SELECT {STEP_COLUMNS} FROM steps WHERE task_id = :id"

_BY_KEY = "tenant = :tenant AND idempotency_key = :idempotency_key"
ID_BY_KEY = f"SELECT id FROM tasks WHERE {_BY_KEY} UNION ALL SELECT task_id FROM history WHERE {_BY_KEY}"

OPEN_TASKS = f"{_TASK} ORDER BY created_at, id"
OPEN_STEPS = f"SELECT {STEP_COLUMNS} FROM steps WHERE task_id IN (SELECT id FROM tasks)"
OPEN_ACCEPTED = """
SELECT task_id, data FROM events WHERE task_id IN (SELECT id FROM tasks) AND type = 'task.accepted'
"""
OPEN_DELEGATIONS = """
SELECT task_id, type, data FROM events
WHERE task_id IN (SELECT id FROM tasks WHERE :id IS NULL OR id = :id)
  AND type IN ('delegation.started', 'delegation.finished')
ORDER BY id
"""
# Lists, newest first: of those that have not ended, a few thousand at most, and of history, each by an index that
# has them in this order.
_LINE = "status, description, priority, created_at, started_at, finished_at, deadline"
_PLACE = "created_at >= :since AND (created_at, {id}) < (:before_at, :before_id)"
_ORDER = "ORDER BY {created_at} DESC, {id} DESC LIMIT :limit"
LIST_OPEN = f"""
SELECT id, {_LINE} FROM tasks
WHERE {_PLACE.format(id="id")} AND (:status IS NULL OR status = :status)
  AND (:agent IS NULL OR EXISTS (SELECT 1 FROM steps WHERE task_id = tasks.id AND answered_by = :agent))
{_ORDER.format(created_at="created_at", id="id")}
"""
LIST_ENDED = f"""
SELECT task_id, {_LINE} FROM history WHERE {_PLACE.format(id="task_id")}
{_ORDER.format(created_at="created_at", id="task_id")}
"""
LIST_BY_STATUS = f"""
SELECT task_id, {_LINE} FROM history WHERE status = :status AND {_PLACE.format(id="task_id")}
{_ORDER.format(created_at="created_at", id="task_id")}
"""
LIST_BY_AGENT = f"""
SELECT task_id, {_LINE} FROM history WHERE task_id IN (
    SELECT task_id FROM task_agents WHERE agent = :agent AND status = :status AND {_PLACE.format(id="task_id")}
    {_ORDER.format(created_at="created_at", id="task_id")}
)
"""

_SEAL_NEW_AGENT = seal_of(
    "agents",
    id=":id",
    registration=":registration",
    removed_at="NULL",
    secret_hash=":secret_hash",
    owner=":owner",
)
_SEAL_KNOWN_AGENT = seal_of(
    "agents",
    id="agents.id",
    registration="excluded.registration",
    removed_at="NULL",
    secret_hash="coalesce(agents.secret_hash, excluded.secret_hash)",
    owner="coalesce(agents.owner, excluded.owner)",
)
SAVE_AGENT = f"""
INSERT INTO agents (id, registration, registered_at, secret_hash, owner, seal)
VALUES (:id, :registration, :at, :secret_hash, :owner, {_SEAL_NEW_AGENT})
ON CONFLICT (id) DO UPDATE SET registration = excluded.registration, removed_at = NULL,
    secret_hash = coalesce(agents.secret_hash, excluded.secret_hash), owner = coalesce(agents.owner, excluded.owner),
    seal = {_SEAL_KNOWN_AGENT}
"""  # the first secret and the first key stay
AGENT_REACHED = "UPDATE agents SET reached_at = :at WHERE id = :id"
REMOVE_AGENT = f"""
UPDATE agents SET removed_at = :at, seal = {seal_of("agents", removed_at=":at")} WHERE id = :id AND removed_at IS NULL
"""
FORGET_AGENT = "DELETE FROM agents WHERE id = :id"
AGENTS = "SELECT id, registration, removed_at, secret_hash, owner, reached_at FROM agents"
HOLDER = "SELECT secret_hash, owner, reached_at FROM agents WHERE id = :id"
OWNER = """
SELECT owner FROM agents WHERE json_extract(registration, '$.name') = :name AND owner IS NOT NULL
ORDER BY registered_at LIMIT 1
"""  # the first key that registered the name, as long as an agent of it is remembered

_SEAL_META = seal_of("meta", key=":key", value=":value")
PUT_META = f"INSERT INTO meta (key, value, seal) VALUES (:key, :value, {_SEAL_META}) ON CONFLICT DO NOTHING"
SET_META = f"""
INSERT INTO meta (key, value, seal) VALUES (:key, :value, {_SEAL_META})
ON CONFLICT (key) DO UPDATE SET value = excluded.value, seal = excluded.seal
"""
GET_META = "SELECT value FROM meta WHERE key = :key"

DUE_TO_GO = "SELECT task_id FROM history WHERE finished_at < :before ORDER BY finished_at LIMIT :limit"
FORGET = "DELETE FROM history WHERE task_id = :task_id"  # and, by a trigger, all that belongs to it
FREE_PAGES = """
SELECT freelist_count, page_count, auto_vacuum FROM pragma_freelist_count, pragma_page_count, pragma_auto_vacuum
"""
INCREMENTAL = 2  # the auto_vacuum of files that can give space back
GIVE_BACK = "PRAGMA incremental_vacuum(16)"

MOST_REMOVED = 10_000  # agents that left and are remembered, so that their ids and names stay theirs
PRUNE_AGENTS = f"""
DELETE FROM agents WHERE removed_at < :before OR id IN (
    SELECT id FROM agents WHERE removed_at IS NOT NULL ORDER BY removed_at DESC LIMIT -1 OFFSET {MOST_REMOVED}
)
"""
PRUNE_AGENT_EVENTS = """
DELETE FROM events WHERE id IN
    (SELECT id FROM (SELECT id, at FROM events WHERE task_id IS NULL ORDER BY id LIMIT :limit) AS e WHERE at < :before)
"""
