"""One call to an agent or to the coordinator on behalf of a delegation: sent, awaited for so long, failures named."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import httpx
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import from_json

from shared.client.client import Whole, fetch
from shared.contracts import MAX_RESULT_BYTES, NO_USAGE, Usage
from shared.errors import BadResponse
from shared.http_failures import failure_from_answer, failure_from_error, preview

SHOWN_CHARACTERS = 300  # of what an error body says


class DelegationAnswer(BaseModel):
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


async def post(
    http: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float
) -> JsonValue:
    """The JSON that comes back; raises a `StepFailure`."""
    try:
        answer = await fetch(http, "POST", url, headers, body, seconds=seconds, max_bytes=MAX_RESULT_BYTES)
    except httpx.TransportError as exc:
        raise failure_from_error(exc, seconds) from exc
    assert isinstance(answer, Whole)
    good = 200 <= answer.status < 300
    try:
        data: JsonValue = from_json(answer.body, allow_inf_nan=False)
    except ValueError as exc:
        if good:
            raise BadResponse(f"The response is not JSON: {preview(answer.body)}") from exc
        raise failure_from_answer(answer) from exc
    if good:
        return data
    failure = failure_from_answer(answer, _why(data))
    with contextlib.suppress(ValidationError):
        spent = _Spent.model_validate(data)
        failure.usage, failure.booked = spent.usage, spent.booked
    raise failure


def _why(data: JsonValue) -> str:
    """What an error body says, problem+json's and KAOS's `detail`, OpenAI's `error.message`; else nothing."""
    if not isinstance(data, dict):
        return ""
    error = data.get("error")
    found = data.get("detail") or (error.get("message") if isinstance(error, dict) else error)
    return found[:SHOWN_CHARACTERS] if isinstance(found, str) else ""
