"""The tape: where a task's exchanges with the world outside pass by, to be recorded or answered from a record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

RECORD = "Muster-Record"  # the header with which a coordinator asks for the recording of a step
T = TypeVar("T")


class Tape(Protocol):
    """Two exist: one that writes down what passes, and one that plays it. What passes is JSON."""

    async def exchange(self, kind: str, asked: Any, do: Callable[[], Awaitable[Any]]) -> Any:
        """What `do` gives, or what was recorded for `asked`; raises as `do` does."""
        ...

    def read(self, kind: str, look: Callable[[], T]) -> T:
        """A look at a clock, at chance, or at what other tasks have left behind: JSON's number, text or list."""
        ...


TAPE: ContextVar[Tape | None] = ContextVar("tape", default=None)


def read(kind: str, look: Callable[[], T]) -> T:
    """`look()`, by the tape of the task at work where there is one."""
    tape = TAPE.get()
    return look() if tape is None else tape.read(kind, look)


async def exchange(kind: str, asked: Callable[[], Any], do: Callable[[], Awaitable[Any]]) -> Any:
    """`await do()`, by the tape of the task at work where there is one; `asked` is put together only then."""
    tape = TAPE.get()
    return await do() if tape is None else await tape.exchange(kind, asked(), do)
