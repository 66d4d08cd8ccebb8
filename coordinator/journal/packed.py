"""PURE: a task that has ended as one compressed text (`sql.KEEP` puts it together), and back."""

from __future__ import annotations

import zlib
from base64 import b64decode
from typing import Any, NamedTuple

from pydantic_core import from_json

from shared.db.database import AS_TEXT, Row

MOST = 500_000  # characters of a task that are packed: the writer is held for milliseconds; a larger one keeps its rows
LARGE = 100_000  # bytes of one step's output that are compressed before they are written
_PARTS, _RECORDS, _FIELDS = "\x1d", "\x1e", "\x1f"

# What most tasks say, the most usual last; part of the format, so it is never changed (RFC 1950: DICTID names it).
_USUAL = (
    b'"on_failure":"fail","needs_any":true,"latest":0.97,"input":{"format":"markdown"}"timeout_seconds":'
    b'{"step_id":"","attempt":1,"wait_seconds":0.1,"why":"","error":"agent_error"}step.retriedstep.failed'
    b'{"step_id":"","attempt":1,"message":"","fraction":0.5}step.progresstask.replanned"status":"failed"'
    b'{"id":"research","capability":"research","input":{"question":""},"on_failure":"continue","latest":0.7},'
    b'{"id":"analyze","capability":"analyze","needs":["research"]},{"id":"report","capability":"report",'
    b'"needs":["analyze","research"]}"findings":["evidence":[{"id":","title":","location":","text":"'
    b'"reporter","analyzer","researcher-"[null,"0.1.0"][{"id":"a","agent":"'
    b'{"calls":1,"input_tokens":0,"output_tokens":0}\x1f\x1f["a","completed",1,0,"e+09,null,'
    b',"task.accepted",1.7\x1f{"priority":5,"deadline":17,"task.planned",1.7\x1f{"steps":[{"id":"","capability":"",'
    b'"agent":null,"needs":[]}]}\x1e[,"step.started",1.7\x1f{"step_id":"","attempt":1,"agent":"","instance":"-"}\x1e['
    b',"step.finished",1.7\x1f{"step_id":"","status":"completed","attempt":1,"seconds":0.0,"agent":""}\x1e['
    b',"task.finished",1.7\x1f{"status":"completed","seconds":0.0,"steps":3}'
)


class Packed(NamedTuple):
    """The parts of a body; `steps` are rows as `sql.STEP_COLUMNS` has them."""

    traceparent: str | None
    request: str | None
    plan: str
    error: str | None
    steps: list[Row]
    accepted: str | None  # data of the first event


def pack(*parts: str | None) -> bytes:
    """SQL's function: texts as one compressed body."""
    deflate = zlib.compressobj(level=6, memLevel=7, zdict=_USUAL)
    return deflate.compress(_PARTS.join(part or "" for part in parts).encode()) + deflate.flush()


def opens(body: bytes) -> bool:
    """SQL's function: whether a body is as it was packed, by the checksum that zlib has given it."""
    try:
        _text(body)
    except (zlib.error, UnicodeDecodeError, TypeError):
        return False
    return True


def unpack(task_id: str, body: bytes) -> Packed:
    """The parts of a body; raises zlib.error where it is damaged."""
    head, request, plan, error, steps, events = _text(body).split(_PARTS)
    return Packed(
        traceparent=from_json(head)[0],
        request=request or None,
        plan=plan,
        error=error or None,
        steps=[_step(task_id, record) for record in steps.split(_RECORDS)] if steps else [],
        accepted=events.partition(_RECORDS)[0].partition(_FIELDS)[2] or None,
    )


def unpack_events(task_id: str, body: bytes) -> list[tuple[int, str, str, float, str]]:
    """Id, task, type, time and data of the events in a body, in their order."""
    events = _text(body).rpartition(_PARTS)[2]
    found = []
    for record in events.split(_RECORDS) if events else ():
        head, _, data = record.partition(_FIELDS)
        id, type, at = from_json(head)
        found.append((id, task_id, type, float(at), data))
    return found


def shrink(output: str) -> str | bytes:
    """An output as a step's row keeps it."""
    return zlib.compress(output.encode()) if len(output) > LARGE else output


def read_output(kept: str | bytes) -> Any:
    """The value of an output that a row has kept."""
    if isinstance(kept, str) and kept.startswith(AS_TEXT):  # where bytes cannot stand beside text
        kept = b64decode(kept.removeprefix(AS_TEXT))
    return from_json(zlib.decompress(kept) if isinstance(kept, bytes) else kept)


def _text(body: bytes) -> str:
    inflate = zlib.decompressobj(zdict=_USUAL)
    text = inflate.decompress(body)
    if not inflate.eof:
        raise zlib.error("cut off")
    return text.decode()


def _step(task_id: str, record: str) -> Row:
    head, *texts = record.split(_FIELDS)
    step_id, status, attempt, failed, instance, answered_by, _, started_at, _, finished_at = from_json(head)
    known = (task_id, step_id, status, attempt, failed, instance, answered_by, started_at, finished_at)
    return (*known, *(text or None for text in texts))
