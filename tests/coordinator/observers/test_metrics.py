"""`/metrics` of a coordinator: what an on-call person asks, there with zeros before anything has happened."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.agent import Context, Reply
from shared.contracts import StepRequest, Usage
from shared.errors import WorkerFault
from shared.server.metrics import MOST_NAMES, OTHER, Names
from tests.support.fakes import Network, Suite, agent, eventually

ROOT = Path(__file__).parents[3]


class Samples(dict[tuple[str, ...], float]):
    """Every sample by its name and the values of its labels, in the labels' alphabetical order."""

    def __init__(self, text: str) -> None:
        for family in text_string_to_metric_families(text):
            for s in family.samples:
                self[s.name, *(value for _, value in sorted(s.labels.items()))] = s.value


async def scraped(suite: Suite) -> Samples:
    return Samples((await suite.client.get("/metrics")).text)


async def test_every_metric_is_documented(suite: Suite) -> None:
    """docs/metrics.md has a row for each with its type and labels, and no other; a worker has what all have."""
    of_worker = await suite.client.get("/agents/researcher/metrics")
    await suite.execute()
    of_coordinator = await suite.client.get("/metrics")
    page = (ROOT / "docs/metrics.md").read_text()
    everywhere, _, _ = page.partition("## The coordinator: tasks")

    assert shown(of_coordinator.text) == documented(page)
    assert shown(of_worker.text) == documented(everywhere)


def documented(page: str) -> set[tuple[str, str, str]]:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", page, re.MULTILINE)
    return {(name, type, " ".join(sorted(re.findall(r"\w+", labels)))) for name, type, labels in rows}


def shown(text: str) -> set[tuple[str, str, str]]:
    found = set()
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            continue  # prometheus_client's own companions of counters and histograms
        labels = {label for s in family.samples for label in s.labels} - {"le"}
        ending = "_total" if family.type == "counter" else ""
        found.add((family.name.removesuffix(ending) + ending, family.type, " ".join(sorted(labels))))
    return found


async def test_series_begin_at_zero(network: Network) -> None:
    """Before the first task: a counter that appears with 1 has no increase that an alert could see."""
    async with Suite(network, agent("echo", "echo")) as suite:
        found = await scraped(suite)

    for status in ("completed", "partial", "failed", "timed_out", "cancelled"):
        assert found["muster_tasks_total", status] == 0
    for status in ("completed", "failed", "timed_out", "cancelled", "skipped"):
        assert found["muster_steps_total", "echo", status] == 0
    for error in ("agent_unreachable", "agent_lost", "agent_busy", "agent_error", "timeout", "model_failed"):
        assert found["muster_step_errors_total", "echo", error] == 0
    for status in ("200", "429", "500", "503"):
        assert found["muster_http_requests_total", "POST", "/execute_task", status] == 0
    assert found["muster_step_errors_total", "(none)", "no_agent"] == 0
    assert found["muster_http_request_seconds_count", "/execute_task"] == 0
    assert found["muster_model_tokens_total", "echo", "input"] == 0
    assert found["muster_webhook_attempts_total", "given_up"] == 0


async def test_agents_by_status_breaker_and_heartbeat(network: Network) -> None:
    """An instance that is unplugged moves from one status to another; its age tells how long it has been away."""
    async with Suite(network, agent("echo", "echo")) as suite:
        await suite.register("gone", "http://nowhere:1", "vanish")
        await suite.sees("nowhere:1", "unreachable")
        found = await scraped(suite)

    assert (found["muster_agents", "echo", "healthy"], found["muster_agents", "echo", "unreachable"]) == (1, 0)
    assert (found["muster_agents", "gone", "healthy"], found["muster_agents", "gone", "unreachable"]) == (0, 1)
    assert (found["muster_agent_breakers", "echo", "closed"], found["muster_agent_breakers", "echo", "open"]) == (1, 0)
    assert 0 <= found["muster_agent_heartbeat_age_seconds", "echo"] < 60


async def test_an_open_breaker_shows(coordinator: Suite) -> None:
    async def rubbish(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="rubbish")

    coordinator.network.answer("weak", rubbish)
    await coordinator.register("weak", "http://weak", "lift")
    await coordinator.sees("weak", "healthy")
    for _ in range(5):
        await coordinator.execute(agents=["weak"])
    found = await scraped(coordinator)

    assert found["muster_agent_breakers", "weak", "open"] + found["muster_agent_breakers", "weak", "half_open"] == 1
    assert found["muster_step_errors_total", "weak", "bad_response"] == 5
    assert found["muster_steps_total", "weak", "failed"] == 5


async def test_an_unknown_error_class_is_other(coordinator: Suite) -> None:
    """An agent may send any text as its error's type; a label takes only those that Muster has."""

    async def fails(step: StepRequest, ctx: Context) -> Reply:
        fault = WorkerFault("It broke.")
        fault.type = "a_type_of_its_own"
        raise fault

    await coordinator.add(agent("odd", "puzzle", fails))
    await coordinator.execute(agents=["odd"])
    found = await scraped(coordinator)

    assert {key[2] for key in found if key[:2] == ("muster_step_errors_total", "odd")} >= {OTHER, "agent_error"}
    assert not [key for key in found if "a_type_of_its_own" in key]


async def test_waits_first_bytes_and_tokens_are_counted(coordinator: Suite) -> None:
    async def spends(step: StepRequest, ctx: Context) -> Reply:
        return Reply(None, usage=Usage(calls=2, input_tokens=10, output_tokens=3))

    await coordinator.add(agent("model", "think", spends))
    await coordinator.execute(plan=[{"id": id, "capability": "think"} for id in ("a", "b")])
    found = await scraped(coordinator)

    assert found["muster_task_queue_seconds_count",] == 1
    assert found["muster_step_wait_seconds_count", "model"] == 2
    assert found["muster_step_first_byte_seconds_count", "model"] == 2
    assert found["muster_step_first_byte_seconds_sum", "model"] >= 0
    assert found["muster_model_calls_total", "model"] == 4
    assert found["muster_model_tokens_total", "model", "input"] == 20
    assert found["muster_model_tokens_total", "model", "output"] == 6
    assert found["muster_step_seconds_bucket", "model", "86400.0"] == 2


async def test_routes_are_templates(coordinator: Suite) -> None:
    """However many paths and methods are asked for, the labels are those of the app's routes."""
    before = await scraped(coordinator)
    for n in range(20):
        await coordinator.client.get(f"/tasks/none-{n}")
        await coordinator.client.get(f"/nowhere/{n}")
        await coordinator.client.request(f"METHOD{n}", "/tasks")
        await coordinator.client.get(f"/a2a/rest/tasks/{n}", headers={"A2A-Version": "1.0"})
    found = await scraped(coordinator)

    assert found["muster_http_requests_total", "GET", "/tasks/{task_id}", "404"] == 20
    assert found["muster_http_requests_total", "GET", "(none)", "404"] == 20
    assert found["muster_http_requests_total", "(other)", "/tasks", "405"] == 20
    new = {key[2] for key in found.keys() - before.keys() if key[0] == "muster_http_requests_total"}
    assert len(new) <= 4, new


async def test_probes_and_heartbeats_are_not_timed(coordinator: Suite) -> None:
    """They are many and quick: in the histogram they would hide every slow request."""
    await coordinator.register("gone", "http://nowhere:1", "vanish")
    for path in ("/health", "/ready", "/metrics"):
        await coordinator.client.get(path)
    found = await scraped(coordinator)

    timed = {key[1] for key in found if key[0] == "muster_http_request_seconds_count"}
    assert timed >= {"/execute_task", "/tasks"}
    assert not timed & {"/health", "/ready", "/metrics", "/register_agent"}
    assert found["muster_http_requests_total", "POST", "/register_agent", "201"] == 1


async def test_refusals_are_counted_by_route(network: Network) -> None:
    async with Suite(network, max_concurrent_tasks=1, max_queued_tasks=0) as suite:
        await suite.register("gone", "http://nowhere:1", "vanish")
        await suite.begin(plan=[{"id": "a", "capability": "vanish"}])
        assert (await suite.ask()).status_code == 429
        found = await scraped(suite)

    assert found["muster_http_requests_total", "POST", "/execute_task", "429"] == 1


async def test_webhooks_are_counted_by_outcome(coordinator: Suite, network: Network) -> None:
    await coordinator.add(agent("echo", "echo"))
    await coordinator.execute(agents=["echo"], webhook_url="http://nowhere/hook")

    async def failed() -> bool:
        return (await scraped(coordinator))["muster_webhook_attempts_total", "failed"] >= 1

    await eventually(failed)
    assert (await scraped(coordinator))["muster_webhook_attempts_total", "delivered"] == 0


async def test_the_journal_and_its_disk(network: Network, tmp_path: Path) -> None:
    """Sizes of the files, room on the disk, and ended tasks that should be gone."""
    async with Suite(
        network, agent("echo", "echo"), database_url=f"sqlite:///{tmp_path}/muster.db", history_days=1e-9
    ) as suite:
        await suite.execute(agents=["echo"])
        found = await scraped(suite)

    assert found["muster_journal_bytes", "database"] > 0
    assert found["muster_journal_bytes", "log"] > 0
    assert 0 < found["muster_disk_free_bytes",] < found["muster_disk_bytes",]
    assert found["muster_prune_backlog",] == 1


async def test_a_journal_that_hangs_does_not_hang_the_scrape(
    coordinator: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs no journal is told, and the rest as it was."""
    monkeypatch.setattr("coordinator.observers.gauges.LOOK_SECONDS", 0.05)
    monkeypatch.setattr(coordinator.services.store, "read", lambda *_, **__: asyncio.Event().wait())

    found = await scraped(coordinator)

    assert found["muster_webhooks_due",] == 0


async def test_a_plan_by_a_model_counts_as_the_coordinators(network: Network) -> None:
    from tests.coordinator.execution.test_model_planner import planning, steps
    from tests.support.fake_model import fake_model

    async with fake_model(steps()) as model, planning(model) as suite:
        await suite.execute(timeout_seconds=10)
        found = await scraped(suite)

    assert found["muster_model_calls_total", "coordinator"] == 1


def test_names_beyond_a_thousand_are_other() -> None:
    """A label that takes whatever agents are called would grow without end."""
    names = Names()
    for n in range(MOST_NAMES):
        assert names(f"agent-{n}") == f"agent-{n}"

    assert (names("one-more"), names("agent-0")) == (OTHER, "agent-0")
