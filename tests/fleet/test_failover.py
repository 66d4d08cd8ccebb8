"""Two coordinators whose PostgreSQL dies for good, and whose standby takes its place: the tasks go on there."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import httpx
import pytest

from tests.fleet.callers import Callers
from tests.fleet.suite import Fleet
from tests.support.fakes import eventually
from tests.support.history import History
from tests.support.postgres import UNSAFE, Server, serve
from tests.support.processes import output_of

pytestmark = pytest.mark.timeout(300)
LATE_SECONDS = 60.0  # a task may end so long after a deadline that falls into the outage, on a busy machine


@pytest.fixture
def pair(postgres: Server) -> Iterator[tuple[Server, Server]]:
    """A primary, and the standby that has each commit before it is answered."""
    with tempfile.TemporaryDirectory(prefix="muster-postgres-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with serve(folder / "a", *UNSAFE) as primary, serve(folder / "b", *UNSAFE, primary=primary) as standby:
            primary.wait_for_standby()
            yield primary, standby


async def test_standby_takes_over(tmp_path: Path, pair: tuple[Server, Server]):
    """Tasks pause and go on, nothing is lost and nothing doubled; `/ready` says why meanwhile."""
    primary, standby = pair
    at_first = primary.make_database()
    at_last = at_first.replace(str(primary.port), str(standby.port))
    either = at_first.replace(f":{primary.port}/", f":{primary.port},127.0.0.1:{standby.port}/")
    fleet = Fleet(tmp_path, at_last, ways=[either] * 2)
    over = asyncio.Event()
    callers = Callers(fleet.urls, Random(1), at_once=6, enough=over.is_set, delegates={})
    async with fleet.open(), httpx.AsyncClient(timeout=30.0) as http:
        calling = asyncio.create_task(callers.run())
        await asyncio.sleep(2.0)
        await asyncio.to_thread(primary.stop, kill=True)

        async def ready(url: str, status: int) -> str | None:
            found = await http.get(f"{url}/ready")
            return found.text if found.status_code == status else None

        said = [await eventually(lambda u=url: ready(u, 503), seconds=30) for url in fleet.urls]
        await asyncio.sleep(1.0)
        ended = sum(bool(call.statuses) for call in callers.calls)
        await asyncio.to_thread(standby.promote)
        began = time.monotonic()
        for url in fleet.urls:
            await eventually(lambda u=url: ready(u, 200), seconds=30)
        back = time.monotonic() - began
        await eventually(lambda: sum(bool(call.statuses) for call in callers.calls) > ended + 12, seconds=60)
        over.set()
        await asyncio.wait_for(calling, 120)

        async def find_end() -> History | None:
            found = await asyncio.to_thread(History, fleet.database)
            return found if not found.open_tasks else None

        after: History = await eventually(find_end, seconds=60)

    print(f"\n{said[0]}\n{len(after.tasks)} tasks; ready {back:.1f} s after the standby was promoted")
    outputs = {key: json.loads(step["output"]) for key, step in after.steps.items() if step["status"] == "completed"}
    assert all("takes writes" in text or "does not answer" in text for text in said), said
    assert [wrong for call in callers.calls for wrong in call.wrong] == []
    assert [call.key for call in callers.calls if call.key is not None and len(call.ids) > 1] == []
    assert outputs == {key: output_of(*key) for key in outputs}
    assert {id: seen for id, seen in callers.seen.items() if seen != [e.id for e in after.events_of[id]]} == {}
    assert after.problems(accepted=callers.accepted, late_seconds=LATE_SECONDS) == []
