"""The whole suite in one process: what a user sees when everything goes well."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import aconnect_sse
from prometheus_client.parser import text_string_to_metric_families

from shared.agent import Context, Reply
from shared.contracts import StepRequest, Usage
from tests.support import fakes
from tests.support.fakes import Held, Network, Suite, agent, eventually, serving


async def test_a_question_becomes_a_report_with_findings_and_sources(suite: Suite) -> None:
    task = await suite.execute("Why are there tides?")

    assert task.status == "completed"
    assert [(s.step_id, s.agent, s.status) for s in task.results] == [
        ("research", "researcher", "completed"),
        ("analyze", "analyzer", "completed"),
        ("report", "reporter", "completed"),
    ]
    assert task.result is not None
    assert fakes.MOON in str(task.result.report)
    assert [s["location"] for s in task.result.sources] == ["tides.md"]
    assert [f["statement"] for f in task.result.findings] == [fakes.MOON]
    assert task.missing == []


async def test_view_tells_times_and_links(suite: Suite) -> None:
    """The view of a task says when how long and where to look."""
    before = datetime.now(UTC)

    answer = await suite.ask(timeout_seconds=20)

    body = answer.json()
    assert set(body) == {
        "task_id", "status", "task_description", "result", "results", "missing", "usage", "created_at", "started_at",
        "finished_at", "deadline", "duration_seconds", "links",
    }  # fmt: skip
    assert set(body["results"][0]) == {
        "step_id", "capability", "agent", "instance", "status", "attempt", "output", "usage", "error", "started_at",
        "duration_seconds",
    }  # fmt: skip
    times = [datetime.fromisoformat(body[f]) for f in ("created_at", "started_at", "finished_at", "deadline")]
    assert times == sorted(times)
    assert times[0] >= before.replace(microsecond=0)
    assert (times[3] - times[0]).total_seconds() == pytest.approx(20)
    assert body["duration_seconds"] == pytest.approx((times[2] - times[0]).total_seconds(), abs=0.001)
    assert body["usage"] == {"calls": 3, "input_tokens": 0, "output_tokens": 0}
    for link in ("self", "events", "report"):
        assert (await suite.client.get(body["links"][link])).status_code == 200
    assert (await suite.client.get(body["links"]["self"])).json() == body


async def test_several_questions_are_researched_side_by_side(suite: Suite) -> None:
    suite.network.delay("researcher", 0.3)
    asked = asyncio.create_task(
        suite.execute("- Why are there tides?\n- What is a neap tide?\n- Who wrote about tides first?")
    )
    await eventually(lambda: len(suite.network.calls("researcher")) == 3)
    running = (await suite.client.get("/tasks")).json()["tasks"][0]["task_id"]
    assert [s.status for s in (await suite.task(running)).results] == ["running"] * 3

    task = await asked

    research = [s for s in task.results if s.capability == "research"]
    assert [s.output["question"] for s in research] == [
        "Why are there tides?",
        "What is a neap tide?",
        "Who wrote about tides first?",
    ]
    assert [f["question"] for f in task.result.findings] == [s.output["question"] for s in research]


async def test_own_plan_runs_in_order(coordinator: Suite) -> None:
    """A plan of one's own runs in the order of its needs."""
    seen: dict[str, StepRequest] = {}

    async def run(step: StepRequest, ctx: Context) -> Reply:
        seen[step.step_id] = step
        return Reply(f"{step.step_id} of {step.input}")

    await coordinator.add(agent("clerk", "work", run))
    plan = [
        {"id": "sum", "capability": "work", "needs": ["left", "right"]},
        {"id": "left", "capability": "work", "input": 1},
        {"id": "right", "agent": "clerk", "input": {"two": 2}},
    ]

    task = await coordinator.execute("Add", plan=plan, context={"unit": "m"})

    assert task.status == "completed"
    assert seen["sum"].upstream == {"left": "left of 1", "right": "right of {'two': 2}"}
    assert {(s.task_description, s.context["unit"]) for s in seen.values()} == {("Add", "m")}
    assert task.result.report == "sum of None"


async def test_last_outputs_are_the_result_without_report(coordinator: Suite) -> None:
    """The last outputs are the result of a plan without a report."""
    await coordinator.add(agent("echo", "echo"))
    plan = [{"id": id, "capability": "echo"} for id in ("a", "b")]

    task = await coordinator.execute(plan=plan)

    assert {id: output["by"] for id, output in task.result.report.items()} == {"a": "echo", "b": "echo"}


async def test_agents_run_in_parallel_and_fail_alone(coordinator: Suite) -> None:
    """Agents are asked all at once and one that fails costs only its own part."""

    async def fails(step: StepRequest, ctx: Context) -> Reply:
        raise ValueError("bad day")

    held = Held()
    for name, run in (("one", held), ("two", held), ("three", fails)):
        await coordinator.add(agent(name, name, run))
    task_id = await coordinator.begin("Say something", agents=["one", "two", "three"])
    await eventually(lambda: len(held.began) == 2)
    held.let_go.set()

    task = await coordinator.ended(task_id)

    assert (task.status, [s.status for s in task.results]) == ("partial", ["completed", "completed", "failed"])
    assert task.results[2].error.detail == "ValueError: bad day"
    assert task.result.report == {"one": "done", "two": "done"}


async def test_the_least_busy_instance_of_a_name_is_chosen(coordinator: Suite) -> None:
    held = Held()
    for host in ("echo-1", "echo-2", "echo-3"):
        await coordinator.add(agent("echo", "echo", held), host=host)

    tasks = [await coordinator.begin(agents=["echo"]) for _ in range(6)]
    await eventually(lambda: len(held.began) == 6)

    assert [a.load for a in (await coordinator.agents()).values()] == [2, 2, 2]
    held.let_go.set()
    assert {(await coordinator.ended(t)).status for t in tasks} == {"completed"}


async def test_an_instance_never_runs_more_steps_than_it_takes(coordinator: Suite) -> None:
    running = most = 0

    async def counts(step: StepRequest, ctx: Context) -> Reply:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return Reply(None)

    await coordinator.add(agent("narrow", "work", counts, max_concurrency=2))
    plan = [{"id": f"s{i}", "capability": "work"} for i in range(20)]

    task = await coordinator.execute(plan=plan)

    assert (task.status, most) == ("completed", 2)
    assert {s.attempt for s in task.results} == {1}


# --- formats -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "suffix", "type", "sign"),
    [
        ("markdown", ".md", "text/markdown", "# Why are there tides?"),
        ("html", ".html", "text/html", "<html"),
        ("json", ".json", "application/json", '"title"'),
    ],
)
async def test_report_comes_in_every_format(suite: Suite, format: str, suffix: str, type: str, sign: str) -> None:
    """The report comes in the format asked for and in every other."""
    task = await suite.execute(format=format)
    other = await suite.execute()

    report = task.result.report if format != "json" else json.dumps(task.result.report)
    assert (task.result.format, sign in report) == (format, True)
    url = f"/tasks/{other.task_id}/report"
    by_suffix = await suite.client.get(url + suffix)
    by_accept = await suite.client.get(url, headers={"Accept": f"{type};q=0.9, */*;q=0.1"})
    for answer in (by_suffix, by_accept):
        assert answer.headers["content-type"].partition(";")[0] == type
        assert sign in answer.text
        assert "moon pulls the sea" in answer.text
    assert by_suffix.text == by_accept.text


async def test_report_is_missing_before_the_end(suite: Suite) -> None:
    """A report is not there before the task has ended."""
    suite.network.delay("researcher", 60)
    task_id = await suite.begin()

    answer = await suite.client.get(f"/tasks/{task_id}/report")

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:muster:problem:conflict")


async def test_finding_nothing_is_a_result(suite: Suite) -> None:
    """Finding nothing is a result and says where was looked."""

    async def finds_nothing(step: StepRequest, ctx: Context) -> Reply:
        question = step.input["question"]
        return Reply({"question": question, "provider": "fake", "searched": "all 12 files of docs/", "evidence": []})

    await suite.remove("researcher")
    await suite.add(agent("blind", "research", finds_nothing))

    task = await suite.execute("What is the airspeed of a swallow?")

    assert (task.status, task.missing, task.result.sources) == ("completed", [], [])
    assert "Your documents do not seem to answer this" in task.result.report


async def test_undelivered_part_is_missing(coordinator: Suite) -> None:
    """What an agent could not deliver is missing from a completed task."""

    async def half(step: StepRequest, ctx: Context) -> Reply:
        return Reply("half", missing=[{"what": "page 2", "why": "It is torn."}])

    await coordinator.add(agent("half", "work", half))

    task = await coordinator.execute(plan=[{"id": "s", "capability": "work"}])

    assert (task.status, [(m.what, m.why) for m in task.missing]) == ("completed", [("page 2", "It is torn.")])


# --- asking without waiting ---------------------------------------------------------------------------


async def test_respond_async_is_202_with_location(suite: Suite) -> None:
    """respond-async answers 202 with the place of the task."""
    answer = await suite.ask(headers={"Prefer": "Respond-Async, wait=10"})

    body = answer.json()
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    assert answer.headers["location"] == f"/tasks/{body['task_id']}"
    assert (body["status"], body["result"]) == ("queued", None)
    assert (await suite.ended(body["task_id"])).status == "completed"


async def events(client: httpx.AsyncClient, method: str, url: str, **more: Any) -> list[Any]:
    async with aconnect_sse(client, method, url, **more) as source:
        assert source.response.status_code == 200
        return [event async for event in source.aiter_sse()]


async def test_execute_task_streams_its_events_and_then_the_result(suite: Suite) -> None:
    async with serving(suite.app, lifespan=False) as url, httpx.AsyncClient(base_url=url) as client:
        told = await events(client, "POST", "/execute_task", json={"task_description": "Why are there tides?"})

    names = [e.event for e in told]
    assert (names[:2], names[-2:]) == (["task.accepted", "task.planned"], ["task.finished", "result"])
    assert [n for n in names if n.startswith("step")] == ["step.started", "step.finished"] * 3
    assert json.loads(told[-1].data)["status"] == "completed"
    ids = [int(e.id) for e in told[:-1]]
    assert ids == sorted(set(ids))
    assert all({"type", "task_id", "at"} <= set(json.loads(e.data)) for e in told[:-1])


async def test_events_continue_after_the_last_seen(suite: Suite) -> None:
    """Events go on after the last one a client has seen."""
    task = await suite.execute()
    path = f"/tasks/{task.task_id}/events"
    async with serving(suite.app, lifespan=False) as url, httpx.AsyncClient(base_url=url) as client:
        whole = await events(client, "GET", path)
        for at in (0, 3, len(whole) - 1):
            rest = await events(client, "GET", path, headers={"Last-Event-ID": whole[at].id})
            assert [e.id for e in rest] == [e.id for e in whole[at + 1 :]]


async def test_two_watchers_see_the_same(suite: Suite) -> None:
    """Two watchers of a running task see the same and its end."""
    held = Held()
    await suite.add(agent("slow", "wait", held))
    task_id = await suite.begin(plan=[{"id": "s", "capability": "wait"}])
    async with serving(suite.app, lifespan=False) as url, httpx.AsyncClient(base_url=url) as client:
        watching = [asyncio.create_task(events(client, "GET", f"/tasks/{task_id}/events")) for _ in range(2)]
        await eventually(lambda: held.began)
        held.let_go.set()
        one, two = await asyncio.gather(*watching)

    assert [(e.id, e.event) for e in one] == [(e.id, e.event) for e in two]
    assert one[-1].event == "task.finished"


async def test_a_stop_ends_open_streams_at_once(suite: Suite) -> None:
    suite.network.delay("researcher", 60)
    task_id = await suite.begin()
    async with (
        serving(suite.app, lifespan=False) as url,
        httpx.AsyncClient(base_url=url) as client,
        aconnect_sse(client, "GET", f"/tasks/{task_id}/events") as source,
    ):
        told = source.aiter_sse()
        assert [(await anext(told)).event for _ in range(2)] == ["task.accepted", "task.planned"]

        suite.app.stopping.begin()

        async with asyncio.timeout(20):  # the step takes 60 s
            assert [e.event async for e in told if e.event == "task.finished"] == []


# --- the same task again ------------------------------------------------------------------------------


async def test_idempotency_key_joins_and_replays(suite: Suite) -> None:
    """An idempotency key joins the running task and replays the ended one."""
    suite.network.delay("researcher", 0.2)
    headers = {"Idempotency-Key": "order-66"}

    first, second = await asyncio.gather(suite.ask(headers=headers), suite.ask(headers=headers))
    third = await suite.ask(headers=headers)

    assert first.json() == second.json() == third.json()
    assert len(suite.network.calls("researcher")) == 1
    assert len((await suite.client.get("/tasks")).json()["tasks"]) == 1


async def test_idempotency_key_repeats_a_failure(coordinator: Suite) -> None:
    """An idempotency key gives a failed task its failure again."""
    headers = {"Idempotency-Key": "fails"}

    first, second = [await coordinator.ask(headers=headers) for _ in range(2)]

    assert (first.status_code, second.status_code) == (500, 500)
    assert first.json() == second.json()


async def test_tasks_keys_events_and_agents_outlive_a_restart(tmp_path: Path) -> None:
    journal = f"sqlite:///{tmp_path}/muster.db"
    agents = (fakes.RESEARCHER, fakes.ANALYZER, fakes.REPORTER)
    headers = {"Idempotency-Key": "once"}
    async with Suite(Network(), *agents, database_url=journal) as suite:
        before = (await suite.ask(headers=headers)).json()
    network = Network()
    async with Suite(network, database_url=journal) as suite:
        after = (await suite.ask(headers=headers)).json()
        told = await suite.client.get(before["links"]["events"])

    assert after == before
    assert "event: task.finished" in told.text
    assert network.calls("researcher") == []


async def test_interrupted_task_repeats_no_finished_steps(tmp_path: Path) -> None:
    """A task cut off by a stop goes on and finished steps are not repeated."""
    journal = f"sqlite:///{tmp_path}/muster.db"
    agents = (fakes.RESEARCHER, fakes.ANALYZER, fakes.REPORTER)
    async with Suite(Network(), *agents, database_url=journal) as suite:
        suite.network.delay("analyzer", 60)
        task_id = await suite.begin()
        await eventually(lambda: suite.network.calls("analyzer"))
    network = Network()
    async with Suite(network, *agents, database_url=journal) as suite:
        task = await suite.ended(task_id)

    assert task.status == "completed"
    assert [(s.step_id, s.attempt) for s in task.results] == [("research", 1), ("analyze", 2), ("report", 1)]
    assert network.calls("researcher") == []


# --- lists, counts, keys ------------------------------------------------------------------------------


async def test_step_by_name_waits_after_a_full_stop(tmp_path: Path) -> None:
    """It withdrew before the coordinator stopped, and comes back a moment after the coordinator."""
    plan = [{"id": "a", "agent": "worker"}]
    journal = {"database_url": f"sqlite:///{tmp_path}/muster.db"}
    async with Suite(Network(), agent("worker", "work", Held()), **journal) as first:
        task_id = await first.begin(plan=plan, timeout_seconds=20.0)
        await first.services.dispatcher.close()

    async with Suite(Network(), **journal) as second:
        await asyncio.sleep(0.05)
        await second.add(agent("worker", "work"))
        task = await second.ended(task_id)

    assert task.status == "completed", task.missing


async def test_tasks_are_listed_newest_first_page_by_page(coordinator: Suite) -> None:
    await coordinator.add(agent("echo", "echo"))
    for i in range(5):
        await coordinator.execute(f"task {i}", agents=["echo"])
    pages, cursor = [], None
    while cursor is not None or not pages:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await coordinator.client.get("/tasks", params=params)).json()
        pages.append([t["task_description"] for t in page["tasks"]])
        cursor = page["next_cursor"]

    assert pages == [["task 4", "task 3"], ["task 2", "task 1"], ["task 0"]]


async def test_tasks_are_found_by_status_agent_and_time(suite: Suite) -> None:
    await suite.add(agent("echo", "echo"))
    done = await suite.execute("done", agents=["echo"])
    failed = await suite.execute("failed", plan=[{"id": "s", "capability": "none"}])

    async def found(**params: Any) -> list[str]:
        return [t["task_description"] for t in (await suite.client.get("/tasks", params=params)).json()["tasks"]]

    assert await found(status="failed") == ["failed"]
    assert await found(agent="echo") == ["done"]
    assert await found(since=failed.created_at.isoformat()) == ["failed"]
    assert await found(since=done.created_at.replace(tzinfo=None).isoformat()) == ["failed", "done"]
    assert await found(status="running") == []


async def test_stats_count_tasks_errors_and_times(suite: Suite) -> None:
    await suite.execute()
    await suite.execute(
        "Paint", plan=[{"id": "s", "capability": "paint"}, {"id": "t", "agent": "reporter", "needs": ["s"]}]
    )

    stats = (await suite.client.get("/stats")).json()

    assert set(stats) == {
        "uptime_seconds", "total_requests", "error_count", "error_rate", "avg_response_time", "last_error", "tasks",
        "percentiles_seconds", "agents", "now",
    }  # fmt: skip
    assert (stats["total_requests"], stats["error_count"], stats["error_rate"]) == (2, 1, "50.00%")
    assert re.fullmatch(r"\d+\.\d\ds", stats["avg_response_time"])
    assert stats["last_error"]["type"] == "no_agent"
    assert stats["last_error"]["detail"] == "No agent has ever registered for capability 'paint'."
    assert stats["agents"]["researcher"] == {"steps": 1, "failed": 0} | {
        "avg_seconds": stats["agents"]["researcher"]["avg_seconds"]
    }
    assert set(stats["percentiles_seconds"]) == {"p50", "p95", "p99"}


async def test_metrics_are_what_prometheus_reads(suite: Suite) -> None:
    await suite.execute()

    answer = await suite.client.get("/metrics")

    samples = {
        (s.name, *sorted(s.labels.items())): s.value
        for family in text_string_to_metric_families(answer.text)
        for s in family.samples
    }
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert samples["muster_tasks_total", ("status", "completed")] == 1
    assert samples["muster_steps_total", ("agent", "researcher"), ("status", "completed")] == 1
    assert samples["muster_tasks_running",] == 0


async def test_usage_is_the_sum_of_what_the_steps_say(coordinator: Suite) -> None:
    async def spends(step: StepRequest, ctx: Context) -> Reply:
        return Reply(None, usage=Usage(calls=2, input_tokens=10, output_tokens=3))

    await coordinator.add(agent("model", "think", spends))

    task = await coordinator.execute(plan=[{"id": id, "capability": "think"} for id in ("a", "b")])

    assert task.usage == Usage(calls=6, input_tokens=20, output_tokens=6)


async def test_key_protects_everything_but_health_and_ready(network: Network) -> None:
    """With a key everything but health and ready wants it."""
    async with Suite(network, agent("echo", "echo"), api_key="hunter2") as suite:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(suite.app), base_url="http://coordinator") as client:
            for path in ("/health", "/ready"):
                assert (await client.get(path)).status_code == 200
            for method, path in (
                ("GET", "/tasks"), ("GET", "/agents"), ("GET", "/stats"), ("GET", "/metrics"), ("GET", "/nowhere"),
                ("POST", "/execute_task"), ("POST", "/register_agent"), ("GET", "/agents/echo/health"),
                ("GET", "/openapi.json"),
            ):  # fmt: skip
                for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic hunter2"}):
                    answer = await client.request(method, path, headers=header)
                    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
                    assert answer.headers["www-authenticate"] == "Bearer"
        task = await suite.execute(agents=["echo"])

    assert task.status == "completed"
    assert "hunter2" not in task.model_dump_json()


async def test_the_traceparent_of_the_caller_reaches_the_agent(coordinator: Suite) -> None:
    await coordinator.add(agent("echo", "echo"))
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    await coordinator.ask(agents=["echo"], headers={"traceparent": trace})

    (call,) = coordinator.network.calls("echo")
    assert call.headers["traceparent"] == trace


async def test_built_in_workers_answer_from_documents(
    coordinator: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The built in workers answer from a folder of documents."""
    from workers import analyzer, reporter, researcher

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tides.md").write_text("# Tides\n\nTides are caused by the gravity of the moon and the sun.\n")
    monkeypatch.setenv("KNOWLEDGE_DIR", str(tmp_path / "docs"))
    for module in (researcher, analyzer, reporter):
        await coordinator.add(module.agent(tmp_path / module.__name__))

    task = await coordinator.execute("What causes tides?", timeout_seconds=20)

    assert task.status == "completed"
    assert "gravity of the moon" in task.result.report
    assert task.result.sources[0]["location"].startswith("tides.md")
