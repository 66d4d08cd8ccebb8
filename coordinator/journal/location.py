"""PURE: the file or server that DATABASE_URL names, and the refusal of an address that names none."""

from __future__ import annotations

import re
from pathlib import Path

from shared.errors import StorageBroken

SQLITE = "sqlite:///"
SERVERS = ("postgresql://", "postgres://")
_PASSWORD = re.compile(r"(?<=://)([^:@/]*):.*@|(?<=password=)[^&]*")


def journal_path(database_url: str) -> Path | None:
    """The journal's file; None for `memory:` and for a server. Raises `StorageBroken` for any other address."""
    if database_url.startswith("memory:") or is_server(database_url):
        return None
    path = database_url.removeprefix(SQLITE)
    if path in ("", database_url, ":memory:"):
        raise StorageBroken(
            f"DATABASE_URL={shown(database_url)!r} cannot be used: the journal is an SQLite file or PostgreSQL. Set "
            "sqlite:///file.db, sqlite:////absolute/file.db, postgresql://user@host/database or memory: (no journal)."
        )
    return Path(path)


def journal_folder(database_url: str) -> Path | None:
    """The folder of the journal's file; None where there is none."""
    return Path(database_url.removeprefix(SQLITE)).parent if database_url.startswith(SQLITE) else None


def is_server(database_url: str) -> bool:
    """Whether the journal is in PostgreSQL."""
    return database_url.startswith(SERVERS)


def why_no_file(database_url: str, *, instead: str) -> str:
    """What a command for the journal's file says where there is none; `instead` is what PostgreSQL has for it."""
    if is_server(database_url):
        return f"The journal is in PostgreSQL, and this command is for a file. {instead} See docs/backup.md."
    return "DATABASE_URL='memory:' is not a file."


def shown(url: str) -> str:
    """The address as an error may show it: whole, but for a password."""
    return _PASSWORD.sub(lambda found: f"{found[1]}:[hidden]@" if found[1] is not None else "[hidden]", url)
