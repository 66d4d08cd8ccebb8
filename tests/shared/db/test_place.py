"""A file that is removed or replaced while it is open takes no more, and what it held is saved."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from shared.db.database import Statement
from shared.db.sqlite import Sqlite
from shared.errors import StorageBroken, StorageGone

NOTES = ("CREATE TABLE notes (name TEXT)",)


def add(name: str) -> Statement:
    return Statement("INSERT INTO notes VALUES (:name)", {"name": name})


def remove_everything(file: Path) -> None:
    """As `git clean -fdx` does."""
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()


def replace_the_file(file: Path) -> None:
    with closing(sqlite3.connect(file.with_name("other.db"))) as other:
        other.execute("CREATE TABLE notes (name TEXT)")
    os.replace(file.with_name("other.db"), file)


def move_the_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("moved"))
    file.parent.mkdir()


WAYS = {
    "all of it": remove_everything,
    "the file": Path.unlink,
    "the log": lambda file: Path(f"{file}-wal").unlink(),
    "the shared memory": lambda file: Path(f"{file}-shm").unlink(),
    "replaced": replace_the_file,
    "the folder": move_the_folder,
}


@pytest.mark.parametrize("leave", WAYS.values(), ids=WAYS)
async def test_removed_file_takes_no_more(tmp_path: Path, leave: Callable[[Path], None]) -> None:
    """The first write after it, and each later one, is refused; all that was durable is in the rescued file."""
    file = tmp_path / "data" / "notes.db"
    db = Sqlite(file)
    await db.open(NOTES)
    await db.write("notes", add("before"))
    assert db.find_trouble() is None

    leave(file)

    assert "removed or replaced" in (db.find_trouble() or "")
    for _ in range(2):
        with pytest.raises(StorageGone, match=r"removed or replaced .* All it held is in .*notes\.db\.rescued"):
            await db.write("notes", add("after"))
    await db.close()
    with closing(sqlite3.connect(f"{file}.rescued")) as rescued:
        assert rescued.execute("SELECT name FROM notes").fetchone() == ("before",)
    assert os.stat(f"{file}.rescued").st_mode & 0o777 == 0o600


async def test_saved_file_is_not_replaced_by_empty_one(tmp_path: Path) -> None:
    """The next start says where the saved one is, and how to put it back."""
    db = Sqlite(tmp_path / "notes.db")
    await db.open(NOTES)
    remove_everything(tmp_path / "notes.db")
    with pytest.raises(StorageGone):
        await db.write("notes", add("one"))
    await db.close()

    refused = Sqlite(tmp_path / "notes.db")
    with pytest.raises(StorageBroken, match=r"is missing: it was removed .* mv .*notes\.db\.rescued .*notes\.db"):
        await refused.open(NOTES)
    await refused.close()
    (tmp_path / "notes.db.rescued").rename(tmp_path / "notes.db")
    again = Sqlite(tmp_path / "notes.db")
    await again.open(NOTES)

    assert await again.read("SELECT name FROM notes") == [("one",)]
    await again.close()


async def test_other_files_may_come_and_go(tmp_path: Path) -> None:
    db = Sqlite(tmp_path / "notes.db")
    await db.open(NOTES)
    for number in range(3):
        (tmp_path / "other").write_text("here")
        await db.write("notes", add(str(number)))
        (tmp_path / "other").unlink()

    assert db.find_trouble() is None
    await db.close()
