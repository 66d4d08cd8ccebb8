"""The first call to a model, in the background, so that no step pays for a cold start."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import httpx

from shared import logs
from shared.conversation import Message
from shared.errors import ModelFailed
from shared.models.servers.asked import ModelRequest
from shared.models.servers.caller import Caller
from shared.models.servers.server import Server
from shared.models.servers.wire import Received

LOAD_SECONDS = 900.0  # that a model may be loaded
PAUSES_SECONDS = (2.0, 5.0, 15.0, 30.0, 60.0)  # between tries while it is away; the last one again and again
AGAIN_SECONDS = 10.0  # between two measurements
REPLY_TOKENS = 24
LOOK_SECONDS = 5.0
KEEP_ALIVE = "30m"  # in Ollama's memory, when nobody asks
INSTRUCTIONS = "You are being started."
WORDS = """A harbour wakes before its town. The first boats come in while the lamps still burn along the quay, and the
buyers stand ready with their carts. Boxes are lifted ashore, counted, weighed and sold within the hour; the rest goes
on ice and waits for the trains. Later the nets are spread out to dry, and whoever has slept at sea walks home through
streets that smell of bread. At noon the wind turns. The fishermen mend what was torn in the night, speak of the
weather, and look at the sky more often than at each other. When the tide is high enough, the harbour empties again, one
boat after the other, until only the gulls are left.

Answer with one word: ready."""


async def warm_up(server: Server, *, local: bool) -> None:
    """Looks for its context, has it loaded, and measures its speeds; tries on while it is away."""
    tries = 0
    while True:
        await look(server, local=local)
        try:
            await first_call(server, seconds=LOAD_SECONDS)
        except ModelFailed as exc:
            logs.get().log(30 if tries == 0 else 10, "model.away", model=server.name, why=exc.detail)
            await asyncio.sleep(PAUSES_SECONDS[min(tries, len(PAUSES_SECONDS) - 1)])
            tries += 1
        else:
            logs.get().info("model.ready", model=server.name, context=server.known.context, tries=tries + 1)
            return


async def measure_again(server: Server) -> None:
    """Measures its speeds when it was too slow for a call: a busy machine may be idle again, and no call would tell."""
    while True:
        await server.doubted.wait()
        server.doubted.clear()
        with contextlib.suppress(ModelFailed):
            await first_call(server, seconds=LOAD_SECONDS)
        await asyncio.sleep(AGAIN_SECONDS)


async def first_call(server: Server, *, seconds: float) -> None:
    """A small call that a server has not in its cache, and whose speed is measured. Raises ModelFailed."""
    said = Message("user", f"{time.time_ns()} {WORDS}")
    asked = ModelRequest(INSTRUCTIONS, [said], reply_tokens=REPLY_TOKENS, tries=1)
    await Caller(server).answer(asked, Received(), seconds=seconds)


async def look(server: Server, *, local: bool) -> None:
    """What the server says of its context; with Ollama the model is loaded first, and stays."""
    root = server.url.rsplit("/v1", 1)[0]
    if local and await _json(server, f"{root}/api/version") is not None:
        body = {"model": server.name, "keep_alive": KEEP_ALIVE}
        await _json(server, f"{root}/api/generate", body=body, seconds=LOAD_SECONDS)
        running = await _json(server, f"{root}/api/ps") or {}
        found = [one.get("context_length") for one in _dicts(running.get("models")) if _is(one, server.name)]
        server.known = server.known.reading(next((n for n in found if isinstance(n, int)), None))
    listed = await _json(server, f"{server.url}/models") or {}
    for one in _dicts(listed.get("data")):
        meta = one.get("meta")
        inner = meta if isinstance(meta, dict) else {}
        if one.get("id") == server.name or len(listed["data"]) == 1:
            context = one.get("max_model_len") or inner.get("n_ctx")
            server.known = server.known.reading(context if isinstance(context, int) else None)
    if local:
        props = await _json(server, f"{root}/props") or {}
        settings = props.get("default_generation_settings")
        context = settings.get("n_ctx") if isinstance(settings, dict) else None
        server.known = server.known.reading(context if isinstance(context, int) else None)
        if isinstance(slots := props.get("total_slots"), int):  # more calls at once would wait there, unseen
            server.places.narrow(slots)


def _is(one: dict[str, Any], name: str) -> bool:
    return name in (one.get("name"), one.get("model"), str(one.get("name", "")).removesuffix(":latest"))


def _dicts(found: Any) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


async def _json(
    server: Server, url: str, *, body: dict[str, Any] | None = None, seconds: float = LOOK_SECONDS
) -> dict[str, Any] | None:
    """An answer as JSON; None where there is none, or no object."""
    try:
        async with asyncio.timeout(seconds):
            method = "GET" if body is None else "POST"
            response = await server.http.request(method, url, json=body, headers=server.headers)
            found = response.json() if response.status_code == 200 else None
    except (httpx.HTTPError, TimeoutError, ValueError):
        return None
    return found if isinstance(found, dict) else None
