"""A damaged journal is refused; it goes on with what is left of it by a command, and not by itself."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from typer.testing import CliRunner

from coordinator.access.claims import Holder
from coordinator.agent_pool.records import AgentRecords
from coordinator.cli.commands import cli
from coordinator.journal.store import Store
from coordinator.journal.upkeep.backup import backup
from coordinator.tasks.task import Step, Task
from shared.contracts import Registration, Status
from shared.db.sqlite import Sqlite
from shared.errors import StorageBroken

T = TypeVar("T")


def use(journal: Path, work: Callable[[Store], Awaitable[T]]) -> T:
    """Opens the journal as a start does, and closes it."""

    async def run() -> T:
        store = Store(Sqlite(journal), publish=lambda _: None)
        try:
            await store.open()
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def task(id: str) -> Task:
    at = time.time()
    return Task(
        id=id, description=f"Work {id}", created_at=at, deadline=at + 60.0, steps=(Step(id="a", capability="x"),)
    )


async def fill(store: Store, *, ended: str, open: str) -> None:
    agent = Registration(name="x", endpoint="http://x", capabilities=["x"])
    await AgentRecords(store).save("agent-1", agent, Holder())
    for id in ended + open:
        await store.accept(task(id))
    for id in ended:
        await store.finish_task(replace(task(id), status=Status.FAILED, finished_at=time.time()))
    await store.watch.seal_open()


def listed(journal: Path) -> list[str]:
    return sorted(line.id for line in use(journal, lambda store: store.list_tasks()))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Tasks a and b ended, c and d did not."""
    path = tmp_path / "data" / "muster.db"
    use(path, lambda store: fill(store, ended="ab", open="cd"))
    return path


@pytest.fixture
def copy(journal: Path, tmp_path: Path) -> Path:
    """A backup of it, after which task e came."""
    backup(f"sqlite:///{journal}", tmp_path / "copy")
    use(journal, lambda store: store.accept(task("e")))
    return tmp_path / "copy"


def change(journal: Path, script: str) -> None:
    """As rot would: past the program."""
    with closing(sqlite3.connect(journal)) as file:
        file.executescript(script)


def invoke(*words: str, journal: Path) -> tuple[int, str]:
    done = CliRunner().invoke(cli, list(words), env={"DATABASE_URL": f"sqlite:///{journal}"})
    return done.exit_code, done.output


def test_restored_journal_starts(journal: Path, copy: Path) -> None:
    """The mark goes back with it; until the restore has ended, a start is refused."""
    assert listed(journal) == ["a", "b", "c", "d", "e"]

    code, _ = invoke("restore", str(copy), journal=journal)

    assert code == 0
    assert listed(journal) == ["a", "b", "c", "d"]


def test_missing_journal_with_a_mark_is_refused(journal: Path) -> None:
    """As a cleaner leaves it: an empty journal would not say what is gone."""
    journal.unlink()

    with pytest.raises(
        StorageBroken, match=r"is missing, but its mark .* had \d+ events\. Restore it from a backup .*remove the mark"
    ):
        listed(journal)


def test_copy_put_in_its_place_by_hand_is_refused(journal: Path, copy: Path) -> None:
    """It has fewer events than the mark says; with the mark removed, too, it is taken."""
    for path in journal.parent.glob("muster.db*"):
        if not path.name.endswith("-mark"):
            path.unlink()
    journal.write_bytes((copy / "muster.db").read_bytes())
    with pytest.raises(StorageBroken, match=r"lacks its last 2 events\..*restore FOLDER"):
        listed(journal)

    Path(f"{journal}-mark").unlink()

    assert listed(journal) == ["a", "b", "c", "d"]


DAMAGE = {
    "open task": ("UPDATE tasks SET description = 'Work C' WHERE id = 'c'", "c", ["a", "b", "d"]),
    "its status": ("UPDATE tasks SET status = 'rueued' WHERE id = 'c'", "c", ["a", "b", "d"]),
    "its event": ("UPDATE events SET at = at + 1 WHERE task_id = 'd'", "d", ["a", "b", "c"]),
    "ended task": ("UPDATE history SET status = 'gailed' WHERE task_id = 'a'", "a", ["b", "c", "d"]),
    "a time by a microsecond": (
        "UPDATE history SET finished_at = finished_at + 0.000001 WHERE task_id = 'b'",
        "b",
        ["a", "c", "d"],
    ),
    "its body": (
        "UPDATE history SET body = CAST(substr(body, 1, 40) || x'00' || substr(body, 42) AS BLOB) WHERE task_id = 'a'",
        "a", ["b", "c", "d"],
    ),
    "no text any more": ("UPDATE tasks SET description = CAST(x'ff41' AS TEXT) WHERE id = 'd'", "d", ["a", "b", "c"]),
    "agent": ("UPDATE agents SET registration = replace(registration, 'http://x', 'http://y')", "agent agent-1",
              ["a", "b", "c", "d"]),
}  # fmt: skip


@pytest.mark.parametrize(("script", "name", "left"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_row_is_refused_until_accepted(journal: Path, script: str, name: str, left: list[str]) -> None:
    """By its name; with `--accept-loss` the entry goes, and all others stay."""
    assert invoke("check", journal=journal) == (0, "The journal is sound.\n")
    change(journal, script)

    with pytest.raises(StorageBroken, match=rf"damaged: 1 of its entries \({name}\)\. Restore it from a backup"):
        listed(journal)
    assert invoke("check", journal=journal) == (1, f"Damaged: {name}\nA start is refused.\n")
    code, said = invoke("check", "--accept-loss", journal=journal)

    assert (code, said) == (0, f"Damaged: {name}\nA start goes on with what is left.\n")
    assert listed(journal) == left
    assert invoke("check", journal=journal)[0] == 0


def test_lost_events_can_be_accepted(journal: Path, copy: Path) -> None:
    for path in journal.parent.glob("muster.db*"):
        if not path.name.endswith("-mark"):
            path.unlink()
    journal.write_bytes((copy / "muster.db").read_bytes())

    code, said = invoke("check", "--accept-loss", journal=journal)

    assert (code, "Its last 2 events are missing." in said) == (0, True)
    assert listed(journal) == ["a", "b", "c", "d"]


async def test_row_damaged_while_it_runs_is_not_shown(tmp_path: Path) -> None:
    """A read of it is refused; the daily look through all that is kept tells it, too."""
    store = Store(Sqlite(tmp_path / "muster.db"), publish=lambda _: None)
    await store.open()
    await fill(store, ended="a", open="b")
    change(tmp_path / "muster.db", "UPDATE history SET description = 'Work A'")
    told: list[str] = []

    async def pause() -> None:
        told.append("looked")

    await store.watch.check_kept(pause)
    other = await store.task("b")
    with pytest.raises(StorageBroken, match=r"\(a\)"):
        await store.task("a")
    await store.close()

    assert told
    assert other is not None
