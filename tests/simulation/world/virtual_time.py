"""An event loop on virtual time: when nothing is ready, its clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any, Protocol

REAL_CLOCK = time.monotonic  # as it is, also while `time.monotonic` is the virtual one
LOOKS = 256  # turns of the loop between two looks at the real clock
TICK = 1e-6  # seconds that one turn of the loop takes


class _Serials:
    """Numbers for what is kept in sets; each loop begins anew."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._next = itertools.count().__next__

    def take(self) -> int:
        return self._next()


SERIALS = _Serials()


class Hung(BaseException):
    """A simulation that does not end; says which limit it has passed."""


class Owner(Protocol):
    """The process that a callback belongs to."""

    alive: bool

    def step(self) -> None:
        """One of its callbacks is about to run."""


OWNER: ContextVar[Owner | None] = ContextVar("owner", default=None)
NOBODY = Context()  # of callbacks that outlive every process


class _Handle(asyncio.Handle):
    """A callback that does not run once its process is dead."""

    def _run(self) -> None:
        owner = self._context.get(OWNER)  # type: ignore[attr-defined]
        if owner is not None:
            if owner.alive:
                owner.step()
            if not owner.alive:
                return
        asyncio.Handle._run(self)  # type: ignore[attr-defined]


class _TimerHandle(asyncio.TimerHandle):
    """A timer that does not fire once its process is dead."""

    _run = _Handle._run  # type: ignore[assignment]

    def __lt__(self, other: Any) -> bool:  # asyncio's asks for the type first, a twentieth of a seed's time
        return self._when < other._when  # type: ignore[attr-defined, no-any-return]


class SerialTask(asyncio.Task[Any]):
    """A task whose place in a set depends on when it was made, not on its address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.serial = SERIALS.take()
        context: Context | None = kwargs.get("context")
        self.owner = OWNER.get() if context is None else context.get(OWNER)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self.serial


class SerialFuture(asyncio.Future[Any]):
    """The same for a future."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.serial = SERIALS.take()
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self.serial


def hash_by_serial(self: Any) -> int:
    """A `__hash__` for objects that are kept in sets: the order in which they were first asked for it."""
    try:
        return self._serial  # type: ignore[no-any-return]
    except AttributeError:
        self._serial = SERIALS.take()
        return self._serial


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks as asyncio does; threads run at once, in the loop.

    Raises `Hung` when nothing is left to wait for, after `virtual_seconds` of its own time and after `real_seconds`.
    """

    def __init__(self, *, virtual_seconds: float, real_seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        SERIALS.restart()
        self.seconds = 0.0
        self._virtual_seconds = virtual_seconds
        self._real_seconds = real_seconds
        self._real_until = REAL_CLOCK() + real_seconds
        self._turns = 0
        self._selector = self
        self._clock_resolution = 1e-9
        self.stuck: str | None = None  # what the watchdog has to say
        self.set_task_factory(lambda loop, coro, **more: SerialTask(coro, loop=loop, **more))

    # --- the loop's own selector: it selects the next moment

    def select(self, timeout: float | None) -> list[Any]:
        self._turns += 1
        if self._turns % LOOKS == 0 and REAL_CLOCK() > self._real_until:
            self.stuck = self._explain_real()
        if self.stuck is not None:
            raise Hung(self.stuck)
        if timeout is None:
            raise Hung(f"The seed hung: everything waits, and no timer is left, at {self.seconds:.3f} virtual seconds.")
        self.seconds += timeout + TICK
        if self.seconds > self._virtual_seconds:
            raise Hung(f"The seed hung: its limit of {self._virtual_seconds:g} virtual seconds has passed.")
        return []

    def ring(self) -> None:
        """The real time is up, in the middle of a callback: it ends here, and the loop with it."""
        self.stuck = self._explain_real()
        raise Hung(self.stuck)

    def _explain_real(self) -> str:
        real, virtual = self._real_seconds, self._virtual_seconds
        at = f"{self.seconds:.3f} of {virtual:g} virtual"
        return f"The seed hung: its limit of {real:g} real seconds has passed, at {at}."

    def close(self) -> None:
        self._selector = None  # type: ignore[assignment]
        super().close()

    def _process_events(self, _: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nothing sleeps that would have to be woken."""

    # --- what asyncio asks of a loop

    def time(self) -> float:
        return self.seconds

    def create_future(self) -> SerialFuture:
        return SerialFuture(loop=self)

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = _Handle(callback, args, self, copy_context() if context is None else context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = _TimerHandle(when, callback, args, self, copy_context() if context is None else context)
        heapq.heappush(self._scheduled, handle)  # type: ignore[attr-defined]
        handle._scheduled = True  # type: ignore[attr-defined]
        return handle

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        done = self.create_future()

        def run() -> None:
            if done.cancelled():
                return
            try:
                done.set_result(func(*args))
            except Exception as exc:  # it belongs to who awaits it
                done.set_exception(exc)

        self.call_soon(run)
        return done

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""
