"""With a real model of 135 million parameters nothing is worse, nothing is late, and what it cost is counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.model.conftest import NAME, Served
from tests.quality.asking import muster

ROOT = Path(__file__).parent.parent.parent
SECONDS = 14.0
QUESTIONS = (
    "How do I back up the journal?",
    "How long is a lease?",
    "What did the gala dinner at the castle cost?",
)


@pytest.fixture(scope="module")
def plain() -> Iterator[httpx.Client]:
    """A Muster without a model over this project's documents."""
    with muster(ROOT, ROOT / "docs") as running:
        yield running.client


@pytest.fixture(scope="module")
def thinking(served: Served) -> Iterator[httpx.Client]:
    """The same with the model."""
    model = {"MODEL_API_URL": served.url, "MODEL_NAME": NAME, "MODEL_CONCURRENCY": "1"}
    with muster(ROOT, ROOT / "docs", model) as running:
        yield running.client


def asked(client: httpx.Client, question: str, seconds: float = SECONDS) -> dict[str, Any]:
    body = {"task_description": question, "timeout_seconds": seconds}
    reply = client.post("/execute_task", json=body, timeout=seconds + 10)
    reply.raise_for_status()
    task: dict[str, Any] = reply.json()
    return task


def begun(client: httpx.Client, question: str) -> str:
    """The id of a task that nobody waits for."""
    body = {"task_description": question, "timeout_seconds": 40}
    reply = client.post("/execute_task", json=body, headers={"Prefer": "respond-async"})
    reply.raise_for_status()
    return str(reply.json()["task_id"])


def becomes(served: Served, *, busy: bool, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while served.busy() != busy and time.monotonic() < until:
        time.sleep(0.02)
    return served.busy() == busy


@pytest.mark.timeout(120)
def test_real_model_makes_nothing_worse_or_late(plain: httpx.Client, thinking: httpx.Client) -> None:
    """Nothing is worse nothing is late and some answers are the model's."""
    helped = 0
    for question in QUESTIONS:
        without, with_ = asked(plain, question), asked(thinking, question)
        findings = with_["result"]["findings"]

        assert with_["status"] == "completed"
        assert with_["duration_seconds"] < SECONDS
        shown = "\n".join(finding["statement"] for finding in findings)
        assert all(finding["statement"] in shown for finding in without["result"]["findings"])
        assert len(with_["result"]["sources"]) >= len(without["result"]["sources"])
        assert with_["result"]["answered"] == without["result"]["answered"]
        by_model = any(finding["by"] for finding in findings)
        assert ("Made from findings of a model" in with_["result"]["report"]) == by_model
        assert by_model or any(m["what"].startswith("model in ") for m in with_["missing"])
        helped += by_model
    assert helped > 0 or any(f["by"] for f in asked(thinking, QUESTIONS[0], 60)["result"]["findings"])  # a busy machine


def test_what_it_cost_is_what_the_server_counted(thinking: httpx.Client, served: Served) -> None:
    assert becomes(served, busy=False, seconds=5)
    read = served.count("prompt_tokens") + served.count("prompt_tokens_cached")
    written = served.count("tokens_predicted")

    usage = asked(thinking, "What does the ledger count?", 60)["usage"]

    assert becomes(served, busy=False, seconds=5)
    read = served.count("prompt_tokens") + served.count("prompt_tokens_cached") - read
    written = served.count("tokens_predicted") - written
    assert usage["output_tokens"] > 0
    assert abs(usage["input_tokens"] - read) <= 0.02 * read + 2
    assert abs(usage["output_tokens"] - written) <= 0.05 * written + 2


def test_a_cancelled_task_stops_the_server(thinking: httpx.Client, served: Served) -> None:
    """It looks whether somebody still waits once it has read the prompt: then it writes no answer for nobody."""
    written = served.count("tokens_predicted")
    task = begun(thinking, "How does a worker write its own report of findings?")
    assert becomes(served, busy=True, seconds=20)

    thinking.post(f"/tasks/{task}/cancel").raise_for_status()

    assert becomes(served, busy=False, seconds=30)
    assert served.count("tokens_predicted") - written < 20


@pytest.mark.timeout(150)
def test_a_server_that_is_killed_and_comes_back(thinking: httpx.Client, served: Served) -> None:
    """The task in the middle is answered by words, and says so; a later one has the model again."""
    task = begun(thinking, "What happens to accepted tasks after a crash?")
    assert becomes(served, busy=True, seconds=20)
    served.kill()

    until = time.monotonic() + 10
    while (seen := thinking.get(f"/tasks/{task}").json())["status"] not in ("completed", "failed"):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert seen["status"] == "completed"
    assert seen["result"]["findings"]
    assert [m["what"] for m in seen["missing"]] == ["model in analysis"]

    served.start()
    until = time.monotonic() + 90
    while asked(thinking, QUESTIONS[1], 40)["usage"]["output_tokens"] == 0:
        assert time.monotonic() < until
        time.sleep(1)
