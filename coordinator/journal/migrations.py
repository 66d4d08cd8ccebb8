"""Numbered, append-only migrations of the journal. A released one is never edited; a change is a new one at the end."""

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
    # 2: tasks that have ended are one row each, in a table of their own; what is stored twice is stored once
    """
    CREATE TABLE history (
        id INTEGER PRIMARY KEY,         -- in the order of their ends
        task_id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        status TEXT NOT NULL,
        description TEXT NOT NULL,
        priority INTEGER NOT NULL,
        created_at REAL NOT NULL,
        deadline REAL NOT NULL,
        started_at REAL,
        finished_at REAL NOT NULL,
        idempotency_key TEXT,
        request_digest TEXT NOT NULL,
        agents TEXT NOT NULL,           -- JSON: names of those who answered
        body BLOB,                      -- packed: the columns below, steps and events; NULL: they stand in their rows
        request TEXT,
        plan TEXT,
        traceparent TEXT,
        code_version TEXT,
        error TEXT
    );
    INSERT INTO history (task_id, tenant, status, description, priority, created_at, deadline, started_at, finished_at,
                         idempotency_key, request_digest, agents, request, plan, traceparent, code_version, error)
    SELECT id, tenant, status, description, priority, created_at, deadline, started_at, finished_at, idempotency_key,
           request_digest,
           (SELECT json_group_array(DISTINCT answered_by) FROM steps WHERE task_id = tasks.id AND answered_by <> ''),
           request, plan, traceparent, code_version, error
    FROM tasks WHERE finished_at IS NOT NULL ORDER BY finished_at;
    CREATE INDEX history_by_time ON history (created_at);
    CREATE INDEX history_by_status ON history (status, created_at);
    CREATE INDEX history_by_end ON history (finished_at);
    CREATE UNIQUE INDEX history_by_key ON history (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;

    CREATE TABLE task_agents (          -- who answered in tasks that have ended
        agent TEXT NOT NULL,
        status TEXT NOT NULL,
        created_at REAL NOT NULL,
        task_id TEXT NOT NULL,
        PRIMARY KEY (agent, status, created_at, task_id)
    ) WITHOUT ROWID;
    INSERT INTO task_agents
    SELECT value, status, created_at, task_id FROM history, json_each(history.agents) ORDER BY 1, 2, 3, 4;

    DROP INDEX task_by_key;
    DROP INDEX task_open;
    DROP INDEX task_by_time;
    DROP INDEX task_by_end;
    ALTER TABLE tasks RENAME TO tasks_1;
    CREATE TABLE tasks (                -- only those that have not ended
        id TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        status TEXT NOT NULL,
        description TEXT NOT NULL,
        request TEXT,                   -- JSON: context, format, limits, webhook, where they are not the usual ones
        priority INTEGER NOT NULL,
        created_at REAL NOT NULL,
        deadline REAL NOT NULL,
        started_at REAL,
        finished_at REAL,
        idempotency_key TEXT,
        request_digest TEXT NOT NULL,
        traceparent TEXT,
        plan TEXT NOT NULL,             -- JSON: the steps as they were planned, where they are not the usual ones
        code_version TEXT NOT NULL,
        error TEXT,                     -- JSON: StepError
        reserved_calls INTEGER NOT NULL DEFAULT 0,
        spent_calls INTEGER NOT NULL DEFAULT 0,
        reserved_tokens INTEGER NOT NULL DEFAULT 0,
        spent_tokens INTEGER NOT NULL DEFAULT 0
    );
    INSERT INTO tasks SELECT * FROM tasks_1 WHERE finished_at IS NULL;
    DROP TABLE tasks_1;
    CREATE UNIQUE INDEX task_by_key ON tasks (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE INDEX task_by_time ON tasks (created_at, id);

    ALTER TABLE steps ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;  -- attempts
    ALTER TABLE steps ADD COLUMN queued_at REAL;                     -- the last attempt's: the step was ready
    ALTER TABLE steps ADD COLUMN first_byte_at REAL;
    UPDATE steps SET failed = (SELECT count(*) FROM attempts AS a WHERE a.task_id = steps.task_id
                               AND a.step_id = steps.step_id AND a.ended_at IS NOT NULL)
    WHERE task_id IN (SELECT id FROM tasks);
    DELETE FROM steps WHERE attempt = 0 AND finished_at IS NULL AND task_id IN (SELECT id FROM tasks);
    DROP INDEX step_by_agent;
    DROP TABLE attempts;                -- the events tell of each
    CREATE INDEX late_by_task ON late_results (task_id);

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
    # 3: a large request is written once; rows say whether they are as they were written
    """
    CREATE TABLE requests (             -- of tasks whose request is large
        task_id TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        seal INTEGER                    -- a checksum, as in the tables below; NULL: a row of an earlier format
    );
    ALTER TABLE tasks ADD COLUMN seal INTEGER;
    ALTER TABLE steps ADD COLUMN seal INTEGER;
    ALTER TABLE events ADD COLUMN seal INTEGER;
    ALTER TABLE history ADD COLUMN seal INTEGER;
    ALTER TABLE agents ADD COLUMN seal INTEGER;
    ALTER TABLE webhooks ADD COLUMN seal INTEGER;
    ALTER TABLE meta ADD COLUMN seal INTEGER;

    DROP TRIGGER task_ends;
    DROP TRIGGER task_goes;
    CREATE TRIGGER task_ends AFTER INSERT ON history BEGIN
        INSERT INTO task_agents SELECT value, NEW.status, NEW.created_at, NEW.task_id FROM json_each(NEW.agents);
        DELETE FROM steps WHERE task_id = NEW.task_id AND NEW.body IS NOT NULL;
        DELETE FROM events WHERE task_id = NEW.task_id AND NEW.body IS NOT NULL;
        DELETE FROM requests WHERE task_id = NEW.task_id AND NEW.body IS NOT NULL;
        DELETE FROM tasks WHERE id = NEW.task_id;
    END;
    CREATE TRIGGER task_goes AFTER DELETE ON history BEGIN
        DELETE FROM task_agents WHERE agent IN (SELECT value FROM json_each(OLD.agents))
            AND status = OLD.status AND created_at = OLD.created_at AND task_id = OLD.task_id;
        DELETE FROM steps WHERE task_id = OLD.task_id;
        DELETE FROM events WHERE task_id = OLD.task_id;
        DELETE FROM requests WHERE task_id = OLD.task_id;
        DELETE FROM late_results WHERE task_id = OLD.task_id;
        DELETE FROM webhooks WHERE task_id = OLD.task_id;
    END;
    """,
    # 4: whose an agent's id is, and whether it was ever reached
    """
    ALTER TABLE agents ADD COLUMN secret_hash TEXT;  -- SHA-256 of the first secret that came with the id; NULL: none
    ALTER TABLE agents ADD COLUMN owner TEXT;        -- the key that registered it first; NULL: there were no keys
    ALTER TABLE agents ADD COLUMN reached_at REAL;   -- a sign of life, at most a day before the last one
    CREATE INDEX agent_by_name ON agents (json_extract(registration, '$.name'), registered_at);
    """,
    # 5: recordings of tasks
    """
    CREATE TABLE recordings (
        id INTEGER PRIMARY KEY,
        task_id TEXT NOT NULL,
        size INTEGER NOT NULL,          -- of the body, in bytes
        body TEXT NOT NULL              -- JSON: entries of coordinator/recording, in their order
    );
    CREATE INDEX recording_by_task ON recordings (task_id, size);
    CREATE TRIGGER recording_goes AFTER DELETE ON history BEGIN
        DELETE FROM recordings WHERE task_id = OLD.task_id;
    END;
    """,
)
