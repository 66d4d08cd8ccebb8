"""The memory's tables, and every statement that reads or writes them: SQLite and PostgreSQL read them alike."""

MIGRATIONS = (
    # 1: sessions and events; triggers keep each session's bytes and end its events with it
    """
    CREATE TABLE sessions (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        agent TEXT NOT NULL,
        session TEXT NOT NULL,
        created_at REAL NOT NULL,       -- Unix seconds, like every time here
        updated_at REAL NOT NULL,
        bytes INTEGER NOT NULL DEFAULT 0,
        UNIQUE (agent, session)
    );
    CREATE INDEX session_by_use ON sessions (agent, updated_at);

    CREATE TABLE events (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        agent TEXT NOT NULL,
        session INTEGER NOT NULL,       -- sessions.number
        id TEXT NOT NULL,
        at REAL NOT NULL,
        type TEXT NOT NULL,
        content TEXT NOT NULL,          -- JSON
        bytes INTEGER NOT NULL,
        key TEXT                        -- of an event that must not come twice
    );
    CREATE INDEX event_by_session ON events (session, number);
    CREATE INDEX event_by_agent ON events (agent, number);
    CREATE INDEX event_by_time ON events (at);
    CREATE UNIQUE INDEX event_by_key ON events (session, key) WHERE key IS NOT NULL;

    CREATE TRIGGER event_added AFTER INSERT ON events BEGIN
        UPDATE sessions SET bytes = bytes + NEW.bytes WHERE number = NEW.session;
    END;
    CREATE TRIGGER event_dropped AFTER DELETE ON events BEGIN
        UPDATE sessions SET bytes = bytes - OLD.bytes WHERE number = OLD.session;
    END;
    CREATE TRIGGER session_dropped AFTER DELETE ON sessions BEGIN
        DELETE FROM events WHERE session = OLD.number;
    END;
    """,
)

SESSION = """
INSERT INTO sessions (agent, session, created_at, updated_at) VALUES (:agent, :session, :at, :at)
ON CONFLICT (agent, session) DO UPDATE SET updated_at =
    CASE WHEN sessions.updated_at < excluded.updated_at THEN excluded.updated_at ELSE sessions.updated_at END
"""

EVENT = """
INSERT INTO events (agent, session, id, at, type, content, bytes, key)
SELECT :agent, number, :id, :at, :type, :content, :bytes, :key
FROM sessions WHERE agent = :agent AND session = :session
ON CONFLICT DO NOTHING
"""

TRIM = """
DELETE FROM events
WHERE session = (SELECT number FROM sessions WHERE agent = :agent AND session = :session)
  AND number <= (
    SELECT e.number FROM events e JOIN sessions s ON s.number = e.session
    WHERE s.agent = :agent AND s.session = :session
    ORDER BY e.number DESC LIMIT 1 OFFSET :events
  )
"""

DROP_OLD_EVENTS = "DELETE FROM events WHERE agent = :agent AND at < :oldest"

DROP_OLD_SESSIONS = "DELETE FROM sessions WHERE agent = :agent AND updated_at < :oldest"

DROP_SESSIONS_OVER_COUNT = """
DELETE FROM sessions WHERE number IN (
    SELECT number FROM sessions WHERE agent = :agent ORDER BY updated_at DESC, number DESC LIMIT -1 OFFSET :sessions
)
"""

DROP_SESSIONS_OVER_BYTES = """
DELETE FROM sessions WHERE number IN (
    SELECT number FROM (
        SELECT number, sum(bytes) OVER (ORDER BY updated_at DESC, number DESC) AS so_far
        FROM sessions WHERE agent = :agent
    ) AS weighed WHERE so_far > :bytes
)
"""

KNOWN = "SELECT 1 FROM sessions WHERE agent = :agent AND session = :session"

EVENTS = """
SELECT e.number, e.id, s.session, e.at, e.type, e.content
FROM events e JOIN sessions s ON s.number = e.session
WHERE e.agent = :agent
  AND (:session IS NULL OR s.session = :session)
  AND (:type IS NULL OR e.type = :type)
  AND (:since IS NULL OR e.at >= :since)
  AND (:before IS NULL OR e.number < :before)
ORDER BY e.number DESC LIMIT :limit
"""

SESSIONS = """
SELECT number, session FROM sessions
WHERE agent = :agent
  AND (:since IS NULL OR updated_at >= :since)
  AND (:before IS NULL OR number < :before)
ORDER BY number DESC LIMIT :limit
"""

TURNS = """
SELECT e.type, e.content FROM events e JOIN sessions s ON s.number = e.session
WHERE s.agent = :agent AND s.session = :session
  AND e.type IN ('user_message', 'task_delegation_received', 'agent_response')
ORDER BY e.number DESC LIMIT :limit
"""
