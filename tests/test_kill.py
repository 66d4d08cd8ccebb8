"""`kill -9` of the coordinator at any moment: nothing accepted is lost, nothing done is done again or ends twice."""

from __future__ import annotations

import asyncio
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

import httpx
import pytest

from coordinator.store import WRITES
from tests.history import Answer, History
from tests.processes import Agents, Coordinator, output_of

SEED = int(os.environ.get("MUSTER_TEST_SEED", "20261121"))
KILLS = 60
CALLERS = 8
SENDS = ("send.execute.before", "send.execute.sent", "send.execute.answered")
POINTS = [f"{write}.{moment}" for write in WRITES for moment in ("queued", "written", "committed")] + list(SENDS)
TIMEOUT_SECONDS = 120.0

pytestmark = pytest.mark.timeout(300)


class Callers:
    """Clients that submit tasks whatever happens to the coordinator, and remember what they were told."""

    def __init__(self, url: str, random: Random) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(5.0, read=TIMEOUT_SECONDS))
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

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = Random(seed)
        self.coordinator = Coordinator(folder / "coordinator", max_concurrent_tasks=32, log_level="WARNING")
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

    async def kill_after(self, seconds: float) -> None:
        """The running coordinator is killed, and the next one started."""
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


async def test_sixty_kills_at_random_moments_lose_nothing_and_repeat_nothing(tmp_path):
    """Kills fall into starts, recoveries and work alike."""
    bench = Bench(tmp_path, SEED)
    async with bench.open():
        for _ in range(KILLS):
            await bench.kill_after(bench.random.uniform(0.0, 0.8))
        figures = await bench.finish()
    print(f"\nseed {SEED}: {figures}")

    assert bench.problems == []
    assert figures["kills"] == KILLS
    assert figures.items() >= NOTHING_WRONG.items()


async def test_a_kill_at_every_named_write_and_send_loses_nothing_and_repeats_nothing(tmp_path):
    """Before a write is begun, when it is written and not committed, and when it is committed and nobody knows."""
    bench = Bench(tmp_path, SEED + 1)
    async with bench.open():
        for point in POINTS:
            await bench.kill_at(point)
        figures = await bench.finish()
    print(f"\nseed {SEED + 1}: {len(POINTS)} points, {figures}")

    assert bench.problems == []
    assert figures["kills"] == 2 * len(POINTS)
    assert figures.items() >= NOTHING_WRONG.items()
