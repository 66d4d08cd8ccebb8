"""The journal's SQL, written out, with named parameters; each says who may win a race."""

ACCEPT = """
INSERT INTO tasks (id, tenant, status, description, request, priority, created_at, deadline, idempotency_key,
                   request_digest, traceparent, plan, code_version)
VALUES (:id, :tenant, 'queued', :description, :request, :priority, :created_at, :deadline, :idempotency_key,
        :request_digest, :traceparent, :plan, :code_version)
ON CONFLICT DO NOTHING
"""  # the first task under a key stays; the guard makes the second write nothing

ADD_STEP = "INSERT INTO steps (task_id, step_id, status, attempt) VALUES (:task_id, :step_id, 'queued', 0)"

REPLAN = "UPDATE tasks SET plan = :plan WHERE id = :id"
DROP_STEPS = "DELETE FROM steps WHERE task_id = :id AND finished_at IS NULL AND attempt = 0"

START_TASK = """
UPDATE tasks SET status = 'running', started_at = coalesce(started_at, :at) WHERE id = :id AND finished_at IS NULL
"""

START_STEP = """
UPDATE steps SET status = 'running', attempt = :attempt, instance = :agent_id,
    started_at = coalesce(started_at, :started_at)
WHERE task_id = :task_id AND step_id = :step_id AND attempt < :attempt AND status IN ('queued', 'running')
"""  # the newest attempt owns the step

ADD_ATTEMPT = """
INSERT INTO attempts (task_id, step_id, attempt, agent_id, queued_at, sent_at, status)
VALUES (:task_id, :step_id, :attempt, :agent_id, :queued_at, :at, 'running')
"""

END_ATTEMPT = """
UPDATE attempts SET status = :status, first_byte_at = :first_byte_at, ended_at = :at, error = :error
WHERE task_id = :task_id AND step_id = :step_id AND attempt = :attempt AND ended_at IS NULL
"""

FINISH_STEP = """
UPDATE steps SET status = :status, attempt = :attempt, instance = :instance, answered_by = :answered_by,
    output = :output, usage = :usage, missing = :missing, error = :error,
    started_at = coalesce(started_at, :started_at), finished_at = :finished_at
WHERE task_id = :task_id AND step_id = :step_id AND attempt <= :attempt AND status IN ('queued', 'running')
"""  # the fence: a result of an older attempt, or a second one, touches no row

LEDGER = """
UPDATE tasks SET reserved_calls = :reserved_calls, spent_calls = :spent_calls, reserved_tokens = :reserved_tokens,
    spent_tokens = :spent_tokens
WHERE id = :id
"""

FINISH_TASK = """
UPDATE tasks SET status = :status, finished_at = :finished_at, started_at = :started_at, error = :error,
    reserved_calls = 0, reserved_tokens = 0, spent_calls = :calls, spent_tokens = :tokens
WHERE id = :id AND finished_at IS NULL
"""  # a task ends once

ADD_WEBHOOK = """
INSERT INTO webhooks (task_id, url, next_at) VALUES (:task_id, :url, :at) ON CONFLICT DO NOTHING
"""
DUE_WEBHOOKS = """
SELECT task_id, url, attempts FROM webhooks WHERE next_at <= :now ORDER BY next_at LIMIT :limit
"""
NEXT_WEBHOOK = "SELECT min(next_at) FROM webhooks WHERE next_at > :now"
MOVE_WEBHOOK = """
UPDATE webhooks SET attempts = :attempts, next_at = :next_at, delivered_at = :delivered_at, last_error = :error
WHERE task_id = :task_id AND next_at IS NOT NULL
"""

LATE_RESULT = """
INSERT INTO late_results (task_id, step_id, attempt, arrived_at, result)
VALUES (:task_id, :step_id, :attempt, :at, :result)
"""

ADD_EVENT = "INSERT INTO events (task_id, type, at, data) VALUES (:task_id, :type, :at, :data) RETURNING id"

EVENTS = (
    "SELECT id, task_id, type, at, data FROM events WHERE task_id = :task_id AND id > :after ORDER BY id LIMIT 1000"
)

TASK_COLUMNS = """
id, tenant, status, description, request, priority, created_at, deadline, started_at, finished_at, idempotency_key,
request_digest, traceparent, plan, error
"""

STEP_COLUMNS = """
task_id, step_id, status, attempt, instance, answered_by, output, usage, missing, error, started_at, finished_at,
(SELECT count(*) FROM attempts AS a
 WHERE a.task_id = steps.task_id AND a.step_id = steps.step_id AND a.ended_at IS NOT NULL) AS failed
"""

TASK = f"SELECT {TASK_COLUMNS} FROM tasks WHERE id = :id"
TASK_STEPS = f"SELECT {STEP_COLUMNS} FROM steps WHERE task_id = :id"
TASK_BY_KEY = f"SELECT {TASK_COLUMNS} FROM tasks WHERE tenant = :tenant AND idempotency_key = :idempotency_key"
OPEN_TASKS = f"SELECT {TASK_COLUMNS} FROM tasks WHERE finished_at IS NULL ORDER BY created_at, id"
OPEN_STEPS = f"""
SELECT {STEP_COLUMNS} FROM steps WHERE task_id IN (SELECT id FROM tasks WHERE finished_at IS NULL)
"""

OPEN_DELEGATIONS = """
SELECT task_id, type, data FROM events
WHERE task_id IN (SELECT id FROM tasks WHERE finished_at IS NULL)
  AND type IN ('delegation.started', 'delegation.finished')
ORDER BY id
"""

LIST_TASKS = """
SELECT id, status, description, priority, created_at, started_at, finished_at, deadline FROM tasks
WHERE (:status IS NULL OR status = :status)
  AND (:since IS NULL OR created_at >= :since)
  AND (:agent IS NULL OR id IN (SELECT task_id FROM steps WHERE answered_by = :agent))
  AND (:before_at IS NULL OR (created_at, id) < (:before_at, :before_id))
ORDER BY created_at DESC, id DESC LIMIT :limit
"""

SAVE_AGENT = """
INSERT INTO agents (id, registration, registered_at) VALUES (:id, :registration, :at)
ON CONFLICT (id) DO UPDATE SET registration = excluded.registration, removed_at = NULL
"""
REMOVE_AGENT = "UPDATE agents SET removed_at = :at WHERE id = :id AND removed_at IS NULL"
AGENTS = "SELECT id, registration, removed_at FROM agents"

PUT_META = "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT DO NOTHING"
GET_META = "SELECT value FROM meta WHERE key = :key"

PRUNE = (
    """DELETE FROM steps WHERE task_id IN
       (SELECT id FROM tasks WHERE finished_at < :before ORDER BY finished_at LIMIT :limit)""",
    """DELETE FROM attempts WHERE task_id IN
       (SELECT id FROM tasks WHERE finished_at < :before ORDER BY finished_at LIMIT :limit)""",
    """DELETE FROM late_results WHERE task_id IN
       (SELECT id FROM tasks WHERE finished_at < :before ORDER BY finished_at LIMIT :limit)""",
    """DELETE FROM webhooks WHERE task_id IN
       (SELECT id FROM tasks WHERE finished_at < :before ORDER BY finished_at LIMIT :limit)""",
    """DELETE FROM events WHERE task_id IN
       (SELECT id FROM tasks WHERE finished_at < :before ORDER BY finished_at LIMIT :limit)""",
    """DELETE FROM tasks WHERE id IN
       (SELECT id FROM tasks WHERE finished_at < :before ORDER BY finished_at LIMIT :limit)""",
)

PRUNE_AGENTS = "DELETE FROM agents WHERE removed_at < :before"
PRUNE_AGENT_EVENTS = """
DELETE FROM events WHERE id IN
    (SELECT id FROM (SELECT id, at FROM events WHERE task_id IS NULL ORDER BY id LIMIT :limit) WHERE at < :before)
"""
