"""An event loop on virtual time: when nothing is ready, its clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
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

    free: bool  # neither dead nor about to die

    def step(self) -> bool:
        """One of its callbacks is about to run; whether it may."""


OWNER: ContextVar[Owner | None] = ContextVar("owner", default=None)
NOBODY = Context()  # of callbacks that outlive every process


class _Handle(asyncio.Handle):
    """A callback; only what the loop needs of it, because a seed makes 50,000."""

    __slots__ = ()

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = self._args = None


class _TimerHandle(asyncio.TimerHandle):
    """A callback for a moment."""

    __slots__ = ()

    def __init__(self, when: float, callback: Callable[..., Any], args: tuple[Any, ...], context: Context) -> None:
        self._when = when
        self._callback = callback
        self._args = args
        self._context = context
        self._cancelled = False

    cancel = _Handle.cancel  # type: ignore[assignment]


class SerialTask(asyncio.Task[Any]):
    """A task whose place in a set depends on when it was made, not on its address."""

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        *,
        loop: VirtualLoop,
        name: str | None = None,
        context: Context | None = None,
    ) -> None:
        self.serial = SERIALS.take()
        self.owner = OWNER.get() if context is None else context.get(OWNER)
        super().__init__(work, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        return self.serial


def hash_by_serial(self: Any) -> int:
    """A `__hash__` for objects that are kept in sets: the order in which they were first asked for it."""
    try:
        return self._serial  # type: ignore[no-any-return]
    except AttributeError:
        self._serial = SERIALS.take()
        return self._serial


class SerialFuture(asyncio.Future[Any]):
    """The same for a future, of which few are ever in a set."""

    __hash__ = hash_by_serial  # type: ignore[assignment]


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
        self._timers: list[tuple[float, int, _TimerHandle]] = []
        self._number = itertools.count().__next__  # of timers: two of one moment run in the order of their making
        self.stuck: str | None = None  # what the watchdog has to say
        self.set_task_factory(lambda loop, coro, **more: SerialTask(coro, loop=loop, **more))  # type: ignore[arg-type]

    def _run_once(self) -> None:
        """One turn: the clock goes on, by a tick or to the next timer, and what is ready by then runs."""
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        timers = self._timers
        while timers and timers[0][2]._cancelled:  # type: ignore[attr-defined]
            heappop(timers)
        self._check_real()
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not timers:
                raise Hung(
                    f"The seed hung: everything waits, and no timer is left, at {self.seconds:.3f} virtual seconds."
                )
            self.seconds = max(self.seconds, timers[0][0])
        self.seconds += TICK
        if self.seconds > self._virtual_seconds:
            raise Hung(f"The seed hung: its limit of {self._virtual_seconds:g} virtual seconds has passed.")
        while timers and timers[0][0] <= self.seconds:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            handle: Any = ready.popleft()
            if handle._cancelled:
                continue
            owner = handle._context.get(OWNER)
            if owner is not None and not owner.free and not owner.step():
                continue
            try:
                handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self.call_exception_handler({"message": "Exception in a callback", "exception": exc, "handle": handle})

    def _check_real(self) -> None:
        self._turns += 1
        if self._turns % LOOKS == 0 and REAL_CLOCK() > self._real_until:
            self.stuck = self._explain_real()
        if self.stuck is not None:
            raise Hung(self.stuck)

    def ring(self) -> None:
        """The real time is up, in the middle of a callback: it ends here, and the loop with it."""
        self.stuck = self._explain_real()
        raise Hung(self.stuck)

    def _explain_real(self) -> str:
        real, virtual = self._real_seconds, self._virtual_seconds
        at = f"{self.seconds:.3f} of {virtual:g} virtual"
        return f"The seed hung: its limit of {real:g} real seconds has passed, at {at}."

    def close(self) -> None:
        self._timers.clear()
        super().close()

    def _write_to_self(self) -> None:
        """Nothing sleeps that would have to be woken."""

    def _timer_handle_cancelled(self, _: asyncio.TimerHandle) -> None:
        """It is left out when its moment comes."""

    # --- what asyncio asks of a loop

    def time(self) -> float:
        return self.seconds

    def create_future(self) -> SerialFuture:
        return SerialFuture(loop=self)

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = _Handle(callback, args, copy_context() if context is None else context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = _TimerHandle(when, callback, args, copy_context() if context is None else context)
        heappush(self._timers, (when, self._number(), handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.seconds + delay, callback, *args, context=context)

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
