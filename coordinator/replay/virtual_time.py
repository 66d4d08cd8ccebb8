"""An event loop on virtual time: when nothing is ready, its clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

REAL_CLOCK = time.monotonic  # as it is, also while `time.monotonic` is the virtual one
LOOKS = 256  # turns of the loop between two looks at the real clock
TICK = 1e-6  # seconds that one turn of the loop takes


class Hung(BaseException):
    """What was to run does not end; says which limit it has passed."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks as asyncio does; threads run at once, in the loop.

    Raises `Hung` when nothing is left to wait for, after `virtual_seconds` of its own time and after `real_seconds`.
    """

    what = "The replay"  # that hangs

    def __init__(self, *, virtual_seconds: float, real_seconds: float) -> None:
        super().__init__()
        self.seconds = 0.0
        self._virtual_seconds = virtual_seconds
        self._real_seconds = real_seconds
        self._real_until = REAL_CLOCK() + real_seconds
        self._turns = 0
        self._selector = self
        self._clock_resolution = 1e-9
        self.stuck: str | None = None  # what the watchdog has to say

    # --- the loop's own selector: it selects the next moment

    def select(self, timeout: float | None) -> list[Any]:
        self._turns += 1
        if self._turns % LOOKS == 0 and REAL_CLOCK() > self._real_until:
            self.stuck = self._explain_real()
        if self.stuck is not None:
            raise Hung(self.stuck)
        if timeout is None:
            raise Hung(f"{self.what} hung: everything waits, and no timer is left, at {self.seconds:.3f} virtual s.")
        self.seconds += timeout + TICK
        if self.seconds > self._virtual_seconds:
            raise Hung(f"{self.what} hung: its limit of {self._virtual_seconds:g} virtual seconds has passed.")
        return []

    def ring(self) -> None:
        """The real time is up, in the middle of a callback: it ends here, and the loop with it."""
        self.stuck = self._explain_real()
        raise Hung(self.stuck)

    def _explain_real(self) -> str:
        real, virtual = self._real_seconds, self._virtual_seconds
        at = f"{self.seconds:.3f} of {virtual:g} virtual"
        return f"{self.what} hung: its limit of {real:g} real seconds has passed, at {at}."

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
