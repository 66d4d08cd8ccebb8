"""PURE: a step as an A2A 1.0 message over JSON-RPC, and the agent's task as the step's result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import JsonValue

from coordinator.agent_calls.foreign_prompt import ForeignCall, authorize, complete, dump_json, find_reason, write_brief
from shared.contracts import Registration, StepRequest, StepResult
from shared.errors import AgentFailed, AgentLost, AgentRefused, BadResponse, StepFailure
from shared.strict_json import strict_json
from shared.urls import is_loopback

VERSION = "1.0"
CARD = "/.well-known/agent-card.json"  # A2A 1.0, section 8.2
TASK_NOT_FOUND = -32001
THEIR_FAULT = (-32603, -32000, -32006)  # internal error, server error, InvalidAgentResponse
OPEN = ("SUBMITTED", "WORKING", "UNSPECIFIED", "")
STATE = "TASK_STATE_"


@dataclass(frozen=True)
class Interface:
    """The address of an agent, and how to call it."""

    url: str
    streaming: bool = False
    tenant: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def assume_interface(registration: Registration) -> Interface:
    """The interface of an agent without a card: JSON-RPC at its endpoint, no streams."""
    return Interface(registration.endpoint, headers=authorize(registration, registration.endpoint))


def choose_interface(card: Any, registration: Registration) -> Interface:
    """The first A2A 1 interface over JSON-RPC in a card; raises `AgentRefused` if there is none.

    A loopback address in a card is the agent's own; the address that the card was fetched from is used instead.
    """
    listed = card.get("supportedInterfaces") if isinstance(card, dict) else None
    offers = [o for o in listed if isinstance(o, dict)] if isinstance(listed, list) else []
    for offer in offers:
        url, binding, version = (str(offer.get(k, "")) for k in ("url", "protocolBinding", "protocolVersion"))
        if binding.upper() != "JSONRPC" or not (version or VERSION).startswith("1") or not url.startswith("http"):
            continue
        url = _replace_loopback(url, registration.endpoint)
        capabilities = card.get("capabilities")
        streaming = isinstance(capabilities, dict) and capabilities.get("streaming") is True
        tenant = offer.get("tenant")
        return Interface(
            url, streaming, tenant if isinstance(tenant, str) else "", headers=authorize(registration, url)
        )
    said = ", ".join(f"{o.get('protocolBinding')} {o.get('protocolVersion')}" for o in offers[:5]) or "none"
    raise AgentRefused(f"The agent's card has no JSON-RPC interface for A2A {VERSION}; it offers: {said}.")


def make_context_id(task_id: str, step_id: str) -> str:
    """The context id that all attempts of a step share, so that each finds the tasks of the others."""
    return f"muster-{task_id}-{step_id}"


def build_send(agent: Interface, request: StepRequest) -> ForeignCall:
    """`SendStreamingMessage`, or a `SendMessage` that waits for the task's end."""
    message = {
        "messageId": f"{request.task_id}-{request.step_id}-{request.attempt}",
        "contextId": make_context_id(request.task_id, request.step_id),
        "role": "ROLE_USER",
        "parts": [{"text": write_brief(request)}],
    }
    params = {"message": message, "configuration": {"returnImmediately": False}}
    return _build_call(agent, "SendStreamingMessage" if agent.streaming else "SendMessage", params)


def build_get(agent: Interface, task: str) -> ForeignCall:
    """`GetTask`."""
    return _build_call(agent, "GetTask", {"id": task})


def build_list(agent: Interface, context: str) -> ForeignCall:
    """`ListTasks` of one context."""
    return _build_call(agent, "ListTasks", {"contextId": context, "pageSize": 10})


def build_cancel(agent: Interface, task: str) -> ForeignCall:
    """`CancelTask`."""
    return _build_call(agent, "CancelTask", {"id": task})


def parse_response(body: bytes) -> dict[str, Any]:
    """The result in a JSON-RPC response; raises a `StepFailure` for an error, or for another body."""
    try:
        data = strict_json(body)
    except ValueError as exc:
        raise BadResponse(f"The agent's response is not JSON-RPC: {body[:200].decode(errors='replace')!r}") from exc
    if isinstance(data, dict) and isinstance(data.get("error"), dict):
        raise _to_failure(data["error"])
    if not isinstance(data, dict) or not isinstance(data.get("result"), dict):
        raise BadResponse("The agent's response is not a JSON-RPC response: no result.")
    found: dict[str, Any] = data["result"]
    return found


def find_usable_task(listed: dict[str, Any]) -> str | None:
    """The id of the newest task in a list that is running or completed, if any."""
    tasks = listed.get("tasks")
    for task in tasks if isinstance(tasks, list) else []:
        if isinstance(task, dict) and isinstance(task.get("id"), str) and _read_state(task) in (*OPEN, "COMPLETED"):
            return str(task["id"])
    return None


class Exchange:
    """What an agent has said about one step, in pieces or at once."""

    def __init__(self) -> None:
        self.task: str | None = None
        self._state = ""
        self._said: list[dict[str, Any]] = []  # of the last status
        self._message: list[dict[str, Any]] | None = None
        self._artifacts: dict[str, list[dict[str, Any]]] = {}

    @property
    def ended(self) -> bool:
        """Whether the agent will say nothing more by itself."""
        return self._message is not None or self._state not in OPEN

    @property
    def waits(self) -> bool:
        """Whether the agent waits for input that cannot be given."""
        return self._state in ("INPUT_REQUIRED", "AUTH_REQUIRED")

    @property
    def note(self) -> str:
        """The agent's last note on its progress; may be empty."""
        return _read_text(self._said)

    def take(self, piece: dict[str, Any]) -> None:
        """Adds a result of `SendMessage` or an event of a stream; raises `BadResponse` for anything else."""
        if isinstance(task := piece.get("task"), dict):
            self.take_task(task)
        elif isinstance(message := piece.get("message"), dict):
            self._message = _read_parts(message)
        elif isinstance(update := piece.get("statusUpdate"), dict):
            self._note_id(update.get("taskId"))
            self._note_status(update.get("status"))
        elif isinstance(update := piece.get("artifactUpdate"), dict):
            self._note_id(update.get("taskId"))
            self._collect(update.get("artifact"), append=update.get("append") is True)
        else:
            raise BadResponse(
                f"The agent's response is not a task, message or update; it has: {', '.join(piece) or 'nothing'}."
            )

    def take_task(self, task: dict[str, Any]) -> None:
        """Replaces all that was known by a whole task; raises `BadResponse` if it has no id."""
        if not isinstance(task.get("id"), str) or not task["id"]:
            raise BadResponse("The agent's response is a task without an id.")
        self.task = task["id"]
        self._artifacts.clear()
        artifacts = task.get("artifacts")
        for artifact in artifacts if isinstance(artifacts, list) else []:
            self._collect(artifact, append=False)
        self._note_status(task.get("status"))

    def to_result(self, request: StepRequest) -> StepResult:
        """The step's result; raises a `StepFailure` unless the task completed."""
        if self._message is not None:
            return complete(request, _read_output(self._message))
        why = _read_text(self._said) or "no reason given"
        if self._state == "COMPLETED":
            parts = [part for artifact in self._artifacts.values() for part in artifact] or self._said
            return complete(request, _read_output(parts))
        if self._state == "FAILED":
            failure: StepFailure = AgentFailed(f"The agent's task failed: {why}")
            failure.blames_agent = failure.retryable = False  # it works: it answered
        elif self._state == "REJECTED":
            failure = AgentRefused(f"The agent rejected the step: {why}")
        elif self._state in ("CANCELED", "CANCELLED"):
            failure = AgentLost("The agent cancelled the step.")
        elif self.waits:
            asked = "input" if self._state == "INPUT_REQUIRED" else "authentication"
            failure = AgentRefused(f"The agent requires {asked} during the step, which is not supported: {why}")
            failure.type = self._state.lower()
        else:
            failure = BadResponse(f"The agent's task has an unknown state: {self._state!r}.")
        raise failure

    def _note_id(self, task: Any) -> None:
        if isinstance(task, str) and task:
            self.task = task

    def _note_status(self, status: Any) -> None:
        if not isinstance(status, dict):
            raise BadResponse("The agent's task has no status.")
        self._state = _read_state({"status": status})
        self._said = _read_parts(status.get("message"))

    def _collect(self, artifact: Any, *, append: bool) -> None:
        if not isinstance(artifact, dict):
            raise BadResponse("The agent's artifact is not an object.")
        id = str(artifact.get("artifactId", ""))
        before = self._artifacts.get(id, []) if append else []
        self._artifacts[id] = _join_texts([*before, *_read_parts(artifact)])


def _build_call(agent: Interface, method: str, params: dict[str, Any]) -> ForeignCall:
    if agent.tenant:
        params = {"tenant": agent.tenant, **params}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return ForeignCall(agent.url, dump_json(body), {"A2A-Version": VERSION, **agent.headers})


def _to_failure(error: dict[str, Any]) -> StepFailure:
    said = f"The agent returned an error: {find_reason(error) or error}"
    code = error.get("code")
    if code == TASK_NOT_FOUND:
        return AgentLost(said)
    return AgentFailed(said) if code in THEIR_FAULT else AgentRefused(said)


def _read_state(task: dict[str, Any]) -> str:
    status = task.get("status")
    said = status.get("state") if isinstance(status, dict) else ""
    return said.removeprefix(STATE) if isinstance(said, str) else "?"


def _read_parts(holder: Any) -> list[dict[str, Any]]:
    parts = holder.get("parts") if isinstance(holder, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _join_texts(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of one artifact, with adjacent texts joined: agents stream them in pieces."""
    found: list[dict[str, Any]] = []
    for part in parts:
        if found and isinstance(part.get("text"), str) and isinstance(found[-1].get("text"), str):
            found[-1] = {**found[-1], "text": found[-1]["text"] + part["text"]}
        else:
            found.append(part)
    return found


def _read_text(parts: list[dict[str, Any]]) -> str:
    return "\n\n".join(p["text"] for p in parts if isinstance(p.get("text"), str) and p["text"])


def _read_output(parts: list[dict[str, Any]]) -> JsonValue:
    """A single text or piece of data as it is, else an object with `text`, `data` and `files`."""
    text = _read_text(parts)
    data: list[JsonValue] = [p["data"] for p in parts if "data" in p]
    files: list[JsonValue] = [
        {k: p[k] for k in ("url", "raw", "filename", "mediaType") if p.get(k)}
        for p in parts
        if p.get("url") or p.get("raw")
    ]
    if not files and not data:
        if not text:
            raise BadResponse("The agent's task is completed but has no result.")
        return text
    if len(data) == 1 and not text and not files:
        return data[0]
    found: dict[str, JsonValue] = {"text": text, "data": data, "files": files}
    return {name: value for name, value in found.items() if value}


def _replace_loopback(url: str, endpoint: str) -> str:
    said, known = urlsplit(url), urlsplit(endpoint)
    if _is_own(said.hostname) and not _is_own(known.hostname):
        return said._replace(scheme=known.scheme, netloc=known.netloc).geturl()
    return url


def _is_own(host: str | None) -> bool:
    return host == "0.0.0.0" or is_loopback(host or "")
