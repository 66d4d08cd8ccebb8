"""The tools that MCP clients call: execute_task, get_task, cancel_task, list_agents."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, ContentBlock, ResourceLink, TextContent, Tool, ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field

from coordinator.access.guard import CALLER
from coordinator.api import agents as api_agents
from coordinator.execution.waiting import TaskFailed
from coordinator.protocols.chat import CoordinatorFace
from coordinator.protocols.mcp.resources import REPORT
from coordinator.protocols.mcp.scope_keys import GONE, TRACE
from coordinator.reports.document import has_report, in_words, report
from coordinator.reports.view import WITHOUT_OUTPUTS, view
from coordinator.tasks.task import Task
from shared import logs
from shared.contracts import AgentStatus, AgentView, Name, Status, TaskRequest, TaskView
from shared.errors import AgentLost, MusterError, Unavailable
from shared.server import bodies
from shared.server.problems import Internal

McpContext = ServerRequestContext[Any, Any]
RunTool = Callable[[McpContext, Any], Coroutine[Any, Any, CallToolResult]]

CANCEL_SECONDS = 2.0  # until a cancelled task has ended, as a rule
MAX_AGENTS = 1_000
BY_NAME = "only by its name, in `agents`"  # instead of capabilities, where an agent has none


class ExecuteTask(TaskRequest):
    """What `POST /execute_task` takes, but for the webhook; `wait=False` answers before the task has ended."""

    webhook_url: None = None
    wait: bool = True


class TaskId(BaseModel):
    model_config = ConfigDict(extra="forbid")

    task_id: str = Field(min_length=1, max_length=200, description="The task's id, as execute_task gave it.")


class AgentFilter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    capability: Name | None = Field(None, description="Only agents that can do this: research, analyze, report …")
    status: AgentStatus | None = Field(None, description="Only agents in this state.")


class AgentList(BaseModel):
    agents: list[AgentView]


SAID = {  # about the arguments of execute_task, to the model that fills them in
    "task_description": "The question, or a list of questions, one a line.",
    "timeout_seconds": "Seconds until you want the answer; what is ready by then is in it. Default: the server's.",
    "plan": "Steps of your own instead of research, analyze, report. Not together with agents.",
    "agents": "Names of agents (see list_agents) that are all asked the same at once. Not together with plan.",
    "context": "Any JSON that every step is handed.",
    "priority": "0 to 9; 9 goes first.",
    "max_calls": "Calls of models that the task may spend.",
    "max_tokens": "Tokens that the task may spend.",
    "format": "The report's format.",
    "wait": "False: answer at once with the task's id; get_task tells the rest.",
}


@dataclass(frozen=True)
class _Entry:
    tool: Tool
    arguments: type[BaseModel]
    run: RunTool


class CoordinatorTools:
    """The table of tools over one coordinator, and the calls that run."""

    def __init__(self, face: CoordinatorFace) -> None:
        self._face = face
        self._calls: set[asyncio.Task[Any]] = set()
        reads, cancels = ToolAnnotations(read_only_hint=True), ToolAnnotations(idempotent_hint=True)
        entries = (
            _make_entry(
                "execute_task",
                "Research a question",
                "Has a team of agents research, analyse and report on a question; the answer is a report with "
                "citations. Takes seconds to minutes and tells its progress.",
                ExecuteTask,
                TaskView,
                ToolAnnotations(destructive_hint=False, open_world_hint=True),
                self._execute_task,
            ),
            _make_entry(
                "get_task",
                "Look at a task",
                "The status of a task; its report once it has ended.",
                TaskId,
                TaskView,
                reads,
                self._get_task,
            ),
            _make_entry(
                "cancel_task",
                "Cancel a task",
                "Stops a task and everything that works on it.",
                TaskId,
                TaskView,
                cancels,
                self._cancel_task,
            ),
            _make_entry(
                "list_agents",
                "List agents",
                "The agents that are registered: what each can do, and how it is.",
                AgentFilter,
                AgentList,
                reads,
                self._list_agents,
            ),
        )
        self._entries: Mapping[str, _Entry] = {entry.tool.name: entry for entry in entries}

    def list_tools(self) -> list[Tool]:
        """Every tool, as `tools/list` shows it."""
        return [entry.tool for entry in self._entries.values()]

    def get_input_schema(self, name: str) -> dict[str, Any] | None:
        """The JSON schema of a tool's arguments; None for a tool that is not there."""
        entry = self._entries.get(name)
        return entry.tool.input_schema if entry else None

    async def call(self, ctx: McpContext, name: str, arguments: dict[str, Any]) -> CallToolResult:
        """Calls a tool; what goes wrong is a result with `isError`, an unknown tool is a protocol error."""
        entry = self._entries.get(name)
        if entry is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {name!r}. Available: {', '.join(self._entries)}.")
        try:
            given = bodies.parse(entry.arguments, json.dumps(arguments).encode())
            return await self._run_while_asked(ctx, entry.run(ctx, given))
        except MusterError as error:
            return CallToolResult(content=[_make_text(error.detail)], is_error=True)
        except Exception as exc:  # a bug in a tool costs one call; the SDK would show its text to the caller
            logs.get().error("mcp.broke", tool=name, exc_info=exc)
            return CallToolResult(content=[_make_text(Internal().detail)], is_error=True)

    async def close(self) -> None:
        """Waits for the calls that are being ended."""
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _run_while_asked(self, ctx: McpContext, work: Coroutine[Any, Any, CallToolResult]) -> CallToolResult:
        """Does the work as long as the caller waits for it.

        In a task of its own: the SDK's cancel scopes cancel again at every await, also while the work cleans up.
        """
        task = asyncio.create_task(work, name="mcp:call")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        gone = asyncio.create_task(_get_scope(ctx)[GONE].wait())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise AgentLost("The client disconnected.")
            return task.result()
        finally:
            gone.cancel()
            task.cancel()

    # --- the tools

    async def _execute_task(self, ctx: McpContext, given: ExecuteTask) -> CallToolResult:
        wanted = TaskRequest.model_construct(
            **{name: value for name, value in given if name in TaskRequest.model_fields}
        )
        task = await self._face.accept(wanted, traceparent=_get_scope(ctx)[TRACE], caller=_get_scope(ctx)[CALLER])
        if given.wait:
            try:
                await self._watch(ctx, task)
            except Unavailable as exc:
                raise Unavailable(f"{exc.detail} Its task_id is {task.id!r}.") from exc
        return await self._show(task.id)

    async def _watch(self, ctx: McpContext, task: Task) -> None:
        told = 0
        await ctx.session.report_progress(told, message=f"Task {task.id} is accepted.")
        async with aclosing(self._face.watch(task)) as notes:
            async for note in notes:
                told += 1
                await ctx.session.report_progress(told, message=note.message)

    async def _get_task(self, ctx: McpContext, given: TaskId) -> CallToolResult:
        return await self._show(given.task_id)

    async def _cancel_task(self, ctx: McpContext, given: TaskId) -> CallToolResult:
        dispatcher = self._face.get_services().dispatcher
        await dispatcher.cancel(given.task_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                await dispatcher.wait_for_end(given.task_id)
        return await self._show(given.task_id)

    async def _list_agents(self, ctx: McpContext, given: AgentFilter) -> CallToolResult:
        found = await api_agents.list_agents(
            self._face.get_services(), capability=given.capability, status=given.status, limit=MAX_AGENTS
        )
        agents: list[AgentView] = found["agents"]
        lines = [f"{a.name} ({a.status}): {', '.join(a.capabilities) or BY_NAME}. {a.description}" for a in agents]
        return CallToolResult(
            content=[_make_text("\n".join(lines) or "No matching agent is registered.")],
            structured_content=AgentList(agents=agents).model_dump(mode="json"),
        )

    async def _show(self, task_id: str) -> CallToolResult:
        services = self._face.get_services()
        task = await services.dispatcher.get_task(task_id)
        content: list[ContentBlock] = [_make_text(await _to_text(task))]
        if task.ended and task.status not in _UNANSWERED:
            uri = REPORT.format(task_id=task.id)
            content.append(ResourceLink(uri=uri, name=f"report-{task.id}", mime_type="text/markdown"))
        return CallToolResult(
            content=content,
            structured_content=view(task, services.waiter.base).model_dump(mode="json", exclude=dict(WITHOUT_OUTPUTS)),
            is_error=task.status in (Status.FAILED, Status.TIMED_OUT),
        )


_UNANSWERED = (Status.FAILED, Status.TIMED_OUT, Status.CANCELLED)


async def _to_text(task: Task) -> str:
    """A task as text: its report, or its status."""
    if task.status in (Status.FAILED, Status.TIMED_OUT):
        return TaskFailed(task, "").detail
    if task.ended and task.status is not Status.CANCELLED:
        if task.format == "markdown" and has_report(task):
            return await asyncio.to_thread(in_words, task)  # begins with the answer, or with the admission
        return await asyncio.to_thread(report, task, task.format)
    steps = ", ".join(f"{step.id} {step.status}" for step in task.steps)
    return f"Task {task.id} is {task.status}" + (f": {steps}." if steps else ".")


def _get_scope(ctx: McpContext) -> dict[str, Any]:
    """The ASGI scope of the HTTP request that brought the call."""
    assert ctx.request is not None, "calls come over HTTP"
    return ctx.request.scope  # type: ignore[no-any-return]


def _make_text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _make_entry(
    name: str,
    title: str,
    description: str,
    arguments: type[BaseModel],
    output: type[BaseModel],
    annotations: ToolAnnotations,
    run: RunTool,
) -> _Entry:
    tool = Tool(
        name=name,
        title=title,
        description=description,
        input_schema=_make_schema(arguments),
        output_schema=output.model_json_schema(),
        annotations=annotations,
    )
    return _Entry(tool, arguments, run)


def _make_schema(arguments: type[BaseModel]) -> dict[str, Any]:
    schema = arguments.model_json_schema()
    schema.pop("description", None)  # is for readers of the code
    properties: dict[str, Any] = schema["properties"]
    properties.pop("webhook_url", None)
    for name, said in SAID.items():
        if arguments is ExecuteTask:
            properties[name]["description"] = said
    return schema
