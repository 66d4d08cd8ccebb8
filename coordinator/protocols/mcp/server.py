"""The MCP server itself: tools, resources and a prompt, put together. Importing this loads the SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListToolsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)
from starlette.types import ASGIApp

from coordinator.protocols.chat import CoordinatorFace
from coordinator.protocols.mcp.resources import Resources
from coordinator.protocols.mcp.tools import CoordinatorTools
from shared.contracts import MAX_BODY_BYTES

McpContext = ServerRequestContext[Any, Any]

MAX_SESSIONS = 1_000  # of the older revisions, at 46 kB each; 2026-07-28 has none
IDLE_SECONDS = 300.0  # many clients leave without a word; one that keeps a stream open is not idle
INSTRUCTIONS = """\
Muster answers questions with a team of agents: research, analysis, then a report with citations. Call execute_task \
with the question. What takes longer than you can wait: execute_task with wait=false, then get_task until its status \
is no longer queued or running. Reports stay readable as resources, muster://tasks/{task_id}/report."""
PROMPT = Prompt(
    name="research",
    title="Research a question",
    description="Has Muster answer a question, and keeps its citations.",
    arguments=[PromptArgument(name="question", description="What you want to know.", required=True)],
)
ASKED = "Answer this question with Muster's tool execute_task, and keep the citations of its report:\n\n"


def make_serving(face: CoordinatorFace) -> Callable[[], AbstractAsyncContextManager[ASGIApp]]:
    """A context manager whose value serves requests; it is entered and left in one task."""

    @asynccontextmanager
    async def serve() -> AsyncIterator[ASGIApp]:
        tools = CoordinatorTools(face)
        manager = StreamableHTTPSessionManager(
            _make_server(face, tools),
            max_request_body_size=MAX_BODY_BYTES,
            stateless=face.get_services().sharing is not None,  # the next request may come to another coordinator
            max_sessions=MAX_SESSIONS,
            session_idle_timeout=IDLE_SECONDS,
        )
        try:
            async with manager.run():
                yield manager.handle_request
        finally:
            await tools.close()

    return serve


def _make_server(face: CoordinatorFace, tools: CoordinatorTools) -> Server[Any]:
    resources = Resources(face)

    async def list_tools(ctx: McpContext, params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=tools.list_tools())

    async def call_tool(ctx: McpContext, params: CallToolRequestParams) -> CallToolResult:
        return await tools.call(ctx, params.name, params.arguments or {})

    return Server(
        "muster",
        title="Muster",
        version=face.version,
        description=face.description,
        instructions=INSTRUCTIONS,
        get_tool_input_schema=tools.get_input_schema,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=resources.list_page,
        on_list_resource_templates=resources.list_templates,
        on_read_resource=resources.read,
        on_list_prompts=_list_prompts,
        on_get_prompt=_get_prompt,
    )


async def _list_prompts(ctx: McpContext, params: PaginatedRequestParams | None) -> ListPromptsResult:
    return ListPromptsResult(prompts=[PROMPT])


async def _get_prompt(ctx: McpContext, params: GetPromptRequestParams) -> GetPromptResult:
    if params.name != PROMPT.name:
        raise MCPError(INVALID_PARAMS, f"Unknown prompt: {params.name!r}. Available: {PROMPT.name}.")
    question = (params.arguments or {}).get("question", "").strip()
    if not question:
        raise MCPError(INVALID_PARAMS, "/question: must not be empty")
    message = PromptMessage(role="user", content=TextContent(type="text", text=ASKED + question))
    return GetPromptResult(description=PROMPT.description, messages=[message])
