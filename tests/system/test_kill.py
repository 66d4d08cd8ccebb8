"""`kill -9` of the coordinator at any moment: nothing accepted is lost, nothing done is done again or ends twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import httpx
import pytest
from httpx_sse import aconnect_sse

from coordinator.journal.store import WRITES
from tests.support.fakes import eventually
from tests.support.history import Answer, History
from tests.support.processes import Agents, Coordinator, output_of, suite

SEED = int(os.environ.get("MUSTER_TEST_SEED", "20261121"))
KILLS = 60
CALLERS = 8
SENDS = ("send.execute.before", "send.execute.sent", "send.execute.answered")
MOMENTS = ("queued", "written", "committed")
ENDS = "store.finish_task"  # of a task that does not end with its last step
POINTS = [f"{write}.{moment}" for write in WRITES if write != ENDS for moment in MOMENTS] + list(SENDS)
TIMEOUT_SECONDS = 120.0

pytestmark = pytest.mark.timeout(300)


class Callers:
    """Clients that submit tasks whatever happens to the coordinator, and remember what they were told."""

    def __init__(self, url: str, random: Random, transport: httpx.AsyncBaseTransport | None = None) -> None:
        timeout = httpx.Timeout(5.0, read=TIMEOUT_SECONDS)
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout, transport=transport)
        self._random = random
        self._closing = False
        self._number = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._followers: list[asyncio.Task[None]] = []
        self.accepted: set[str] = set()
        self.ids_of_key: defaultdict[str, set[str]] = defaultdict(set)
        self.answers: list[Answer] = []
        self.seen: dict[str, list[int]] = {}
        self.wrong: list[str] = []
        self.pause = True

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        self._tasks = [asyncio.create_task(self._caller(), name=f"caller-{n}") for n in range(CALLERS)]
        try:
            yield
        finally:
            for task in [*self._tasks, *self._followers]:
                task.cancel()
            await asyncio.gather(*self._tasks, *self._followers, return_exceptions=True)
            await self._http.aclose()

    async def finish(self) -> None:
        """Submits nothing new; waits until everybody has an answer."""
        self._closing = True
        async with asyncio.timeout(60):
            await asyncio.gather(*self._tasks)
            await asyncio.gather(*self._followers)

    async def _caller(self) -> None:
        while not self._closing:
            self._number += 1
            await self._task(self._number)
            await asyncio.sleep(self._random.uniform(0.0, 0.05))

    async def _task(self, number: int) -> None:
        """One task, asked for until there is an answer; without a key, a broken connection is the end of it."""
        key = f"key-{number}" if number % 3 else None
        waits = number % 3 == 1
        body = {"task_description": f"task {number}", "timeout_seconds": TIMEOUT_SECONDS, "plan": self._plan()}
        headers = ({"Idempotency-Key": key} if key else {}) | ({} if waits else {"Prefer": "respond-async"})
        began = time.monotonic()
        while True:
            try:
                answer = await self._http.post("/execute_task", json=body, headers=headers)
            except httpx.TransportError:
                if key is None:
                    return
                await asyncio.sleep(0.05)
                continue
            if answer.status_code not in (200, 202):
                self.wrong.append(f"task {number}: HTTP {answer.status_code} {answer.text[:300]}")
                return
            break
        view = answer.json()
        self.accepted.add(view["task_id"])
        if key is not None:
            self.ids_of_key[key].add(view["task_id"])
        if waits:
            self.answers.append(Answer(time.monotonic() - began, TIMEOUT_SECONDS))
            self._check(view)
        if number % 4 == 0:
            self._followers.append(asyncio.create_task(self._follow(view["task_id"])))

    def _plan(self) -> list[dict[str, Any]]:
        def step(id: str, capability: str, *needs: str) -> dict[str, Any]:
            given = {"delay_ms": self._random.randint(0, 100), "fail_first": self._random.random() < 0.03}
            return {"id": id, "capability": capability, "needs": list(needs), "input": given}

        return [step("a", "plain"), step("b", "worker"), step("c", "plain", "a", "b"), step("d", "worker", "c")]

    def _check(self, view: dict[str, Any]) -> None:
        made = {step["step_id"]: step["output"] for step in view["results"]}
        if view["status"] != "completed" or made != {id: output_of(view["task_id"], id) for id in "abcd"}:
            self.wrong.append(f"the answer of {view['task_id']}: {view}")

    async def _follow(self, task_id: str) -> None:
        """Every event of a task, over every restart, by Last-Event-ID."""
        seen = self.seen.setdefault(task_id, [])
        while True:
            headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
            try:
                async with self._http.stream("GET", f"/tasks/{task_id}/events", headers=headers) as stream:
                    if stream.status_code != 200:
                        self.wrong.append(f"events of {task_id}: HTTP {stream.status_code}")
                        return
                    lines: list[str] = []
                    async for line in stream.aiter_lines():
                        if line:
                            lines.append(line)
                            continue
                        fields = dict(text.split(": ", 1) for text in lines if not text.startswith(":"))
                        lines = []
                        if "id" in fields:
                            seen.append(int(fields["id"]))
                        if fields.get("event") == "task.finished":
                            return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


class Bench:
    """One journal under load, its coordinator killed again and again; every kill is looked at before the restart."""

    def __init__(self, folder: Path, seed: int, journal: Path | str | None) -> None:
        self.random = Random(seed)
        settings = {"max_concurrent_tasks": 32, "log_level": "WARNING"}
        self.coordinator = Coordinator(folder / "coordinator", journal=journal, **settings)
        self.agents = Agents(folder / "agents", self.coordinator.url)
        self.callers = Callers(self.coordinator.url, Random(seed + 1))
        self.before: History | None = None
        self.kills = 0
        self.durable: list[tuple[float, set[tuple[str, str]]]] = []
        self.problems: list[str] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        with self.coordinator:
            await asyncio.to_thread(lambda: self.coordinator.start().ready())
            with self.agents:
                await asyncio.to_thread(self.agents.register)
                async with self.callers.calling():
                    yield

    async def kill_after(self, seconds: float, *, ready: bool) -> None:
        """The running coordinator is killed, so long after its start or since it was `ready`; the next one starts."""
        if ready:
            await asyncio.to_thread(self.coordinator.ready)
        await asyncio.sleep(seconds)
        self.coordinator.kill()
        await self._look()
        self.coordinator.start()

    async def kill_at(self, point: str) -> None:
        """A coordinator that kills itself at a named point runs until it has; then the next one is started."""
        await asyncio.to_thread(self.coordinator.kill)
        await self._look()
        self.coordinator.start(failpoint=f"{point}={self.random.randint(1, 4)}")
        code = await asyncio.to_thread(self.coordinator.process.wait, 20.0)
        assert code == -signal.SIGKILL, f"{point} was not reached: {code} {self.coordinator.process.err}"
        await self._look()
        self.coordinator.start()

    async def _look(self) -> None:
        killed_at = time.monotonic()
        self.kills += 1
        now = await asyncio.to_thread(History, self.coordinator.journal)
        if now.integrity != "ok":
            self.problems.append(f"kill {self.kills}: {now.integrity}")
        if self.before is not None:
            changes = now.problems(before=self.before, accepted=self.callers.accepted)
            self.problems += [f"kill {self.kills}: {p}" for p in changes if "has not ended" not in p]
        self.durable.append((killed_at, now.ended_steps))
        self.before = now

    def look_at(self, now: History) -> None:
        """From now on, the journal goes on from here."""
        self.durable.append((time.monotonic(), now.ended_steps))
        self.before = now

    async def finish(self) -> dict[str, int]:
        """Everything ends, the coordinator too; the figures."""
        await asyncio.to_thread(self.coordinator.ready)
        await self.callers.finish()
        async with asyncio.timeout(60), httpx.AsyncClient(base_url=self.coordinator.url) as http:
            while (now := (await http.get("/stats")).json()["now"])["running"] or now["queued"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        self.coordinator.terminate()
        assert await asyncio.to_thread(self.coordinator.process.wait) in (0, -signal.SIGTERM)
        return self._figures(await asyncio.to_thread(History, self.coordinator.journal))

    def _figures(self, end: History) -> dict[str, int]:
        accepted = self.callers.accepted
        self.problems += self.callers.wrong
        self.problems += end.problems(accepted=accepted, answers=self.callers.answers, before=self.before)
        for id, task in end.tasks.items():
            outputs = {key[1]: json.loads(s["output"] or "0") for key, s in end.steps.items() if key[0] == id}
            if task["status"] != "completed" or outputs != {step: output_of(id, step) for step in outputs}:
                self.problems.append(f"task {id}: {task} {outputs}")
        for key, ids in self.callers.ids_of_key.items():
            made = {id for id, task in end.tasks.items() if task["idempotency_key"] == key}
            if made != ids or len(ids) != 1:
                self.problems.append(f"{key} stands for {made}, and was answered with {ids}")
        for id, seen in self.callers.seen.items():
            if seen != [event.id for event in end.events_of[id]]:
                self.problems.append(f"a reader of {id} saw {seen}, not {[e.id for e in end.events_of[id]]}")
        executions = self.agents.executions()
        again = [
            (task, step, at - killed_at)
            for killed_at, done in self.durable
            for at, task, step in executions
            if at > killed_at and (task, step) in done
        ]
        self.problems += [f"{step} of {task} ran again {late:.3f} s after a kill" for task, step, late in again]
        ends = [len([e for e in end.events_of[id] if e.type == "task.finished"]) for id in end.tasks]
        return {
            "kills": self.kills,
            "tasks": len(end.tasks),
            "accepted": len(accepted),
            "steps": len(end.steps),
            "executions": len(executions),
            "lost": sum(id not in end.tasks for id in accepted),
            "ended twice": sum(n > 1 for n in ends),
            "not ended": len(end.open_tasks),
            "finished steps run again": len(again),
            "readers over restarts": len(self.callers.seen),
        }


NOTHING_WRONG = {"lost": 0, "ended twice": 0, "not ended": 0, "finished steps run again": 0}


async def test_sixty_random_kills_lose_and_repeat_nothing(tmp_path):
    """Every other one falls into work, the others into starts and recoveries."""
    bench = Bench(tmp_path, SEED, None)
    async with bench.open():
        for number in range(KILLS):
            await bench.kill_after(bench.random.uniform(0.0, 0.6), ready=number % 2 == 0)
        figures = await bench.finish()
    print(f"\nseed {SEED}: {figures}")

    assert bench.problems == []
    assert figures["kills"] == KILLS
    assert figures.items() >= NOTHING_WRONG.items()


@pytest.fixture(params=["file", "postgres"])
def journal(request: pytest.FixtureRequest) -> str | None:
    """None: a file of its own."""
    return None if request.param == "file" else request.getfixturevalue("postgres").make_database()


async def test_kill_at_every_point_loses_nothing(tmp_path, journal):
    """Before a write is begun, when it is written and not committed, and when it is committed and nobody knows.

    In PostgreSQL a write and its commit are one command.
    """
    points = [point for point in POINTS if journal is None or not point.endswith(".written")]
    bench = Bench(tmp_path, SEED + 1, journal)
    async with bench.open():
        for point in points:
            await bench.kill_at(point)
        figures = await bench.finish()
    print(f"\nseed {SEED + 1}: {len(points)} points, {figures}")

    assert bench.problems == []
    assert figures["kills"] == 2 * len(points)
    assert figures.items() >= NOTHING_WRONG.items()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_kill_during_cancel_leaves_open_or_ended(tmp_path, moment):
    """Its steps were: so is the task, after the restart at the latest."""
    with suite(tmp_path) as (coordinator, _):
        coordinator.kill()
        coordinator.start(failpoint=f"{ENDS}.{moment}").ready()
        async with httpx.AsyncClient(base_url=coordinator.url, timeout=20.0) as http:
            answer = await http.post("/execute_task", json=_task(delay_ms=500), headers={"Prefer": "respond-async"})
            id = answer.json()["task_id"]
            with contextlib.suppress(httpx.TransportError):
                await http.post(f"/tasks/{id}/cancel")
        assert await asyncio.to_thread(coordinator.process.wait, 20.0) == -signal.SIGKILL
        killed = History(coordinator.journal)

        coordinator.start().ready()
        async with httpx.AsyncClient(base_url=coordinator.url, timeout=20.0) as http:

            async def status() -> str | None:
                found: str = (await http.get(f"/tasks/{id}")).json()["status"]
                return found if found not in ("queued", "running") else None

            ended = await eventually(status, seconds=20)
        coordinator.terminate()
        coordinator.process.wait()

    assert killed.open_tasks == (set() if moment == "committed" else {id})
    assert ended == "cancelled"
    assert History(coordinator.journal).problems(accepted=[id], before=killed) == []


# --- one caller, one key, one reader ---------------------------------------------------------------


def _task(**given: Any) -> dict[str, Any]:
    plan = [
        {"id": "a", "capability": "plain"},
        {"id": "b", "capability": "worker", "needs": ["a"], "input": given},
    ]
    return {"task_description": "Wait for it", "timeout_seconds": 60.0, "plan": plan}


async def _steps(http: httpx.AsyncClient, task_id: str) -> dict[str, str]:
    return {s["step_id"]: s["status"] for s in (await http.get(f"/tasks/{task_id}")).json()["results"]}


async def test_caller_gets_its_answer_after_the_restart(tmp_path):
    """Its connection breaks; the task is the same, and so is what was done of it. Started as everybody starts it."""
    with Coordinator(tmp_path / "c", warm=False) as coordinator:
        coordinator.start().ready()
        with Agents(tmp_path / "agents", coordinator.url) as agents:
            agents.register()
            async with httpx.AsyncClient(base_url=coordinator.url, timeout=60.0) as http:
                key = {"Idempotency-Key": "the-one"}
                waiting = asyncio.create_task(http.post("/execute_task", json=_task(delay_ms=1_500), headers=key))

                async def halfway() -> bool:
                    found = (await http.get("/tasks")).json()["tasks"]
                    return bool(found) and (await _steps(http, found[0]["task_id"]))["a"] == "completed"

                await eventually(halfway)
                coordinator.kill()
                with pytest.raises(httpx.TransportError):
                    await waiting
                coordinator.start().ready()

                answer = await http.post("/execute_task", json=_task(delay_ms=1_500), headers=key)
                again = await http.post("/execute_task", json=_task(delay_ms=1_500), headers=key)
                other = await http.post("/execute_task", json=_task(delay_ms=1), headers=key)
                listed = (await http.get("/tasks")).json()["tasks"]

            view = answer.json()
            assert (answer.status_code, view["status"]) == (200, "completed")
            assert {s["step_id"]: s["output"] for s in view["results"]} == {
                s: output_of(view["task_id"], s) for s in "ab"
            }
            assert again.json() == view
            assert other.status_code == 422
            assert [t["task_id"] for t in listed] == [view["task_id"]]
            assert [step for _, _, step in agents.executions()].count("a") == 1


async def test_returning_reader_sees_every_event_once(tmp_path):
    """Three kills while it reads; positions only grow, and the stream of a task that has ended ends too."""
    with suite(tmp_path) as (coordinator, _):
        async with httpx.AsyncClient(base_url=coordinator.url, timeout=20.0) as http:
            answer = await http.post("/execute_task", json=_task(delay_ms=600), headers={"Prefer": "respond-async"})
            id = answer.json()["task_id"]
            seen: list[tuple[int, str]] = []
            reading = asyncio.create_task(_read_all(http, id, seen))
            for _ in range(3):
                await asyncio.sleep(0.25)
                coordinator.kill()
                coordinator.start().ready()
            async with asyncio.timeout(20):
                await reading
            after_the_end = await http.get(f"/tasks/{id}/events", headers={"Last-Event-ID": str(seen[-1][0])})
        coordinator.kill()

        history = History(coordinator.journal)
        assert seen == [(e.id, e.type) for e in history.events_of[id]]
        assert [type for _, type in seen].count("task.finished") == 1
        assert sorted({n for n, _ in seen}) == [n for n, _ in seen]
        assert (after_the_end.status_code, after_the_end.text) == (200, "")


async def _read_all(http: httpx.AsyncClient, id: str, seen: list[tuple[int, str]]) -> None:
    while True:
        headers = {"Last-Event-ID": str(seen[-1][0])} if seen else {}
        with contextlib.suppress(httpx.TransportError):
            async with aconnect_sse(http, "GET", f"/tasks/{id}/events", headers=headers) as source:
                async for event in source.aiter_sse():
                    if event.event != "ping":
                        seen.append((int(event.id), event.event))
                    if event.event == "task.finished":
                        return
        await asyncio.sleep(0.02)


async def test_key_asked_a_thousand_times_makes_one(tmp_path):
    """A key asked for a thousand times over a kill is one task."""
    with suite(tmp_path) as (coordinator, agents):
        async with aiohttp.ClientSession(coordinator.url, connector=aiohttp.TCPConnector(limit=200)) as http:

            async def ask() -> str:
                while True:
                    try:
                        key = {"Idempotency-Key": "the-one"}
                        async with http.post("/execute_task", json=_task(delay_ms=200), headers=key) as answer:
                            text = await answer.text()
                            assert answer.status == 200, text
                            return text
                    except aiohttp.ClientConnectionError:
                        await asyncio.sleep(0.05)

            asking = [asyncio.create_task(ask()) for _ in range(1_000)]
            await asyncio.sleep(0.15)
            coordinator.kill()
            coordinator.start()
            answers = set(await asyncio.gather(*asking))

        [answer] = answers
        assert json.loads(answer)["status"] == "completed"
        assert len({task for _, task, _ in agents.executions()}) == 1
