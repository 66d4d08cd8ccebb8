"""Flips single bits of a stopped journal's files, and says what a start and all reads make of each.

`python -m tests.support.rot [STEP]` fills a journal, kills its coordinator, and tries every STEP-th byte (default: 97).
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx

from coordinator.agent_pool.records import AgentRecords
from coordinator.journal.store import Store
from shared.db.sqlite import Sqlite
from shared.errors import StorageBroken
from tests.support.processes import suite

REFUSED, REFUSED_READ, SAME, OTHER = "refused", "refused at a read", "same content", "OTHER CONTENT"
FILES = ("muster.db", "muster.db-wal")


def fill(folder: Path, *, ended: int, open: int, checkpoints: bool) -> Path:
    """A journal with tasks of both kinds, as a killed coordinator leaves it; with `checkpoints`, partly copied."""
    with suite(folder) as (coordinator, _), httpx.Client(base_url=coordinator.url, timeout=60) as client:
        for number in range(ended):
            _ask(client, number, "plain", size=20_000 if checkpoints and number < 60 else 100)
        for number in range(open):
            _ask(client, number, "away", size=20_000 if number == 0 else 100)
        time.sleep(1.6)  # by then the mark is where the journal is
        coordinator.kill()
    return coordinator.journal


def _ask(client: httpx.Client, number: int, capability: str, *, size: int) -> None:
    plan = [
        {"id": "a", "capability": "plain", "input": {"n": number}},
        {"id": "b", "capability": capability, "needs": ["a"]},
    ]
    body = {
        "task_description": f"Work {number}",
        "context": {"text": "x" * size},
        "plan": plan,
        "timeout_seconds": 3600,
    }
    prefer = {"Prefer": "respond-async"} if capability == "away" else {}
    assert client.post("/execute_task", json=body, headers=prefer).status_code in (200, 202)


async def read_all(journal: Path) -> Any:
    """Everything that can be read back; raises `StorageBroken`."""
    store = Store(Sqlite(journal), publish=lambda _: None)
    try:
        await store.open()
    except StorageBroken:
        await store.close()
        raise
    try:
        opened = await store.open_tasks()
        lists = [
            [line.id for line in await store.list_tasks(limit=10_000, **asked)]
            for asked in ({}, {"status": "completed"}, {"agent": "plain"})
        ]
        tasks = [repr(await store.task(id)) for id in lists[0]]
        events = [repr(await store.events(id)) for id in lists[0]]
        rest = (await AgentRecords(store).all(), await store.secret(), await store.due_webhooks(now=1e12, limit=99))
        return repr((opened, lists, tasks, events, rest))
    except StorageBroken as exc:
        raise RuntimeError(exc.detail) from exc
    finally:
        await store.close()


def try_places(journal: Path, places: Iterable[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], str, str]]:
    """What became of each place (file and bit): the place, the outcome, what was said."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = asyncio.run(read_all(_copy(journal, Path(scratch) / "whole")))
        for name, bit in places:
            copy = _copy(journal, Path(scratch) / "flipped")
            with copy.with_name(name).open("r+b") as file:
                file.seek(bit // 8)
                byte = file.read(1)[0]
                file.seek(bit // 8)
                file.write(bytes([byte ^ 1 << bit % 8]))
            try:
                found = asyncio.run(read_all(copy))
            except StorageBroken as exc:
                yield (name, bit), REFUSED, exc.detail
            except RuntimeError as exc:
                yield (name, bit), REFUSED_READ, str(exc)
            else:
                yield (name, bit), SAME if found == wanted else OTHER, ""


def _copy(journal: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for path in journal.parent.glob(f"{journal.name}*"):
        if path.suffix != ".lock":
            shutil.copy(path, to)
    return to / journal.name


def all_places(journal: Path, step: int) -> list[tuple[str, int]]:
    """A bit of every `step`-th byte of both files, a different one each time."""
    return [
        (name, byte * 8 + byte // step % 8)
        for name in FILES
        for byte in range(0, journal.with_name(name).stat().st_size, step)
    ]


if __name__ == "__main__":
    step = int(sys.argv[1]) if len(sys.argv) > 1 else 97
    for checkpoints in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            journal = fill(Path(folder), ended=30 + 100 * checkpoints, open=8, checkpoints=checkpoints)
            sizes = {name: journal.with_name(name).stat().st_size for name in FILES}
            counted: Counter[tuple[str, str]] = Counter()
            places = all_places(journal, step)
            for (name, bit), outcome, said in try_places(journal, places):
                counted[name, outcome] += 1
                if outcome == OTHER or (outcome == REFUSED_READ and counted[name, outcome] < 5):
                    print(name, bit // 8, bit % 8, outcome, said[:100])
            print(sizes, dict(counted))
