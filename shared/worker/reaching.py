"""Asks the coordinator at which address it reaches this worker, which cannot know that by itself."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from pydantic import BaseModel
from pydantic_core import to_json

from shared.client import client as transport
from shared.client.client import Whole

ASK_SECONDS = 5.0  # the coordinator tries each address for 2 s, all at once
MAX_ANSWER_BYTES = 65_536


class NotReached(Exception):
    """The coordinator reaches this worker nowhere; the text says where it has tried, and why not."""


class _Tried(BaseModel):
    endpoint: str
    why: str | None


class _Reached(BaseModel):
    endpoint: str | None
    tried: list[_Tried]


async def find_endpoint(
    client: httpx.AsyncClient, coordinator_url: str, headers: Mapping[str, str], *, name: str, port: int
) -> str:
    """The URL. Raises `NotReached`, and `httpx.HTTPError` where the coordinator does not answer."""
    answer = await transport.fetch(
        client,
        "POST",
        f"{coordinator_url}/reach_agent",
        {"Content-Type": "application/json", **headers},
        to_json({"name": name, "port": port}),
        seconds=ASK_SECONDS,
        max_bytes=MAX_ANSWER_BYTES,
    )
    assert isinstance(answer, Whole)
    if not 200 <= answer.status < 300:
        raise NotReached(f"/reach_agent answered HTTP {answer.status}; set ADVERTISE_URL")
    found = _Reached.model_validate_json(answer.body)
    if found.endpoint is None:
        raise NotReached("; ".join(f"{one.endpoint}: {one.why}" for one in found.tried))
    return found.endpoint
