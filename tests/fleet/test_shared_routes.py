"""Every route behind a load balancer without memory: what one of two coordinators was told, the other one knows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.fleet.suite import AnyOf, Fleet
from tests.support.fakes import eventually
from tests.support.history import History
from tests.support.postgres import Server
from tests.support.processes import Coordinator

pytestmark = pytest.mark.timeout(300)
KEY = {"Authorization": "Bearer s3cret"}


@pytest.fixture
async def locked(tmp_path: Path, postgres: Server) -> AsyncIterator[list[str]]:
    """Two coordinators that ask for a key, and take documents into one folder."""
    journal, documents = postgres.make_database(), tmp_path / "documents"
    async with AsyncExitStack() as stack:
        urls = []
        for name in "ab":
            one = Coordinator(tmp_path / name, journal=journal, api_key="s3cret", uploads_dir=documents)
            stack.enter_context(one)
            await asyncio.to_thread(lambda one=one: one.start().ready())
            urls.append(one.url)
        yield urls


async def test_log_out_counts_everywhere(locked: list[str]) -> None:
    """A cookie opens the pages of both, and neither's a second after it was logged out at one."""
    async with httpx.AsyncClient(transport=AnyOf(locked), base_url=locked[0]) as http:
        page = await http.get("/console/login")
        token = re.search(r'name="token" value="([^"]+)"', page.text)
        assert token is not None
        await http.post("/console/login", data={"token": token[1], "key": "s3cret"})
        cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
        opened = [(await http.get("/console/tasks")).status_code for _ in locked]
        token = re.search(r'name="token" value="([^"]+)"', (await http.get("/console/tasks")).text)
        assert token is not None
        await http.post("/console/logout", data={"token": token[1]})
        http.cookies.clear()

        async def refused() -> bool | None:
            answers = [await http.get("/console/tasks", headers={"Cookie": cookie}) for _ in locked]
            return all(answer.status_code in (303, 401, 403) for answer in answers) or None

        await eventually(refused, seconds=20)

    assert opened == [200, 200]


async def test_audit_is_one_list_by_time(locked: list[str]) -> None:
    """In pages, whoever is asked."""
    names = [f"{number}.md" for number in range(6)]
    async with httpx.AsyncClient(transport=AnyOf(locked), base_url=locked[0], headers=KEY) as http:
        for name in names:
            await http.put(f"/documents/{name}", content=b"# Tides")

        async def all_told() -> list[dict[str, object]] | None:
            found: list[dict[str, object]] = (await http.get("/audit")).json()["entries"]
            return found if {entry.get("name") for entry in found} >= {*names} else None

        whole = await eventually(all_told, seconds=20)
        paged, before = list[dict[str, object]](), ""
        while page := (await http.get(f"/audit?limit=2{before}")).json()["entries"]:
            paged += page
            before = f"&before={page[-1]['id']}"

    for entries in (whole, paged):
        assert [entry["name"] for entry in entries if "name" in entry] == names[::-1]


async def test_documents_are_the_same_at_both(locked: list[str]) -> None:
    async with httpx.AsyncClient(transport=AnyOf(locked), base_url=locked[0], headers=KEY) as http:
        sent = [await http.put(f"/documents/{name}.md", content=b"# Tides\n\nMoon.") for name in "ab"]
        seen = [[one["name"] for one in (await http.get("/documents")).json()["documents"]] for _ in locked]
        gone = await http.delete("/documents/a.md")
        after = [[one["name"] for one in (await http.get("/documents")).json()["documents"]] for _ in locked]

    assert [one.status_code for one in (*sent, gone)] == [201, 201, 200]
    assert seen == [["a.md", "b.md"]] * 2
    assert after == [["b.md"]] * 2


@pytest.fixture
async def two(tmp_path: Path, postgres: Server) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path, postgres.make_database())
    async with fleet.open():
        yield fleet


async def test_tasks_are_the_same_at_both(two: Fleet) -> None:
    """Lists in pages, reports, re-runs, why, and events from where another coordinator left off."""
    plan = [{"id": "a", "capability": "plain"}]
    async with httpx.AsyncClient(transport=AnyOf(two.urls), base_url=two.urls[0], timeout=60.0) as http:
        ids = [
            (await http.post("/execute_task", json={"task_description": f"Task {n}", "plan": plan})).json()["task_id"]
            for n in range(5)
        ]
        listed, cursor = list[str](), ""
        while cursor is not None:
            page = (await http.get("/tasks", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
            listed += [task["task_id"] for task in page["tasks"]]
            cursor = page["next_cursor"]
        again = [(await http.post(f"/tasks/{ids[0]}/rerun", json={})).json() for _ in two.urls]
        views = [(await http.get(f"/tasks/{ids[0]}")).json() for _ in two.urls]
        found = {path: [await http.get(f"/tasks/{ids[0]}{path}") for _ in two.urls] for path in ("/report.md", "/why")}
        events = [await http.get(f"/tasks/{ids[0]}/events", headers={"Last-Event-ID": "0"}) for _ in two.urls]
        positions = re.findall(r"^id: (\d+)", events[0].text, re.MULTILINE)
        rest = [await http.get(f"/tasks/{ids[0]}/events", headers={"Last-Event-ID": positions[2]}) for _ in two.urls]

    assert listed == ids[::-1]
    assert {one["rerun"]["parent"] for one in again} == {ids[0]}
    assert views[0] == views[1]
    assert all(one.status_code == 200 and one.text == pair[0].text for pair in found.values() for one in pair)
    assert events[0].text == events[1].text
    assert [re.findall(r"^id: (\d+)", one.text, re.MULTILINE) for one in rest] == [positions[3:]] * 2


async def test_caller_that_hangs_up_ends_the_work_anywhere(two: Fleet) -> None:
    """Chats that are streamed by either, whoever of the two carries their tasks."""
    body = {"model": "worker", "stream": True, "messages": [{"role": "user", "content": '{"delay_ms": 50000}'}]}
    async with httpx.AsyncClient(timeout=60.0) as http:
        for url in two.urls * 2:
            async with http.stream("POST", f"{url}/v1/chat/completions", json=body) as stream:
                await anext(stream.aiter_raw())

    async def all_over() -> set[str] | None:
        history = await asyncio.to_thread(History, two.database)
        statuses = {str(row["status"]) for row in history.tasks.values()}
        return statuses if len(history.tasks) == 4 and not statuses & {"queued", "running"} else None

    assert await eventually(all_over, seconds=40) == {"cancelled"}


async def test_agent_is_held_and_removed_everywhere(two: Fleet) -> None:
    async with httpx.AsyncClient(timeout=30.0) as http:
        agents = (await http.get(f"{two.urls[0]}/agents")).json()["agents"]
        [id] = [one["agent_id"] for one in agents if one["name"] == "plain"]

        async def is_seen(status: str | None) -> bool | None:
            lists = [(await http.get(f"{url}/agents")).json()["agents"] for url in two.urls]
            seen = [{one["agent_id"]: one["status"] for one in found}.get(id) for found in lists]
            return seen == [status] * 2 or None

        await http.patch(f"{two.urls[0]}/agents/{id}", json={"draining": True})
        await eventually(lambda: is_seen("draining"), seconds=20)
        await http.patch(f"{two.urls[1]}/agents/{id}", json={"draining": False})
        await eventually(lambda: is_seen("healthy"), seconds=20)
        await http.delete(f"{two.urls[1]}/agents/{id}")
        await eventually(lambda: is_seen(None), seconds=20)
