"""Calls of models and tools by the semantic conventions for generative AI (their v0.1.0), without what was said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from urllib.parse import urlsplit

from shared.contracts import Usage
from shared.errors import MusterError
from shared.telemetry.spans import CURRENT, Attributes, Kind, Span, begin

API = "openai"  # the provider's name says whose API it is, whoever serves it
MEASURED = (  # the attributes of a span that its figures have, too
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.tool.name",
    "server.address",
    "server.port",
    "error.type",
)


@contextmanager
def trace_chat(model: str, url: str, *, max_tokens: int, as_json: bool) -> Iterator[Span | None]:
    """A chat with a model below the current span, with its duration and tokens; None where there is no current one."""
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": API,
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": max_tokens,
        "gen_ai.output.type": "json" if as_json else "text",
    }
    if url:
        attributes["server.address"], attributes["server.port"] = split_endpoint(url)
    with _traced(f"chat {model}", "client", attributes, "gen_ai.client.operation.duration") as span:
        try:
            yield span
        except MusterError as failure:
            if span is not None:
                add_usage(span, failure.usage)
            raise
        finally:
            if span is not None:
                _measure_tokens(span)


@contextmanager
def trace_tool(name: str, call_id: str | None) -> Iterator[Span | None]:
    """A call of a tool below the current span, with its duration; None where there is no current one."""
    attributes: Attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.type": "extension",
    }
    if call_id is not None:
        attributes["gen_ai.tool.call.id"] = call_id
    with (
        _traced(f"execute_tool {name}", "internal", attributes, "gen_ai.execute_tool.duration") as span,
        nullcontext() if span is None else span.recorder.enter(span.place),
    ):
        yield span


def add_usage(span: Span, usage: Usage) -> None:
    """What was spent, in tokens, as far as it is known."""
    if usage.input_tokens or usage.output_tokens:
        span.attributes["gen_ai.usage.input_tokens"] = usage.input_tokens
        span.attributes["gen_ai.usage.output_tokens"] = usage.output_tokens


@lru_cache(1_000)
def split_endpoint(url: str) -> tuple[str, int]:
    """Host and port of an address."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


@contextmanager
def _traced(name: str, kind: Kind, attributes: Attributes, duration: str) -> Iterator[Span | None]:
    current = CURRENT.get()
    if current is None:
        yield None
        return
    since, span = time.monotonic(), begin(current.recorder, name, kind, current.place, attributes)
    try:
        with span:
            yield span
    finally:
        span.recorder.measure(duration, time.monotonic() - since, _measured(span))


def _measured(span: Span) -> Attributes:
    return {name: span.attributes[name] for name in MEASURED if name in span.attributes}


def _measure_tokens(span: Span) -> None:
    found = _measured(span)
    found.pop("error.type", None)
    for kind in ("input", "output"):
        tokens = span.attributes.get(f"gen_ai.usage.{kind}_tokens")
        if isinstance(tokens, int):
            span.recorder.measure("gen_ai.client.token.usage", tokens, found | {"gen_ai.token.type": kind})
