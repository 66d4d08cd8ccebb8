"""A worker's side of a step: who may ask, replay, join, limits, progress, and stopping when nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from httpx_sse import aconnect_sse

from shared.agent import Agent, Context, Reply
from shared.contracts import StepRequest, StepResult
from shared.errors import WorkerFault
from shared.limits.envelope import HEADER, Envelope, derive_key, seal
from shared.worker import steps
from shared.worker.app import create_worker_app
from tests.support.fakes import Held, Network, Suite, agent, eventually, host_worker, serving, worker_settings

STEP = StepRequest(task_id="t", step_id="s", attempt=1, capability="work", input=1)


class Alone:
    """A worker that has no coordinator, asked directly."""

    def __init__(self, app: FastAPI) -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://worker")

    async def run(self, step: StepRequest = STEP, **changes: Any) -> StepResult:
        answer = await self.client.post("/execute", content=step.model_copy(update=changes).model_dump_json())
        assert answer.status_code == 200, answer.text
        return StepResult.model_validate_json(answer.content)

    async def health(self) -> dict[str, Any]:
        return (await self.client.get("/health")).json()


@contextlib.asynccontextmanager
async def alone(one: Agent, **settings: Any) -> AsyncIterator[Alone]:
    app = create_worker_app(one, settings=worker_settings(**settings), inner=Network())
    async with app.router.lifespan_context(app):
        worker = Alone(app)
        async with worker.client:
            yield worker


def counting(output: Any = None) -> tuple[list[StepRequest], Agent]:
    """A worker that remembers what it really did."""
    done: list[StepRequest] = []

    async def run(step: StepRequest, ctx: Context) -> Reply:
        done.append(step)
        return Reply(output if output is not None else len(done))

    return done, agent("counter", "work", run)


# --- once -----------------------------------------------------------------------------------------------


async def test_step_runs_once_however_often_asked() -> None:
    """A step is done once however often it is asked for."""
    done, one = counting()
    async with alone(one) as worker:
        results = [await worker.run(attempt=attempt) for attempt in (1, 1, 2)]

        assert [(r.output, r.attempt) for r in results] == [(1, 1), (1, 1), (1, 2)]
        assert len(done) == 1
        assert (await worker.health())["replayed_steps"] == 2
        assert (await worker.run(step_id="other")).output == 2


async def test_a_second_call_for_a_running_step_joins_it() -> None:
    held = Held()
    async with alone(agent("slow", "work", held)) as worker:
        first = asyncio.create_task(worker.run())
        await eventually(lambda: held.began)
        second = asyncio.create_task(worker.run(attempt=2))
        await asyncio.sleep(0.02)
        held.let_go.set()

        assert [(r.output, r.attempt) for r in await asyncio.gather(first, second)] == [("done", 1), ("done", 2)]
        assert len(held.began) == 1


async def test_step_continues_for_its_last_caller() -> None:
    """A step goes on while one of two callers is left."""
    held = Held()
    async with alone(agent("slow", "work", held)) as worker:
        leaves, stays = asyncio.create_task(worker.run()), asyncio.create_task(worker.run(attempt=2))
        await eventually(lambda: held.began)
        await asyncio.sleep(0.02)

        leaves.cancel()
        await asyncio.wait([leaves])
        held.let_go.set()

        assert (await stays).output == "done"


@pytest.mark.parametrize("late", [True, False], ids=["answers all the same", "ends"])
async def test_repeat_waits_for_the_interrupted_step(late: bool) -> None:
    """Its coordinator was killed and asks again while the agent still cleans up: it never runs twice at once."""
    cleaned, log = asyncio.Event(), list[str]()

    async def run(step: StepRequest, ctx: Context) -> Reply:
        log.append("began")
        try:
            await asyncio.sleep(0 if len(log) > 1 else 3_600)
        except asyncio.CancelledError:
            log.append("cleans up")
            await cleaned.wait()
            log.append("ended")
            if not late:
                raise
        return Reply("done")

    async with alone(agent("slow", "work", run)) as worker:
        cut_off = asyncio.create_task(worker.run())
        await eventually(lambda: log)
        cut_off.cancel()
        await eventually(lambda: "cleans up" in log)

        again = asyncio.create_task(worker.run(attempt=2))
        await asyncio.sleep(0.02)
        cleaned.set()

        assert ((await again).status, (await again).output) == ("completed", "done")
    assert log == ["began", "cleans up", "ended", *([] if late else ["began"])]


async def test_a_failed_step_is_tried_anew() -> None:
    tries = 0

    async def second_time_lucky(step: StepRequest, ctx: Context) -> Reply:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise WorkerFault("Not yet.", type="too_early", retryable=True)
        return Reply("there")

    async with alone(agent("moody", "work", second_time_lucky)) as worker:
        first, second = await worker.run(), await worker.run(attempt=2)

    assert (first.error.type, first.error.detail, first.error.retryable) == ("too_early", "Not yet.", True)
    assert second.output == "there"


@pytest.mark.parametrize("limit", [{"KEPT_RESULTS": 3}, {"KEPT_BYTES": 3_000}])
async def test_only_the_latest_results_are_kept(limit: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in limit.items():
        monkeypatch.setattr(steps, name, value)
    done, one = counting("x" * 800)
    async with alone(one) as worker:
        for i in range(4):
            await worker.run(step_id=f"s{i}")
        await worker.run(step_id="s3")
        assert len(done) == 4
        await worker.run(step_id="s0")

    assert len(done) == 5


# --- limits ---------------------------------------------------------------------------------------------


async def test_full_worker_is_429_with_retry_after() -> None:
    """A full worker says 429 and when to come back."""
    held = Held()
    async with alone(agent("narrow", "work", held, max_concurrency=2)) as worker:
        running = [asyncio.create_task(worker.run(step_id=f"s{i}")) for i in range(2)]
        await eventually(lambda: len(held.began) == 2)

        refused = await worker.client.post("/execute", content=STEP.model_dump_json())

        assert (refused.status_code, refused.json()["type"]) == (429, "urn:muster:problem:agent_busy")
        assert refused.headers["retry-after"] == "1"
        held.let_go.set()
        assert {r.status for r in await asyncio.gather(*running)} == {"completed"}
        assert (await worker.run()).status == "completed"


async def test_the_operator_decides_how_many_steps_run_at_once() -> None:
    async with alone(agent("wide", "work", max_concurrency=64), max_concurrency=3) as worker:
        assert (await worker.health())["max_concurrency"] == 3


async def test_a_step_ends_when_its_time_is_over() -> None:
    held = Held()
    async with Suite(Network(), agent("slow", "work", held)) as suite:
        left: list[float] = []

        async def measures(step: StepRequest, ctx: Context) -> Reply:
            left.append(ctx.seconds_left())
            return await held(step, ctx)

        await suite.add(agent("measures", "measure", measures))
        await suite.execute(plan=[{"id": "s", "capability": "measure"}], timeout_seconds=0.5)

    assert 0 < left[0] <= 0.5
    assert len(held.cancelled) == 1


# --- what a run may do wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "type", "detail"),
    [
        (ValueError("no such tide"), "agent_error", "ValueError: no such tide"),
        (KeyError("x"), "agent_error", "KeyError: 'x'"),
        (TimeoutError("its own"), "agent_error", "TimeoutError: its own"),
        (httpx.ConnectError("refused"), "agent_error", "ConnectError: refused"),
        (WorkerFault("Bad question.", type="bad_input"), "bad_input", "Bad question."),
        (RecursionError("deep"), "agent_error", "RecursionError: deep"),
        (ValueError("lone \ud800 surrogate"), "agent_error", "ValueError: lone"),
    ],
)
async def test_whatever_a_run_raises_fails_its_step_by_name(raised: Exception, type: str, detail: str) -> None:
    async def fails(step: StepRequest, ctx: Context) -> Reply:
        raise raised

    async with alone(agent("fails", "work", fails)) as worker:
        result = await worker.run()

        assert (result.status, result.error.type) == ("failed", type)
        assert result.error.detail.startswith(detail)
        assert (await worker.health())["running_steps"] == 0


@pytest.mark.parametrize("output", [object(), {1, 2}, {"a": b"\xff"}, "\ud800", {"f": float("nan")}, {("a",): 1}])
async def test_a_reply_that_is_no_json_fails_its_step(output: Any) -> None:
    _, one = counting(output)
    async with alone(one) as worker:
        result = await worker.run()

    assert (result.status, result.error.type) == ("failed", "bad_output")


async def test_a_run_that_returns_no_reply_fails_its_step() -> None:
    async def forgets(step: StepRequest, ctx: Context) -> Reply:
        return "an answer"  # type: ignore[return-value]

    async with alone(agent("forgets", "work", forgets)) as worker:
        assert (await worker.run()).status == "failed"


# --- stopping ---------------------------------------------------------------------------------------------


async def test_a_step_whose_caller_has_gone_stops() -> None:
    held = Held()
    app = create_worker_app(agent("slow", "work", held), settings=worker_settings(), inner=Network())
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        call = asyncio.create_task(client.post("/execute", content=STEP.model_dump_json()))
        await eventually(lambda: held.began)

        call.cancel()

        await eventually(lambda: held.cancelled, seconds=2)
    await asyncio.wait([call])


async def test_delete_stops_this_attempt_or_earlier_ones() -> None:
    """Delete stops a step and only of this attempt or an earlier one."""
    held = Held()
    async with alone(agent("slow", "work", held)) as worker:
        running = asyncio.create_task(worker.run(attempt=2))
        await eventually(lambda: held.began)

        old = await worker.client.delete("/execute/t/s", params={"attempt": 1})
        unknown = await worker.client.delete("/execute/t/other", params={"attempt": 1})
        right = await worker.client.delete("/execute/t/s", params={"attempt": 2})

        assert [a.json()["cancelled"] for a in (old, unknown, right)] == [False, False, True]
        assert (await running).status == "cancelled"
        assert len(held.cancelled) == 1


async def test_step_canceled_in_advance_does_not_start() -> None:
    """A step that was cancelled before it came does not start."""
    done, one = counting()
    async with alone(one) as worker:
        await worker.client.delete("/execute/t/s", params={"attempt": 1})

        assert (await worker.run(attempt=1)).status == "cancelled"
        assert done == []
        assert (await worker.run(attempt=2)).status == "completed"


async def test_a_worker_that_stops_ends_its_steps_and_withdraws(coordinator: Suite) -> None:
    held = Held()
    network = coordinator.network
    app = host_worker(network, agent("brief", "work", held))
    async with app.router.lifespan_context(app):
        await coordinator.sees("brief", "healthy")

    assert await coordinator.agents() == {}


async def test_stopping_worker_takes_nothing_new(coordinator: Suite) -> None:
    """A worker that is told to stop takes nothing new."""
    network = coordinator.network
    done, one = counting()
    app = host_worker(network, one)
    async with app.router.lifespan_context(app):
        await coordinator.sees("counter", "healthy")

        app.stopping.begin()

        await coordinator.sees("counter", "draining")
        task = await coordinator.execute(agents=["counter"], timeout_seconds=1)
        assert (task.status, done) == ("failed", [])


# --- progress ---------------------------------------------------------------------------------------------


async def test_slow_step_streams_progress_then_its_result() -> None:
    """A slow step streams its progress and then its result."""

    async def tells(step: StepRequest, ctx: Context) -> Reply:
        await ctx.progress("Reading", 0.25)
        await asyncio.sleep(0.35)
        await ctx.progress("Writing", 7)
        await asyncio.sleep(0.15)
        return Reply("done")

    app = create_worker_app(agent("tells", "work", tells), settings=worker_settings(), inner=Network())
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        more = {"content": STEP.model_dump_json(), "headers": {"Accept": "text/event-stream"}}
        async with aconnect_sse(client, "POST", "/execute", **more) as source:
            told = [(e.event, json.loads(e.data)) async for e in source.aiter_sse()]

    progress = [(d["message"], d["fraction"]) for name, d in told if name == "progress"]
    assert progress == [("Reading", 0.25), ("Writing", 1.0)]
    assert (told[-1][0], told[-1][1]["output"]) == ("result", "done")


async def test_progress_reaches_whoever_watches_the_task(coordinator: Suite) -> None:
    async def tells(step: StepRequest, ctx: Context) -> Reply:
        await ctx.progress("Half way", 0.5)
        await asyncio.sleep(0.4)
        return Reply(None)

    await coordinator.add(agent("tells", "work", tells))

    task = await coordinator.execute(plan=[{"id": "s", "capability": "work"}])

    events = (await coordinator.client.get(f"/tasks/{task.task_id}/events")).text
    (line,) = [line for line in events.splitlines() if '"step.progress"' in line]
    data = json.loads(line.removeprefix("data: "))
    assert (data["step_id"], data["message"], data["fraction"]) == ("s", "Half way", 0.5)


# --- who may ask ------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def registered(suite: Suite) -> AsyncIterator[tuple[httpx.AsyncClient, bytes]]:
    """A worker of the suite, spoken to behind the coordinator's back, and its key."""
    await suite.add(agent("echo", "echo"))
    key = derive_key(suite.services.secret, (await suite.agents())["echo"].agent_id)
    async with httpx.AsyncClient(transport=suite.network, base_url="http://echo") as client:
        yield client, key


async def test_worker_accepts_only_steps_signed_for_it(coordinator: Suite) -> None:
    """A worker with a coordinator takes only what was signed for it and this body."""
    body = STEP.model_dump_json().encode()
    envelope = Envelope(task="t", step="s", attempt=1, milliseconds=1_000)
    async with registered(coordinator) as (client, key):
        good = seal(envelope, key=key, body=body)
        payload, _, signature = good.partition(".")
        other = Envelope(task="t", step="other", attempt=1, milliseconds=1_000)
        bad = {
            "none": None,
            "empty": "",
            "garbage": "\xff.\xff",
            "no signature": payload,
            "another key": seal(envelope, key=b"x" * 32, body=body),
            "another body": seal(envelope, key=key, body=body + b" "),
            "another step": seal(other, key=key, body=body),
            "a changed payload": f"{payload[:-2]}AA.{signature}",
            "a cut signature": good[:-4],
        }
        for name, header in bad.items():
            headers = {HEADER: header.encode("latin-1")} if header is not None else {}
            answer = await client.post("/execute", content=body, headers=headers)
            assert (answer.status_code, answer.json()["type"]) == (401, "urn:muster:problem:envelope_refused"), name
            cancel = await client.delete("/execute/t/s", params={"attempt": 1}, headers=headers)
            assert cancel.status_code == 401, name

        assert (await client.post("/execute", content=body, headers={HEADER: good})).status_code == 200


async def test_unregistered_worker_asks_for_a_retry(network: Network) -> None:
    """A probe may find it before it has its key: a refusal that is final would cost the step."""
    app = host_worker(network, agent("early", "work"))
    body = STEP.model_dump_json().encode()
    sealed_for_it = seal(Envelope(task="t", step="s", attempt=1, milliseconds=1_000), key=b"k" * 32, body=body)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=network, base_url="http://early") as client,
    ):
        answer = await client.post("/execute", content=body, headers={HEADER: sealed_for_it})

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_the_key_of_one_agent_opens_no_other(coordinator: Suite) -> None:
    one = await coordinator.register("one", "http://one")
    two = await coordinator.register("two", "http://two")
    again = await coordinator.register("one", "http://one")

    assert one["key"] != two["key"]
    assert one["key"] == again["key"]


async def test_worker_registers_again_after_a_reset(network: Network) -> None:
    """A worker registers again with a coordinator that forgot everything."""
    async with Suite(network) as first:
        app = host_worker(network, agent("loyal", "work"))
        async with app.router.lifespan_context(app):
            await first.sees("loyal", "healthy")
            async with Suite(network) as second:
                await second.sees("loyal", "healthy", seconds=5)
                task = await second.execute(agents=["loyal"])

    assert task.status == "completed"


async def test_worker_asks_for_the_key_of_another_journal(network: Network, tmp_path: Path) -> None:
    """The one of a backup that was restored knows the worker, and signs with a key the worker has not heard of."""
    app = host_worker(network, agent("loyal", "work"))
    journal = f"sqlite:///{tmp_path}/muster.db"
    async with contextlib.AsyncExitStack() as stack:
        async with Suite(network, database_url=journal) as first:
            await stack.enter_async_context(app.router.lifespan_context(app))
            await first.sees("loyal", "healthy")
            assert (await first.execute(agents=["loyal"])).status == "completed"
        async with Suite(network) as second:
            await second.sees("loyal", "healthy", seconds=5)
        async with Suite(network, database_url=journal) as restored:
            tasks = await asyncio.gather(*(restored.execute(agents=["loyal"]) for _ in range(5)))

    assert {task.status for task in tasks} == {"completed"}
