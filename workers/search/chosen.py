"""Opens the provider that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from shared.settings import SearchSettings
from workers.search import local
from workers.search.provider import Provider


@asynccontextmanager
async def provider(
    settings: SearchSettings, state_dir: Path, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[Provider]:
    """The provider, open until the service ends."""
    async with local.opened(settings.knowledge_dir, state_dir) as opened:
        yield opened
