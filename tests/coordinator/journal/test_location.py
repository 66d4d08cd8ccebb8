"""The address of the journal: SQLite's forms, and a refusal that shows all of another one but its password."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.journal.location import journal_path, shown
from shared.errors import StorageBroken


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///data/muster.db", Path("data/muster.db")),
        ("sqlite:////data/muster.db", Path("/data/muster.db")),
        ("memory:", None),
    ],
)
def test_addresses_of_a_journal(url: str, path: Path | None) -> None:
    assert journal_path(url) == path


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://file.db",
        "sqlite+aiosqlite:///file.db",
        "data/muster.db",
        "redis:",
    ],
)
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(StorageBroken, match="the journal is an SQLite file") as refused:
        journal_path(url)

    assert repr(url) in refused.value.detail


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://db:5432/muster", "postgresql://db:5432/muster"),
        ("postgresql://muster:s3cret@db/muster", "postgresql://muster:[hidden]@db/muster"),
        ("postgresql://muster:s3@c/r@t@db/muster", "postgresql://muster:[hidden]@db/muster"),
        ("postgresql://muster@db/muster", "postgresql://muster@db/muster"),
        ("mysql://db/m?user=me&password=s3cret&ssl=1", "mysql://db/m?user=me&password=[hidden]&ssl=1"),
    ],
)
def test_only_the_password_is_hidden(url: str, said: str) -> None:
    """The half before the @ used to be cut off, and who it was for with it."""
    assert shown(url) == said
