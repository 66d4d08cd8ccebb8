"""The note of a restore beside the journal, from the command that made it to the coordinator that starts next."""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path

from pydantic import JsonValue

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


def remove_note(journal: Path) -> None:
    """The audit has it now."""
    journal.with_name(NOTE).unlink(missing_ok=True)
