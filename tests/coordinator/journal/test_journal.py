"""The journal and the process that holds it: who may open it, what is refused, how it ends, and what comes back."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from coordinator.journal.packed import MOST
from coordinator.journal.store import Store
from coordinator.tasks.task import Step, Task
from shared.background import Background
from shared.contracts import Status
from shared.db.sqlite import Sqlite
from shared.limits.ledger import Ledger
from tests.support.fakes import eventually
from tests.support.history import Answer, History
from tests.support.processes import Coordinator, Disk, output_of, start, suite

pytestmark = pytest.mark.timeout(120)


def plan(*, delay_ms: int = 0) -> list[dict[str, Any]]:
    given = {"delay_ms": delay_ms}
    return [
        {"id": "a", "capability": "plain", "input": given},
        {"id": "b", "capability": "worker", "needs": ["a"], "input": given},
    ]


def task(*, delay_ms: int = 0, timeout_seconds: float = 60.0) -> dict[str, Any]:
    return {"task_description": "Work", "timeout_seconds": timeout_seconds, "plan": plan(delay_ms=delay_ms)}


@asynccontextmanager
async def talking_to(coordinator: Coordinator) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=coordinator.url, timeout=60.0, limits=limits) as client:
        yield client


async def begin(client: httpx.AsyncClient, **fields: Any) -> str:
    answer = await client.post("/execute_task", json=task(**fields), headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    id: str = answer.json()["task_id"]
    return id


async def ended(client: httpx.AsyncClient, id: str, *, seconds: float = 30.0) -> dict[str, Any]:
    async def view() -> dict[str, Any] | None:
        seen: dict[str, Any] = (await client.get(f"/tasks/{id}")).json()
        return seen if seen["status"] not in ("queued", "running") else None

    found: dict[str, Any] = await eventually(view, seconds=seconds, why=f"{id} did not end")
    return found


# --- who may open it ------------------------------------------------------------------------------


def test_second_coordinator_on_the_file_is_refused(tmp_path):
    """One sentence names the file and who holds it; the first one notices nothing."""
    with suite(tmp_path) as (first, _), Coordinator(tmp_path / "second", warm=False, journal=first.journal) as second:
        second.start()

        assert second.process.wait(30) == 2
        assert second.process.err.splitlines() == [
            f"The journal {first.journal} is in use by another coordinator (process {first.process.pid}). "
            "Stop it, or set another DATABASE_URL."
        ]
        assert "Traceback" not in second.process.out
        answer = httpx.post(f"{first.url}/execute_task", json=task(), timeout=30)
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")


def test_a_coordinator_that_was_killed_leaves_no_lock_behind(tmp_path):
    with Coordinator(tmp_path) as coordinator:
        for _ in range(3):
            coordinator.start().ready()
            assert httpx.get(f"{coordinator.url}/ready").status_code == 200
            coordinator.kill()


# --- what is refused ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with 200 finished tasks."""
    journal = tmp_path_factory.mktemp("used") / "muster.db"

    async def fill() -> None:
        store = Store(Sqlite(journal), publish=lambda _: None)
        await store.open()
        tasks = [_task(f"t{i}", description="x" * 2_000, deadline=time.time() + 3_600) for i in range(200)]
        await asyncio.gather(*(store.accept(t) for t in tasks))
        await asyncio.gather(
            *(store.finish_task(replace(t, status=Status.FAILED, finished_at=time.time())) for t in tasks)
        )
        await store.close()

    asyncio.run(fill())
    return journal


def _task(id: str, *, description: str = "Work", deadline: float) -> Task:
    steps = (Step(id="a", capability="plain"), Step(id="b", capability="worker", needs=("a",)))
    return Task(id=id, description=description, created_at=deadline - 60.0, deadline=deadline, steps=steps)


def _truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _overwritten(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 3)
        opened.write(os.urandom(20_000))


def _text(file: Path) -> None:
    file.write_text("Dear diary, today I was no database.\n" * 200)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _sql(script: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(script)

    return change


def _another_program_s(file: Path) -> None:
    file.unlink()
    _sql("CREATE TABLE bookmarks (url TEXT)")(file)


REFUSED = {
    "truncated": (_truncated, "is damaged"),
    "random bytes in the middle": (_overwritten, "is damaged"),
    "a text file": (_text, "is not a SQLite file"),
    "empty": (_empty, "is an empty file"),
    "newer": (_sql("PRAGMA user_version = 99"), "was written by a newer Muster (format 99"),
    "another program's": (_another_program_s, "is another program's SQLite file"),
}


def _files(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.suffix != ".lock"}


@pytest.mark.parametrize(("damage", "why"), REFUSED.values(), ids=REFUSED)
def test_untrustworthy_journal_is_refused_and_left_alone(used, tmp_path, damage, why):
    """Never opened as if it were empty, never written to, and no traceback."""
    journal = tmp_path / "state" / "muster.db"
    journal.parent.mkdir()
    shutil.copyfile(used, journal)
    damage(journal)
    before = _files(journal.parent)

    with Coordinator(tmp_path / "c", journal=journal) as coordinator:
        code = coordinator.start().process.wait(20)

        assert code == 2
        [sentence] = coordinator.process.err.splitlines()
        assert sentence.startswith(f"The journal {journal} {why}")
        assert "Traceback" not in coordinator.process.out
    after = _files(journal.parent)
    assert {name: after[name] for name in before} == before


def test_damaged_journal_keeps_its_log(tmp_path):
    """What had not been copied from the log into the file is not thrown away with the refusal."""
    with suite(tmp_path) as (coordinator, _):
        httpx.post(f"{coordinator.url}/execute_task", json=task(), timeout=30)
        coordinator.kill()
        log = Path(f"{coordinator.journal}-wal")
        before = log.read_bytes()
        assert before
        coordinator.journal.write_bytes(b"\x00" * coordinator.journal.stat().st_size)

        assert coordinator.start().process.wait(20) == 2

        assert log.read_bytes() == before


def test_folder_in_place_of_the_journal_is_refused(tmp_path):
    """A folder in the place of the journal is refused."""
    journal = tmp_path / "muster.db"
    journal.mkdir()
    with Coordinator(tmp_path / "c", journal=journal) as coordinator:
        assert coordinator.start().process.wait(20) == 2
        assert coordinator.process.err.splitlines() == [
            f"The journal {journal} cannot be opened: Is a directory. Is the folder writable?"
        ]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    with (
        Disk(tmp_path / "disk", size="1m", read_only=True) as disk,
        Coordinator(tmp_path / "c", journal=disk.path / "muster.db", through=disk.through) as coordinator,
    ):
        assert coordinator.start().process.wait(20) == 2
        assert coordinator.process.err.splitlines() == [
            f"The journal {disk.path}/muster.db cannot be opened: Read-only file system. Is the folder writable?"
        ]


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    """A file in the place of the folder is refused."""
    (tmp_path / "data").write_text("a file")
    with Coordinator(tmp_path / "c", journal=tmp_path / "data" / "muster.db") as coordinator:
        assert coordinator.start().process.wait(20) == 2
        assert coordinator.process.err.count("\n") == 1
        assert "cannot be opened: " in coordinator.process.err


def test_share_without_shared_memory_is_named(tmp_path):
    """The journal is new and well; what is wrong is its place."""
    through = (sys.executable, "-m", "tests.support.unshared")
    with Coordinator(tmp_path, through=through) as coordinator:
        assert coordinator.start().process.wait(30) == 2
        [sentence] = coordinator.process.err.splitlines()

    assert f"the file system of {tmp_path} cannot share memory" in sentence
    assert "backup" not in sentence


def test_hard_link_to_used_journal_is_refused(tmp_path):
    link = tmp_path / "link.db"
    with suite(tmp_path) as (first, _), Coordinator(tmp_path / "second", journal=link) as second:
        os.link(first.journal, link)
        second.start()

        assert second.process.wait(30) == 2
        assert "in use by another coordinator under another name, a hard link" in second.process.err
        assert httpx.post(f"{first.url}/execute_task", json=task(), timeout=30).json()["status"] == "completed"


@pytest.mark.parametrize("asked_first", [True, False], ids=["ready is asked", "a task comes"])
def test_removed_journal_takes_no_task(tmp_path, asked_first):
    """As by `git clean`: refused by name, `/ready` says it, the process lives, and what it held can be put back."""
    with suite(tmp_path / "state") as (coordinator, _), httpx.Client(base_url=coordinator.url, timeout=60) as client:
        done = client.post("/execute_task", json=task()).json()["task_id"]
        for path in coordinator.journal.parent.glob(f"{coordinator.journal.name}*"):
            path.unlink()

        ready = client.get("/ready") if asked_first else None
        refused = [client.post("/execute_task", json=task()) for _ in range(2)]
        after = client.get("/ready")

        assert ready is None or ready.status_code == 503
        assert {(r.status_code, r.json()["type"]) for r in refused} == {(503, "urn:muster:problem:storage_broken")}
        assert after.status_code == 503
        assert "was removed or replaced" in after.json()["missing"]
        assert client.get("/health").status_code == 200
        coordinator.kill()
        assert coordinator.start().process.wait(30) == 2
        assert "is missing: it was removed while it was used" in coordinator.process.err
        Path(f"{coordinator.journal}.rescued").rename(coordinator.journal)
        coordinator.start().ready()

        assert client.get(f"/tasks/{done}").json()["status"] == "completed"


# --- how it ends ----------------------------------------------------------------------------------


async def test_sigterm_under_load_loses_nothing(tmp_path):
    """With a hundred open streams; who waits hears 503 and where the task is to be found."""
    with suite(tmp_path, max_concurrent_tasks=40) as (coordinator, agents):
        streams: list[int] = []
        async with talking_to(coordinator) as client:
            accepted = [await begin(client, delay_ms=700) for _ in range(60)]

            async def wait() -> httpx.Response:
                return await client.post("/execute_task", json=task(delay_ms=700))

            async def follow(id: str) -> None:
                async with client.stream("GET", f"/tasks/{id}/events") as stream:
                    streams.append(stream.status_code)
                    async for _ in stream.aiter_bytes():
                        pass

            waiting = [asyncio.create_task(wait()) for _ in range(20)]
            following = [asyncio.create_task(follow(accepted[n % 60])) for n in range(100)]
            await eventually(lambda: len(streams) == 100)
            await asyncio.sleep(0.5)
            began = time.monotonic()
            coordinator.terminate()
            code = await asyncio.to_thread(coordinator.process.wait, 30)
            seconds = time.monotonic() - began
            answers = await asyncio.gather(*waiting)
            await asyncio.gather(*following)
        assert code in (0, -signal.SIGTERM)
        assert seconds < 20
        assert Counter(a.status_code for a in answers) == {503: 20}
        assert all(int(a.headers["retry-after"]) > 0 for a in answers)
        accepted += [a.headers["location"].removeprefix("/tasks/") for a in answers]
        stopped = History(coordinator.journal)

        coordinator.start().ready()
        async with talking_to(coordinator) as client:
            for id in accepted:
                assert (await ended(client, id))["status"] == "completed"
        coordinator.terminate()
        coordinator.process.wait()

        assert History(coordinator.journal).problems(accepted=accepted, before=stopped) == []
        runs = Counter((id, step) for _, id, step in agents.executions())
        assert {key: runs[key] for key in stopped.ended_steps if runs[key] > 1} == {}
    print(f"ended {seconds:.2f} s after SIGTERM, with 80 open tasks, 20 waiting callers and 100 streams")


async def test_stop_during_recovery_loses_nothing(tmp_path):
    """SIGTERM and SIGKILL right after the start, before everything has been taken up again."""
    with suite(tmp_path, max_concurrent_tasks=4) as (coordinator, _):
        async with talking_to(coordinator) as client:
            accepted = [await begin(client, delay_ms=50) for _ in range(100)]
        for number in range(6):
            coordinator.kill() if number % 2 else coordinator.terminate()
            coordinator.process.wait()
            coordinator.start()
            await asyncio.sleep(0.05 * number)
        coordinator.ready()
        async with talking_to(coordinator) as client:
            for id in accepted:
                assert (await ended(client, id))["status"] == "completed"
        coordinator.terminate()
        coordinator.process.wait()

        assert History(coordinator.journal).problems(accepted=accepted) == []


async def test_failing_disk_ends_the_process_loses_nothing(tmp_path):
    """A real error of write(2): the file may not grow any more."""
    with suite(tmp_path) as (coordinator, _):
        async with talking_to(coordinator) as client:
            accepted = [await begin(client, delay_ms=200) for _ in range(20)]
            size = os.stat(f"{coordinator.journal}-wal").st_size
            resource.prlimit(coordinator.process.pid, resource.RLIMIT_FSIZE, (size, size))
            refused = [
                a.json()["type"]
                for a in await asyncio.gather(
                    *(client.post("/execute_task", json=task(), timeout=10) for _ in range(3)), return_exceptions=True
                )
                if isinstance(a, httpx.Response)
            ]
            code = await asyncio.to_thread(coordinator.process.wait, 12)
        assert code == 1
        assert set(refused) <= {"urn:muster:problem:storage_broken", "urn:muster:problem:unavailable"}

        coordinator.start().ready()
        async with talking_to(coordinator) as client:
            for id in accepted:
                assert (await ended(client, id))["status"] == "completed"
        coordinator.terminate()
        coordinator.process.wait()

        assert History(coordinator.journal).problems(accepted=accepted) == []


def test_dead_loop_ends_the_process_with_1(tmp_path):
    """Compose restarts what exits, and leaves alone what merely stopped working."""
    (tmp_path / "dies.py").write_text(
        "import asyncio, sys\n"
        "from shared.background import Background\n"
        "from shared.server.run import bind, serve\n"
        "from shared.server.app import make_service\n"
        "async def loop():\n"
        "    await asyncio.sleep(0.2)\n"
        "    raise ValueError('a bug')\n"
        "app = make_service(name='dies', version='1')\n"
        "async def open_parts(stack):\n"
        "    background = await stack.enter_async_context(Background(app.fail))\n"
        "    background.loop('work', loop)\n"
        "app.open_with(open_parts)\n"
        "serve(app, bind('127.0.0.1', 0))\n"
    )
    with start("dies", folder=tmp_path, warm=False) as process:
        assert process.wait(20) == 1
        assert "loop.died" in process.out
        assert "ValueError: a bug" in process.out


async def test_dead_loop_is_named_a_stopped_one_not():
    """A loop that returns or raises is told by its name and one that is stopped is not."""
    died: list[str] = []

    async def returns() -> None:
        return

    async def raises() -> None:
        raise ValueError("a bug")

    async def runs() -> None:
        await asyncio.Event().wait()

    async with Background(died.append) as background:
        background.loop("returns", returns)
        background.loop("raises", raises)
        background.loop("runs", runs)
        background.once("done", returns())
        background.once("broken", raises())
        background.once("cancelled", runs()).cancel()
        await eventually(lambda: len(died) == 3)
        await asyncio.sleep(0.01)

    assert sorted(died) == ["broken", "raises", "returns"]


# --- what comes back ------------------------------------------------------------------------------


@pytest.fixture
def stopped_suite(tmp_path: Path) -> Iterator[tuple[Coordinator, Any]]:
    """A coordinator that is not running, with a journal that knows its two running agents."""
    with suite(tmp_path, max_queued_tasks=5_000) as (coordinator, agents):
        coordinator.terminate()
        coordinator.process.wait()
        yield coordinator, agents


async def _kept(journal: Path, tasks: list[Task], *, done: list[Task]) -> None:
    """Writes accepted tasks into a journal, as another coordinator had; step `a` of those in `done` is finished."""
    store = Store(Sqlite(journal), publish=lambda _: None)
    await store.open()
    await asyncio.gather(*(store.accept(t) for t in tasks))
    for one in done:
        began = replace(one.steps[0], status=Status.RUNNING, attempt=1, instance="x", started_at=one.created_at)
        store.start_attempt(one, began, agent="plain", queued_at=one.created_at, ledger=Ledger())
        step = replace(began, status=Status.COMPLETED, output=output_of(one.id, "a"), finished_at=one.created_at + 1)
        assert await store.finish_step(one, step, first_byte_at=None, ledger=Ledger())
    await store.close()


async def test_two_thousand_open_tasks_survive_a_restart(stopped_suite):
    """Half of them at their second step; none of the first steps runs again."""
    coordinator, agents = stopped_suite
    deadline = time.time() + 90.0
    tasks = [_task(uuid4().hex, deadline=deadline) for _ in range(2_000)]
    await _kept(coordinator.journal, tasks, done=tasks[::2])

    coordinator.start().ready()
    async with talking_to(coordinator) as client:
        async with asyncio.timeout(80):
            while (now := (await client.get("/stats")).json()["now"])["running"] or now["queued"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    coordinator.terminate()
    coordinator.process.wait()

    end = History(coordinator.journal)
    assert end.problems(accepted=[t.id for t in tasks]) == []
    assert Counter(t["status"] for t in end.tasks.values()) == {"completed": 2_000}
    runs = Counter(step for _, _, step in agents.executions())
    assert runs == {"a": 1_000, "b": 2_000}


async def test_overdue_tasks_end_at_start_with_their_results(stopped_suite):
    """Tasks whose time passed while nobody was there end at once with what was there."""
    coordinator, agents = stopped_suite
    tasks = [_task(uuid4().hex, deadline=time.time() - 5.0) for _ in range(200)]
    await _kept(coordinator.journal, tasks, done=tasks[::2])

    coordinator.start().ready()
    async with talking_to(coordinator) as client:
        views = [await ended(client, t.id) for t in tasks]

    assert Counter(v["status"] for v in views) == {"partial": 100, "timed_out": 100}
    assert all(v["results"][0]["output"] == output_of(v["task_id"], "a") for v in views[::2])
    assert all(v["missing"] for v in views)
    assert agents.executions() == []


async def test_attempts_cut_off_by_restarts_do_not_count(tmp_path):
    """Five deaths in the middle of one step, and then it completes: more attempts than the three that may fail."""
    with suite(tmp_path) as (coordinator, _):
        async with talking_to(coordinator) as client:
            id = await begin(client, delay_ms=700)
        for _ in range(5):
            await asyncio.sleep(0.3)
            coordinator.kill()
            coordinator.start().ready()
        async with talking_to(coordinator) as client:
            view = await ended(client, id)
        coordinator.terminate()
        coordinator.process.wait()

        end = History(coordinator.journal)
        assert view["status"] == "completed"
        assert end.problems(accepted=[id]) == []
        assert max(step["attempt"] for step in end.steps.values()) > 3


async def test_replaced_agents_do_not_pile_up(tmp_path):
    """Containers are made anew under new names: the silent one's place is taken, also in the file."""
    with Coordinator(tmp_path) as coordinator:
        coordinator.start().ready()
        async with talking_to(coordinator) as client:
            for port in range(9_001, 9_006):
                body = {
                    "name": "echo",
                    "endpoint": f"http://127.0.0.1:{port}",
                    "capabilities": ["x"],
                    "instance": "one",
                }
                assert (await client.post("/register_agent", json=body)).status_code == 201

                async def unreachable(endpoint: str = body["endpoint"]) -> bool:
                    found = (await client.get("/agents", params={"status": "unreachable"})).json()["agents"]
                    return [a["endpoint"] for a in found] == [endpoint]

                await eventually(unreachable)
            await asyncio.sleep(1.5)
        coordinator.terminate()
        coordinator.process.wait()

        with closing(sqlite3.connect(coordinator.journal)) as connection:
            assert connection.execute("SELECT count(*) FROM agents WHERE removed_at IS NULL").fetchone() == (1,)


# --- the checker itself ---------------------------------------------------------------------------

DAMAGE = {
    "I2": "DELETE FROM history WHERE task_id = 't0'",
    "I1: task t0 has not ended": "UPDATE history SET status = 'running' WHERE task_id = 't0'",
    "I1: task t0 ended": "UPDATE history SET finished_at = deadline + 3 WHERE task_id = 't0'",
    "I1: task t0 has 2 events task.finished": "INSERT INTO events (task_id, type, at, data)"
    " SELECT task_id, type, at, data FROM events WHERE task_id = 't0' AND type = 'task.finished'",
    "I1: task t0 is cancelled and its event says": "UPDATE history SET status = 'cancelled' WHERE task_id = 't0'",
    "events of t0 are not in order": "UPDATE events SET id = id + 1000 WHERE task_id = 't0' AND type = 'step.started'",
    "I3: step ('t0', 'a') is completed and ended 2 times": "INSERT INTO events (id, task_id, type, at, data)"
    " SELECT -id, task_id, type, at, data FROM events WHERE task_id = 't0' AND type = 'step.finished'",
    "I3: event": "UPDATE steps SET attempt = 7 WHERE task_id = 't0' AND step_id = 'a'",
    "I3: step ('t0', 'a') has attempt 1 beyond": "UPDATE steps SET attempt = 0 WHERE task_id = 't0' AND step_id = 'a'",
    "I5: step ('t0', 'a') is running": "UPDATE steps SET status = 'running' WHERE task_id = 't0' AND step_id = 'a'",
    "I7: step ('t0', 'a') was tried 4 times": "UPDATE steps SET failed = 4 WHERE task_id = 't0' AND step_id = 'a'",
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with one finished task, `t0`, so large that its steps and events keep their rows."""
    journal = tmp_path_factory.mktemp("sound") / "muster.db"

    async def fill() -> None:
        one = _task("t0", description="x" * (MOST + 1), deadline=time.time() + 60.0)
        one = replace(one, steps=(Step(id="a", capability="plain"),))
        store = Store(Sqlite(journal), publish=lambda _: None)
        await store.open()
        await store.accept(one)
        began = replace(one.steps[0], status=Status.RUNNING, attempt=1, instance="x", started_at=one.created_at)
        store.start_attempt(one, began, agent="plain", queued_at=one.created_at, ledger=Ledger())
        step = replace(began, status=Status.COMPLETED, output="done", finished_at=time.time())
        await store.finish_step(one, step, first_byte_at=None, ledger=Ledger())
        await store.finish_task(replace(one, status=Status.COMPLETED, finished_at=time.time()))
        await store.close()

    asyncio.run(fill())
    return journal


def test_the_checker_finds_nothing_wrong_with_a_sound_history(sound):
    assert History(sound).problems(accepted=["t0"], answers=[Answer(1.9, 1.0)], before=History(sound)) == []


@pytest.mark.parametrize(("problem", "damage"), DAMAGE.items(), ids=DAMAGE)
def test_the_checker_sees_each_kind_of_damage(sound, tmp_path, problem, damage):
    journal = tmp_path / "damaged.db"
    shutil.copyfile(sound, journal)
    _sql(damage)(journal)

    problems = History(journal).problems(accepted=["t0"])

    assert [p for p in problems if p.startswith(problem)], problems
    assert History(journal).problems(accepted=["t0"], before=History(sound)) != []


def test_the_checker_sees_a_caller_that_waited_too_long(sound):
    assert History(sound).problems(answers=[Answer(2.5, 1.0)]) == [
        "I4: a caller who gave 1.0 s was answered after 2.50 s"
    ]
