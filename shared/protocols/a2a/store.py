"""A2A tasks and their push configurations in the small database; what happens is saved with the news of it."""

from __future__ import annotations

import asyncio
import builtins
import json
import re
from collections.abc import Callable
from time import time

from a2a.server.cluster import (
    ConcurrentTaskModificationError,
    StoredTask,
    TaskVersion,
    VersionedTaskStore,
)
from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue import Event
from a2a.server.tasks import PushNotificationConfigStore
from a2a.server.tasks.push_notification_config_store import normalize_push_notification_config
from a2a.types.a2a_pb2 import (
    ListTasksRequest,
    ListTasksResponse,
    Message,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.constants import DEFAULT_LIST_TASKS_PAGE_SIZE
from a2a.utils.errors import InvalidParamsError
from a2a.utils.proto_utils import to_stream_response
from a2a.utils.task import ListTasksCursor, decode_list_tasks_cursor, encode_list_tasks_cursor
from google.protobuf.json_format import MessageToJson  # type: ignore[import-untyped]

from shared import logs
from shared.db.database import Database, Rows, Statement
from shared.errors import StorageUnwritable
from shared.protocols.a2a import sql
from shared.protocols.sharing import Shared

MAX_HOOKS = 16  # of one task
ROOM_SECONDS = 1.0  # between two looks for room on a full disk
ENDED = {
    TaskState.TASK_STATE_COMPLETED,
    TaskState.TASK_STATE_CANCELED,
    TaskState.TASK_STATE_FAILED,
    TaskState.TASK_STATE_REJECTED,
}
_WAITING = {TaskState.TASK_STATE_INPUT_REQUIRED, TaskState.TASK_STATE_AUTH_REQUIRED}
_HEADER = re.compile(r"[\x20-\x7e]*\Z")


class Tasks(VersionedTaskStore):
    """The SDK's store of tasks; an ended task is not changed any more.

    A database of its own has one writer, so it keeps no versions. In one that is `shared`, only the process that works
    on a task changes it, from how it was; `lost` is called with the id of one that another has taken over.
    `news` is called when a task has something to tell to a hook.
    """

    def __init__(
        self,
        db: Database,
        *,
        news: Callable[[], None],
        shared: Shared | None = None,
    ) -> None:
        self._db = db
        self._news = news
        self._shared = shared
        self.lost: Callable[[str], None] = lambda _: None
        self.hooked: set[str] = set()

    async def load(self) -> None:
        """Learns which tasks have hooks."""
        self.hooked |= {row[0] for row in await self._db.read(sql.HOOKED_TASKS)}

    async def save(
        self,
        task: Task,
        *,
        event: Event | None,
        prev: Task | None,
        prev_version: TaskVersion,
        context: ServerCallContext,
    ) -> TaskVersion:
        _join_texts(task)
        state = task.status.state
        row = {
            "id": task.id,
            "context_id": task.context_id,
            "state": int(state),
            "phase": "ended" if state in ENDED else "waiting" if state in _WAITING else "open",
            "updated": task.status.timestamp.ToNanoseconds(),
            "body": task.SerializeToString(),
        }
        if self._shared is not None:
            cancels = state == TaskState.TASK_STATE_CANCELED
            row |= {"carrier": self._shared.id, "version": read_version(prev_version), "cancels": cancels}
        statements = [Statement(sql.SAVE_TASK, row)]
        has_hooks = self._shared is not None or task.id in self.hooked
        tells = has_hooks and event is not None and not isinstance(event, Message)
        if tells:
            told = to_stream_response(event)  # type: ignore[arg-type]
            tell = {"task_id": task.id, "body": MessageToJson(told, indent=None), "due": time()}
            statements.append(Statement(sql.TELL, tell))
            if self._shared is not None:
                log = {"id": task.id, "at": self._shared.wall(), "event": told.SerializeToString()}
                statements.append(Statement(sql.ADD_EVENT, log))
        if await self._write(statements, patient=prev is not None) is None:
            await self._notice_loss(task.id)
            raise ConcurrentTaskModificationError(task.id)
        if tells:
            self._news()
        if state in ENDED:
            self.hooked.discard(task.id)  # it has nothing to tell any more
        if self._shared is not None and state == TaskState.TASK_STATE_CANCELED:  # from whichever version it had
            stored = await self.read(task.id)
            return stored.version if stored is not None else TaskVersion.MISSING
        return TaskVersion(read_version(prev_version) + 1 if self._shared is not None else 0)

    async def _notice_loss(self, task_id: str) -> None:
        """Whether another process has taken a task over, or was first with it."""
        if self._shared is not None and await self.find_elsewhere(task_id) is not None:
            self.lost(task_id)

    async def _write(self, statements: builtins.list[Statement], *, patient: bool) -> Rows | None:
        """Writes; on a full disk a new task is refused, and one that was taken waits for room."""
        while True:
            try:
                return await self._db.write("a2a.save", *statements)
            except StorageUnwritable as exc:
                if not patient:
                    raise
                logs.get().warning(exc.event)
                await asyncio.sleep(ROOM_SECONDS)

    async def get(self, task_id: str, context: ServerCallContext) -> StoredTask | None:
        return await self.read(task_id)

    async def read(self, task_id: str) -> StoredTask | None:
        """A task as it is stored."""
        rows = await self._db.read(sql.TASK, {"id": task_id})
        return StoredTask(Task.FromString(rows[0][0]), TaskVersion(rows[0][1])) if rows else None

    async def find_elsewhere(self, task_id: str) -> Task | None:
        """A task that another process works on."""
        if self._shared is None:
            return None
        rows = await self._db.read(sql.ELSEWHERE, {"id": task_id, "carrier": self._shared.id})
        return Task.FromString(rows[0][0]) if rows else None

    async def list(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        cursor = _parse_cursor(params.page_token)
        size = params.page_size or DEFAULT_LIST_TASKS_PAGE_SIZE
        has_time = params.HasField("status_timestamp_after")
        row = {
            "context_id": params.context_id,
            "state": int(params.status),
            "after": params.status_timestamp_after.ToNanoseconds() if has_time else None,
            "below": (cursor.timestamp_ns or 0) if cursor else None,
            "below_id": cursor.task_id if cursor else None,
            "limit": size + 1,
        }
        found = [Task.FromString(body) for (body,) in await self._db.read(sql.LIST_TASKS, row)]
        total = (await self._db.read(sql.COUNT_TASKS, row))[0][0]
        page, more = found[:size], len(found) > size
        return ListTasksResponse(
            tasks=page,
            total_size=total,
            page_size=size,
            next_page_token=encode_list_tasks_cursor(_make_cursor(page[-1])) if more else "",
        )

    async def delete(self, task_id: str, context: ServerCallContext) -> None:
        await self._db.write("a2a.delete", Statement(sql.DELETE_TASK, {"id": task_id}))

    async def list_carried(self) -> builtins.list[Task]:
        """The open tasks that are this process's, of several that share the database."""
        assert self._shared is not None
        rows = await self._db.read(sql.CARRIED, {"carrier": self._shared.id})
        return [Task.FromString(body) for (body,) in rows]

    async def list_open(self) -> builtins.list[Task]:
        """The tasks that were being worked on, the oldest first."""
        return [Task.FromString(body) for (body,) in await self._db.read(sql.OPEN_TASKS)]


def read_version(version: TaskVersion) -> int:
    """The number that this store has made it of; the SDK gives it back in no other way."""
    number = version._value
    assert isinstance(number, int)
    return number


class Hooks(PushNotificationConfigStore):
    """The SDK's store of push configurations. `refusal` says why a URL cannot be called, or None."""

    def __init__(self, db: Database, tasks: Tasks, *, refusal: Callable[[str], str | None]) -> None:
        self._db = db
        self._tasks = tasks
        self._refusal = refusal

    async def set_info(
        self, task_id: str, notification_config: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        hook = normalize_push_notification_config(task_id, notification_config)
        if (refused := self._refusal(hook.url)) is not None:
            raise InvalidParamsError(message=f"taskPushNotificationConfig.url: {refused}")
        row = {
            "task_id": task_id,
            "id": hook.id,
            "url": hook.url,
            "headers": json.dumps(_make_headers(hook)),
            "body": hook.SerializeToString(),
            "most": MAX_HOOKS,
        }
        if await self._db.write("a2a.hook", Statement(sql.SAVE_HOOK, row)) is None:
            raise InvalidParamsError(message=f"taskPushNotificationConfig: a task has at most {MAX_HOOKS}.")
        self._tasks.hooked.add(task_id)
        return hook

    async def get_info(self, task_id: str, context: ServerCallContext) -> list[TaskPushNotificationConfig]:
        return await self.get_info_for_dispatch(task_id)

    async def get_info_for_dispatch(self, task_id: str) -> list[TaskPushNotificationConfig]:
        rows = await self._db.read(sql.HOOKS, {"task_id": task_id})
        return [TaskPushNotificationConfig.FromString(body) for (body,) in rows]

    async def delete_info(self, task_id: str, context: ServerCallContext, config_id: str | None = None) -> None:
        row = {"task_id": task_id, "id": config_id}
        await self._db.write("a2a.unhook", Statement(sql.DELETE_HOOKS, row), Statement(sql.DELETE_UNTOLD, row))


def _make_headers(hook: TaskPushNotificationConfig) -> dict[str, str]:
    """What a hook wants to be sent with the news (a2a.proto 1.0, TaskPushNotificationConfig)."""
    given = hook.authentication
    fields = {
        "token": hook.token,
        "authentication.scheme": given.scheme,
        "authentication.credentials": given.credentials,
    }
    for name, value in fields.items():
        if not _HEADER.match(value):
            raise InvalidParamsError(message=f"taskPushNotificationConfig.{name}: must be printable ASCII.")
    token = {"X-A2A-Notification-Token": hook.token} if hook.token else {}
    key = {"Authorization": f"{given.scheme} {given.credentials}"} if given.scheme and given.credentials else {}
    return token | key


def _join_texts(task: Task) -> None:
    """Chunks of one text are one text in a stored task, or readers would put line breaks between them."""
    for artifact in task.artifacts:
        parts = artifact.parts
        if len(parts) > 1 and all(part.HasField("text") for part in parts):
            parts[0].text = "".join(part.text for part in parts)
            del parts[1:]


def _parse_cursor(token: str) -> ListTasksCursor | None:
    if not token:
        return None
    if (cursor := decode_list_tasks_cursor(token)) is None:
        raise InvalidParamsError(message="pageToken: is invalid.")
    return cursor


def _make_cursor(task: Task) -> ListTasksCursor:
    return ListTasksCursor(timestamp_ns=task.status.timestamp.ToNanoseconds() or None, task_id=task.id)
