"""Callers of several coordinators: each follows one task to its end, at whichever coordinator it meets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import httpx

from tests.fleet.suite import AnyOf
from tests.simulation.callers import ENDED, Call
from tests.support.history import Answer

KINDS = ("wait", "poll", "key", "cancel", "retry", "delegation", "stream", "budget", "wait", "short")
TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 0.1  # before another coordinator is asked
CANCELS = 300  # tries: both coordinators may be down
GIVE_UP_SECONDS = 60.0  # after its deadline a caller asks no more


class Callers:
    """So many at a time, until there are `enough`; `delegates` is the key that `plain` signs with."""

    def __init__(
        self,
        urls: Sequence[str],
        random: Random,
        *,
        at_once: int,
        enough: Callable[[], bool],
        delegates: Mapping[str, str],
    ) -> None:
        timeout = httpx.Timeout(5.0, read=TIMEOUT_SECONDS + 5.0)
        self._http = httpx.AsyncClient(base_url=urls[0], timeout=timeout, transport=AnyOf(urls))
        self._random = random
        self._at_once = at_once
        self._enough = enough
        self._delegates = delegates
        self._number = 0
        self.calls: list[Call] = []
        self.waited: list[Answer] = []  # in one go, by one coordinator that lived
        self.seen: dict[str, list[int]] = {}

    @property
    def accepted(self) -> set[str]:
        return {id for call in self.calls for id in call.ids}

    async def run(self) -> None:
        """Until there are enough tasks, and each has ended or was given up."""
        async with self._http, asyncio.TaskGroup() as group:
            for number in range(self._at_once):
                group.create_task(self._call_again_and_again(), name=f"caller-{number}")

    async def _call_again_and_again(self) -> None:
        while not self._enough():
            self._number += 1
            await self._call(self._number, KINDS[self._number % len(KINDS)])

    async def _call(self, number: int, kind: str) -> None:
        call = Call(kind, self._make_body(number, kind), time.time())
        self.calls.append(call)
        if kind not in ("cancel", "short"):
            call.key = f"key-{number}"
        match kind:
            case "poll" | "retry" | "delegation":
                await self._execute(call, waits=self._random.random() < 0.5)
            case "key":
                await asyncio.gather(*(self._execute(call, waits=bool(n)) for n in range(3)))
            case "stream":
                await self._execute(call, waits=False)
                for id in list(call.ids):
                    await self._read_events(id)
            case "cancel":
                await self._execute(call, waits=False)
                await asyncio.sleep(self._random.choice((0.0, 0.05, 0.5, 1.5)))
                for id in list(call.ids):
                    await self._cancel(call, id)
            case _:
                await self._execute(call, waits=True)
        if not call.statuses or len(call.ids) > 1:
            for id in list(call.ids):
                await self._follow(call, id)

    def _make_body(self, number: int, kind: str) -> dict[str, Any]:
        def step(id: str, capability: str, *needs: str) -> dict[str, Any]:
            given: dict[str, Any] = {"delay_ms": self._random.randint(50, 600)}
            given["fail_first"] = kind == "retry" and self._random.random() < 0.5
            return {"id": id, "capability": capability, "needs": list(needs), "input": given}

        plan = [step("a", "plain"), step("b", "worker", "a")]
        if number % 2:
            plan += [step("c", "worker"), step("d", "plain", "b", "c")]
        if kind == "delegation":
            plan[0]["input"]["delegate"] = self._delegates
        if kind == "short":
            for one in plan:
                one["input"]["delay_ms"] *= 3
        body = {
            "task_description": f"{kind} {number}",
            "timeout_seconds": 3.0 if kind == "short" else TIMEOUT_SECONDS,
            "priority": self._random.randint(0, 9),
            "plan": plan,
        }
        return body | ({"max_calls": self._random.randint(2, 6)} if kind == "budget" else {})

    # --- ways to ask

    async def _execute(self, call: Call, *, waits: bool) -> None:
        headers = {} if waits else {"Prefer": "respond-async"}
        headers |= {"Idempotency-Key": call.key} if call.key is not None else {}
        until = time.time() + call.seconds + GIVE_UP_SECONDS
        while time.time() < until:
            began = time.monotonic()
            try:
                answer = await self._http.post("/execute_task", json=call.body, headers=headers)
            except httpx.TransportError:
                if call.key is None:
                    return  # it may have been accepted: without a key its caller cannot know
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if location := answer.headers.get("location", ""):
                call.ids.add(location.removeprefix("/tasks/"))
            if waits:
                self.waited.append(Answer(time.monotonic() - began, call.seconds))
            if answer.status_code in (429, 503) and not location:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self._judge(call, answer)
            return
        call.wrong.append(f"I1: {call.body['task_description']} got no answer")

    def _judge(self, call: Call, answer: httpx.Response) -> None:
        view = answer.json()
        if answer.status_code not in (200, 202):
            if "type" not in view:
                call.wrong.append(f"I8: HTTP {answer.status_code} without a type: {answer.text[:200]}")
            if not call.ids:
                call.wrong.append(f"I8: HTTP {answer.status_code} {answer.text[:300]}")
            return
        call.ids.add(view["task_id"])
        if view["status"] in ENDED:
            call.statuses.add(view["status"])
        elif answer.status_code == 200:
            call.wrong.append(f"I4: a caller that waits was told {view['status']}")

    async def _cancel(self, call: Call, id: str) -> None:
        for _ in range(CANCELS):
            with suppress(httpx.TransportError):
                answer = await self._http.post(f"/tasks/{id}/cancel")
                if answer.status_code == 202:
                    call.cancelled_at = time.time()
                if answer.status_code < 500:
                    return
            await asyncio.sleep(PAUSE_SECONDS)
        call.wrong.append(f"I9: task {id} could not be cancelled")

    async def _follow(self, call: Call, id: str) -> None:
        until = time.time() + call.seconds + GIVE_UP_SECONDS
        while time.time() < until:
            with suppress(httpx.TransportError):
                answer = await self._http.get(f"/tasks/{id}")
                if answer.status_code == 404:
                    call.wrong.append(f"I2: task {id} was accepted and is not there")
                    return
                if answer.status_code == 200 and (status := answer.json()["status"]) in ENDED:
                    call.statuses.add(status)
                    return
            await asyncio.sleep(0.5)
        call.wrong.append(f"I1: task {id} has not ended {GIVE_UP_SECONDS:g} s after its deadline")

    async def _read_events(self, id: str) -> None:
        """Every event, over every coordinator, by Last-Event-ID."""
        seen = self.seen.setdefault(id, [])
        until = time.time() + TIMEOUT_SECONDS + GIVE_UP_SECONDS
        while time.time() < until:
            headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
            with suppress(httpx.TransportError):
                async with self._http.stream("GET", f"/tasks/{id}/events", headers=headers) as stream:
                    event: dict[str, str] = {}
                    async for line in stream.aiter_lines():
                        if line and not line.startswith(":"):
                            name, _, value = line.partition(": ")
                            event[name] = value
                            continue
                        if "id" in event:
                            seen.append(int(event["id"]))
                        if event.get("event") == "task.finished":
                            return
                        event = {}
            await asyncio.sleep(PAUSE_SECONDS)
