"""The OpenAPI documents as programs read them: nothing dangles, nothing is left out, and a generator's models fit."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordinator.app import create_app
from shared.worker.app import create_worker_app
from tests.support.fakes import Suite, agent, coordinator_settings, worker_settings


def documents() -> dict[str, dict[str, Any]]:
    worker = create_worker_app(agent("one", "one"), settings=worker_settings())
    return {"coordinator": create_app(coordinator_settings()).openapi(), "worker": worker.openapi()}


DOCUMENTS = documents()
NAMES = pytest.mark.parametrize("name", DOCUMENTS)


def parts(of: Any) -> Iterator[dict[str, Any]]:
    """Every object within."""
    for each in of.values() if isinstance(of, dict) else of if isinstance(of, list) else ():
        yield from parts(each)
    if isinstance(of, dict):
        yield of


@NAMES
def test_no_reference_dangles(name: str) -> None:
    document = DOCUMENTS[name]
    named = {part["$ref"] for part in parts(document) if isinstance(part.get("$ref"), str)}

    there = {f"#/components/schemas/{schema}" for schema in document["components"]["schemas"]}
    assert named - there == set()
    assert len(named) > 10


@NAMES
def test_every_answer_is_described(name: str) -> None:
    """Each content of each answer has a schema that says something."""
    nothing = [
        (method, path, status)
        for path, operations in DOCUMENTS[name]["paths"].items()
        for method, operation in operations.items()
        for status, answer in operation["responses"].items()
        if not answer.get("content") or {} in [content.get("schema", {}) for content in answer["content"].values()]
    ]

    assert nothing == []


@NAMES
def test_errors_are_described_as_they_come(name: str) -> None:
    """As problems, below /v1/ in OpenAI's form; FastAPI's own form of a 422 is in none."""
    answers = {path: [o["responses"] for o in ops.values()] for path, ops in DOCUMENTS[name]["paths"].items()}

    for path, some in answers.items():
        form = "application/json" if path.startswith("/v1/") else "application/problem+json"
        assert {tuple(answer["default"]["content"]) for answer in some} == {(form,)}, path
        assert [answer for answer in some if "422" in answer] == []


def examples(name: str) -> dict[tuple[str, str], Any]:
    """The example of each body that is JSON, by method and path; None where there is none."""
    return {
        (method, path): operation["requestBody"]["content"]["application/json"].get("example")
        for path, operations in DOCUMENTS[name]["paths"].items()
        for method, operation in operations.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }


async def test_every_example_can_be_sent_as_it_is(suite: Suite) -> None:
    """`Try it out` in /docs: only a delegation has none, which an agent at work signs."""
    task = await suite.execute()
    registered = await suite.register("another", "http://another", "nothing")
    ids = {"task_id": task.task_id, "agent_id": registered["agent_id"]}
    worker = create_worker_app(agent("one", "one"), settings=worker_settings())
    suite.network.host("worker", worker)
    async with (
        worker.router.lifespan_context(worker),
        httpx.AsyncClient(base_url="http://worker", transport=suite.network) as alone,
    ):
        clients = {"coordinator": suite.client, "worker": alone}
        sent = {
            (name, method, path): await clients[name].request(method, path.format(**ids), json=example)
            for name in DOCUMENTS
            for (method, path), example in examples(name).items()
            if example is not None
        }

    assert [(call, answer.text) for call, answer in sent.items() if not answer.is_success] == []
    assert [call for name in DOCUMENTS for call, example in examples(name).items() if example is None] == [
        ("post", "/delegate")
    ]


async def test_generated_models_read_real_answers(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """datamodel-code-generator makes classes of the document, and they read what the coordinator answers."""
    document, made = tmp_path / "openapi.json", tmp_path / "generated_models.py"
    document.write_text(json.dumps(DOCUMENTS["coordinator"]))
    command = [sys.executable, "-m", "datamodel_code_generator", "--input", str(document), "--output", str(made)]
    kind = ["--input-file-type", "openapi", "--output-model-type", "pydantic_v2.BaseModel", "--disable-warnings"]
    await asyncio.to_thread(subprocess.run, [*command, *kind], check=True, timeout=50, capture_output=True)
    monkeypatch.syspath_prepend(tmp_path)
    models = importlib.import_module("generated_models")

    chat = {"model": "coordinator", "messages": [{"role": "user", "content": "Why are there tides?"}]}
    task = (await suite.ask()).json()
    seen = {
        "TaskView": task,
        "TaskPage": (await suite.client.get("/tasks")).json(),
        "Why": (await suite.client.get(f"/tasks/{task['task_id']}/why")).json(),
        "AgentPage": (await suite.client.get("/agents")).json(),
        "Stats": (await suite.client.get("/stats")).json(),
        "Report": (await suite.client.get(f"/tasks/{task['task_id']}/report.json")).json(),
        "Health": (await suite.client.get("/health")).json(),
        "Ready": (await suite.client.get("/ready")).json(),
        "ModelList": (await suite.client.get("/v1/models")).json(),
        "KaosCard": (await suite.client.get("/.well-known/agent")).json(),
        "NewerKaosCard": (await suite.client.get("/.well-known/agent.json")).json(),
        "EventPage": (await suite.client.get("/memory/events")).json(),
        "SessionPage": (await suite.client.get("/memory/sessions")).json(),
        "Tools": (await suite.client.get("/tools")).json(),
        "AuditPage": (await suite.client.get("/audit")).json(),
        "Problem": (await suite.client.get("/tasks/none")).json(),
        "ChatCompletion": (await suite.client.post("/v1/chat/completions", json=chat)).json(),
    }
    for name, body in seen.items():
        getattr(models, name).model_validate(body)
