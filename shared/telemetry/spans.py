"""Spans as the services make them; without a recorder there are none, and nothing of OpenTelemetry is loaded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self

from prometheus_client import CollectorRegistry

from shared.errors import MusterError
from shared.telemetry.trace_ids import Place

Kind = Literal["internal", "server", "client"]
Value = str | int | float | bool | tuple[str, ...]
Attributes = dict[str, Value]
CANCELLED = "cancelled"  # the `muster.outcome` of what nobody waits for any more: no error


class Recorder(Protocol):
    """Where spans and what models took go."""

    def choose_ids(self, parent: Place | None) -> tuple[str, str, bool]:
        """Ids of a trace and of a new span in it, and whether it is recorded."""
        ...

    def is_sampled(self, trace_id: str, parent: Place | None) -> bool:
        """Whether a trace is recorded, which its parent may have decided."""
        ...

    def record(self, span: Span, *, ended: int) -> None:
        """Takes a span that has ended (Unix nanoseconds)."""
        ...

    def enter(self, place: Place) -> AbstractContextManager[None]:
        """Within it, libraries that speak OpenTelemetry themselves pass this span on."""
        ...

    def measure(self, name: str, value: float, attributes: Mapping[str, Value]) -> None:
        """Adds one value to a histogram of the semantic conventions."""
        ...


class Telemetry(Protocol):
    """What takes the spans and figures of a process."""

    @property
    def recorder(self) -> Recorder: ...

    def running(
        self, registry: CollectorRegistry, look: Callable[[], Awaitable[None]]
    ) -> AbstractAsyncContextManager[None]:
        """Sends what the registry has, after `look`, for as long as the block."""
        ...


@dataclass
class Span:
    """One piece of work. Within `with`, it is the current one; it ends with the block, and with the block's error."""

    name: str
    kind: Kind
    place: Place
    parent: Place | None
    recorder: Recorder
    attributes: Attributes
    began: int = field(default_factory=time.time_ns)  # Unix nanoseconds
    failed: bool = False
    _token: Token[Span | None] | None = None

    @property
    def header(self) -> str:
        """The `traceparent` of whatever it asks of others."""
        return self.place.header

    def fail(self, type: str) -> None:
        """It ends in an error of this type."""
        self.failed = True
        self.attributes["error.type"] = type

    def end(self) -> None:
        """Hands it to the recorder."""
        if self.place.sampled:
            self.recorder.record(self, ended=time.time_ns())

    def __enter__(self) -> Self:
        self._token = CURRENT.set(self)
        return self

    def __exit__(self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None) -> None:
        if self._token is not None:
            CURRENT.reset(self._token)
        if isinstance(exc, asyncio.CancelledError):
            self.attributes["muster.outcome"] = CANCELLED
        elif exc is not None:
            self.fail(get_type(exc))
        self.end()


CURRENT: ContextVar[Span | None] = ContextVar("span", default=None)


def begin(recorder: Recorder, name: str, kind: Kind, parent: Place | None, attributes: Attributes) -> Span:
    """A new span below another one, or the first of its trace."""
    trace_id, span_id, sampled = recorder.choose_ids(parent)
    return Span(name, kind, Place(trace_id, span_id, sampled), parent, recorder, attributes)


def get_type(error: BaseException) -> str:
    """The `error.type` of an exception: the problem type of one of ours, else its class."""
    return error.type if isinstance(error, MusterError) else type(error).__name__


def get_header(otherwise: str | None = None) -> str | None:
    """The `traceparent` of the current span, else the one that is given."""
    current = CURRENT.get()
    return otherwise if current is None else current.header
