"""A step that takes far longer than usual is given to a second instance, where its agent says that this is safe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from coordinator.agents import pace
from coordinator.execution.hedging import SHARE
from shared.agent import Context, Reply
from shared.contracts import StepRequest, TaskView, Usage
from shared.errors import WorkerFault
from tests.support.fakes import Network, Request, Suite, agent, bad_peer, eventually, http_answer

PLAN = [{"id": "a", "capability": "work"}]


@dataclass
class Work:
    """What an instance does: a quick answer, but as `acts` say for steps whose input names them."""

    host: str
    began: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, step: StepRequest, ctx: Context) -> Reply:
        given = step.input if isinstance(step.input, dict) else {}
        self.began.append(step.task_id)
        if given.get("slow") and not self.others_began(step):
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.cancelled.append(step.task_id)
                raise
            if given.get("fails"):
                raise WorkerFault("The first call fails.", retryable=True)
        elif given.get("slow") and given.get("second_fails"):
            raise WorkerFault("The second call fails.")
        return Reply({"by": self.host}, usage=Usage(input_tokens=10))

    def others_began(self, step: StepRequest) -> bool:
        return any(step.task_id in other.began for other in ALL if other is not self)


ALL: list[Work] = []


@dataclass
class Pair:
    """A suite with two instances of one agent, and what they did."""

    suite: Suite
    works: list[Work]

    async def learn(self, times: int = 100) -> None:
        """Enough calls for a limit, and for second calls."""
        for _ in range(times):
            await self.suite.execute(plan=PLAN)

    async def slow(self, **given: Any) -> tuple[str, Work]:
        """A task whose first call hangs; its id, and who hangs."""
        for instance in self.suite.services.agents.registry.list_all():
            instance.slow_seconds = 0.0  # the machine that tests run on may have stood
        plan = [PLAN[0] | {"input": {"slow": True} | given.pop("input", {})}]
        task_id = await self.suite.begin(plan=plan, timeout_seconds=60, **given)
        await eventually(lambda: any(task_id in work.began for work in self.works))
        return task_id, next(work for work in self.works if task_id in work.began)

    async def events(self, task_id: str, type: str) -> list[dict[str, Any]]:
        found = await self.suite.services.store.events(task_id)
        return [dict(event.fields) for event in found if event.type == type]

    async def ended(self, task_id: str) -> TaskView:
        return await self.suite.ended(task_id)

    async def is_late(self, work: Work) -> None:
        """Waits until the coordinator has noticed that the call at this instance takes far too long."""
        registry = self.suite.services.agents.registry
        await eventually(
            lambda: any(i.slow_seconds for i in registry.list_all() if work.host in i.registration.endpoint)
        )


def make_pair(suite: Suite) -> Pair:
    works = [Work("one"), Work("two")]
    ALL[:] = works
    return Pair(suite, works)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of less than a second is not late, so that a machine under load makes none late."""
    monkeypatch.setattr(pace, "LEAST_SECONDS", 1.0)


@pytest.fixture
async def pair(network: Network) -> AsyncIterator[Pair]:
    async with Suite(network) as suite:
        pair = make_pair(suite)
        for work in pair.works:
            await suite.add(agent("worker", "work", work, idempotent=True), host=work.host)
        await pair.learn()
        yield pair


async def test_first_answer_counts(pair: Pair) -> None:
    """The other call is cut off; the task shows who answered, and that it had two calls."""
    task_id, hangs = await pair.slow()
    task = await pair.ended(task_id)

    [other] = [work for work in pair.works if work is not hangs]
    [step] = task.results
    assert (task.status, step.output, step.attempt) == ("completed", {"by": other.host}, 1)
    assert (task.usage.calls, step.usage.calls) == (2, 2)
    assert await eventually(lambda: hangs.cancelled == [task_id])
    [told] = await pair.events(task_id, "step.hedged")
    assert told["step_id"] == "a"
    assert told["instance"] == (await pair.suite.agents())[other.host].agent_id
    assert told["after_seconds"] >= 1.0
    assert len(await pair.events(task_id, "step.finished")) == 1
    metrics = (await pair.suite.client.get("/metrics")).text
    assert 'muster_hedges_total{agent="worker",outcome="won"} 1.0' in metrics


async def test_second_call_that_fails_costs_nothing(pair: Pair) -> None:
    """The first one's answer counts, when it comes."""
    task_id, hangs = await pair.slow(input={"second_fails": True})
    [other] = [work for work in pair.works if work is not hangs]
    await eventually(lambda: task_id in other.began)
    hangs.let_go.set()
    task = await pair.ended(task_id)

    assert (task.status, task.results[0].output) == ("completed", {"by": hangs.host})
    assert task.usage.calls == 2


async def test_first_call_that_fails_leaves_it_to_the_second(pair: Pair) -> None:
    [one, two] = pair.works
    task_id, hangs = await pair.slow(input={"fails": True})
    hangs.let_go.set()
    task = await pair.ended(task_id)

    assert task.status == "completed"
    assert task.results[0].output in ({"by": one.host}, {"by": two.host})


async def test_next_steps_go_elsewhere(pair: Pair) -> None:
    """Before the slow call has ended."""
    task_id, hangs = await pair.slow(input={"second_fails": True})
    await pair.is_late(hangs)
    before = len(hangs.began)
    await pair.learn(10)

    assert len(hangs.began) == before
    hangs.let_go.set()
    assert (await pair.ended(task_id)).status == "completed"


@pytest.mark.parametrize("limit", [{"max_calls": 50}, {"max_tokens": 100_000}])
async def test_limited_task_has_one_call(pair: Pair, limit: dict[str, int]) -> None:
    """What a call that is cut off has spent is not known."""
    task_id, hangs = await pair.slow(**limit)
    hangs.let_go.set()
    task = await pair.ended(task_id)

    assert task.status == "completed"
    assert await pair.events(task_id, "step.hedged") == []


async def test_answer_that_somebody_reads_has_one_call(network: Network) -> None:
    """A second one would go on with other words."""
    began, let_go = asyncio.Event(), asyncio.Event()

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.step().input is None:
            writer.write(http_answer(request.result()))
            return
        report = b'event: progress\ndata: {"message": "Writing", "report": {"summary": "It begins."}}\n\n'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + report)
        await writer.drain()
        began.set()
        await let_go.wait()
        writer.write(b"event: result\ndata: " + request.result() + b"\n\n")

    async with Suite(network) as suite, bad_peer(behave) as one, bad_peer(behave) as two:
        for peer in (one, two):
            await suite.register("worker", peer.url, "work", idempotent=True)
            await suite.sees(peer.host, "healthy")
        for _ in range(40):
            await suite.execute(plan=PLAN)
        task_id = await suite.begin(plan=[PLAN[0] | {"input": "read"}], timeout_seconds=60)
        await began.wait()
        registry = suite.services.agents.registry
        await eventually(lambda: any(i.slow_seconds for i in registry.list_all()))
        let_go.set()
        task = await suite.ended(task_id)
        told = [event.type for event in await suite.services.store.events(task_id)]

    assert task.status == "completed"
    assert "step.progress" in told
    assert "step.hedged" not in told


async def test_never_more_than_a_twentieth(pair: Pair) -> None:
    """Of 100 calls, five; then slow steps wait for their first call."""
    ids = []
    for _ in range(12):
        task_id, hangs = await pair.slow()
        ids.append(task_id)
        if not await pair.events(task_id, "step.hedged"):
            await pair.is_late(hangs)
            hangs.let_go.set()
        await pair.ended(task_id)
        for work in pair.works:
            work.let_go.clear()

    hedged = [id for id in ids if await pair.events(id, "step.hedged")]
    assert 1 <= len(hedged) <= SHARE * (100 + len(ids))


async def test_agent_that_does_not_say_so_has_one_call(network: Network) -> None:
    async with Suite(network) as suite:
        pair = make_pair(suite)
        for work in pair.works:
            await suite.add(agent("worker", "work", work), host=work.host)
        await pair.learn()
        task_id, hangs = await pair.slow()
        await asyncio.sleep(2 * (suite.services.agents.registry.paces.find_limit("worker") or 0))
        hangs.let_go.set()
        await pair.ended(task_id)

        assert await pair.events(task_id, "step.hedged") == []


async def test_without_a_second_instance_nothing_changes(network: Network) -> None:
    async with Suite(network) as suite:
        pair = make_pair(suite)
        await suite.add(agent("worker", "work", pair.works[0], idempotent=True), host="one")
        await pair.learn()
        task_id, hangs = await pair.slow()
        await pair.is_late(hangs)
        hangs.let_go.set()

        assert (await pair.ended(task_id)).usage.calls == 1


async def test_cancelled_task_ends_both_calls(pair: Pair) -> None:
    task_id, hangs = await pair.slow()
    for work in pair.works:
        work.others_began = lambda step: False  # type: ignore[method-assign]  # both hang
    await eventually(lambda: all(task_id in work.began for work in pair.works))
    await pair.suite.client.post(f"/tasks/{task_id}/cancel")
    task = await pair.ended(task_id)

    assert task.status == "cancelled"
    assert hangs
    assert await eventually(lambda: all(task_id in work.cancelled for work in pair.works))
