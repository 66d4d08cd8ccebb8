"""KAOS's own JSON-RPC at `/`, carried by the A2A façade: tasks are A2A's, told in KAOS's older words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.routing import Match, Route
from starlette.types import Message, Receive, Scope, Send

from shared.errors import NotFound
from shared.server import bodies
from shared.server.app import App
from shared.strict_json import strict_json

PATH = "/"
VERSION = "A2A-Version"
MARK, KAOS = "muster.dialect", "kaos"  # in the metadata of a message that came this way: its task is told this way
PAGE, PAGES = 100, 10  # tasks of one of A2A's pages, and pages that one list of KAOS's is made of
CALLS = {
    "SendMessage": "SendMessage",
    "tasks/send": "SendMessage",
    "GetTask": "GetTask",
    "tasks/get": "GetTask",
    "CancelTask": "CancelTask",
    "tasks/cancel": "CancelTask",
    "ListTasks": "ListTasks",
    "tasks/list": "ListTasks",
}


class KaosRpc:
    """ASGI before the A2A façade; what names a version of A2A, or is not of KAOS's shape, goes on as it came.

    Messages are KAOS's when their parts have a `type`; other calls when their task began with such a message, or when
    there is none and A2A before 1.0 has no such call.
    """

    def __init__(self, app: App[Any]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if VERSION.lower() in request.headers or VERSION.lower() in _read_query_names(scope):
            await self._pass_on(scope, receive, send)
            return
        body = await bodies.read(request, limit=self._app.body_limit)
        answer = await self._answer(_parse_object(body), scope, receive)
        if answer is None:
            await self._pass_on(scope, bodies.replay(body, receive), send)
        else:
            await JSONResponse(answer)(scope, receive, send)

    async def _answer(self, call: Mapping[str, Any], scope: Scope, receive: Receive) -> dict[str, Any] | None:
        """The answer in KAOS's words, None for what is not KAOS's."""
        method, params = CALLS.get(str(call.get("method"))), call.get("params")
        if method is None or not isinstance(params, dict) or "id" not in call:
            return None
        head = {"jsonrpc": "2.0", "id": call["id"]}
        if method == "SendMessage":
            if (sent := _translate_message(params)) is None:
                return None
            said = await self._call(method, sent, scope, receive)
        elif method == "ListTasks":
            said = await self._list_tasks(scope, receive)
        else:
            said = await self._call("GetTask", {"id": params.get("id")}, scope, receive)
            if not _is_kaos(said.get("result")) and ("result" in said or call["method"] != method):
                return None
            if method == "CancelTask" and "result" in said:
                said = await self._call(method, {"id": params["id"]}, scope, receive)
        if "result" not in said:
            return head | {"error": {k: said["error"][k] for k in ("code", "message")}} if "error" in said else None
        result = said["result"]
        if method == "ListTasks":
            found = result.get("tasks", ())
            tasks = [_translate_task(task) for task in found if _is_kaos(task)]
            ours = tasks or not found or call["method"] != method  # A2A before 1.0 has no such call
            return head | {"result": {"tasks": tasks, "total": len(tasks)}} if ours else None
        return head | {"result": _translate_task(result.get("task", result))}

    async def _list_tasks(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        """What A2A answers to ListTasks, its first pages together: KAOS has none."""
        tasks: list[Any] = []
        wanted: dict[str, Any] = {"includeArtifacts": True, "pageSize": PAGE}
        for _ in range(PAGES):
            said = await self._call("ListTasks", wanted, scope, receive)
            tasks += said.get("result", {}).get("tasks", ())
            wanted["pageToken"] = said.get("result", {}).get("nextPageToken")
            if not wanted["pageToken"]:
                break
        return said | {"result": {"tasks": tasks}} if "result" in said else said

    async def _call(self, method: str, params: dict[str, Any], scope: Scope, receive: Receive) -> dict[str, Any]:
        """What A2A 1.0 answers to a call."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        said = bytearray()

        async def collect(message: Message) -> None:
            said.extend(message.get("body", b""))

        kept = [(k, v) for k, v in scope["headers"] if k not in (b"content-length", b"content-type", b"accept")]
        headers = [(b"content-type", b"application/json"), (VERSION.lower().encode(), b"1.0")]
        await self._pass_on({**scope, "headers": [*kept, *headers]}, bodies.replay(body, receive), collect)
        return _parse_object(bytes(said))

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To the route that would have it without this one."""
        for route in self._app.router.routes:
            if isinstance(route, Route) and route.endpoint is self:
                continue
            match, more = route.matches(scope)
            if match is Match.FULL:
                await route.handle({**scope, **more}, receive, send)
                return
        raise NotFound("JSON-RPC is not supported at this path.")


def _translate_message(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """KAOS's message as A2A 1.0 has it; None if it is not KAOS's."""
    message = params.get("message")
    parts = message.get("parts") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(parts, list):
        return None
    if not any(isinstance(part, dict) and "type" in part for part in parts):
        return None
    texts = [str(part.get("text", "")) for part in parts if isinstance(part, dict)]
    wish = params.get("configuration")
    wish = wish if isinstance(wish, dict) else {}
    context = params.get("contextId") or params.get("sessionId") or message.get("contextId")
    now = wish.get("blocking") is False or wish.get("mode") == "autonomous"
    sent = {
        "messageId": str(message.get("messageId") or uuid4()),
        "role": "ROLE_USER",
        "parts": [{"text": text} for text in texts],
        "metadata": {MARK: KAOS},
    }
    return {
        "message": sent | ({"contextId": str(context)} if context else {}),
        "configuration": {"returnImmediately": now},
    }


def _is_kaos(task: Any) -> bool:
    history = task.get("history", ()) if isinstance(task, dict) else ()
    return any(message.get("metadata", {}).get(MARK) == KAOS for message in history)


def _translate_task(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task of A2A 1.0 as KAOS shows it."""
    status = task.get("status", {})
    answer = "\n".join(_join_texts(artifact) for artifact in task.get("artifacts", ()))
    history = [
        _make_turn("user" if m.get("role") == "ROLE_USER" else "agent", _join_texts(m)) for m in task.get("history", ())
    ]
    return {
        "id": task.get("id"),
        "sessionId": task.get("contextId"),
        "contextId": task.get("contextId"),
        "status": {
            "state": str(status.get("state", "")).removeprefix("TASK_STATE_").lower().replace("_", "-"),
            "message": _join_texts(status.get("message", {})),
            "timestamp": status.get("timestamp"),
        },
        "history": [*history, *([_make_turn("agent", answer)] if answer else [])],
        "artifacts": [{"parts": [{"type": "text", "text": answer}]}] if answer else [],
        "output": answer,
    }


def _make_turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "text": text}]}


def _join_texts(holder: Mapping[str, Any]) -> str:
    return "\n".join(part["text"] for part in holder.get("parts", ()) if isinstance(part.get("text"), str))


def _parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; empty where there is none, which others say better."""
    try:
        found = strict_json(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_query_names(scope: Scope) -> set[str]:
    return {name.lower() for name in parse_qs(scope["query_string"].decode("latin-1"))}
