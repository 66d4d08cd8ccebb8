"""A journal that moves while tasks are in flight: the coordinator is killed, and goes on at the other side."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.history import History
from tests.support.postgres import Server
from tests.support.previous import ROOT
from tests.system.test_kill import NOTHING_WRONG, SEED, Bench

pytestmark = pytest.mark.timeout(300)
MOVES = 4  # there and back, twice


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


def migrate(source: Path | str, target: Path | str) -> None:
    """The command, as people call it."""
    urls = [f"sqlite:///{at}" if isinstance(at, Path) else at for at in (source, target)]
    command = [sys.executable, "-m", "coordinator.cli", "migrate", "--from", urls[0], "--to", urls[1]]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
