"""A journal that moves while tasks are in flight: the coordinator is killed, and goes on at the other side."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path
from random import Random
from subprocess import DEVNULL

import asyncpg
import pytest

from tests.support.history import History
from tests.support.journals import make_file, read_file, without_nuls
from tests.support.postgres import Server, read_database
from tests.support.previous import ROOT
from tests.system.test_kill import NOTHING_WRONG, SEED, Bench

pytestmark = pytest.mark.timeout(300)
MOVES = 4  # there and back, twice
KILLS = 5  # of a move, each way


async def test_moves_under_load_lose_and_repeat_nothing(tmp_path: Path, postgres: Server):
    """Callers re-ask with their keys, and readers of events go on from where they were."""
    bench = Bench(tmp_path, SEED + 3, None)
    file, server = Path(bench.coordinator.journal), postgres.make_database()
    open_at_moves = []
    async with bench.open():
        for number in range(MOVES):
            await asyncio.sleep(bench.random.uniform(0.5, 1.5))
            there, back = (server, file) if number % 2 == 0 else (file, server)
            bench.coordinator.kill()
            before = await asyncio.to_thread(History, back)
            await asyncio.to_thread(migrate, back, there)
            after = await asyncio.to_thread(History, there)

            assert after.events == before.events
            assert after.ended_steps == before.ended_steps
            assert after.open_tasks == before.open_tasks
            open_at_moves.append(len(after.open_tasks))
            bench.look_at(after)
            bench.coordinator.use(there)
            await asyncio.to_thread(lambda: bench.coordinator.start().ready())
        figures = await bench.finish()
    print(f"\nseed {SEED + 3}: {open_at_moves} tasks were open at the moves, {figures}")

    assert bench.problems == []
    assert all(open_at_moves)
    assert figures.items() >= NOTHING_WRONG.items()


async def test_kills_of_a_move_leave_nothing_or_all(tmp_path: Path, postgres: Server):
    """At any moment, either way; the next run goes on to the same end."""
    random = Random(SEED + 4)
    file, back, server = tmp_path / "muster.db", tmp_path / "back/muster.db", postgres.make_database()
    await make_file(file, rounds=4)
    ended = count_history(file)
    for source, target in ((file, server), (server, back)):
        for _ in range(KILLS):
            await asyncio.to_thread(kill_migrate, source, target, after=random.uniform(0.5, 4.0))
            left = await asyncio.to_thread(count_history, target)
            assert left in (0, ended), left
        await asyncio.to_thread(migrate, source, target)

    assert without_nuls(read_file(file)) == without_nuls(read_file(back))


def kill_migrate(source: Path | str, target: Path | str, *, after: float) -> None:
    with subprocess.Popen(command(source, target), cwd=ROOT, stdout=DEVNULL, stderr=DEVNULL) as running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(after)
        running.kill()


def count_history(journal: Path | str) -> int:
    """Ended tasks of a target that was being written, or was not begun."""
    if isinstance(journal, Path):
        return len(read_file(journal)["history"]) if journal.exists() else 0
    try:
        with read_database(journal) as copy:
            return int(copy.execute("SELECT count(*) FROM history").fetchone()[0])
    except asyncpg.UndefinedTableError:
        return 0


def migrate(source: Path | str, target: Path | str) -> None:
    subprocess.run(command(source, target), cwd=ROOT, check=True, timeout=120)


def command(source: Path | str, target: Path | str) -> list[str]:
    """As people call it."""
    urls = [f"sqlite:///{at}" if isinstance(at, Path) else at for at in (source, target)]
    return [sys.executable, "-m", "coordinator.cli", "migrate", "--from", urls[0], "--to", urls[1]]
