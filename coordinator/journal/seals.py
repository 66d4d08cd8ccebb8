"""PURE: the checksums of rows, and the SQL that writes and compares them."""

from __future__ import annotations

import re
from typing import Any
from zlib import crc32


def seal(*values: Any) -> int:
    """A row's checksum, of its values in the order of `SEALED`. SQL's function, and part of the format: never changed.

    A CRC finds every change of up to 32 bits in a row (https://www.zlib.net/crc_v3.txt): rot, and no forger.
    """
    return crc32("\x1f".join([str(crc32(v)) if type(v) is bytes else str(v) for v in values]).encode())


# Every row that is read back has a seal, a checksum of these columns (`seals.seal`). A change to a task that has not
# ended sets it to NULL, and SEAL_TASK follows within a second.
STEP_COLUMNS = """
task_id, step_id, status, attempt, failed, instance, answered_by, started_at, finished_at, output, usage, missing, error
"""
SEALED = {
    "tasks": "id, tenant, description, priority, created_at, deadline, idempotency_key, request_digest, request, "
    "traceparent, plan, code_version, status, started_at",
    "requests": "task_id, request",
    "steps": STEP_COLUMNS,
    "events": "id, task_id, type, at, data",
    "history": "task_id, tenant, status, description, priority, created_at, deadline, started_at, finished_at, "
    "idempotency_key, request_digest, agents, request, plan, traceparent, code_version, error",
    "agents": "id, registration, removed_at, secret_hash, owner",
    "webhooks": "task_id, url, attempts, next_at",
    "meta": "key, value",
}
_TEXT = re.compile(r"\b(?!(?:priority|attempts?|failed|at|deadline|\w+_at)\b)\w+")  # a column that is no number
_SEAL = {  # text as bytes, for what is damaged may be no text
    table: f"seal({_TEXT.sub(lambda column: f'CAST({column[0]} AS BLOB)', columns)})"
    for table, columns in SEALED.items()
}
_EXACT = 4_194_304.0  # a time of these decades has 22 bits after the point (IEEE 754), and JSON's numbers fewer digits
_whole = re.sub(r"(\w+_at|deadline)", rf"CAST(\1 * {_EXACT} AS INTEGER)", SEALED["history"])
_SEAL["history"] = f"seal(CAST(json_array({_whole}) AS BLOB))"
ROTTEN = {table: f"{table}.seal <> {seal}" for table, seal in _SEAL.items()}


def seal_of(table: str, **values: str) -> str:
    """The seal of a row that is being written: names of columns as what is written into them."""
    return re.sub(rf"\b({'|'.join(values)})\b", lambda name: values[name[0]], _SEAL[table])


# a body has a checksum of its own; the agents of a task stand in an index that is a table
ROTTEN["history"] += """
    OR body IS NOT NULL AND NOT opens(CAST(body AS BLOB))
    OR EXISTS (SELECT 1 FROM json_each(agents) WHERE NOT EXISTS (
        SELECT 1 FROM task_agents AS a WHERE a.agent = value AND a.status = history.status
        AND a.created_at = history.created_at AND a.task_id = history.task_id
    ))
"""

_OPEN = {  # what a start goes on with
    "tasks": "TRUE",
    "requests": "task_id IN (SELECT id FROM tasks)",
    "steps": "task_id IN (SELECT id FROM tasks)",
    "events": "task_id IN (SELECT id FROM tasks)",
    "webhooks": "next_at IS NOT NULL",
    "agents": "TRUE",
    "meta": "TRUE",
}
_NAME = {"tasks": "id", "agents": "'agent ' || id", "meta": "'entry ' || key"}
UNSEALED_OPEN = {
    table: f"SELECT 1 FROM {table} WHERE {which} AND seal IS NULL LIMIT 1" for table, which in _OPEN.items()
}
SEAL_OPEN = {
    table: f"UPDATE {table} SET seal = {_SEAL[table]} WHERE {which} AND seal IS NULL" for table, which in _OPEN.items()
}
ROTTEN_OPEN = {
    table: f"SELECT {_NAME.get(table, 'task_id')} FROM {table} WHERE {which} AND ({ROTTEN[table]})"
    for table, which in _OPEN.items()
}
_AMONG = "rowid > :after AND rowid <= :upto"
KEPT = ("history", "requests", "steps", "events")  # tables that grow with the history
LAST_ROW = {table: f"SELECT coalesce(max(rowid), 0) FROM {table}" for table in KEPT}
SEAL_AMONG = {table: f"UPDATE {table} SET seal = {_SEAL[table]} WHERE {_AMONG} AND seal IS NULL" for table in KEPT}
LOOK_AMONG = {
    table: f"SELECT iif({rotten}, task_id, NULL) FROM {table} WHERE {_AMONG} AND (({rotten}) OR seal IS NULL)"
    for table, rotten in ROTTEN.items()
    if table in KEPT
}
SEAL_TASK = tuple(
    f"UPDATE {table} SET seal = {_SEAL[table]} WHERE {'id' if table == 'tasks' else 'task_id'} = :id AND seal IS NULL"
    for table in ("tasks", "requests", "steps", "events")
)
ROTTEN_KEPT = {table: f"SELECT task_id FROM {table} WHERE {ROTTEN[table]}" for table in KEPT}
FORGET_DAMAGED = (
    "DELETE FROM history WHERE task_id = :name",
    "DELETE FROM tasks WHERE id = :name",
    *(
        f"DELETE FROM {table} WHERE task_id = :name"
        for table in ("requests", "steps", "events", "webhooks", "task_agents")
    ),
    "DELETE FROM agents WHERE 'agent ' || id = :name",
    "DELETE FROM meta WHERE 'entry ' || key = :name",
)
ROTTEN_TASK = " UNION ALL ".join(
    f"SELECT 1 FROM {table} WHERE {'id' if table == 'tasks' else 'task_id'} = :id AND ({ROTTEN[table]})"
    for table in ("tasks", "requests", "steps", "history")
)
