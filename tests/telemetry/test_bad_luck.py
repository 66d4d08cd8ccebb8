"""A receiver that is away or comes late, and a coordinator that is killed: the work goes on, and so does its trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from load.processes.ports import free_port
from tests.support.fake_model import Hangs, fake_model
from tests.support.fakes import eventually
from tests.support.processes import Coordinator, Service
from tests.telemetry.collector import collecting

SPANS_ONLY = {"OTEL_METRICS_EXPORTER": "none"}

pytestmark = pytest.mark.timeout(240)


def settings(port: int) -> dict[str, str]:
    """Sends telemetry to a port of this machine, in small pieces."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "LOG_FORMAT": "json",
    }


@asynccontextmanager
async def suite(folder: Path, env: dict[str, str]) -> AsyncIterator[tuple[Coordinator, Service, httpx.AsyncClient]]:
    """A coordinator and an agent that answers `Done.`."""
    with Coordinator(folder / "c", **env) as coordinator:
        coordinator.start().ready()
        own = {"COORDINATOR_URL": coordinator.url, "AGENT_NAME": "helper", "DEBUG_MOCK_RESPONSES": '["Done."]'}
        with Service("workers.agent", folder / "helper", env=env | own) as helper:
            helper.start()
            async with httpx.AsyncClient(base_url=coordinator.url, timeout=60) as client:
                await eventually(lambda: count_healthy(client), seconds=60)
                yield coordinator, helper, client


async def count_healthy(client: httpx.AsyncClient) -> int:
    return len((await client.get("/agents", params={"status": "healthy"})).json()["agents"])


async def run_task(client: httpx.AsyncClient) -> str:
    """The id of a task that was completed."""
    body = {"task_description": "Do it.", "plan": [{"id": "do", "agent": "helper"}]}
    task = (await client.post("/execute_task", json=body)).json()
    assert task["status"] == "completed", task
    return str(task["task_id"])


async def test_a_receiver_that_is_away_costs_nothing_else(tmp_path: Path) -> None:
    """Tasks end, the log has a line a minute, and a stop is not held up."""
    async with suite(tmp_path, settings(free_port())) as (coordinator, helper, client):

        def told(one: Service) -> list[str]:
            return [line for line in one.process.output.splitlines() if '"telemetry.failed"' in line]

        await run_task(client)
        await eventually(lambda: told(coordinator) and told(helper), seconds=60)
        for _ in range(10):
            await run_task(client)

        for one in (helper, coordinator):
            one.terminate()
            assert await asyncio.to_thread(one.process.wait) is not None
            assert len(told(one)) == 1
            assert "Traceback" not in one.process.output


async def test_spans_arrive_once_the_receiver_is_there(tmp_path: Path) -> None:
    port = free_port()
    async with suite(tmp_path, settings(port) | SPANS_ONLY) as (_, _, client):
        await run_task(client)
        with collecting(tmp_path / "collector", port=port) as collector:
            late = await run_task(client)
            await eventually(lambda: len(collector.spans(late)) == 5, seconds=60)


async def test_a_trace_goes_on_after_a_kill(tmp_path: Path) -> None:
    """What ended before and what came after are steps below one span."""
    plan = [{"id": "one", "agent": "helper"}, {"id": "two", "agent": "slow", "needs": ["one"]}]
    with collecting(tmp_path / "collector") as collector:
        env = settings(int(collector.url.rpartition(":")[2])) | SPANS_ONLY
        killed: list[bool] = []
        says = lambda _: "Done." if killed else Hangs()  # noqa: E731
        async with suite(tmp_path, env) as (coordinator, _, client), fake_model(says) as model:
            more = {"COORDINATOR_URL": coordinator.url, "MODEL_API_URL": model.url, "MODEL_NAME": "m"}
            more["TOOL_CALL_MODE"] = "native"
            with Service("workers.agent", tmp_path / "slow", env=env | more | {"AGENT_NAME": "slow"}) as slow:
                slow.start()

                async def both() -> bool:
                    return await count_healthy(client) == 2

                await eventually(both, seconds=60)
                body = {"task_description": "Do it.", "plan": plan, "timeout_seconds": 120}
                answer = await client.post("/execute_task", json=body, headers={"Prefer": "respond-async"})
                task = answer.json()["task_id"]

                def sent(name: str) -> bool:
                    return f": {name}\n" in collector.text

                await eventually(lambda: sent("step one") and model.asked, seconds=60)
                coordinator.kill()
                killed.append(True)
                coordinator.start().ready()
                await eventually(lambda: sent("invoke_workflow coordinator"), seconds=100)

            spans = {span.name: span for span in collector.spans(task)}
            root = spans["invoke_workflow coordinator"]
            assert root.attributes["muster.task.status"] == "completed"
            assert spans["step one"].parent == spans["step two"].parent == root.id
            assert spans["invoke_agent slow"].parent == spans["step two"].id
