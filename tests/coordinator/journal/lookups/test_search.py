"""Tasks are found by words of their description, with a journal in a file and in PostgreSQL."""

from __future__ import annotations

from typing import Any

from coordinator.journal.lookups.search import search_tasks
from tests.support.fakes import FILE_AND_SERVER, Held, Suite, agent

pytestmark = FILE_AND_SERVER
ONE = [{"id": "a", "capability": "work"}]
NOBODY = [{"id": "a", "capability": "fly"}]


async def find(suite: Suite, *words: str, **more: Any) -> list[str]:
    given: dict[str, Any] = {"status": None, "agent": None, "before": None, "limit": 10} | more
    return [line.description for line in await search_tasks(suite.services.store, words=words, **given)]


async def test_words_are_found_in_either_case(coordinator: Suite) -> None:
    """All of them, anywhere, newest first; signs of a pattern mean themselves."""
    await coordinator.add(agent("worker", "work"))
    for said in ("Tides at Oslo", "Ships at OSLO: 100%", "Nothing_else"):
        task = await coordinator.execute(said, plan=ONE)

    assert await find(coordinator, "oslo") == ["Ships at OSLO: 100%", "Tides at Oslo"]
    assert await find(coordinator, "oslo", "TIDE") == ["Tides at Oslo"]
    assert await find(coordinator, "%") == ["Ships at OSLO: 100%"]
    assert await find(coordinator, "g_e") == ["Nothing_else"]
    assert await find(coordinator, "s_o") == []
    assert await find(coordinator, task.task_id[:8]) == ["Nothing_else"]
    assert await find(coordinator, "nowhere") == []
    assert await find(coordinator, "oslo", limit=1) == ["Ships at OSLO: 100%"]


async def test_words_and_a_filter_are_both_kept(coordinator: Suite) -> None:
    """The status, the agent, and the place in the list."""
    held = Held()
    await coordinator.add(agent("worker", "work"))
    await coordinator.add(agent("slow", "wait", held))
    first = await coordinator.execute("Tides of old", plan=ONE)
    await coordinator.execute("Tides that fail", plan=NOBODY)
    open = await coordinator.begin("Tides to come", plan=[{"id": "a", "capability": "wait"}])
    lines = await search_tasks(
        coordinator.services.store, words=["tides"], status=None, agent=None, before=None, limit=10
    )

    assert [line.description for line in lines] == ["Tides to come", "Tides that fail", "Tides of old"]
    assert lines[0].id == open
    assert await find(coordinator, "tides", status="failed") == ["Tides that fail"]
    assert await find(coordinator, "tides", agent="worker") == ["Tides of old"]
    assert await find(coordinator, "tides", agent="worker", status="failed") == []
    assert await find(coordinator, "tides", before=(lines[1].created_at, lines[1].id)) == [first.task_description]
    held.let_go.set()
