"""The store of A2A tasks keeps one contract in a database of its own and in one that several coordinators share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace

import pytest
from a2a.server.cluster import ConcurrentTaskModificationError, TaskVersion
from a2a.server.context import ServerCallContext
from a2a.types.a2a_pb2 import (
    Artifact,
    ListTasksRequest,
    Message,
    Part,
    Task,
    TaskPushNotificationConfig,
    TaskState,
    TaskStatus,
)
from a2a.utils.errors import InvalidParamsError

from coordinator.journal.postgres.dialect import DIALECT
from shared.db.database import Database, Statement
from shared.db.memory import MemoryDatabase
from shared.db.outbox import Letter
from shared.db.postgres.database import Postgres
from shared.protocols.a2a import sql
from shared.protocols.a2a.outbox import Pushes
from shared.protocols.a2a.store import MAX_HOOKS, Hooks, Tasks
from shared.protocols.sharing import Shared
from tests.support.postgres import Server

CONTEXT = ServerCallContext()
WORKING, DONE, CANCELLED = (
    TaskState.TASK_STATE_WORKING,
    TaskState.TASK_STATE_COMPLETED,
    TaskState.TASK_STATE_CANCELED,
)


@contextmanager
def _watch(_: str) -> Iterator[Callable[[], Awaitable[None]]]:
    async def wait() -> None: ...

    yield wait


@dataclass(frozen=True)
class Kept:
    """A store and its hooks over a database; `shared` is None where that is its own."""

    db: Database
    shared: Shared | None
    tasks: Tasks

    @property
    def hooks(self) -> Hooks:
        return Hooks(self.db, self.tasks, refusal=lambda _: None)

    def at_another(self) -> Kept:
        """The same at another process."""
        assert self.shared is not None
        shared = replace(self.shared, id="other")
        return Kept(self.db, shared, Tasks(self.db, news=lambda: None, shared=shared))


@pytest.fixture(params=["own", "shared"])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[Kept]:
    async with AsyncExitStack() as stack:
        db: Database = MemoryDatabase()
        if request.param == "shared":
            db = Postgres(request.getfixturevalue("postgres").make_database(), DIALECT)
        stack.push_async_callback(db.close)
        await db.open(sql.MIGRATIONS)
        shared = Shared("one", db, lambda: 1_000.0, 5.0, _watch) if db.shared else None
        yield Kept(db, shared, Tasks(db, news=lambda: None, shared=shared))


@pytest.fixture
async def shared(postgres: Server) -> AsyncIterator[Kept]:
    db = Postgres(postgres.make_database(), DIALECT)
    await db.open()
    one = Shared("one", db, lambda: 1_000.0, 5.0, _watch)
    yield Kept(db, one, Tasks(db, news=lambda: None, shared=one))
    await db.close()


def make(id: str = "t", state: TaskState = WORKING, *, at: int = 1, context: str = "c") -> Task:
    status = TaskStatus(state=state)
    status.timestamp.FromSeconds(at)
    return Task(id=id, context_id=context, status=status, history=[Message(message_id="m", parts=[Part(text="?")])])


async def save(kept: Kept, task: Task, version: TaskVersion = TaskVersion.MISSING) -> TaskVersion:
    return await kept.tasks.save(task, event=task, prev=None, prev_version=version, context=CONTEXT)


async def test_task_comes_back_as_saved(kept: Kept) -> None:
    """Whatever bytes are in it."""
    task = make()
    task.artifacts.append(Artifact(artifact_id="a", parts=[Part(raw=bytes(range(256))), Part(text="é\0\\🌊")]))

    version = await save(kept, task)
    found = await kept.tasks.read("t")

    assert found is not None
    assert (found.task, found.version) == (task, version)
    assert await kept.tasks.read("nobody") is None


async def test_ended_task_stays_as_it_ended(kept: Kept) -> None:
    version = await save(kept, make())
    version = await save(kept, make(state=DONE), version)

    for state in (WORKING, CANCELLED):
        with pytest.raises(ConcurrentTaskModificationError):
            await save(kept, make(state=state), version)
    found = await kept.tasks.read("t")
    assert found is not None
    assert found.task.status.state == DONE


async def test_lists_are_filtered_and_come_in_pages(kept: Kept) -> None:
    for number in range(5):
        await save(
            kept, make(f"t{number}", DONE if number % 2 else WORKING, at=10 + number // 2, context="ab"[number % 2])
        )

    async def ask(**given: object) -> tuple[list[str], int, str]:
        found = await kept.tasks.list(ListTasksRequest(**given), CONTEXT)  # type: ignore[arg-type]
        return [task.id for task in found.tasks], found.total_size, found.next_page_token

    first, total, token = await ask(page_size=3)
    rest, _, end = await ask(page_size=3, page_token=token)

    assert (first, total) == (["t4", "t3", "t2"], 5)
    assert (rest, end) == (["t1", "t0"], "")
    assert (await ask(context_id="b"))[0] == ["t3", "t1"]
    assert (await ask(status=WORKING))[:2] == (["t4", "t2", "t0"], 3)


async def test_hooks_keep_their_order_and_bound(kept: Kept) -> None:
    """One under the same id takes the place of the one before."""
    for number in range(MAX_HOOKS):
        hook = TaskPushNotificationConfig(id=f"h{number}", url=f"http://hooks/{number}")
        await kept.hooks.set_info("t", hook, CONTEXT)
    await kept.hooks.set_info("t", TaskPushNotificationConfig(id="h15", url="http://hooks/new"), CONTEXT)

    with pytest.raises(InvalidParamsError):
        await kept.hooks.set_info("t", TaskPushNotificationConfig(id="more", url="http://hooks/x"), CONTEXT)
    found = await kept.hooks.get_info("t", CONTEXT)
    await kept.hooks.delete_info("t", CONTEXT, "h0")

    assert [hook.url for hook in found] == [*(f"http://hooks/{n}" for n in range(MAX_HOOKS - 1)), "http://hooks/new"]
    assert len(await kept.hooks.get_info("t", CONTEXT)) == MAX_HOOKS - 1


async def test_each_hook_is_told_in_order(kept: Kept) -> None:
    """The next piece of news waits for the one before, at that hook alone."""
    for id in ("h1", "h2"):
        await kept.hooks.set_info("t", TaskPushNotificationConfig(id=id, url=f"http://hooks/{id}"), CONTEXT)
    version = await save(kept, make())
    await save(kept, make(state=DONE), version)
    pushes = Pushes(kept.db, lambda _: None)  # type: ignore[arg-type, return-value]

    async def due() -> dict[str, Letter]:
        letters, _ = await pushes.find_due(2_000.0, 10)
        return {letter.hook_id: letter for letter in letters}

    first = await due()
    await pushes.record(first["h1"], attempts=1, error=None, next_at=None)
    await pushes.record(first["h2"], attempts=1, error="HTTP 500", next_at=2_000.5)
    second = await due()

    assert first.keys() == {"h1", "h2"}
    assert second.keys() == {"h1"}
    assert second["h1"].seq > first["h1"].seq


async def test_claimed_news_is_nobody_elses(shared: Kept) -> None:
    """Until the claim is over."""
    await shared.hooks.set_info("t", TaskPushNotificationConfig(id="h", url="http://hooks/"), CONTEXT)
    await save(shared, make())
    pushes = Pushes(shared.db, lambda _: None)  # type: ignore[arg-type, return-value]
    [letter], _ = await pushes.find_due(2_000.0, 10)

    claims = [await pushes.claim(letter, now=2_000.0, until=2_015.0) for _ in range(2)]

    assert claims == [True, False]
    assert (await pushes.find_due(2_014.0, 10))[0] == []
    assert len((await pushes.find_due(2_016.0, 10))[0]) == 1


async def test_only_its_carrier_changes_a_task(shared: Kept) -> None:
    """And only from how it is; anybody may cancel it."""
    lost: list[str] = []
    other = shared.at_another()
    other.tasks.lost = lost.append
    version = await save(shared, make())

    for stale in (TaskVersion.MISSING, version):
        with pytest.raises(ConcurrentTaskModificationError):
            await save(other, make(), stale)
    with pytest.raises(ConcurrentTaskModificationError):
        await save(shared, make(), TaskVersion(99))
    await save(shared, make(), version)
    await save(other, make(state=CANCELLED), version)

    found = await shared.tasks.read("t")
    assert found is not None
    assert found.task.status.state == CANCELLED
    assert lost == ["t", "t"]


async def test_left_task_is_taken_over(shared: Kept) -> None:
    """Of a process without a sign of life, and of none else."""
    other = shared.at_another()
    await save(shared, make("left"))
    await save(other, make("there"))
    beat = "INSERT INTO coordinators (id, address, at) VALUES (:id, '', :at)"
    await shared.db.write("beat", Statement(beat, {"id": "other", "at": 999.0}))
    row = {"carrier": "other", "since": 995.0}

    before = await shared.db.read(sql.LEFT, row)
    await shared.db.write("take", Statement(sql.TAKE_OVER, row))
    again = await shared.db.write("take", Statement(sql.TAKE_OVER, row))

    assert (before, again) == ([(1,)], None)
    assert {task.id for task in await other.tasks.list_carried()} == {"left", "there"}
    assert await shared.tasks.find_elsewhere("left") is not None
