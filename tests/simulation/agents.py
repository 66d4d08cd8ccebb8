"""The agents of a simulated suite: good, slow and failing ones, one that delegates, and one that lies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from random import Random
from typing import Any

from pydantic_core import to_json

from shared.agent import Agent, Context, Reply
from shared.client import client as transport
from shared.contracts import StepRequest, Usage
from shared.errors import WorkerFault
from shared.limits.envelope import HEADER, seal
from tests.simulation.witness import Witness

ASKED_AS = "Muster-Agent"
TALKATIVE = 0.3  # share of steps that tell how far they are
LONG_SHARE = 0.03  # of steps take very long
BAD_LUCK = 0.4  # share of steps that need luck and fail
PASSAGE = {
    "id": "p1",
    "title": "Tides",
    "location": "tides.md",
    "provider": "sim",
    "score": 0.9,
    "excerpt": "The moon.",
}


class Behaviour:
    """Chance for all agents of one seed; `slow` makes every step so many seconds longer."""

    def __init__(self, random: Random, witness: Witness) -> None:
        self.random = random
        self.witness = witness
        self.slow: dict[str, float] = {}

    async def work(self, name: str, step: StepRequest) -> None:
        """Takes a while."""
        self.witness.step_begins(step.task_id, step.step_id)
        seconds = self.random.choice((0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 1.0)) * (0.5 + self.random.random())
        if self.random.random() < LONG_SHARE:
            seconds = self.random.uniform(5.0, 50.0)
        await asyncio.sleep(seconds + self.slow.get(name, 0.0))


def make_agent(name: str, capabilities: tuple[str, ...], behaviour: Behaviour, *, host: str = "") -> Agent:
    """An agent that says what it was asked, after a while; of steps that need luck, some fail, and may be retried."""

    async def run(step: StepRequest, ctx: Context) -> Reply:
        if behaviour.random.random() < TALKATIVE:
            await ctx.progress("Begun", 0.1)
        await behaviour.work(host or name, step)
        if step.capability == "luck" and behaviour.random.random() < BAD_LUCK:
            raise WorkerFault(f"{name} has no luck with attempt {step.attempt}.", retryable=True)
        behaviour.witness.step_done(step.task_id, step.step_id)
        if step.capability == "research":
            passage = PASSAGE | {"question": step.task_description}
            return Reply({"question": step.task_description, "provider": "sim", "evidence": [passage]})
        return Reply(
            {"by": name, "input": step.input, "upstream": sorted(step.upstream)},
            usage=Usage(input_tokens=10, output_tokens=5),
        )

    return Agent(name=name, description=f"Does {' and '.join(capabilities)}.", capabilities=capabilities, run=run)


def make_asker(behaviour: Behaviour, inner: Any, *, key: str | None) -> Agent:
    """An agent that asks the analyst through the coordinator, up to three times at once."""

    async def run(step: StepRequest, ctx: Context) -> Reply:
        await behaviour.work("asker", step)
        asked = [_delegate(step, ctx, inner, number, key) for number in range(behaviour.random.randint(1, 3))]
        answers = await asyncio.gather(*asked)
        return Reply({"answers": answers})

    return Agent(name="asker", description="Asks others.", capabilities=("ask",), run=run)


async def _delegate(step: StepRequest, ctx: Context, inner: Any, number: int, key: str | None) -> str:
    if ctx.member is None:
        return "nobody to ask"
    wish = {"agent": "analyst", "task": f"Part {number}", "milliseconds": max(1, int(ctx.seconds_left() * 800))}
    body = to_json(wish)
    headers = {
        "Content-Type": "application/json",
        ASKED_AS: ctx.member.agent_id,
        HEADER: seal(ctx.envelope, key=ctx.member.key, body=body),
    }
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    async with transport.make_client(transport=inner) as http:
        answer = await transport.fetch(
            http, "POST", "http://coordinator/delegate", headers, body, seconds=ctx.seconds_left(), max_bytes=1_000_000
        )
    assert isinstance(answer, transport.Whole)
    return f"HTTP {answer.status}"


def make_liar(random: Random, witness: Witness) -> Callable[..., Any]:
    """A bare ASGI app at `/execute` that answers with whatever an agent should not; a call that came twice, alike."""
    chosen: dict[tuple[str, str, int], str] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        if scope["path"] == "/health":
            await _answer(send, 200, b'{"status": "healthy"}')
            return
        if scope["method"] == "DELETE":
            await _answer(send, 200, b'{"cancelled": true}')
            return
        if scope["path"] != "/execute":
            await _answer(send, 404, b"{}")
            return
        step = json.loads(body)
        good = {name: step[name] for name in ("task_id", "step_id", "attempt")}
        good |= {"status": "completed", "output": {"by": "liar"}}
        lies = ("none", "none", "other_task", "old_attempt", "html", "error", "nan", "hang", "redirect", "cut")
        asked = (step["task_id"], step["step_id"], step["attempt"])
        lie = chosen.setdefault(asked, random.choice(lies))
        if lie not in ("none", "hang"):
            witness.lies.add(asked)
        match lie:
            case "none":
                await asyncio.sleep(random.random())
                await _answer(send, 200, to_json(good))
            case "other_task":
                await _answer(send, 200, to_json(good | {"task_id": "0" * 32}))
            case "old_attempt":
                await _answer(send, 200, to_json(good | {"attempt": step["attempt"] - 1}))
            case "html":
                await _answer(send, 200, b"<html>Welcome</html>", b"text/html")
            case "error":
                await _answer(send, random.choice((500, 502, 503, 429, 400)), b"{}")
            case "nan":
                await _answer(send, 200, b'{"step_id": "a", "attempt": NaN}')
            case "redirect":
                await _answer(send, 302, b"")
            case "hang":
                await asyncio.sleep(3600)
            case "cut":
                await send(
                    {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
                )
                await send({"type": "http.response.body", "body": b'{"step_id": ', "more_body": False})

    return app


def make_receiver(witness: Witness) -> Callable[..., Any]:
    """A bare ASGI app that takes webhooks."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = json.loads((await receive())["body"])
        witness.hooked.add(body["task_id"])
        await _answer(send, 200, b"{}")

    return app


async def _answer(send: Any, status: int, body: bytes, kind: bytes = b"application/json") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
