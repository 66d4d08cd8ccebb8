"""A language model behind an OpenAI-compatible URL, or replies from a script; loaded once it is opened."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
from collections.abc import Sequence
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, JsonValue

from shared import transport
from shared.answering import Message
from shared.contracts import Usage
from shared.models.turns import AS_SET, Hear, Limits, Sampling, ToolSpec, Turn
from shared.settings import ModelSettings

MAX_REPLY_BYTES = 8_000_000
_VERSION = re.compile(r"v\d+[a-z0-9]*\Z")

Shape = TypeVar("Shape", bound=BaseModel)


class LanguageModel:
    """A model that can be asked; safe to share between requests, to be closed with `aclose()` or `async with`.

    Every method raises `shared.errors.ModelFailed` for whatever goes wrong, within `seconds`; its `usage` is what the
    failed calls cost. A 429 or 5xx is tried again, at most twice, where the time allows what the model asks for.
    """

    def __init__(
        self,
        *,
        url: str = "",
        name: str = "scripted",
        key: str | None = None,
        seconds: float = 60.0,
        max_tokens: int | None = None,
        native_tools: bool = True,
        script: Sequence[JsonValue] | None = None,
    ) -> None:
        self.name = name
        self.native_tools = native_tools
        self._url = base_url(url) if url else ""
        self._key = key
        self._seconds = seconds
        self._max_tokens = max_tokens
        self._script = script
        self._http: httpx.AsyncClient | None = None
        self._opened: Any = None
        self._loading: asyncio.Task[None] | None = None
        self._loaded = False

    @property
    def scripted(self) -> bool:
        """Whether its replies come from a script."""
        return self._script is not None

    def for_request(self, mocks: Sequence[JsonValue] | None = None) -> LanguageModel:
        """The model as one request sees it: a script begins anew, and `mocks` replace whatever there is."""
        script = self._script if mocks is None else mocks
        if script is None:
            return self
        return LanguageModel(
            name=self.name, seconds=self._seconds, max_tokens=self._max_tokens, native_tools=True, script=script
        )

    async def __aenter__(self) -> Self:
        """Begins to load what it needs, so that the first request does not wait for that."""
        self._loading = asyncio.create_task(self._load(), name="model:load")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes its connections."""
        if self._loading is not None:
            await asyncio.gather(self._loading, return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def text(
        self, *, instructions: str, data: str, seconds: float, max_tokens: int | None = None
    ) -> tuple[str, Usage]:
        """The model's words about `data`, which should be `fenced` where others wrote it."""
        turn = await self.turn(
            instructions=instructions, messages=[Message("user", data)], seconds=seconds, max_tokens=max_tokens
        )
        return turn.text, turn.usage

    async def structured(
        self,
        *,
        instructions: str,
        data: str,
        shape: type[Shape],
        seconds: float,
        max_tokens: int | None = None,
        calls: int = 2,
    ) -> tuple[Shape, Usage]:
        """The model's answer about `data` as a `shape`; one of another shape is asked for again, up to `calls`."""
        await self._load()
        from shared.models import calls as wire

        return await wire.structure(
            self._model(),
            instructions=instructions,
            data=data,
            shape=shape,
            limits=self._limits(seconds, max_tokens),
            calls=calls,
        )

    async def turn(
        self,
        *,
        instructions: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        seconds: float,
        max_tokens: int | None = None,
        sampling: Sampling = AS_SET,
        hear: Hear | None = None,
    ) -> Turn:
        """The model's next reply in a conversation; `hear` gets its words as they come."""
        await self._load()
        from shared.models import calls as wire

        return await wire.converse(
            self._model(),
            instructions=instructions,
            messages=messages,
            tools=tools,
            limits=self._limits(seconds, max_tokens, sampling.max_tokens),
            sampling=sampling,
            hear=hear,
        )

    async def _load(self) -> None:
        """Imports the libraries, which takes a second or more: in a thread, so that nobody else waits for it."""
        if not self._loaded:
            await asyncio.to_thread(importlib.import_module, "shared.models.calls")
            self._loaded = True

    def _limits(self, seconds: float, *max_tokens: int | None) -> Limits:
        tokens = min((n for n in (*max_tokens, self._max_tokens) if n is not None), default=None)
        return Limits(seconds=min(seconds, self._seconds), max_tokens=tokens)

    def _model(self) -> Any:
        from shared.models import calls as wire

        if self._opened is None or (self._http is None and not self.scripted):
            if self._script is not None:
                self._opened = wire.scripted(self._script, name=self.name)
            else:
                self._http = transport.client(policy="agents", seconds=self._seconds, max_bytes=MAX_REPLY_BYTES)
                self._opened = wire.behind(self._url, name=self.name, key=self._key, http=self._http)
        return self._opened


def models_from(settings: ModelSettings) -> LanguageModel | None:
    """The model that the settings name: a script before a URL, None where there is neither."""
    script = replies(settings.debug_mock_responses) if settings.debug_mock_responses is not None else None
    if script is None and settings.model_api_url is None:
        return None
    return LanguageModel(
        url=settings.model_api_url or "",
        name=settings.model_name or "scripted",
        key=settings.model_api_key.get_secret_value() if settings.model_api_key else None,
        seconds=settings.model_timeout,
        max_tokens=settings.model_max_tokens,
        native_tools=settings.tool_call_mode != "string",  # KAOS's `auto` is native here
        script=script,
    )


def replies(text: str) -> tuple[JsonValue, ...]:
    """Scripted replies from a text: a JSON list, else the one JSON value or the one reply that it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return (text,)
    return tuple(found) if isinstance(found, list) else (found,)


def base_url(url: str) -> str:
    """The URL that `/chat/completions` is appended to: with a version in its path, `/v1` where there is none."""
    url = url.rstrip("/")
    if any(_VERSION.match(part) for part in urlsplit(url).path.split("/")):
        return url
    return f"{url}/v1"
