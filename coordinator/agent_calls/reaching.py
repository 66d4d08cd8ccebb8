"""Finds the address at which an agent of a caller's machine is reached, by trying each that it may be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
from pydantic_core import from_json

from coordinator.agent_calls.client import PROBE_SECONDS, SMALL_BYTES
from shared.client import client as transport
from shared.client.client import Whole
from shared.http_failures import failure_from_error

HOST = "host.docker.internal"  # the machine that a container runs on; both compose files make the name known


@dataclass(frozen=True)
class Tried:
    """An address, and why the agent is not reached there; None where it is."""

    endpoint: str
    why: str | None


async def try_addresses(http: httpx.AsyncClient, caller: str | None, *, name: str, port: int) -> list[Tried]:
    """Asks at `caller`, the address that the call came from, and at this machine seen from a container, the best first.

    Somebody else may answer there, on the same port: only who says the agent's name is it.
    """
    hosts: Sequence[str] = [f"[{caller}]" if ":" in caller else caller, HOST] if caller else [HOST]
    return list(await asyncio.gather(*(_try(http, f"http://{host}:{port}", name) for host in hosts)))


async def _try(http: httpx.AsyncClient, endpoint: str, name: str) -> Tried:
    try:
        answer = await transport.fetch(
            http, "GET", f"{endpoint}/health", {"Accept": "*/*"}, seconds=PROBE_SECONDS, max_bytes=SMALL_BYTES
        )
    except httpx.TransportError as exc:
        return Tried(endpoint, failure_from_error(exc, PROBE_SECONDS).detail)
    assert isinstance(answer, Whole)
    try:
        seen = from_json(answer.body)
    except ValueError:
        seen = None
    who = seen.get("name") if isinstance(seen, dict) else None
    return Tried(endpoint, None if who == name else f"{who or 'something else'} answers there")
