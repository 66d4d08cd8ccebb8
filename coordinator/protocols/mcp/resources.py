"""The resources that MCP clients read: the reports of tasks that have ended."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from coordinator.api import tasks
from coordinator.protocols.chat import CoordinatorFace
from coordinator.reports.document import report
from shared.contracts import Status
from shared.errors import Conflict, MusterError, NotFound

McpContext = ServerRequestContext[Any, Any]

LISTED = 50  # tasks on one page
REPORT = "muster://tasks/{task_id}/report"
_REPORT = re.compile(r"muster://tasks/([^/?#]{1,200})/report\Z")


class Resources:
    """The reports of tasks that have ended, newest first."""

    def __init__(self, face: CoordinatorFace) -> None:
        self._face = face

    async def list_page(self, ctx: McpContext, params: PaginatedRequestParams | None) -> ListResourcesResult:
        """Reports of the tasks of one page; the cursor is that of `GET /tasks`."""
        try:
            page = await tasks.list_tasks(
                self._face.get_services(), limit=LISTED, cursor=params.cursor if params else None
            )
        except MusterError as error:
            raise MCPError(INVALID_PARAMS, error.detail) from error
        ended = [t for t in page["tasks"] if t["status"] not in (Status.QUEUED, Status.RUNNING)]
        return ListResourcesResult(resources=[_describe_task(t) for t in ended], next_cursor=page["next_cursor"])

    async def list_templates(
        self, ctx: McpContext, params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        """The one way from a task to its report."""
        template = ResourceTemplate(
            uri_template=REPORT,
            name="report",
            title="Report of a task",
            description="What a task found out, as Markdown, once it has ended.",
            mime_type="text/markdown",
        )
        return ListResourceTemplatesResult(resource_templates=[template])

    async def read(self, ctx: McpContext, params: ReadResourceRequestParams) -> ReadResourceResult:
        """A report as Markdown."""
        try:
            text = await self._render_report(params.uri)
        except MusterError as error:
            raise MCPError(INVALID_PARAMS, error.detail, data={"uri": params.uri}) from error
        content = TextResourceContents(uri=params.uri, mime_type="text/markdown", text=text)
        return ReadResourceResult(contents=[content])

    async def _render_report(self, uri: str) -> str:
        found = _REPORT.match(uri)
        if found is None:
            raise NotFound(f"Resource not found: {uri!r}. Available: {REPORT}.")
        task = await self._face.get_services().dispatcher.get_task(found.group(1))
        if not task.ended:
            raise Conflict(f"Task {task.id} is {task.status}; its report is available when it has ended.")
        return await asyncio.to_thread(report, task, "markdown")


def _describe_task(task: dict[str, Any]) -> Resource:
    return Resource(
        uri=REPORT.format(task_id=task["task_id"]),
        name=f"report-{task['task_id']}",
        title=task["task_description"],
        description=f"Report of a task that is {task['status']}, asked at {task['created_at']:%Y-%m-%d %H:%M} UTC.",
        mime_type="text/markdown",
    )
