"""Reads a recording out of a journal that no coordinator serves, or beside one that does."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from coordinator.journal.store import Store
from coordinator.recording.export import export
from shared.db.sqlite import Sqlite
from shared.errors import NotFound, StorageBroken


def read_journal(path: Path, task_id: str) -> dict[str, Any]:
    """The recording of a task; the journal is copied first, and stays as it is.

    Raises `StorageBroken` for a file that is no journal, and `NotFound` for a task that is not in it or not recorded.
    """
    if not path.is_file():
        raise NotFound(f"{path} does not exist.")
    with tempfile.TemporaryDirectory(prefix="muster-replay-") as folder:
        copy = Path(folder) / "muster.db"
        try:
            of = f"{path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(of, uri=True)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except sqlite3.Error as exc:
            raise StorageBroken(f"{path} cannot be read: {exc}.") from exc
        return asyncio.run(_read(copy, task_id))


async def _read(path: Path, task_id: str) -> dict[str, Any]:
    store = Store(Sqlite(path), publish=lambda _: None)
    await store.open()
    try:
        task = await store.task(task_id)
        if task is None:
            raise NotFound(f"There is no task {task_id!r}.")
        return await export(task, store)
    finally:
        await store.close()
