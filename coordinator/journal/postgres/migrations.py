"""Numbered, append-only migrations of the journal in PostgreSQL. A released one is never edited.

Coordinators of two versions share a database while one follows the other. So a migration adds: tables, indexes, and
columns that have a default or may be NULL. One that does more raises OLDEST to its own number, and the notes on the
release say that every coordinator must be stopped before it.
"""

OLDEST = 1  # the format of the earliest code that can work with the tables as they are after the last migration

MIGRATIONS = (
    # 1: what the file of SQLite has in its format 4; text sorts by its bytes there, and so here
    """
    CREATE TABLE tasks (                -- only those that have not ended
        id TEXT COLLATE "C" PRIMARY KEY,
        tenant TEXT NOT NULL,
        status TEXT NOT NULL,
        description TEXT NOT NULL,
        request TEXT,                   -- JSON: context, format, limits, webhook, where they are not the usual ones
        priority BIGINT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,  -- Unix seconds, like every *_at
        deadline DOUBLE PRECISION NOT NULL,
        started_at DOUBLE PRECISION,
        finished_at DOUBLE PRECISION,
        idempotency_key TEXT,
        request_digest TEXT NOT NULL,
        traceparent TEXT,
        plan TEXT NOT NULL,             -- JSON: the steps as they were planned, where they are not the usual ones
        code_version TEXT NOT NULL,
        error TEXT,                     -- JSON: StepError
        reserved_calls BIGINT NOT NULL DEFAULT 0,
        spent_calls BIGINT NOT NULL DEFAULT 0,
        reserved_tokens BIGINT NOT NULL DEFAULT 0,
        spent_tokens BIGINT NOT NULL DEFAULT 0,
        seal BIGINT,                    -- always NULL: PostgreSQL has checksums of its own
        lane TEXT,                      -- whose turn it is in the queue
        carrier TEXT,                   -- the id of the coordinator that carries it
        takes BIGINT NOT NULL DEFAULT 0,            -- how often one took it up since a step of it ended
        cancelled BOOLEAN NOT NULL DEFAULT FALSE    -- somebody wants it to end
    ) WITH (fillfactor = 80);
    CREATE UNIQUE INDEX task_by_key ON tasks (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE INDEX task_by_time ON tasks (created_at, id);

    CREATE TABLE requests (             -- of tasks whose request is large
        task_id TEXT COLLATE "C" PRIMARY KEY,
        request TEXT NOT NULL,
        seal BIGINT
    );

    CREATE TABLE steps (
        task_id TEXT COLLATE "C" NOT NULL,
        step_id TEXT COLLATE "C" NOT NULL,
        status TEXT NOT NULL,
        attempt BIGINT NOT NULL,
        failed BIGINT NOT NULL DEFAULT 0,
        instance TEXT COLLATE "C",      -- agent_id of the last attempt
        answered_by TEXT COLLATE "C",   -- agent name
        output TEXT,                    -- JSON, or what `packed.shrink` makes of it
        usage TEXT,                     -- JSON: Usage
        missing TEXT,                   -- JSON: list of Missing
        error TEXT,                     -- JSON: StepError
        queued_at DOUBLE PRECISION,     -- the last attempt's: the step was ready
        started_at DOUBLE PRECISION,
        first_byte_at DOUBLE PRECISION,
        finished_at DOUBLE PRECISION,
        seal BIGINT,
        PRIMARY KEY (task_id, step_id)
    ) WITH (fillfactor = 80);

    CREATE TABLE late_results (
        task_id TEXT COLLATE "C" NOT NULL,
        step_id TEXT COLLATE "C" NOT NULL,
        attempt BIGINT NOT NULL,
        arrived_at DOUBLE PRECISION NOT NULL,
        result TEXT NOT NULL
    );
    CREATE INDEX late_by_task ON late_results (task_id);

    CREATE TABLE webhooks (             -- the outbox: a row from the task's end until it is delivered or given up
        task_id TEXT COLLATE "C" PRIMARY KEY,
        url TEXT NOT NULL,
        attempts BIGINT NOT NULL DEFAULT 0,
        next_at DOUBLE PRECISION,       -- NULL: delivered or given up
        delivered_at DOUBLE PRECISION,
        last_error TEXT,
        seal BIGINT
    );
    CREATE INDEX webhook_due ON webhooks (next_at) WHERE next_at IS NOT NULL;

    CREATE TABLE events (
        id BIGINT PRIMARY KEY,
        task_id TEXT COLLATE "C",
        type TEXT COLLATE "C" NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        data TEXT NOT NULL,             -- JSON
        seal BIGINT
    );
    CREATE INDEX event_by_task ON events (task_id, id);

    CREATE TABLE agents (
        id TEXT COLLATE "C" PRIMARY KEY,
        registration TEXT NOT NULL,     -- JSON: Registration
        registered_at DOUBLE PRECISION NOT NULL,
        removed_at DOUBLE PRECISION,
        secret_hash TEXT,               -- SHA-256 of the first secret that came with the id; NULL: none
        owner TEXT,                     -- the key that registered it first; NULL: there were no keys
        reached_at DOUBLE PRECISION,    -- a sign of life, at most a day before the last one
        held BOOLEAN NOT NULL DEFAULT FALSE,  -- gets no more steps
        change BIGINT NOT NULL DEFAULT 0,     -- grows with every change, over all agents
        seal BIGINT
    );
    CREATE SEQUENCE agent_changes;
    CREATE FUNCTION muster_count_change() RETURNS trigger LANGUAGE plpgsql AS $muster$
    BEGIN
        NEW.change := nextval('agent_changes');
        RETURN NEW;
    END $muster$;
    CREATE TRIGGER agent_changes BEFORE INSERT OR UPDATE OF registration, removed_at, secret_hash, owner, held ON agents
        FOR EACH ROW EXECUTE FUNCTION muster_count_change();
    CREATE INDEX agent_by_change ON agents (change);

    CREATE UNLOGGED TABLE beats (       -- the newest sign of life of each agent, by whichever coordinator heard it
        agent_id TEXT COLLATE "C" PRIMARY KEY,
        at DOUBLE PRECISION NOT NULL
    ) WITH (fillfactor = 50);
    CREATE UNLOGGED TABLE coordinators (  -- those that are there
        id TEXT PRIMARY KEY,
        address TEXT NOT NULL,
        at DOUBLE PRECISION NOT NULL
    ) WITH (fillfactor = 50);
    CREATE INDEX agent_by_name ON agents ((registration::json->>'name'), registered_at);

    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, seal BIGINT);

    CREATE TABLE history (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        task_id TEXT COLLATE "C" NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        status TEXT COLLATE "C" NOT NULL,
        description TEXT NOT NULL,
        priority BIGINT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        deadline DOUBLE PRECISION NOT NULL,
        started_at DOUBLE PRECISION,
        finished_at DOUBLE PRECISION NOT NULL,
        idempotency_key TEXT,
        request_digest TEXT NOT NULL,
        agents TEXT NOT NULL,           -- JSON: names of those who answered
        body BYTEA,                     -- always NULL: steps and events stand in their rows
        request TEXT,
        plan TEXT,
        traceparent TEXT,
        code_version TEXT,
        error TEXT,
        seal BIGINT
    );
    CREATE INDEX history_by_time ON history (created_at, task_id);
    CREATE INDEX history_by_status ON history (status, created_at, task_id);
    CREATE INDEX history_by_end ON history (finished_at);
    CREATE UNIQUE INDEX history_by_key ON history (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;

    CREATE TABLE task_agents (          -- who answered in tasks that have ended
        agent TEXT COLLATE "C" NOT NULL,
        status TEXT COLLATE "C" NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        task_id TEXT COLLATE "C" NOT NULL,
        PRIMARY KEY (agent, status, created_at, task_id)
    );
    CREATE INDEX task_agent_by_task ON task_agents (task_id);

    CREATE FUNCTION muster_forget() RETURNS trigger LANGUAGE plpgsql AS $muster$
    BEGIN
        DELETE FROM task_agents WHERE task_id = OLD.task_id;
        DELETE FROM steps WHERE task_id = OLD.task_id;
        DELETE FROM events WHERE task_id = OLD.task_id;
        DELETE FROM requests WHERE task_id = OLD.task_id;
        DELETE FROM late_results WHERE task_id = OLD.task_id;
        DELETE FROM webhooks WHERE task_id = OLD.task_id;
        RETURN NULL;
    END $muster$;
    CREATE TRIGGER task_goes AFTER DELETE ON history FOR EACH ROW EXECUTE FUNCTION muster_forget();
    """,
    # 2: recordings of tasks
    """
    CREATE TABLE recordings (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        task_id TEXT COLLATE "C" NOT NULL,
        size BIGINT NOT NULL,           -- of the body, in bytes
        body TEXT NOT NULL              -- JSON: entries of coordinator/recording, in their order
    );
    CREATE INDEX recording_by_task ON recordings (task_id, size);
    CREATE FUNCTION muster_forget_recording() RETURNS trigger LANGUAGE plpgsql AS $muster$
    BEGIN
        DELETE FROM recordings WHERE task_id = OLD.task_id;
        RETURN NULL;
    END $muster$;
    CREATE TRIGGER recording_goes AFTER DELETE ON history FOR EACH ROW EXECUTE FUNCTION muster_forget_recording();
    """,
    # 3: memories of chats, A2A tasks and their push notifications; who sends a webhook
    """
    CREATE TABLE memory_sessions (
        number BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
        agent TEXT COLLATE "C" NOT NULL,
        session TEXT COLLATE "C" NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        updated_at DOUBLE PRECISION NOT NULL,
        bytes BIGINT NOT NULL DEFAULT 0,
        UNIQUE (agent, session)
    ) WITH (fillfactor = 80);
    CREATE INDEX memory_session_by_use ON memory_sessions (agent, updated_at);

    CREATE TABLE memory_events (
        number BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
        agent TEXT COLLATE "C" NOT NULL,
        session BIGINT NOT NULL,        -- memory_sessions.number
        id TEXT COLLATE "C" NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        type TEXT COLLATE "C" NOT NULL,
        content TEXT NOT NULL,          -- JSON
        bytes BIGINT NOT NULL,
        key TEXT COLLATE "C"            -- of an event that must not come twice
    );
    CREATE INDEX memory_event_by_session ON memory_events (session, number);
    CREATE INDEX memory_event_by_agent ON memory_events (agent, number);
    CREATE INDEX memory_event_by_time ON memory_events (at);
    CREATE UNIQUE INDEX memory_event_by_key ON memory_events (session, key) WHERE key IS NOT NULL;

    CREATE FUNCTION muster_weigh_memory() RETURNS trigger LANGUAGE plpgsql AS $muster$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            UPDATE memory_sessions SET bytes = bytes + NEW.bytes WHERE number = NEW.session;
        ELSE
            UPDATE memory_sessions SET bytes = bytes - OLD.bytes WHERE number = OLD.session;
        END IF;
        RETURN NULL;
    END $muster$;
    CREATE TRIGGER memory_weighs AFTER INSERT OR DELETE ON memory_events
        FOR EACH ROW EXECUTE FUNCTION muster_weigh_memory();
    CREATE FUNCTION muster_forget_session() RETURNS trigger LANGUAGE plpgsql AS $muster$
    BEGIN
        DELETE FROM memory_events WHERE session = OLD.number;
        RETURN NULL;
    END $muster$;
    CREATE TRIGGER memory_session_goes AFTER DELETE ON memory_sessions
        FOR EACH ROW EXECUTE FUNCTION muster_forget_session();

    CREATE TABLE a2a_tasks (
        id TEXT COLLATE "C" PRIMARY KEY,
        context_id TEXT COLLATE "C" NOT NULL,
        state BIGINT NOT NULL,          -- a2a TaskState
        phase TEXT COLLATE "C" NOT NULL,  -- open (somebody works on it), waiting (for its user), ended
        updated BIGINT NOT NULL,        -- Unix nanoseconds of its status, 0: it has none
        body BYTEA NOT NULL,            -- a2a Task
        version BIGINT NOT NULL DEFAULT 1,  -- grows with every change
        carrier TEXT COLLATE "C"        -- the id of the coordinator that works on it
    ) WITH (fillfactor = 80);
    CREATE INDEX a2a_task_by_time ON a2a_tasks (updated, id);
    CREATE INDEX a2a_task_by_context ON a2a_tasks (context_id, updated);
    CREATE INDEX a2a_task_open ON a2a_tasks (updated) WHERE phase = 'open';

    CREATE TABLE a2a_events (           -- of open tasks, for those who follow them at another coordinator
        seq BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
        task_id TEXT COLLATE "C" NOT NULL,
        version BIGINT NOT NULL,        -- of the task, with this event in it
        at DOUBLE PRECISION NOT NULL,
        body BYTEA NOT NULL             -- a2a StreamResponse
    );
    CREATE INDEX a2a_event_by_task ON a2a_events (task_id, version);
    CREATE INDEX a2a_event_by_time ON a2a_events (at);

    CREATE TABLE a2a_hooks (
        task_id TEXT COLLATE "C" NOT NULL,
        id TEXT COLLATE "C" NOT NULL,
        number BIGINT GENERATED BY DEFAULT AS IDENTITY,  -- their order
        url TEXT NOT NULL,
        headers TEXT NOT NULL,          -- JSON object
        body BYTEA NOT NULL,            -- a2a TaskPushNotificationConfig
        PRIMARY KEY (task_id, id)
    );

    CREATE TABLE a2a_outbox (
        seq BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
        task_id TEXT COLLATE "C" NOT NULL,
        hook_id TEXT COLLATE "C" NOT NULL,
        body TEXT NOT NULL,             -- JSON: a2a StreamResponse
        attempts BIGINT NOT NULL DEFAULT 0,
        due DOUBLE PRECISION NOT NULL,
        claimed_until DOUBLE PRECISION  -- a coordinator sends it until then
    );
    CREATE INDEX a2a_outbox_by_hook ON a2a_outbox (task_id, hook_id, seq);

    ALTER TABLE webhooks ADD COLUMN claimed_until DOUBLE PRECISION;  -- a coordinator sends it until then
    """,
    # 4: whose turn it is, and what each coordinator carries, without a look at every open task
    """
    CREATE INDEX task_waiting ON tasks (coalesce(lane, ''), priority DESC, created_at, id) WHERE carrier IS NULL;
    CREATE INDEX task_carried ON tasks (carrier) WHERE carrier IS NOT NULL;
    """,
    # 5: the audit by itself; vacuum comes before a fifth of a long history is dead
    """
    CREATE INDEX event_of_audit ON events (id) WHERE task_id IS NULL AND type LIKE 'audit.%';
    ALTER TABLE history SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
    ALTER TABLE task_agents SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
    ALTER TABLE steps SET (autovacuum_vacuum_scale_factor = 0.02);
    ALTER TABLE events SET (autovacuum_vacuum_scale_factor = 0.02);
    """,
    # 6: which coordinators are about to stop
    """
    ALTER TABLE coordinators ADD COLUMN leaving BOOLEAN NOT NULL DEFAULT FALSE;
    """,
    # 7: the audit by time, for each coordinator has positions of its own
    """
    CREATE INDEX audit_by_time ON events (at, id) WHERE task_id IS NULL AND type LIKE 'audit.%';
    """,
)
