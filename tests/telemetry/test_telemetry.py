"""Telemetry as a real collector receives it from a coordinator, two agents, a tool server and a model."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.server import MCPServer

from tests.support.fake_model import Entry, Refuses, Says, fake_model
from tests.support.fakes import eventually, serving
from tests.support.processes import Coordinator, Service
from tests.telemetry.collector import Collector, Received, collecting

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/telemetry.md").read_text()
SECRET = "canary-77a1"
SAID = "Count the frigates in the harbour."
WARM_UP = "Warm up."
CALLER = "0af7651916cd43dd8448eb211c80319c"
CALLERS_SPAN = "b7ad6b7169203331"
PLAN = [
    {"id": "ask", "agent": "boss", "input": SAID, "on_failure": "continue"},
    {"id": "fail", "agent": "sick", "on_failure": "continue"},
    {"id": "paint", "capability": "paint", "on_failure": "continue"},
]
PROPOSED = {"steps": [{"id": "only", "capability": "count", "question": "How many?", "needs": []}]}

INVOKED, SERVED = r"invoke_agent\ \S+", r"\S+\ \S+"  # rows of the table

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Run:
    """What one run has sent: all its spans and figures, and the task that came with a trace of its caller's."""

    collector: Collector
    spans: list[Received]
    figures: list[Received]
    task: dict[str, Any]
    logs: dict[str, str]
    metas: list[dict[str, str]]

    def of(self, trace: str) -> list[Received]:
        return [span for span in self.spans if span.trace == trace]


@asynccontextmanager
async def tools() -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """An MCP server with one tool: its URL, and the `_meta` of what came."""
    server, seen = MCPServer("harbour"), list[dict[str, str]]()

    @server.tool()
    def count(kind: str) -> int:
        """Counts ships."""
        return {"frigate": 7}[kind]

    app = server.streamable_http_app()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def noting() -> Any:
            message = await receive()
            if message["type"] == "http.request" and b"tools/call" in message.get("body", b""):
                seen.append(json.loads(message["body"])["params"].get("_meta", {}))
            return message

        await app(scope, noting if scope["type"] == "http" else receive, send)

    async with serving(watched) as url:  # type: ignore[arg-type]
        yield url, seen


async def perform(folder: Path, collector: Collector) -> Run:
    """Two tasks: one with a plan, in a caller's trace; one that a model plans, in its own."""
    calls = [{"name": "count", "arguments": {"kind": kind}} for kind in ("frigate", "canoe")]
    asks = [{"name": "delegate_to_helper", "arguments": {"task": "Say seven."}}]
    env = collector.environment() | {"LOG_FORMAT": "json", "API_KEY": SECRET, "WATCHDOG_SECONDS": "0"}
    script: list[Entry] = ["Seven.", Says(calls=asks), Says(calls=calls)]

    def answers(body: dict[str, Any]) -> Entry:
        return "Warm." if WARM_UP in str(body["messages"]) else script.pop()

    async with (
        tools() as (tools_url, metas),
        fake_model(answers) as model,
        fake_model(Refuses(400)) as refusing,
    ):
        with ExitStack() as stack:
            plans = {"planner": "model", "debug_mock_responses": json.dumps([json.dumps(PROPOSED)])}
            coordinator = stack.enter_context(Coordinator(folder / "c", **(env | plans)))
            coordinator.start().ready()
            env["COORDINATOR_URL"] = coordinator.url
            own = {
                "boss": {
                    "MODEL_API_URL": model.url,
                    "MODEL_NAME": "fake",
                    "TOOL_CALL_MODE": "native",
                    "PEER_AGENTS": "helper",
                    "MCP_SERVERS": "harbour",
                    "MCP_SERVER_HARBOUR_URL": tools_url,
                    "MODEL_API_KEY": SECRET,
                },
                "helper": {"DEBUG_MOCK_RESPONSES": '["Seven."]', "AGENT_CAPABILITIES": "count"},
                "sick": {"MODEL_API_URL": refusing.url, "MODEL_NAME": "none"},
            }
            agents = {}
            for name, more in own.items():
                one = Service("workers.agent", folder / name, env=env | more | {"AGENT_NAME": name})
                agents[name] = stack.enter_context(one).start()
            async with httpx.AsyncClient(
                base_url=coordinator.url, headers={"Authorization": f"Bearer {SECRET}"}, timeout=60
            ) as client:

                async def all_healthy() -> bool:
                    found = (await client.get("/agents", params={"status": "healthy"})).json()["agents"]
                    return len(found) == len(own)

                async def knows_tools() -> bool:
                    """Tools that came too late are listed again when the agent works."""
                    warm_up = {"task_description": WARM_UP, "plan": [{"id": "warm", "agent": "boss", "input": WARM_UP}]}
                    await client.post("/execute_task", json=warm_up)
                    card = await client.get(f"{agents['boss'].url}/.well-known/agent-card.json")
                    return '"count"' in card.text

                await eventually(all_healthy, seconds=60)
                await eventually(knows_tools, seconds=60)
                header = {"traceparent": f"00-{CALLER}-{CALLERS_SPAN}-01"}
                body = {"task_description": SAID, "plan": PLAN, "timeout_seconds": 40}
                task = (await client.post("/execute_task", json=body, headers=header)).json()
                planned = (await client.post("/execute_task", json={"task_description": SAID})).json()
                failed = {"task_description": SAID, "plan": PLAN[2:], "timeout_seconds": 5}
                await client.post("/execute_task", json=failed, headers=header)
            assert [r["status"] for r in task["results"]] == ["completed", "failed", "failed"], task
            assert planned["status"] == "completed", planned

            await eventually(lambda: "gen_ai.execute_tool.duration" in collector.text, seconds=60)
            for one in (coordinator, *agents.values()):
                one.terminate()
                await asyncio.to_thread(one.process.wait)
            logs = {name: one.process.output for name, one in {"coordinator": coordinator, **agents}.items()}
            return Run(collector, collector.spans(), collector.figures(), task, logs, metas)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("telemetry")
    with collecting(folder / "collector") as collector:
        yield asyncio.run(perform(folder, collector))


def documented_spans() -> dict[str, tuple[str, set[str]]]:
    """Kind and attributes of each row of the page's table, by a pattern of its name."""
    rows = re.findall(r"^\| `([^`]+)` \| (internal|client|server) \| .+? \| (.+) \|$", PAGE, re.MULTILINE)
    return {
        re.sub(r"\\\{\w+\\\}", r"\\S+", re.escape(name)): (kind, set(re.findall(r"`([\w.]+)`", attributes)))
        for name, kind, attributes in rows
    }


def row_of(span: Received) -> str:
    rows = documented_spans()
    [found] = [pattern for pattern in rows if re.fullmatch(pattern, span.name)][:1] or [""]
    return found


def test_every_span_is_in_the_table(run: Run) -> None:
    """Names, kinds and attributes of what was sent are those of the page, and none is left out."""
    sent: dict[str, tuple[str, set[str]]] = {}
    for span in run.spans:
        _, attributes = sent.get(row_of(span), ("", set()))
        kind = span.fields["Kind"].removeprefix("SPAN_KIND_").lower()
        sent[row_of(span)] = kind, attributes | set(span.attributes)

    rows = documented_spans()
    assert set(sent) == set(rows)
    rows[INVOKED][1].discard("muster.outcome")  # of calls that are cut off
    rows[SERVED][1].discard("error.type")  # of bugs
    assert sent == rows


def test_one_trace_joins_all_that_a_task_did(run: Run) -> None:
    """Coordinator, agents, model and tools are one tree below the caller's span."""
    spans = {span.id: span for span in run.of(CALLER)}

    def chain(span: Received) -> list[str]:
        above = spans.get(span.parent)
        return [*([] if above is None else chain(above)), f"{span.service}: {span.name}"]

    chains = [chain(span) for span in spans.values()]
    ask = ["coordinator: invoke_workflow coordinator", "coordinator: step ask", "coordinator: invoke_agent boss"]
    ask += ["boss: POST /execute"]
    assert [*ask, "boss: execute_tool count"] in chains
    assert chains.count([*ask, "boss: chat fake"]) == 3
    helped = [
        *ask,
        "boss: execute_tool delegate_to_helper",
        "coordinator: invoke_agent helper",
        "helper: POST /execute",
    ]
    assert [*helped, "helper: chat scripted"] in chains
    assert {found[0] for found in chains} == {ask[0]}
    roots = [span for span in spans.values() if span.name == "invoke_workflow coordinator"]
    assert {span.parent for span in roots} == {CALLERS_SPAN}


def test_a_task_without_a_caller_names_its_trace(run: Run) -> None:
    """The trace's id is the task's, and the model that plans is part of it."""
    [own] = {span.trace for span in run.spans if span.name == "step only"}
    by_name = {span.name: span for span in run.of(own)}

    assert by_name["invoke_workflow coordinator"].attributes["muster.task.id"] == own
    assert by_name["invoke_workflow coordinator"].parent == ""
    [plan] = [span for span in run.of(own) if span.name == "chat scripted" and span.service == "coordinator"]
    assert plan.parent == by_name["step plan"].id


def test_spans_lie_within_their_parents(run: Run) -> None:
    """By a millisecond: the end of a step is stamped when it is written."""
    spans = {span.id: span for span in run.of(CALLER)}
    for span in spans.values():
        if (above := spans.get(span.parent)) is not None:
            assert int(span.fields["Start time"]) >= int(above.fields["Start time"]) - 5_000_000, span
            assert int(span.fields["End time"]) <= int(above.fields["End time"]) + 50_000_000, span


def test_failures_have_their_type(run: Run) -> None:
    failed = {span.name: span.attributes["error.type"] for span in run.of(CALLER) if "error.type" in span.attributes}

    assert failed["step paint"] == "no_agent"
    assert failed["step fail"] == failed["invoke_agent sick"] == failed["chat none"] == "model_failed"
    assert {s.fields["Status code"] for s in run.of(CALLER) if "error.type" in s.attributes} == {"STATUS_CODE_ERROR"}


def test_every_figure_is_documented_and_sent(run: Run) -> None:
    """Those of the page about metrics, and those of the conventions, with exactly these names."""
    metrics = (ROOT / "docs/metrics.md").read_text()
    names = set(re.findall(r"^\| `(\w+)` \| (?:counter|gauge|histogram)", metrics, re.MULTILINE))
    names |= set(re.findall(r"^\| `([\w.]+)` \| histogram \| `", PAGE, re.MULTILINE))

    assert {one.name for one in run.figures} == names


def test_figures_have_the_labels_of_metrics(run: Run) -> None:
    steps = [one for one in run.figures if one.name == "muster_steps_total"]
    last = {(one.attributes["agent"], one.attributes["status"]): float(one.fields["Value"]) for one in steps}
    tokens = [one for one in run.figures if one.name == "gen_ai.client.token.usage" and one.service == "boss"]

    assert last["boss", "completed"] >= 2
    assert last["sick", "failed"] == 1
    assert {one.attributes["gen_ai.token.type"] for one in tokens} == {"input", "output"}
    assert tokens[-1].attributes["gen_ai.request.model"] == "fake"
    assert {one.attributes["agent"] for one in run.figures if one.name == "muster_step_seconds"} >= {"boss", "helper"}


def test_no_secret_and_nothing_said_is_sent(run: Run) -> None:
    assert SECRET not in run.collector.text
    assert SAID not in run.collector.text
    assert "frigate" not in run.collector.text


def test_log_lines_carry_the_trace(run: Run) -> None:
    for service in ("coordinator", "boss", "helper"):
        lines = [json.loads(line) for line in run.logs[service].splitlines() if line.startswith("{")]
        traced = [line for line in lines if line.get("trace_id") == CALLER]
        assert {line["event"] for line in traced} >= ({"task.finished"} if service == "coordinator" else {"step.done"})
        assert {len(line["span_id"]) for line in traced} == {16}


def test_a_tool_server_gets_the_trace(run: Run) -> None:
    """In `_meta`, as MCP's conventions have it."""
    spans = [one for one in run.of(CALLER) if one.name == "execute_tool count"]

    assert {meta["traceparent"] for meta in run.metas} == {f"00-{CALLER}-{one.id}-01" for one in spans}
