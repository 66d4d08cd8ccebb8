"""Opens the provider that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from shared.client import client as http
from shared.settings import SearchSettings
from workers.providers import brave, local, searxng, tavily, wikipedia
from workers.providers.provider import Provider
from workers.providers.web import Engine, Web

MAX_ANSWER_BYTES = 4_000_000
READERS = 2  # threads that read pages


@asynccontextmanager
async def provider(
    settings: SearchSettings,
    state_dir: Path,
    *,
    uploads: Path | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Provider]:
    """The provider, open until the service ends. What is missing in the settings is told to the first step."""
    if settings.search_provider == "local":
        async with local.open_local(settings.knowledge_dir, state_dir, uploads=uploads) as opened:
            yield opened
        return
    engine, hints = _engine(settings)
    # An address that the operator wrote into SEARCH_URL may be private: that is where a SearXNG lives.
    policy: http.Policy = "agents" if settings.search_url else "web"
    seconds = settings.search_timeout
    threads = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
    async with http.make_client(
        policy=policy, seconds=seconds, max_bytes=MAX_ANSWER_BYTES, transport=transport
    ) as client:
        try:
            yield Web(settings.search_provider, engine, client, seconds, hints, threads)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _engine(settings: SearchSettings) -> tuple[Engine, dict[int, str]]:
    key = settings.search_api_key.get_secret_value() if settings.search_api_key else None
    url = settings.search_url
    match settings.search_provider:
        case "searxng":
            return searxng.engine(url), searxng.HINTS
        case "tavily":
            return tavily.engine(key, url), tavily.HINTS
        case "brave":
            return brave.engine(key, url), brave.HINTS
        case _:
            return wikipedia.engine(url), wikipedia.HINTS
