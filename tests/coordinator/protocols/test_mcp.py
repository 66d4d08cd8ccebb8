"""MCP on the coordinator, with the SDK's own client: both live revisions, tools, resources, who may ask, hanging up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from coordinator.access.hosts import HostRefused, OriginRefused, check, list_allowed_names
from shared.agent import Context, Reply
from shared.contracts import StepRequest
from shared.errors import MusterError
from tests.support import fakes, processes
from tests.support.fakes import ROOT, Held, Suite, agent, coordinator_settings, eventually, serving

MODES = {"auto": "2026-07-28", "legacy": "2025-11-25"}
ACCEPT = {"Accept": "application/json, text/event-stream"}

both = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
async def url(suite: Suite) -> AsyncIterator[str]:
    """The coordinator of the whole suite on a real port."""
    async with serving(suite.app, lifespan=False) as url:
        yield f"{url}/mcp"


@contextlib.asynccontextmanager
async def holding(**settings: Any) -> AsyncIterator[tuple[Suite, str, Held]]:
    """A coordinator on a real port whose one agent, `slow`, waits until it is let go."""
    held = Held()
    async with Suite(None, agent("slow", "wait", held), **settings) as suite, serving(suite.app, lifespan=False) as url:
        yield suite, f"{url}/mcp", held


SLOW = {"task_description": "Wait", "agents": ["slow"]}


# --- the four tools -----------------------------------------------------------------------------------


@both
async def test_tools_are_listed_with_what_they_take_and_give(url: str, mode: Any) -> None:
    async with Client(url, mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

        assert client.protocol_version == MODES[mode]
    assert set(tools) == {"execute_task", "get_task", "cancel_task", "list_agents"}
    arguments = tools["execute_task"].input_schema["properties"]
    assert {"task_description", "timeout_seconds", "plan", "agents", "format", "wait"} < set(arguments)
    assert "webhook_url" not in arguments
    assert all("description" in argument for argument in arguments.values())
    assert all(tool.description and tool.output_schema for tool in tools.values())


@both
async def test_task_reports_progress_and_returns_its_report(url: str, mode: Any) -> None:
    """A task tells its progress and answers with its report."""
    told: list[tuple[float, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append((done, message))

    async with Client(url, mode=mode) as client:
        asked = {"task_description": "Why are there tides?", "timeout_seconds": 20.0}
        answer = await client.call_tool("execute_task", asked, progress_callback=progress)

    task = answer.structured_content
    report, link = answer.content
    assert (answer.is_error, task["status"]) == (False, "completed")
    assert fakes.MOON in report.text
    assert f"# Why are there tides?\n\n{report.text}" == task["result"]["report"]
    assert [source["location"] for source in task["result"]["sources"]] == ["tides.md"]
    assert (link.type, link.uri) == ("resource_link", f"muster://tasks/{task['task_id']}/report")
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    messages = [message for _, message in told]
    assert messages[0] == f"Task {task['task_id']} is accepted."
    assert {"research started", "analyze started", "report finished"} <= set(messages)


async def test_the_report_is_a_resource(url: str) -> None:
    async with Client(url) as client:
        answer = await client.call_tool("execute_task", {"task_description": "Why are there tides?"})
        uri = f"muster://tasks/{answer.structured_content['task_id']}/report"

        listed = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        read = (await client.read_resource(uri)).contents

    assert [(r.uri, r.title, r.mime_type) for r in listed] == [(uri, "Why are there tides?", "text/markdown")]
    assert [t.uri_template for t in templates] == ["muster://tasks/{task_id}/report"]
    assert [(c.uri, c.mime_type, c.text) for c in read] == [
        (uri, "text/markdown", f"# Why are there tides?\n\n{answer.content[0].text}")
    ]


async def test_more_reports_than_a_page_come_page_by_page(url: str, suite: Suite) -> None:
    await asyncio.gather(*(suite.execute(f"Why {n}?") for n in range(60)))

    async with Client(url) as client:
        first = await client.list_resources()
        second = await client.list_resources(cursor=first.next_cursor)

    assert (len(first.resources), len(second.resources), second.next_cursor) == (50, 10, None)
    assert len({r.uri for r in first.resources + second.resources}) == 60


async def test_the_prompt_asks_for_the_tool(url: str) -> None:
    async with Client(url) as client:
        prompts = (await client.list_prompts()).prompts
        asked = await client.get_prompt("research", {"question": "Why are there tides?"})
        for name, arguments, said in (("research", {}, "/question: must not be empty"), ("x", {}, "Unknown prompt")):
            with pytest.raises(MCPError, match=said):
                await client.get_prompt(name, arguments)

    assert [p.name for p in prompts] == ["research"]
    assert "execute_task" in asked.messages[0].content.text
    assert asked.messages[0].content.text.endswith("\n\nWhy are there tides?")


async def test_agents_are_listed_and_chosen(url: str) -> None:
    async with Client(url) as client:
        everyone = await client.call_tool("list_agents", {})
        one = await client.call_tool("list_agents", {"capability": "analyze", "status": "healthy"})
        nobody = await client.call_tool("list_agents", {"capability": "juggle"})

    assert {a["name"] for a in everyone.structured_content["agents"]} == {"researcher", "analyzer", "reporter"}
    assert one.content[0].text == "analyzer (healthy): analyze. Does analyze."
    assert (nobody.structured_content, nobody.is_error) == ({"agents": []}, False)


async def test_agent_without_capabilities_is_listed(url: str, suite: Suite) -> None:
    """An agent without capabilities is listed with the way to ask it."""
    poet = {"name": "poet", "endpoint": "http://poet", "capabilities": [], "description": "Odes."}
    await suite.client.post("/register_agent", json=poet)
    async with Client(url) as client:
        listed = (await client.call_tool("list_agents", {})).content[0].text

    assert "): only by its name, in `agents`. Odes." in listed


async def test_a_task_may_be_begun_looked_at_and_cancelled() -> None:
    async with holding() as (_, url, held), Client(url) as client:
        begun = await client.call_tool("execute_task", SLOW | {"wait": False})
        task_id = begun.structured_content["task_id"]
        await eventually(lambda: held.began)
        running = await client.call_tool("get_task", {"task_id": task_id})
        with pytest.raises(MCPError, match="is running; its report is available when it has ended"):
            await client.read_resource(f"muster://tasks/{task_id}/report")
        no_reports = (await client.list_resources()).resources

        cancelled = await client.call_tool("cancel_task", {"task_id": task_id})

        await eventually(lambda: held.cancelled)
        again = await client.call_tool("get_task", {"task_id": task_id})
    assert begun.structured_content["status"] in ("queued", "running")
    assert running.content[0].text == f"Task {task_id} is running: slow running."
    assert no_reports == []
    assert cancelled.structured_content["status"] == again.structured_content["status"] == "cancelled"


async def test_waiting_caller_hears_of_a_cancel() -> None:
    """Who waits for a task hears that another cancelled it."""
    async with holding() as (_, url, held), Client(url) as client:
        waiting = asyncio.create_task(client.call_tool("execute_task", SLOW))
        await eventually(lambda: held.began)

        async with Client(url) as other:
            await other.call_tool("cancel_task", {"task_id": held.began[0].task_id})

        answer = await waiting
    assert (answer.is_error, answer.structured_content["status"]) == (False, "cancelled")
    assert answer.content[0].text.startswith(f"Task {held.began[0].task_id} is cancelled")


@both
async def test_failed_task_is_an_error_with_its_reason(coordinator: Suite, mode: Any) -> None:
    """A task that fails is an error with its reason."""

    async def fails(step: StepRequest, ctx: Context) -> Reply:
        raise ValueError("bad day")

    await coordinator.add(agent("clumsy", "fall", fails))
    async with serving(coordinator.app, lifespan=False) as url, Client(f"{url}/mcp", mode=mode) as client:
        answer = await client.call_tool("execute_task", {"task_description": "Try", "agents": ["clumsy"]})

    assert answer.is_error
    assert answer.content[0].text == "The task failed: ValueError: bad day"
    assert answer.structured_content["results"][0]["error"]["detail"] == "ValueError: bad day"


@both
async def test_a_trace_reaches_the_agents(url: str, suite: Suite, mode: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with httpx.AsyncClient(timeout=30) as client:
        headers = await legacy_session(client, url) if mode == "legacy" else modern_headers("tools/call")
        asked = call({"task_description": "Why are there tides?"})
        answer = await client.post(url, json=asked, headers=headers | {"traceparent": trace})

    assert fakes.MOON in answer.text
    assert trace[:36] in suite.network.calls("researcher")[0].headers["traceparent"]


@both
async def test_a_tenant_reaches_the_queue(url: str, suite: Suite, mode: str) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        headers = await legacy_session(client, url) if mode == "legacy" else modern_headers("tools/call")
        asked = call({"task_description": "Why are there tides?"})
        await client.post(url, json=asked, headers=headers | {"Muster-Tenant": "blue"})
        refused = await client.post(url, json=asked, headers=headers | {"Muster-Tenant": "-"})

    [line] = await suite.services.store.list_tasks()
    [accepted] = [e for e in await suite.services.store.events(line.id) if e.type == "task.accepted"]
    assert accepted.fields["lane"] == {"key": None, "tenant": "blue"}
    assert "Muster-Tenant must be" in refused.text


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("execute_task", {}, "/task_description: Field required"),
        ("execute_task", {"task_description": " "}, "/task_description: must not be empty"),
        ("execute_task", {"task_description": "x", "timeout_seconds": -1}, "/timeout_seconds: Input should be greater"),
        ("execute_task", {"task_description": "x", "timeout": 5}, "/timeout: Extra inputs are not permitted"),
        ("execute_task", {"task_description": "x", "webhook_url": "http://x"}, "/webhook_url: Input should be None"),
        ("execute_task", {"task_description": "x", "wait": "maybe"}, "/wait: Input should be a valid boolean"),
        ("execute_task", {"task_description": "x", "agents": ["nobody"]}, "nobody"),
        ("execute_task", {"task_description": "x", "plan": [{"id": "a"}]}, "/plan/0: must have exactly one of"),
        ("get_task", {}, "/task_id: Field required"),
        ("get_task", {"task_id": "x"}, "There is no task 'x'."),
        ("get_task", {"task_id": ""}, "/task_id: String should have at least 1 character"),
        ("cancel_task", {"task_id": "x"}, "There is no task 'x'."),
        ("list_agents", {"status": "bored"}, "/status: Input should be 'pending'"),
    ],
)
async def test_bad_arguments_are_an_error_that_names_them(url: str, tool: str, arguments: Any, said: str) -> None:
    async with Client(url) as client:
        answer = await client.call_tool(tool, arguments)

    assert answer.is_error
    assert said in answer.content[0].text


@both
async def test_text_that_is_no_unicode_is_refused(url: str, mode: str) -> None:
    async with httpx.AsyncClient() as client:
        headers = await legacy_session(client, url) if mode == "legacy" else modern_headers("tools/call")
        body = json.dumps(call({"task_description": "\ud800"}))
        answer = await client.post(url, content=body, headers=headers | {"Content-Type": "application/json"})

    assert "hex escape" in answer.text


async def test_a_task_that_has_ended_cannot_be_cancelled(url: str) -> None:
    async with Client(url) as client:
        task = await client.call_tool("execute_task", {"task_description": "Why are there tides?"})
        answer = await client.call_tool("cancel_task", {"task_id": task.structured_content["task_id"]})

    assert answer.is_error
    assert "has already ended: completed" in answer.content[0].text


@both
async def test_unknown_tools_resources_and_cursors_are_protocol_errors(url: str, mode: Any) -> None:
    async with Client(url, mode=mode) as client:
        with pytest.raises(MCPError, match=r"Unknown tool: 'juggle'\. Available: execute_task, get_task"):
            await client.call_tool("juggle", {})
        for uri in ("muster://tasks/x/report", "muster://tasks/x/other", "file:///etc/passwd"):
            with pytest.raises(MCPError, match=r"There is no task|Resource not found") as error:
                await client.read_resource(uri)
            assert error.value.data == {"uri": uri}
        with pytest.raises(MCPError, match="Invalid cursor"):
            await client.list_resources(cursor="x")


async def test_a_body_that_is_too_large_is_refused(url: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(url, content=b"x" * 2_000_001, headers=ACCEPT)

    assert answer.status_code == 413


# --- who may ask ----------------------------------------------------------------------------------------


async def test_the_key_is_asked_for_and_taken() -> None:
    async with Suite(None, api_key="s3cret") as suite, serving(suite.app, lifespan=False) as base:
        url = f"{base}/mcp"
        async with httpx.AsyncClient() as client:
            refused = await client.post(url, json={}, headers=ACCEPT)
        for mode in MODES:
            with pytest.raises(BaseExceptionGroup) as error:
                async with Client(url, mode=mode):  # type: ignore[arg-type]
                    pass
            assert "Send 'Authorization: Bearer <API_KEY>'." in str(_only(error.value))
            async with (
                httpx2.AsyncClient(headers={"Authorization": "Bearer s3cret"}) as http,
                Client(streamable_http_client(url, http_client=http), mode=mode) as client,  # type: ignore[arg-type]
            ):
                assert len((await client.list_tools()).tools) == 4

    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.json()["error"]["data"] == {"type": "unauthorized", "status": 401}


def _only(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        assert len(error.exceptions) == 1
        error = error.exceptions[0]
    return error


@pytest.mark.parametrize(
    ("host", "origin", "refusal"),
    [
        ("localhost", None, None),
        ("coordinator:8000", None, None),
        ("Coordinator:8000", None, None),
        ("127.0.0.1:8000", "http://localhost:6274", None),
        ("[::1]:8000", "http://[::1]:1", None),
        ("192.168.7.9:8000", None, None),
        ("192.168.7.9:8000", "http://192.168.7.9:8000", None),
        ("muster.example.com", "https://muster.example.com", None),
        ("other.example.com:443", None, None),
        ("evil.example.com", None, HostRefused),
        ("localhost.evil.com", None, HostRefused),
        ("coordinator:8000:1", None, HostRefused),
        ("", None, HostRefused),
        (None, None, HostRefused),
        ("localhost", "http://evil.example.com", OriginRefused),
        ("localhost", "http://6.6.6.6", OriginRefused),
        ("localhost", "null", OriginRefused),
        ("localhost", "file://localhost", OriginRefused),
    ],
)
def test_names_of_others_are_refused(host: str | None, origin: str | None, refusal: type[MusterError] | None) -> None:
    """An address cannot be rebound; a name can, unless it is one of ours."""
    names = list_allowed_names("https://muster.example.com/path", "other.example.com, third.example.com", None)

    with pytest.raises(refusal) if refusal else contextlib.nullcontext():
        check(host, origin, names=names)


async def test_foreign_host_is_421_and_reveals_nothing() -> None:
    """A foreign host is 421 and the names of settings are not."""
    settings = {"public_url": "https://muster.example.com", "mcp_allowed_hosts": "box,host.docker.internal"}
    async with Suite(None, **settings) as suite:
        found = {}
        for host in ("evil.example.com", "muster.example.com", "box:8000", "host.docker.internal:8000", "coordinator"):
            answer = await suite.client.post("/mcp", json={}, headers=ACCEPT | {"Host": host})
            found[host] = answer.status_code
        page = await suite.client.post("/mcp", json={}, headers=ACCEPT | {"Origin": "https://evil.example.com"})
        wrong = await suite.client.post("/mcp", json={}, headers=ACCEPT | {"Host": "evil.example.com"})

    assert found == {host: 421 if host == "evil.example.com" else 400 for host in found}
    assert "ALLOWED_HOSTS" in wrong.json()["error"]["message"]
    assert page.status_code == 403


@pytest.mark.parametrize("hosts", ["http://box", "box:8000", "box,,other", "a b", "*"])
def test_malformed_host_list_is_refused(hosts: str) -> None:
    """A setting that is no list of names is refused."""
    with pytest.raises(ValueError, match="mcp_allowed_hosts"):
        coordinator_settings(mcp_allowed_hosts=hosts)


# --- bad luck ------------------------------------------------------------------------------------------


@both
async def test_a_client_that_gives_up_cancels_its_task(mode: Any) -> None:
    async with holding() as (suite, url, held):

        async def ask() -> None:
            async with Client(url, mode=mode) as client:
                await client.call_tool("execute_task", SLOW)

        asked = asyncio.create_task(ask())
        await eventually(lambda: held.began)
        asked.cancel()
        await asyncio.wait({asked})

        await eventually(lambda: held.cancelled)
        assert (await suite.ended(held.began[0].task_id)).status == "cancelled"


@both
async def test_a_client_that_is_cut_off_cancels_its_task(mode: str) -> None:
    """Nothing but the connection's end tells of it; nobody could be answered any more."""
    async with holding() as (suite, url, held):
        async with httpx.AsyncClient(timeout=5) as client:
            session = await legacy_session(client, url) if mode == "legacy" else modern_headers("tools/call")
            async with client.stream("POST", url, json=call(SLOW), headers=session) as answer:
                assert answer.status_code == 200
                await eventually(lambda: held.began)

        await eventually(lambda: held.cancelled)
        assert (await suite.ended(held.began[0].task_id)).status == "cancelled"


@both
async def test_a_stop_answers_who_waits_and_cancels_nothing(mode: Any) -> None:
    async with holding() as (suite, url, held), Client(url, mode=mode) as client:
        waiting = asyncio.create_task(client.call_tool("execute_task", SLOW))
        await eventually(lambda: held.began)

        suite.app.stopping.begin()
        answer = await waiting

        why = "The coordinator is shutting down; the task continues after a restart."
        said = f"{why} Its task_id is {held.began[0].task_id!r}."
        assert (answer.is_error, answer.content[0].text) == (True, said)
        assert held.cancelled == []


@both
async def test_open_sessions_do_not_hold_up_a_stop(tmp_path: Path, mode: Any) -> None:
    """Clients of the older revision keep a stream open all the time."""
    with processes.Coordinator(tmp_path).start().ready() as coordinator:
        async with Client(f"{coordinator.url}/mcp", mode=mode) as client:
            await client.list_tools()
            coordinator.terminate()
            code = await asyncio.to_thread(coordinator.process.wait, 5)

    assert code == -signal.SIGTERM  # as uvicorn ends
    assert '"level": "error"' not in coordinator.process.out


async def test_what_was_begun_outlives_a_kill(tmp_path: Path) -> None:
    """`kill -9` in the middle: the task goes on after the start, and a new session reads its report."""
    with processes.suite(tmp_path) as (coordinator, _):
        url = f"{coordinator.url}/mcp"
        plan = [{"id": "one", "agent": "plain", "input": {"delay_ms": 1_000}}]
        async with Client(url) as client:
            wanted = {"task_description": "Go on", "plan": plan, "wait": False}
            begun = await client.call_tool("execute_task", wanted)
        task_id = begun.structured_content["task_id"]

        coordinator.kill()
        await asyncio.to_thread(coordinator.start().ready)

        async with Client(url) as client:
            await eventually(lambda: has_ended(client, task_id), seconds=20)
            read = (await client.read_resource(f"muster://tasks/{task_id}/report")).contents
    assert f"{task_id}/one" in read[0].text


async def has_ended(client: Client, task_id: str) -> bool:
    answer = await client.call_tool("get_task", {"task_id": task_id})
    return answer.structured_content["status"] == "completed"


async def test_many_who_come_first_share_one_start(url: str) -> None:
    async def lists() -> int:
        async with Client(url) as client:
            return len((await client.list_tools()).tools)

    assert await asyncio.gather(*(lists() for _ in range(8))) == [4] * 8


async def test_a_start_that_fails_is_tried_again(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setitem(sys.modules, "coordinator.protocols.mcp.server", None)  # it cannot be imported
        failed = await suite.client.post("/mcp", json={}, headers=ACCEPT)

    answer = await suite.client.post("/mcp", json={}, headers=ACCEPT)

    assert (failed.status_code, failed.json()["error"]["code"]) == (500, -32603)
    assert answer.status_code == 400


def test_the_sdk_is_loaded_with_the_first_request_only() -> None:
    """A coordinator that nobody calls over MCP keeps the memory."""
    script = """if True:
        import asyncio, sys, httpx
        from coordinator.app import create_app
        from shared.settings import CoordinatorSettings
        app = create_app(CoordinatorSettings(_env_file=None, database_url="memory:"))
        async def main():
            transport = httpx.ASGITransport(app)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://coordinator") as client,
            ):
                await client.post("/execute_task", json={"task_description": "x", "agents": ["nobody"]})
                print("mcp" in sys.modules)
                print((await client.post("/mcp", json={})).status_code, "mcp" in sys.modules)
        asyncio.run(main())
    """
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert [line for line in ran.stdout.splitlines() if "request.done" not in line] == ["False", "400 True"]


# --- the real suite -------------------------------------------------------------------------------------


async def test_a_real_suite_answers_from_its_documents(tmp_path: Path) -> None:
    """Coordinator, researcher, analyzer and reporter as processes, asked by the SDK's client."""
    knowledge = tmp_path / "knowledge"
    knowledge.mkdir()
    (knowledge / "tides.md").write_text("# Tides\n\nTides are caused by the gravity of the moon and of the sun.\n")
    told: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(message)

    with contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(processes.Coordinator(tmp_path / "coordinator")).start()
        env = {"COORDINATOR_URL": coordinator.url, "KNOWLEDGE_DIR": str(knowledge)}
        for name in ("researcher", "analyzer", "reporter"):
            stack.enter_context(processes.start(f"workers.{name}", folder=tmp_path, env=env))
        await asyncio.to_thread(coordinator.ready)
        async with Client(f"{coordinator.url}/mcp") as client:
            await eventually(lambda: all_healthy(client), seconds=30)
            asked = {"task_description": "What are tides caused by?"}
            answer = await client.call_tool("execute_task", asked, progress_callback=progress)

    assert (answer.is_error, answer.structured_content["status"]) == (False, "completed")
    assert "gravity of the moon" in answer.content[0].text
    assert {"research finished", "analyze finished", "report finished"} <= set(told)


async def all_healthy(client: Client) -> bool:
    answer = await client.call_tool("list_agents", {"status": "healthy"})
    return len(answer.structured_content["agents"]) == 3


# --- the wire by hand -----------------------------------------------------------------------------------

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}


def call(arguments: dict[str, Any]) -> dict[str, Any]:
    """A call of execute_task that wants progress."""
    params = {"name": "execute_task", "arguments": arguments, "_meta": {"progressToken": 1} | META}
    return {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}


def modern_headers(method: str) -> dict[str, str]:
    return ACCEPT | {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, "Mcp-Name": "execute_task"}


async def legacy_session(client: httpx.AsyncClient, url: str) -> dict[str, str]:
    """Headers of a new session of the revision 2025-11-25."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    answer = await client.post(url, json=body, headers=ACCEPT)
    assert json.loads(answer.text.partition("data: ")[2])["result"]["protocolVersion"] == "2025-11-25"
    headers = ACCEPT | {"MCP-Protocol-Version": "2025-11-25", "Mcp-Session-Id": answer.headers["mcp-session-id"]}
    ready = await client.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=headers)
    assert ready.status_code == 202
    return headers | {"Content-Type": "application/json"}
