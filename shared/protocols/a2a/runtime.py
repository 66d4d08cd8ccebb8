"""Puts the SDK to work: handler, routes, cards for each host name, and the tasks that a restart left open."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from a2a.server.agent_execution import AgentExecutor
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.types.a2a_pb2 import SendMessageRequest, Task
from a2a.utils.errors import A2AError
from fastapi import Request, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from shared import logs
from shared.db.database import Database
from shared.errors import MusterError
from shared.protocols.a2a.card import make_card
from shared.protocols.a2a.executor import FaceExecutor
from shared.protocols.a2a.following import SharedEvents
from shared.protocols.a2a.handing_over import HandingOver
from shared.protocols.a2a.handler import A2aHandler, KeyedContexts
from shared.protocols.a2a.http import CARD_PATH, REST_PREFIX, RPC_PATHS, Wire
from shared.protocols.a2a.resuming import Resuming
from shared.protocols.a2a.store import Hooks, Tasks
from shared.protocols.mounting import BASE, Host
from shared.protocols.sharing import Shared

CARD_CACHE = "public, max-age=60"


# What the SDK logs of a caller's mistakes, some with a traceback: the caller is told, and the request has its line.
_TALKATIVE = (
    "a2a.compat.v0_3.jsonrpc_adapter",
    "a2a.server.request_handlers.default_request_handler_v2",
    "a2a.server.request_handlers.request_handler",
    "a2a.server.routes.jsonrpc_dispatcher",
    "a2a.utils.error_handlers",
    "a2a.utils.version_validator",
)
_OLD_NEWS = (
    "A VersionedTaskStore was configured",
    "Failed to parse request params",
    "Failed to validate base JSON-RPC request",
    "Request Error",
    "Request error",
    "Validation failure",
    "Version mismatch",
)


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_OLD_NEWS)


class Runtime:
    """The SDK around one service's Face; `app` answers its requests."""

    def __init__(self, host: Host, handler: DefaultRequestHandler, left: Sequence[Task], resuming: Resuming) -> None:
        self._host = host
        self._handler = handler
        self._left = left
        self._resuming = resuming
        self.handing_over: HandingOver | None = None
        rest = create_rest_routes(handler, path_prefix=REST_PREFIX)
        self.app: ASGIApp = Wire(
            Router(
                [
                    Route(CARD_PATH, self._get_card, methods=["GET"]),
                    *(r for path in RPC_PATHS for r in create_jsonrpc_routes(handler, path, enable_v0_3_compat=True)),
                    *(r for r in rest if isinstance(r, Route)),  # without Mount("/{tenant}"), which eats other paths
                ],
                redirect_slashes=False,
            ),
            body_limit=host.app.body_limit,
        )

    async def _get_card(self, request: Request) -> Response:
        old = not request.headers.get("a2a-version", "").startswith("1")  # missing means 0.3 (A2A 1.0, 3.6.2)
        shown = make_card(self._host.face, base=self._host.get_base(request), secured=self._host.secured, old=old)
        answer: Response = await create_agent_card_routes(shown, cache_control=CARD_CACHE)[0].endpoint(request)
        answer.headers["Vary"] = f"A2A-Version, {BASE}"
        return answer

    async def resume(self) -> None:
        """Asks every open task's question again, with the same key."""
        if self._left:
            logs.get().info("a2a.resumed", tasks=len(self._left))
        await asyncio.gather(*(self.ask_again(task) for task in self._left))

    async def ask_again(self, task: Task) -> None:
        """Asks a task's question again, with its key, and waits for the answer."""
        message = task.history[0]
        message.task_id, message.context_id = task.id, task.context_id
        try:
            await self._handler.on_message_send(SendMessageRequest(message=message), ServerCallContext())
        except (A2AError, MusterError) as exc:  # cancelled meanwhile, say; the others go on
            logs.get().warning("a2a.not_resumed", task_id=task.id, why=str(exc))
        finally:
            self._resuming.mark_at_work(task.id)


@asynccontextmanager
async def open_runtime(
    host: Host,
    db: Database,
    *,
    news: Callable[[], None],
    refusal: Callable[[str], str | None],
    make_executor: Callable[[Host], AgentExecutor] | None,
    shared: Shared | None = None,
) -> AsyncIterator[Runtime]:
    """The runtime over `db`; `news` and `refusal` are the outbox's. Tasks it leaves at its end stay open in `db`."""
    stopping = host.app.stopping
    tasks = Tasks(db, news=news, shared=shared)
    await tasks.load()
    left = [] if shared else [task for task in await tasks.list_open() if task.history]
    resuming = Resuming(task.id for task in left)
    executor = FaceExecutor(host.face, stopping=lambda: bool(stopping), at_work=resuming.mark_at_work)
    tasks.lost = executor.give_up
    kind = (
        partial(DefaultRequestHandler, task_store=tasks)
        if make_executor
        else partial(A2aHandler, resuming=resuming, tasks=tasks)
    )
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_is_news)
    with warnings.catch_warnings():  # that a store without an event stream serves one process: it does
        warnings.simplefilter("ignore")
        handler = kind(
            agent_executor=make_executor(host) if make_executor else executor,
            agent_card=make_card(host.face, base="http://localhost", secured=False, old=True),
            push_config_store=Hooks(db, tasks, refusal=refusal),
            request_context_builder=KeyedContexts(),
            event_stream=SharedEvents(shared, tasks, stopping=lambda: bool(stopping)) if shared else None,
        )
    runtime = Runtime(host, handler, left, resuming)
    if shared and isinstance(handler, A2aHandler):
        runtime.handing_over = HandingOver(
            shared, tasks, executor, is_active=handler.is_active, ask_again=runtime.ask_again
        )
    try:
        yield runtime
    finally:
        stopping.begin()  # the runtime closes when the service stops; an answer cut off now is not cancelled
        if runtime.handing_over is not None:
            await runtime.handing_over.close()
        await handler.aclose()
