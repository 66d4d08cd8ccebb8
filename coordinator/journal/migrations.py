"""Numbered, append-only migrations of the journal. A landed one is never edited; a change is a new one at the end."""

MIGRATIONS = (
    # 1: tasks, steps, attempts, one event log, agents, late results, meta
    """
    CREATE TABLE tasks (
        id TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        status TEXT NOT NULL,
        description TEXT NOT NULL,
        request TEXT NOT NULL,          -- JSON: context, format, limits, webhook
        priority INTEGER NOT NULL,
        created_at REAL NOT NULL,       -- Unix seconds, like every *_at
        deadline REAL NOT NULL,
        started_at REAL,
        finished_at REAL,
        idempotency_key TEXT,
        request_digest TEXT NOT NULL,
        traceparent TEXT,
        plan TEXT NOT NULL,             -- JSON: the steps as they were planned
        code_version TEXT NOT NULL,
        error TEXT,                     -- JSON: StepError
        reserved_calls INTEGER NOT NULL DEFAULT 0,
        spent_calls INTEGER NOT NULL DEFAULT 0,
        reserved_tokens INTEGER NOT NULL DEFAULT 0,
        spent_tokens INTEGER NOT NULL DEFAULT 0
    );
    CREATE UNIQUE INDEX task_by_key ON tasks (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE INDEX task_open ON tasks (created_at) WHERE finished_at IS NULL;
    CREATE INDEX task_by_time ON tasks (created_at, id);
    CREATE INDEX task_by_end ON tasks (finished_at) WHERE finished_at IS NOT NULL;

    CREATE TABLE steps (
        task_id TEXT NOT NULL,
        step_id TEXT NOT NULL,
        status TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        instance TEXT,                  -- agent_id of the last attempt
        answered_by TEXT,               -- agent name
        output TEXT,                    -- JSON
        usage TEXT,                     -- JSON: Usage
        missing TEXT,                   -- JSON: list of Missing
        error TEXT,                     -- JSON: StepError
        started_at REAL,
        finished_at REAL,
        PRIMARY KEY (task_id, step_id)
    );
    CREATE INDEX step_by_agent ON steps (answered_by, task_id) WHERE answered_by IS NOT NULL;

    CREATE TABLE attempts (
        task_id TEXT NOT NULL,
        step_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        agent_id TEXT NOT NULL,
        queued_at REAL,                 -- the step was ready
        sent_at REAL NOT NULL,
        first_byte_at REAL,
        ended_at REAL,
        status TEXT NOT NULL,
        error TEXT,                     -- JSON: StepError
        PRIMARY KEY (task_id, step_id, attempt)
    ) WITHOUT ROWID;

    CREATE TABLE late_results (
        task_id TEXT NOT NULL,
        step_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        arrived_at REAL NOT NULL,
        result TEXT NOT NULL
    );

    CREATE TABLE webhooks (             -- the outbox: a row from the task's end until it is delivered or given up
        task_id TEXT PRIMARY KEY,
        url TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        next_at REAL,                   -- NULL: delivered or given up
        delivered_at REAL,
        last_error TEXT
    ) WITHOUT ROWID;
    CREATE INDEX webhook_due ON webhooks (next_at) WHERE next_at IS NOT NULL;

    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id TEXT,
        type TEXT NOT NULL,
        at REAL NOT NULL,
        data TEXT NOT NULL              -- JSON
    );
    CREATE INDEX event_by_task ON events (task_id, id);

    CREATE TABLE agents (
        id TEXT PRIMARY KEY,
        registration TEXT NOT NULL,     -- JSON: Registration
        registered_at REAL NOT NULL,
        removed_at REAL
    );

    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    """,
)
