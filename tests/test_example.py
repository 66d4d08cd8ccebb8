"""Two examples to copy: a task tested end to end with mocked agents, and a worker of one's own as a real process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import respx

from coordinator.app import create_app
from shared.settings import CoordinatorSettings
from tests.fakes import ROOT, eventually, free_port, process

# --- a task, end to end, without any agent running ------------------------------------------------------
#
# Three agents are mocked by their URLs: each gives a sign of life at /health and answers its step at /execute.
# The coordinator is the real one, with its journal in memory, and is asked over HTTP like by any client.


def answers(output: object) -> respx.types.SideEffectTypes:
    """An agent's /execute: a StepResult that names the step and the attempt it was asked for."""

    def answer(request: httpx.Request) -> httpx.Response:
        step = httpx.Response(200, content=request.content).json()
        named = {name: step[name] for name in ("task_id", "step_id", "attempt")}
        return httpx.Response(200, json=named | {"status": "completed", "output": output})

    return answer


async def test_a_question_through_three_mocked_agents() -> None:
    evidence = {"id": "moon", "title": "Tides", "location": "https://example.org/tides", "score": 0.9}
    evidence |= {"text": "Tides are caused by the moon.", "excerpt": "Tides are caused by the moon."}
    finding = {"id": "f1", "statement": "The moon causes tides.", "topic": "Tides", "evidence": ["moon"]}
    outputs = {
        "research": {"question": "?", "provider": "mock", "searched": "one page", "evidence": [evidence]},
        "analyze": {"question": "?", "findings": [finding | {"support": "strong"}], "sources": [evidence]},
        "report": {"report": "# Tides\n\nThe moon causes them. [1]"},
    }
    app = create_app(CoordinatorSettings(_env_file=None, database_url="memory:"))

    with respx.mock(using="httpx") as web:
        web.route(host="coordinator").pass_through()
        routes = {}
        for capability, output in outputs.items():
            web.get(f"http://{capability}.test/health").respond(json={"status": "healthy"})
            routes[capability] = web.post(f"http://{capability}.test/execute").mock(side_effect=answers(output))

        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://coordinator") as client,
        ):
            for capability in outputs:
                agent = {"name": capability, "endpoint": f"http://{capability}.test", "capabilities": [capability]}
                assert (await client.post("/register_agent", json=agent)).status_code == 201
            answer = await client.post("/execute_task", json={"task_description": "Why are there tides?"})

    task = answer.json()
    assert (answer.status_code, task["status"]) == (200, "completed")
    assert task["result"]["report"] == "# Tides\n\nThe moon causes them. [1]"
    assert [source["location"] for source in task["result"]["sources"]] == ["https://example.org/tides"]
    assert {capability: route.call_count for capability, route in routes.items()} == dict.fromkeys(outputs, 1)
    assert b'"The moon causes tides."' in routes["report"].calls.last.request.content  # it got the findings


# --- a worker of one's own ------------------------------------------------------------------------------


async def test_the_fourth_worker_joins_by_itself_and_works_with_the_built_in_ones(tmp_path: Path) -> None:
    coordinator, researcher, counter = free_port(), free_port(), free_port()
    url = f"http://127.0.0.1:{coordinator}"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tides.md").write_text("# Tides\n\nTides are caused by the gravity of the moon and the sun.\n")
    plan = [
        {"id": "look", "capability": "research", "input": {"question": "What causes tides?"}},
        {"id": "count", "capability": "count", "needs": ["look"]},
    ]
    example = str(ROOT / "tests" / "examples" / "fourth_worker.py")
    with (
        process("coordinator", tmp_path / "a", "--port", str(coordinator)),
        process(
            "workers.researcher",
            tmp_path / "b",
            *("--port", str(researcher)),
            COORDINATOR_URL=url,
            KNOWLEDGE_DIR=str(tmp_path / "docs"),
        ),
        process(example, tmp_path / "c", "--port", str(counter), COORDINATOR_URL=url) as fourth,
    ):
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:

            async def both_are_there() -> bool:
                try:
                    found = (await client.get("/agents", params={"status": "healthy"})).json()["agents"]
                except httpx.TransportError:
                    return False
                return {a["name"] for a in found} == {"counter", "researcher"}

            await eventually(both_are_there, seconds=40, why=fourth.output)
            task = (await client.post("/execute_task", json={"task_description": "Count", "plan": plan})).json()
            nothing = await client.post(
                "/execute_task", json={"task_description": "Count", "plan": [plan[1] | {"needs": []}]}
            )

            await asyncio.to_thread(fourth.stop)
            left = (await client.get("/agents")).json()["agents"]

    assert task["status"] == "completed", task
    assert task["results"][1]["agent"] == "counter"
    assert task["result"]["report"]["words"] > 10
    assert nothing.json()["task"]["results"][0]["error"]["type"] == "bad_input"
    assert [a["name"] for a in left] == ["researcher"]
