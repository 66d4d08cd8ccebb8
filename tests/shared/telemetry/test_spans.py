"""Spans as the services make them: below the current one, with their errors, and none where nothing records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from shared.contracts import Usage
from shared.errors import ModelFailed
from shared.telemetry.genai import add_usage, trace_chat, trace_tool
from shared.telemetry.served import begin_request, end_request
from shared.telemetry.spans import CURRENT, Span, Value, begin, get_header
from shared.telemetry.trace_ids import Place

PARENT = Place("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", True)


class Kept:
    """A recorder that keeps what it gets."""

    def __init__(self, *, sampled: bool = True) -> None:
        self.spans: list[Span] = []
        self.measured: list[tuple[str, Mapping[str, Value]]] = []
        self._sampled = sampled

    def choose_ids(self, parent: Place | None) -> tuple[str, str, bool]:
        return PARENT.trace_id, f"{len(self.spans) + 1:016x}", self._sampled

    def is_sampled(self, trace_id: str, parent: Place | None) -> bool:
        return self._sampled

    def record(self, span: Span, *, ended: int) -> None:
        assert ended >= span.began
        self.spans.append(span)

    @contextmanager
    def enter(self, place: Place) -> Iterator[None]:
        yield

    def measure(self, name: str, value: float, attributes: Mapping[str, Value]) -> None:
        assert value >= 0
        self.measured.append((name, dict(attributes)))


def test_without_a_recorder_there_are_none() -> None:
    with trace_chat("m", "http://model", max_tokens=5, as_json=False) as chat, trace_tool("t", None) as tool:
        assert (chat, tool, get_header(), get_header("given")) == (None, None, None, "given")


async def test_what_is_cut_off_is_no_error() -> None:
    recorder = Kept()
    with pytest.raises(asyncio.CancelledError), begin(recorder, "call", "client", PARENT, {}):
        raise asyncio.CancelledError

    [span] = recorder.spans
    assert (span.failed, span.attributes) == (False, {"muster.outcome": "cancelled"})


def test_a_chat_tells_tokens_and_what_went_wrong() -> None:
    """Also in its figures, where the tokens of a failed call count."""
    recorder = Kept()
    with begin(recorder, "POST", "server", PARENT, {}) as request:
        with trace_chat("m", "https://model/v1", max_tokens=5, as_json=True) as chat:
            assert chat is not None
            assert chat.parent == request.place
            add_usage(chat, Usage(calls=1, input_tokens=3, output_tokens=4))
        with pytest.raises(ModelFailed), trace_chat("m", "", max_tokens=5, as_json=False):
            raise ModelFailed("Gone.", usage=Usage(calls=1, input_tokens=3))

    well, failed, _ = recorder.spans
    assert (well.name, well.kind, well.attributes["server.port"]) == ("chat m", "client", 443)
    assert (failed.failed, failed.attributes["error.type"]) == (True, "model_failed")
    durations = [found for name, found in recorder.measured if name == "gen_ai.client.operation.duration"]
    assert ["error.type" in found for found in durations] == [False, True]
    tokens = [found for name, found in recorder.measured if name == "gen_ai.client.token.usage"]
    assert [found["gen_ai.token.type"] for found in tokens] == ["input", "output"] * 2
    assert all("error.type" not in found for found in tokens)


def test_what_is_not_sampled_is_measured_only() -> None:
    recorder = Kept(sampled=False)
    with begin(recorder, "POST", "server", None, {}), trace_tool("count", "call_1"):
        assert get_header() is not None
        assert str(get_header()).endswith("-00")

    assert recorder.spans == []
    assert [name for name, _ in recorder.measured] == ["gen_ai.execute_tool.duration"]


async def test_a_request_is_named_after_its_route() -> None:
    recorder = Kept()
    for status in (200, 503):
        span = begin_request(recorder, {"method": "POST", "path": "/tasks/1", "scheme": "http"}, PARENT)
        assert CURRENT.get() is span
        end_request(span, route="/tasks/{task_id}", status=status)

    well, broken = recorder.spans
    assert (well.name, well.failed, well.parent) == ("POST /tasks/{task_id}", False, PARENT)
    assert (broken.failed, broken.attributes["error.type"]) == (True, "503")
