"""One call to an agent or to the coordinator on behalf of a delegation: sent, awaited for so long, failures named."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import httpx
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import from_json, to_json

from shared.client import client as transport
from shared.contracts import NO_USAGE, Usage
from shared.errors import (
    AgentBusy,
    AgentFailed,
    AgentLost,
    AgentRefused,
    AgentUnreachable,
    BadResponse,
    StepFailure,
    StepTimeout,
)

SHOWN_CHARACTERS = 300


class Done(BaseModel):
    """The coordinator's answer to a delegation; `booked` says whether it counts the usage itself."""

    model_config = ConfigDict(extra="ignore")

    agent: str
    response: str
    usage: Usage = NO_USAGE
    booked: bool = False


class _Spent(BaseModel):
    """What the coordinator says of a delegation that failed; another agent says nothing of the kind."""

    model_config = ConfigDict(extra="ignore")

    usage: Usage = NO_USAGE
    booked: bool = False


class _Said(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Said


class Used(BaseModel):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0


class Completion(BaseModel):
    """What is read of OpenAI's chat completion."""

    choices: list[_Choice]
    usage: Used | None = None


async def posted(
    http: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float
) -> JsonValue:
    """The JSON that comes back; raises a `StepFailure`."""
    try:
        answer = await http.post(url, content=body, headers=headers, extensions={"deadline": seconds})
    except transport.DeadlineExceeded as exc:
        raise StepTimeout(f"No answer within {seconds:.1f} s.") from exc
    except httpx.TransportError as exc:
        said = str(exc) or type(exc).__name__
        raise (AgentLost(said) if transport.reached(exc) else AgentUnreachable(said)) from exc
    try:
        data: JsonValue = from_json(answer.content, allow_inf_nan=False)
    except ValueError as exc:
        if answer.is_success:
            raise BadResponse(f"The answer is not JSON: {answer.text[:SHOWN_CHARACTERS]}") from exc
        data = answer.text
    if answer.is_success:
        return data
    failure = _named(answer, f"HTTP {answer.status_code}: {_why(data)}")
    with contextlib.suppress(ValidationError):
        spent = _Spent.model_validate(data)
        failure.usage, failure.booked = spent.usage, spent.booked
    raise failure


def _named(answer: httpx.Response, said: str) -> StepFailure:
    if answer.status_code in (429, 503):
        return AgentBusy(said)
    if answer.status_code == 504:
        return StepTimeout(said)
    return AgentFailed(said) if answer.is_server_error else AgentRefused(said)


def _why(data: JsonValue) -> str:
    """What an error body says: problem+json's and KAOS's `detail`, OpenAI's `error.message`."""
    if isinstance(data, dict):
        error = data.get("error")
        found = data.get("detail") or (error.get("message") if isinstance(error, dict) else error)
        if isinstance(found, str):
            return found[:SHOWN_CHARACTERS]
    return shown(data)


def shown(data: JsonValue) -> str:
    return (data if isinstance(data, str) else to_json(data).decode())[:SHOWN_CHARACTERS]
