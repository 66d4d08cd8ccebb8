"""One process has a file, whatever name it came by."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.db.lock import Lock
from shared.db.refusals import Naming
from shared.db.sqlite import Sqlite
from shared.errors import StorageBroken

NOTES = ("CREATE TABLE notes (name TEXT)",)


@pytest.mark.parametrize("late", [False, True], ids=["linked before", "linked while open"])
async def test_hard_link_is_refused(tmp_path: Path, late: bool) -> None:
    """Two writers with a log each would ruin the file that they share."""
    first, link = Sqlite(tmp_path / "notes.db"), tmp_path / "link.db"
    if not late:
        await first.open(NOTES)
        await first.close()
        os.link(tmp_path / "notes.db", link)
        first = Sqlite(tmp_path / "notes.db")
    await first.open(NOTES)
    if late:
        os.link(tmp_path / "notes.db", link)

    with pytest.raises(StorageBroken, match=r"link\.db is in use by another coordinator under another name"):
        await Sqlite(link).open(NOTES)
    await first.close()
    second = Sqlite(link)
    await second.open(NOTES)
    await second.close()


def test_refusal_takes_nothing(tmp_path: Path) -> None:
    """Who was refused holds no lock, so the next one is told of the first."""
    first, second = Lock(tmp_path / "notes.db"), Lock(tmp_path / "notes.db", Naming("The memory", "agent", "STATE_DIR"))
    first.take()
    with pytest.raises(StorageBroken, match=r"The memory .* in use by another agent \(process \d+\)"):
        second.take()
    first.close()

    second.take()
    second.close()
