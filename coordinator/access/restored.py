"""The note of a restore beside the journal, from the command that made it to the coordinator that starts next."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import JsonValue

from coordinator.access.audit import Audit
from coordinator.access.caller import Caller

NOTE = "restored.json"


def leave_note(journal: Path, *, backup: Path, kept: Path) -> None:
    """Says who restored what, where the audit will find it. Raises `OSError`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        user = ""
    said = {"user": user, "address": socket.gethostname(), "backup": str(backup), "kept": str(kept)}
    journal.with_name(NOTE).write_text(json.dumps(said), encoding="utf-8")


def read_note(journal: Path) -> dict[str, JsonValue] | None:
    """What the note says; None where there is none."""
    try:
        said = json.loads(journal.with_name(NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


async def audit_restore(journal: Path | None, audit: Audit, written: Callable[[], Awaitable[None]]) -> None:
    """Writes down that the journal is a restored one, where a note says so; `written` waits until that is kept."""
    if journal is None or (note := read_note(journal)) is None:
        return
    address = str(note.pop("address", ""))
    audit.write("journal_restored", Caller(None, address), **note)
    await written()
    journal.with_name(NOTE).unlink(missing_ok=True)
