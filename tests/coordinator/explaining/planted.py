"""Tasks whose cause is planted: each kind makes a real suite go wrong in one way, with details that a seed draws."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from coordinator.explaining.causes import Kind
from coordinator.explaining.explanation import Explanation
from coordinator.explaining.facts import explain_task
from shared.agent import Context, Reply
from shared.agent_loop.peers import ASKED_AS
from shared.contracts import Missing, StepRequest
from shared.errors import ModelFailed, WorkerFault
from shared.limits.envelope import HEADER, Envelope, derive_key, seal
from tests.coordinator.execution.test_delegations import delegates, thinker
from tests.simulation.world.determinism import determined
from tests.simulation.world.virtual_time import VirtualLoop
from tests.support.fakes import Network, Suite, agent

NAMES = ("alpha", "beta", "gamma")
Work = Callable[[StepRequest, Context], Awaitable[Reply]]


@dataclass
class Stage:
    """A suite of three agents whose work takes about `pace` seconds, and chance."""

    suite: Suite
    random: Random
    pace: dict[str, float] = field(default_factory=dict)
    doing: dict[str, Work] = field(default_factory=dict)

    async def work(self, name: str, step: StepRequest, ctx: Context) -> Reply:
        if name in self.doing:
            return await self.doing[name](step, ctx)
        await asyncio.sleep(self.pace[name] * self.random.uniform(0.8, 1.2))
        return Reply({"by": name})

    async def open(self, names: tuple[str, ...] = NAMES, **settings: Any) -> None:
        for name in names:
            self.pace[name] = self.random.choice((0.05, 0.3, 1.0))
            await self.suite.add(self.make(name), **settings)

    def make(self, name: str) -> Any:
        async def run(step: StepRequest, ctx: Context) -> Reply:
            return await self.work(name, step, ctx)

        return agent(name, name, run)

    def plan(self, **victim: Any) -> tuple[list[dict[str, Any]], str]:
        """A chain, a fan-out or a single step, and the agent of the step that something will happen to."""
        shape, fails = self.random.choice(("chain", "fan", "single")), self.random.choice(("fail", "continue"))
        name = self.random.choice(NAMES)
        if shape == "single":
            return [{"id": "one", "capability": name, **victim}], name
        names = [name, *(n for n in NAMES if n != name)]
        at = self.random.randrange(3)
        names.insert(at, names.pop(0))
        steps: list[dict[str, Any]] = []
        for n, each in enumerate(names):
            needs = [] if shape == "fan" and n < 2 else [s["id"] for s in (steps if shape == "fan" else steps[-1:])]
            more = victim if each == name else {}
            steps.append({"id": f"s{n}", "capability": each, "needs": needs, "on_failure": fails, **more})
        return steps, name

    async def warm_up(self, tasks: int = 8) -> None:
        """A history: what is usual."""
        for _ in range(tasks):
            await self.suite.execute(plan=[{"id": n, "capability": n} for n in NAMES], timeout_seconds=60.0)

    async def run(self, plan: list[dict[str, Any]], seconds: float = 60.0, **more: Any) -> str:
        return (await self.suite.execute(plan=plan, timeout_seconds=seconds, **more)).task_id

    def fail(self, name: str, answer: Callable[[], httpx.Response], times: int = 1_000) -> None:
        """An agent's next steps get this answer."""
        left = times
        real = self.suite.network._hosts[name]

        async def answering(request: httpx.Request) -> httpx.Response:
            nonlocal left
            left -= 1
            return answer() if left >= 0 else await real.handle_async_request(request)

        self.suite.network.answer(name, answering)


# --- the kinds ------------------------------------------------------------------------------------


async def nothing(stage: Stage) -> str:
    await stage.open()
    await stage.warm_up(stage.random.choice((0, 8)))
    return await stage.run(stage.plan()[0])


async def queue(stage: Stage) -> str:
    await stage.open()
    late = stage.random.random() < 0.5
    stage.pace["alpha"] = 5.0
    blocking = await stage.suite.begin(plan=[{"id": "long", "capability": "alpha"}], timeout_seconds=60.0)
    task = await stage.run([{"id": "one", "capability": "beta"}], 1.5 if late else 30.0)
    await stage.suite.ended(blocking)
    return task


async def agent_unknown(stage: Stage) -> str:
    await stage.open()
    plan, name = stage.plan()
    for step in plan:
        if step["capability"] == name:
            step["capability"] = "nobody"
    return await stage.run(plan)


async def agent_away(stage: Stage) -> str:
    await stage.open()
    plan, name = stage.plan()
    back = stage.random.random() < 0.5
    stage.suite.network.unplug(name)
    if stage.random.random() < 0.5:
        await stage.suite.sees(name, "unreachable", seconds=60)
    task = await stage.suite.begin(plan=plan, timeout_seconds=60.0)
    if back:
        await asyncio.sleep(4)
        stage.suite.network.plug(name)
    return (await stage.suite.ended(task, seconds=120)).task_id


async def agent_busy(stage: Stage) -> str:
    await stage.open(max_concurrency=1)
    plan, name = stage.plan()
    stage.pace[name] = stage.random.choice((3.0, 4.0))
    others = [await stage.suite.begin(plan=[{"id": "other", "capability": name}], timeout_seconds=60.0) for _ in "ab"]
    task = await stage.run(plan, stage.random.choice((4.0, 60.0)))
    for other in others:
        await stage.suite.ended(other, seconds=120)
    return task


async def agent_slow(stage: Stage) -> str:
    await stage.open()
    await stage.warm_up()
    plan, name = stage.plan()
    stage.pace[name] *= 20
    return await stage.run(plan, stage.random.choice((60.0, 10 * stage.pace[name] / 20 + 2.5)))


async def agent_error(stage: Stage) -> str:
    await stage.open()
    plan, name = stage.plan()
    if stage.random.random() < 0.5:
        stage.fail(name, lambda: httpx.Response(500, text="Internal Server Error"))
    else:

        async def broken(step: StepRequest, ctx: Context) -> Reply:
            raise WorkerFault("The disk is on fire.", retryable=stage.random.random() < 0.5)

        stage.doing[name] = broken
    return await stage.run(plan)


async def agent_refused(stage: Stage) -> str:
    await stage.open()
    plan, name = stage.plan()
    status = stage.random.choice((400, 404, 422))
    stage.fail(name, lambda: httpx.Response(status, json={"detail": "no such field"}))
    return await stage.run(plan)


async def bad_response(stage: Stage) -> str:
    await stage.open()
    plan, name = stage.plan()
    bad = stage.random.choice(
        (httpx.Response(200, html="<p>Hello</p>"), httpx.Response(302, headers={"Location": "/x"}),
         httpx.Response(200, json={"hello": 1}))
    )  # fmt: skip
    stage.fail(name, lambda: bad)
    return await stage.run(plan)


async def agent_timeout(stage: Stage) -> str:
    await stage.open()
    plan, name = stage.plan()
    if stage.random.random() < 0.5:
        stage.fail(name, lambda: httpx.Response(504, text="upstream took too long"))
    else:

        async def gives_up(step: StepRequest, ctx: Context) -> Reply:
            await asyncio.sleep(0.2)
            raise WorkerFault("The library did not answer within 0.2 s.", type="timeout")

        stage.doing[name] = gives_up
    return await stage.run(plan)


async def step_timeout(stage: Stage) -> str:
    await stage.open()
    if stage.random.random() < 0.5:
        await stage.warm_up()
    plan, name = stage.plan()
    for step in plan:
        if step["capability"] == name:
            step["timeout_seconds"] = stage.pace[name] * 0.5
    return await stage.run(plan)


async def deadline(stage: Stage) -> str:
    await stage.open()
    for name in NAMES:
        stage.pace[name] = stage.random.uniform(0.5, 1.0)
    await stage.warm_up()
    plan, _ = stage.plan()
    chain = len(plan) == 3 and plan[1]["needs"]
    whole = sum(stage.pace.values()) if chain else min(stage.pace.values())
    return await stage.run(plan, whole * stage.random.uniform(0.4, 0.6))


async def retries(stage: Stage) -> str:
    await stage.open()
    plan, name = stage.plan()
    stage.fail(name, lambda: httpx.Response(500, text="oops"), times=stage.random.choice((1, 2)))
    return await stage.run(plan)


async def breaker(stage: Stage) -> str:
    await stage.open()
    plan, name = stage.plan()
    stage.fail(name, lambda: httpx.Response(500, text="oops"))
    for _ in range(3):
        await stage.run([{"id": "one", "capability": name}])
    return await stage.run(plan, stage.random.choice((2.0, 6.0)))


async def model(stage: Stage) -> str:
    await stage.open()
    plan, name = stage.plan()
    why = stage.random.choice(("The model did not answer within 8.0 s.", "HTTP 401: no such key", "HTTP 500: boom"))
    fails = stage.random.random() < 0.5

    async def thinks(step: StepRequest, ctx: Context) -> Reply:
        if fails:
            raise ModelFailed(why)
        return Reply({"by": name}, missing=[Missing(what="model in the analysis", why=why)])

    stage.doing[name] = thinks
    return await stage.run(plan)


async def budget(stage: Stage) -> str:
    await stage.open()
    plan = [{"id": f"s{n}", "capability": NAMES[n % 3], "needs": [f"s{n - 1}"] if n else []} for n in range(5)]
    return await stage.run(plan, max_calls=stage.random.choice((2, 3, 4)))


async def output(stage: Stage) -> str:
    await stage.open()
    plan = [{"id": f"s{n}", "capability": NAMES[n % 3]} for n in range(4)]

    async def big(step: StepRequest, ctx: Context) -> Reply:
        await asyncio.sleep(stage.random.random())
        return Reply("x" * 6_000_000)

    stage.doing = dict.fromkeys(NAMES, big)
    return await stage.run(plan)


async def delegation_refused(stage: Stage) -> str:
    await stage.open()
    gives_up = stage.random.random() < 0.5

    async def asks_itself(step: StepRequest, ctx: Context) -> Reply:
        """In a circle, which the coordinator refuses."""
        by = next(i for i in stage.suite.services.agents.registry.list_all() if i.name == "alpha")
        body = json.dumps({"agent": "alpha", "task": "Count."}).encode()
        envelope = Envelope(task=step.task_id, step=step.step_id, attempt=step.attempt, milliseconds=5_000)
        header = seal(envelope, key=derive_key(stage.suite.services.secret, by.id), body=body)
        headers = {ASKED_AS: by.id, HEADER: header}
        answer = await stage.suite.client.post("/delegate", content=body, headers=headers)
        if gives_up:
            raise WorkerFault(answer.json()["detail"], type="limit_reached")
        return Reply("Alone, then.")

    stage.doing["alpha"] = asks_itself
    return await stage.run(
        [{"id": "one", "capability": "alpha"}, {"id": "two", "capability": "beta", "needs": ["one"]}]
    )


async def delegation_failed(stage: Stage) -> str:
    await stage.open()

    async def broken(step: StepRequest, ctx: Context) -> Reply:
        raise WorkerFault("No anchor.", type="no_anchor")

    stage.doing["beta"] = broken
    await stage.suite.add(thinker("asker", stage.suite, delegates("beta"), ModelFailed("lost"), access=("beta",)))
    return await stage.run([{"id": "one", "agent": "asker"}])


async def delegation_slow(stage: Stage) -> str:
    await stage.open()
    stage.pace["beta"] = stage.random.choice((5.0, 9.0))
    await stage.suite.add(thinker("asker", stage.suite, delegates("beta"), "Done.", access=("beta",)))
    return await stage.run([{"id": "one", "agent": "asker"}], stage.random.choice((4.0, 60.0)))


async def cancelled(stage: Stage) -> str:
    await stage.open()
    plan, _ = stage.plan()
    stage.pace = dict.fromkeys(NAMES, 2.0)
    task = await stage.suite.begin(plan=plan, timeout_seconds=60.0)
    await asyncio.sleep(stage.random.choice((0.0, 0.5, 1.9)))
    await stage.suite.client.post(f"/tasks/{task}/cancel")
    return (await stage.suite.ended(task)).task_id


async def webhook(stage: Stage) -> str:
    await stage.open()
    task = await stage.run(stage.plan()[0], webhook_url="http://nowhere.example/hook")
    tries = stage.random.choice((1, 3, 8))

    while (seen := (await stage.suite.task(task)).webhook) is None or seen.attempts < tries:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    return task


async def first_of_many(stage: Stage) -> str:
    """One agent refuses, and later others fail in their own ways."""
    await stage.open()
    stage.fail("alpha", lambda: httpx.Response(400, json={"detail": "no such field"}))
    later = stage.random.choice((httpx.Response(500, text="oops"), httpx.Response(200, html="<p>")))

    async def answering(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(1)
        return later

    stage.suite.network.answer("beta", answering)
    plan = [
        {"id": "a", "capability": "alpha", "on_failure": stage.random.choice(("fail", "continue"))},
        {"id": "b", "capability": "beta"},
        {"id": "c", "capability": "gamma", "needs": ["a"]},
    ]
    return await stage.run(plan)


K = Kind
PLANTED: dict[Callable[[Stage], Awaitable[str]], Kind | None] = {
    nothing: None,
    queue: K.QUEUE,
    agent_unknown: K.AGENT_UNKNOWN,
    agent_away: K.AGENT_AWAY,
    agent_busy: K.AGENT_BUSY,
    agent_slow: K.AGENT_SLOW,
    agent_error: K.AGENT_ERROR,
    agent_refused: K.AGENT_REFUSED,
    bad_response: K.BAD_RESPONSE,
    agent_timeout: K.AGENT_TIMEOUT,
    step_timeout: K.STEP_TIMEOUT,
    deadline: K.DEADLINE,
    retries: K.RETRIES,
    breaker: K.BREAKER,
    model: K.MODEL,
    budget: K.BUDGET,
    output: K.OUTPUT,
    delegation_refused: K.DELEGATION_REFUSED,
    delegation_failed: K.DELEGATION_FAILED,
    delegation_slow: K.DELEGATION_SLOW,
    cancelled: K.CANCELLED,
    webhook: K.WEBHOOK,
    first_of_many: K.AGENT_REFUSED,
}


def play(plant: Callable[[Stage], Awaitable[str]], seed: int) -> Explanation:
    """The explanation of one task with this cause, on virtual time."""
    loop = VirtualLoop(virtual_seconds=3_000.0, real_seconds=60.0)

    async def run() -> Explanation:
        limits = {"max_concurrent_tasks": 1} if plant is queue else {}
        async with Suite(Network(), private_webhooks=True, **limits) as suite:
            task_id = await plant(Stage(suite, Random(f"{seed}/{plant.__name__}")))
            task = await suite.services.dispatcher.get_task(task_id)
            return await explain_task(task, suite.services.store, now=suite.services.wall())

    asyncio.set_event_loop(loop)
    try:
        with determined(seed, loop):
            explained = loop.run_until_complete(run())
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            return explained
    finally:
        asyncio.set_event_loop(None)
        loop.close()
