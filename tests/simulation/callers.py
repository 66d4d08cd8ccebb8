"""Callers of a simulated suite: each follows one task from its request to its end, and writes down what it was told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from shared.client.client import Whole
from shared.client.connections import parse_target
from tests.simulation.world.suite import API_KEY, WORKER_KEY, SimulatedSuite

ENDED = ("completed", "partial", "failed", "timed_out", "cancelled")
KINDS = (
    *("plain", "plan", "parallel", "retry", "delegation", "cancel", "key"),
    *("chat", "webhook", "short", "budget", "lie", "stream"),
)
GIVE_UP_SECONDS = 240.0  # after its deadline a caller asks no more


@dataclass
class Call:
    """One task as its caller knows it; times are virtual seconds."""

    kind: str
    body: dict[str, Any]
    began: float
    key: str | None = None
    ids: set[str] = field(default_factory=set)
    statuses: set[str] = field(default_factory=set)  # final ones that it was told
    answers: list[tuple[float, int]] = field(default_factory=list)  # seconds a wait took, and HTTP status
    cancelled_at: float | None = None
    wrong: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return float(self.body.get("timeout_seconds", 30.0))


class Callers:
    """Sends tasks of every kind at random moments."""

    def __init__(self, suite: SimulatedSuite, random: Random, own: Sequence[dict[str, Any]] = ()) -> None:
        self._own = own  # the plan of every second task
        self._suite = suite
        self._random = random
        self._wire = suite.wire()
        self.calls: list[Call] = []
        self.wrong: list[str] = []

    async def run(self, *, tasks: int, seconds: float) -> None:
        """So many tasks, each begun within the time; returns when every caller knows its end, or has given up."""
        at = sorted(self._random.uniform(1.0, seconds) for _ in range(tasks))
        kinds = [KINDS[number % len(KINDS)] for number in range(tasks)]
        self._random.shuffle(kinds)
        async with asyncio.TaskGroup() as group:
            for number, (when, kind) in enumerate(zip(at, kinds, strict=True)):
                group.create_task(self._call(number, when, kind), name=f"caller:{number}")

    async def _call(self, number: int, when: float, kind: str) -> None:
        await asyncio.sleep(when)
        body = make_body(kind, self._random)
        if self._own and number % 2:
            body |= {"plan": list(self._own)}
            body.pop("agents", None)
        call = Call(kind, body, asyncio.get_running_loop().time())
        self.calls.append(call)
        if kind in ("key", "webhook", "plan", "stream") or self._random.random() < 0.3:
            call.key = f"key-{number}"
        match kind:
            case "chat":
                await self._chat(call)
            case "cancel":
                await self._cancel(call)
            case "key":
                await asyncio.gather(*(self._execute(call, waits=bool(n)) for n in range(3)))
            case "stream":
                await self._execute(call, waits=True, accept="text/event-stream")
            case _:
                await self._execute(call, waits=self._random.random() < 0.6)
        if not call.statuses or len(call.ids) > 1:
            for task_id in sorted(call.ids):
                await self._follow(call, task_id)
        note = self._suite.recording.note
        note("caller", number=number, kind=kind, ids=sorted(call.ids), statuses=sorted(call.statuses))

    # --- ways to ask

    async def _execute(self, call: Call, *, waits: bool, accept: str = "application/json") -> None:
        headers = {"Accept": accept} | ({} if waits else {"Prefer": "respond-async"})
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        until = self._time() + call.seconds + GIVE_UP_SECONDS
        while self._time() < until:
            began = self._time()
            answer = await self.send("POST", "/execute_task", call.body, headers, seconds=call.seconds + 5)
            if answer is None:
                if call.key is None:
                    return  # it may have been accepted: without a key its caller cannot know
                await asyncio.sleep(0.5 + self._random.random())
                continue
            location = answer.headers.get("location", "")
            if location:
                call.ids.add(location.removeprefix("/tasks/"))
            if waits and accept == "application/json":
                call.answers.append((self._time() - began, answer.status))
            if answer.status in (429, 503) and not location:
                await asyncio.sleep(1.0)
                continue
            self._judge(call, answer)
            return

    async def _cancel(self, call: Call) -> None:
        await self._execute(call, waits=False)
        await asyncio.sleep(self._random.choice((0.0, 0.001, 0.05, 0.5, 2.0)))
        for task_id in sorted(call.ids):
            answer = await self.send("POST", f"/tasks/{task_id}/cancel", None, {}, seconds=5.0)
            if answer is not None and answer.status == 202:
                call.cancelled_at = self._time()

    async def _chat(self, call: Call) -> None:
        body = {"model": "coordinator", "messages": [{"role": "user", "content": call.body["task_description"]}]}
        answer = await self.send("POST", "/v1/chat/completions", body, {}, seconds=60.0)
        if answer is not None and answer.status == 200 and not json.loads(answer.body).get("choices"):
            call.wrong.append("I8: a chat was answered with 200 and nothing")

    async def _follow(self, call: Call, task_id: str) -> None:
        """Asks until the task has ended."""
        until = self._time() + call.seconds + GIVE_UP_SECONDS
        while self._time() < until:
            answer = await self.send("GET", f"/tasks/{task_id}", None, {}, seconds=5.0)
            if answer is not None and answer.status == 404:
                call.wrong.append(f"I2: task {task_id} was accepted and is not there")
                return
            if answer is not None and answer.status == 200:
                status = json.loads(answer.body)["status"]
                if status in ENDED:
                    call.statuses.add(status)
                    return
            await asyncio.sleep(2.0)
        call.wrong.append(f"I1: task {task_id} has not ended {GIVE_UP_SECONDS:g} s after its deadline")

    def _judge(self, call: Call, answer: Whole) -> None:
        if answer.status != 200 or not answer.headers.get("content-type", "").startswith("application/json"):
            if answer.status >= 400 and "type" not in json.loads(answer.body):
                call.wrong.append(f"I8: HTTP {answer.status} without a type: {answer.body[:200]!r}")
            return
        view = json.loads(answer.body)
        if view["status"] in ("failed", "timed_out"):
            call.wrong.append(f"I8: HTTP 200 for a task that is {view['status']}")
        if view["status"] in ENDED:
            call.statuses.add(view["status"])
        elif answer.status == 200:
            call.wrong.append(f"I4: a caller that waits was told {view['status']}")

    async def send(self, method: str, path: str, body: Any, headers: dict[str, str], *, seconds: float) -> Whole | None:
        """The answer; None where none came."""
        said = json.dumps(body).encode() if body is not None else b""
        headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json", **headers}
        try:
            async with asyncio.timeout(seconds):
                answer = await self._wire.fetch(
                    method,
                    parse_target(httpx.URL(f"http://coordinator{path}")),
                    headers,
                    said,
                    connect_seconds=2.0,
                    max_bytes=10_000_000,
                    streams="",
                )
        except (httpx.TransportError, TimeoutError):
            return None
        assert isinstance(answer, Whole)
        if API_KEY.encode() in answer.body or WORKER_KEY.encode() in answer.body:
            self.wrong.append(f"I10: the answer to {method} {path} has a key in it")
        return answer

    def _time(self) -> float:
        return asyncio.get_running_loop().time()


def make_body(kind: str, random: Random) -> dict[str, Any]:
    """A request of this kind."""
    body: dict[str, Any] = {
        "task_description": f"{kind} {random.getrandbits(32):08x}",
        "timeout_seconds": round(random.uniform(5.0, 60.0), 3),
        "priority": random.randint(0, 9),
    }
    match kind:
        case "plan":
            body["plan"] = _chain(random, ("research", "analyze", "help", "report")[: random.randint(2, 4)])
        case "parallel" | "cancel":
            wide = [{"id": f"p{n}", "capability": random.choice(("research", "help"))} for n in range(4)]
            body["plan"] = [*wide, {"id": "last", "capability": "report", "needs": [s["id"] for s in wide]}]
        case "retry":
            body["plan"] = [{"id": "luck", "capability": "luck"}]
        case "delegation":
            body["plan"] = [{"id": "ask", "capability": "ask"}]
        case "budget":
            body["plan"] = [*_chain(random, ("luck", "ask", "help")), {"id": "x", "capability": "luck"}]
            body["max_calls"] = random.randint(1, 6)
        case "lie":
            lying = {"id": "lie", "agent": "liar", "on_failure": random.choice(("fail", "continue"))}
            body["plan"] = [lying, {"id": "then", "capability": "help", "needs": ["lie"]}]
        case "webhook":
            body["webhook_url"] = "http://receiver/hook"
        case "short":
            body["timeout_seconds"] = round(random.uniform(0.2, 2.0), 3)
        case "stream" if random.random() < 0.5:
            body["agents"] = ["researcher", "analyst"]
    return body


def _chain(random: Random, capabilities: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {"id": f"s{n}", "capability": capability, "needs": [f"s{n - 1}"] if n else []}
        for n, capability in enumerate(capabilities)
    ]
